//! What is asked of the link, what becomes of it, and whether the link is alive.

use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::fias::key::KeyRecord;
use lockbridge_protocol::fias::key_table::OpenError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::system::turn::{Turn, Waited, wait};

/// A request in the queue.
pub(super) type Job = Turn<Ask, Outcome>;

/// What is asked of the link.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) record: KeyRecord,
    /// For its answer, from the moment it is sent.
    pub(super) timeout: Duration,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This answer is its own.
    Answered(Box<KeyRecord>),
    /// The table of open requests did not take it. Nothing was sent.
    NotOpened(OpenError),
    /// It cannot be written, or the key service does not take such records. Nothing was sent.
    Unusable(String),
    /// It certainly did not arrive.
    NotArrived(String),
    /// It may have been carried out.
    Unknown(String),
    /// The link is not alive, or was not free in time. Nothing was sent.
    Down(String),
}

/// Whether the link is alive, as its owner last knew it.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<Result<String, String>>);

impl Board {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Err("the line was not opened yet".to_owned()))))
    }

    /// Alive, with the version that the key service tells; or why not.
    pub(super) fn show(&self, state: Result<String, String>) {
        self.0.send_if_modified(|shown| {
            let changed = *shown != state;
            *shown = state;
            changed
        });
    }

    /// Waits until the link is alive, or tells why it is not by `deadline`.
    pub(super) async fn alive(&self, deadline: Instant) -> Result<String, String> {
        let mut shown = self.0.subscribe();
        // Whatever holds at the deadline is the answer.
        let _late = timeout_at(deadline, shown.wait_for(Result::is_ok)).await;
        self.0.borrow().clone()
    }
}

/// Queues a request and waits for its end. It begins before `begin_by` or never.
pub(super) async fn ask(jobs: &mpsc::Sender<Job>, ask: Ask, begin_by: Instant) -> Outcome {
    let owner_ended = || "the owner of the line has ended".to_owned();
    match wait(jobs, ask, begin_by).await {
        Waited::Ended(outcome) => outcome,
        Waited::NotInTime => Outcome::Down("the line was not free in time".to_owned()),
        Waited::NobodyThere => Outcome::Down(owner_ended()),
        Waited::Abandoned => Outcome::Unknown(owner_ended()),
    }
}
