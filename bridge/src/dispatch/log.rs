//! What the engine needs of the journal, so that a log in memory can stand in for it.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::journal::{AppendError, Durable, Journal, Reserve};

/// Whether new work may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Plenty,
    /// Only what must not be refused (rule D6).
    SafetyOnly,
}

/// An append-only log that becomes durable by itself.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Queues an entry and returns its sequence; it is not durable yet.
    fn append(&self, payload: Vec<u8>, reserve: Reserve) -> BoxFuture<'_, Result<u64, AppendError>>;
    /// Follows how far the log is durable.
    fn durable(&self) -> watch::Receiver<Durable>;
    /// Whether new work may be written, with at least `reserve_bytes` of the disk free.
    fn room(&self, reserve_bytes: u64) -> Room;
}

impl Log for Journal {
    fn append(&self, payload: Vec<u8>, reserve: Reserve) -> BoxFuture<'_, Result<u64, AppendError>> {
        Box::pin(Self::append(self, payload, reserve))
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        Self::durable(self)
    }

    fn room(&self, reserve_bytes: u64) -> Room {
        let space = *self.space().borrow();
        if space.full || space.disk_free_bytes < reserve_bytes { Room::SafetyOnly } else { Room::Plenty }
    }
}
