//! What a session writes down: each function is one transaction.
//!
//! Every one of them, after admission, holds only while the session's epoch is the bridge's newest (rule G8): an old
//! session that is still busy cannot move a cursor under its successor.

mod down;
mod lifecycle;
mod lost;
mod quarantine;
mod up;

use rusqlite::Transaction;
use thiserror::Error;

pub(super) use down::{commands_durable, lane_gap, next_deliveries, numbered};
pub(super) use lifecycle::{AdmitError, Admitted, admit, all_down, ended, opened};
pub(super) use lost::lost;
pub(super) use quarantine::duplicate;
pub(super) use up::{Witnessed, health, heartbeat, reports, reports_missing};

use crate::store::StoreError;

/// Something was not recorded; nothing of it was.
#[derive(Debug, Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a newer session of the bridge took over")]
    Superseded,
    #[error("report {sequence} is not acceptable: {problem}")]
    Report { sequence: u64, problem: String },
}

impl From<rusqlite::Error> for RecordError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A session as its records know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) bridge_id: String,
    pub(super) epoch: u64,
    pub(super) store_id: Vec<u8>,
    /// Of the certificate that it showed.
    pub(super) serial: Vec<u8>,
}

/// Holds if this session is still the bridge's newest.
fn fence(tx: &Transaction<'_>, session: &Session) -> Result<(), RecordError> {
    let sql = "SELECT epoch FROM bridges WHERE bridge_id = ?1";
    let epoch: i64 = tx.query_row(sql, [&session.bridge_id], |row| row.get(0))?;
    if epoch.unsigned_abs() == session.epoch { Ok(()) } else { Err(RecordError::Superseded) }
}
