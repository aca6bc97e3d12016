//! Why the daemon does not start, or ended by itself.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::identity::{IdentityError, StateKeyError};
use crate::journal::{LockError, OpenError};
use crate::state::OpenWorkingSetError;

/// One variant a step of the start; the last is an end by itself.
#[derive(Debug, Error)]
pub enum AppError {
    /// Another daemon holds the state directory, or it cannot be used.
    #[error("cannot take the state directory")]
    Lock(#[source] LockError),
    /// The key that seals state cannot be had.
    #[error("cannot use the state key")]
    StateKey(#[from] StateKeyError),
    /// The identity cannot be read.
    #[error("cannot use the identity of this bridge")]
    Identity(#[from] IdentityError),
    /// The journal cannot be opened.
    #[error("cannot open the journal")]
    Journal(#[source] OpenError),
    /// The working set cannot be opened or rebuilt.
    #[error("cannot open the working set")]
    WorkingSet(#[source] OpenWorkingSetError),
    /// A lock system cannot be set up.
    #[error("cannot set up the lock system {name:?}: {problem}")]
    LockSystem {
        /// Name in the configuration.
        name: String,
        /// Why.
        problem: String,
    },
    /// The health address cannot be bound.
    #[error("cannot listen on the health address {address}")]
    Address {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The control socket cannot be bound.
    #[error("cannot listen on the control socket {}", path.display())]
    ControlSocket {
        /// As configured.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals or threads of this process cannot be set up.
    #[error("cannot set up the process")]
    Runtime(#[source] io::Error),
    /// The engine ended: a write or flush failed, and what the page cache says can no longer be believed (rule F3).
    #[error("the journal failed while running")]
    JournalFailed,
}

impl AppError {
    /// The disk has no room to start on: not a failing disk, and it may pass (rule D6).
    pub(super) fn is_full_disk(&self) -> bool {
        matches!(self, Self::Journal(error) if error.is_full())
    }
}
