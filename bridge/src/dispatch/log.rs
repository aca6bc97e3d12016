//! What the engine needs of the journal, so that a log in memory can stand in for it.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::journal::{AppendError, Durable, Journal, Reserve};
use crate::limits::{DISK_WARNING_BYTES, JOURNAL_OUTCOME_BYTES};

/// What the space that is left allows (rules D3-D6), from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Everything.
    Plenty,
    /// Everything; people should be told.
    Low,
    /// Of new commands only revokes; what was accepted goes on.
    SafetyOnly,
    /// The file system gives no more: of accepted commands, too, only revokes begin. The prepared reserve serves them and
    /// the outcomes of what executes.
    Full,
    /// Even the reserve is nearly used up: nothing begins, so that whatever executes can still be written down.
    Exhausted,
}

/// An append-only log that becomes durable by itself.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Queues an entry and returns its sequence; it is not durable yet.
    fn append(&self, payload: Vec<u8>, reserve: Reserve) -> BoxFuture<'_, Result<u64, AppendError>>;
    /// Follows how far the log is durable.
    fn durable(&self) -> watch::Receiver<Durable>;
    /// What may be written; below `reserve_bytes` of free disk, only revokes are new.
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
        if space.full && space.ordinary_bytes + space.reserve_bytes < JOURNAL_OUTCOME_BYTES {
            Room::Exhausted
        } else if space.full {
            Room::Full
        } else if space.disk_free_bytes < reserve_bytes {
            Room::SafetyOnly
        } else if space.disk_free_bytes < DISK_WARNING_BYTES {
            Room::Low
        } else {
            Room::Plenty
        }
    }
}
