//! What is asked of the line, what becomes of it, and what stands in its way.

use std::sync::{Arc, Mutex, PoisonError};

use lockbridge_protocol::salto_pms::client::{Doubt, Exchange, NotBegun, SubmitError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::system::turn::{Turn, Waited, wait};

/// A request in the queue.
pub(super) type Job = Turn<Ask, Outcome>;

/// What is asked of the line.
#[derive(Debug)]
pub(super) enum Ask {
    /// Whether somebody is there.
    Enquiry,
    /// A request.
    Exchange(Box<Exchange>),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The body of the answer.
    Answered(Vec<u8>),
    /// An enquiry found the server idle.
    Ready,
    /// Certainly not begun.
    NotBegun(NotBegun),
    /// It may have been carried out.
    Unknown(Doubt),
    /// The machine did not take it.
    Refused(SubmitError),
    /// The line is not open. Nothing was sent.
    Down(String),
    /// Its turn did not come in time, because of this. Nothing was sent.
    NotInTime(Obstacle),
}

/// What keeps the line from taking a request, as its owner last knew it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nothing.
    None,
    /// Another request is on it.
    Busy,
    /// A late answer may still come, until then.
    Held(Instant),
    /// It is not open.
    Down(String),
}

/// What callers can see of the line.
#[derive(Debug)]
pub(super) struct Board {
    obstacle: Mutex<Obstacle>,
}

impl Board {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { obstacle: Mutex::new(Obstacle::Down("the line was not opened yet".to_owned())) })
    }

    pub(super) fn show(&self, obstacle: Obstacle) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
    }

    pub(super) fn obstacle(&self) -> Obstacle {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Queues a request and waits for its end. It begins before `begin_by` or never.
pub(super) async fn ask(jobs: &mpsc::Sender<Job>, board: &Board, ask: Ask, begin_by: Instant) -> Outcome {
    match wait(jobs, ask, begin_by).await {
        Waited::Ended(outcome) => outcome,
        Waited::NotInTime => Outcome::NotInTime(board.obstacle()),
        Waited::NobodyThere => Outcome::Down("the owner of the line has ended".to_owned()),
        Waited::Abandoned => Outcome::Unknown(Doubt::LinkLost),
    }
}
