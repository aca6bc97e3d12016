//! Requests on their way to the line: a bounded queue, and one moment after which a request cannot be taken back.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbridge_protocol::salto_pms::client::{Doubt, Exchange, NotBegun, SubmitError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Requests that wait for the line. The engine begins at most one for each encoder and lane, so this is many.
pub(super) const QUEUE: usize = 64;

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const TAKEN_BACK: u8 = 2;

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
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ask: Ask,
    fate: Arc<AtomicU8>,
    pub(super) done: oneshot::Sender<Outcome>,
}

impl Job {
    /// From now on something of it may go out. `false`: whoever asked has given up, and nothing did.
    pub(super) fn begin(&self) -> bool {
        self.fate.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Takes a request back when whoever asked goes away before it has begun.
struct Ticket(Arc<AtomicU8>);

impl Ticket {
    fn take_back(&self) -> bool {
        self.0.compare_exchange(WAITING, TAKEN_BACK, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.take_back();
    }
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

/// Why a request was never begun, although the line was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waited {
    /// It came to an end.
    Ended(Outcome),
    /// Its turn did not come in time. Certainly nothing was sent.
    NotInTime(Obstacle),
}

/// Queues a request and waits for its end. It begins before `begin_by` or never; once begun, it is waited for without a limit
/// of its own: the machine has one.
pub(super) async fn ask(jobs: &mpsc::Sender<Job>, board: &Board, ask: Ask, begin_by: Instant) -> Waited {
    let fate = Arc::new(AtomicU8::new(WAITING));
    let ticket = Ticket(Arc::clone(&fate));
    let (done, mut ended) = oneshot::channel();
    let gone = || Outcome::Down("the owner of the line has ended".to_owned());
    match timeout_at(begin_by, jobs.send(Job { ask, fate, done })).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Waited::Ended(gone()),
        Err(_) => return Waited::NotInTime(board.obstacle()),
    }
    match timeout_at(begin_by, &mut ended).await {
        Ok(outcome) => return Waited::Ended(outcome.unwrap_or_else(|_| lost(&ticket))),
        Err(_) if ticket.take_back() => return Waited::NotInTime(board.obstacle()),
        Err(_) => {}
    }
    Waited::Ended(ended.await.unwrap_or_else(|_| lost(&ticket)))
}

/// The owner of the line went away with the request.
fn lost(ticket: &Ticket) -> Outcome {
    if ticket.take_back() {
        Outcome::Down("the owner of the line has ended".to_owned())
    } else {
        Outcome::Unknown(Doubt::LinkLost)
    }
}

/// Shortest time that a request has for its turn.
pub(super) const LEAST_TURN: Duration = Duration::from_secs(1);
