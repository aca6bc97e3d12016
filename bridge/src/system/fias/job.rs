//! Requests on their way to the line: a bounded queue, and one moment after which a request cannot be taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lockbridge_protocol::fias::key::KeyRecord;
use lockbridge_protocol::fias::key_table::OpenError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

/// Requests that wait for the line. The engine begins at most one for each encoder and lane, so this is many.
pub(super) const QUEUE: usize = 64;

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const TAKEN_BACK: u8 = 2;

/// What became of a request.
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
    /// The link is not alive. Nothing was sent.
    Down(String),
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) record: KeyRecord,
    /// For its answer, from the moment it is sent.
    pub(super) timeout: Duration,
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

/// Queues a request and waits for its end. It begins before `begin_by` or never; once begun, it is waited for without a limit
/// of its own: its owner has one.
pub(super) async fn ask(jobs: &mpsc::Sender<Job>, record: KeyRecord, timeout: Duration, begin_by: Instant) -> Outcome {
    let fate = Arc::new(AtomicU8::new(WAITING));
    let ticket = Ticket(Arc::clone(&fate));
    let (done, mut ended) = oneshot::channel();
    let in_time = || Outcome::Down("the line was not free in time".to_owned());
    match timeout_at(begin_by, jobs.send(Job { record, timeout, fate, done })).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Outcome::Down("the owner of the line has ended".to_owned()),
        Err(_) => return in_time(),
    }
    match timeout_at(begin_by, &mut ended).await {
        Ok(outcome) => return outcome.unwrap_or_else(|_| lost(&ticket)),
        Err(_) if ticket.take_back() => return in_time(),
        Err(_) => {}
    }
    ended.await.unwrap_or_else(|_| lost(&ticket))
}

/// The owner of the line went away with the request.
fn lost(ticket: &Ticket) -> Outcome {
    let why = "the owner of the line has ended".to_owned();
    if ticket.take_back() { Outcome::Down(why) } else { Outcome::Unknown(why) }
}
