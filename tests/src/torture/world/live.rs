//! The world around the daemon while it runs, and as it was at any mark of a record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lockbridge::clock::Clock;
use lockbridge::system::Operation;
use tokio::time::Instant;

use super::disk::PowerDisk;
use super::hub::{Hub, HubMark};
use super::site::Site;
use super::truth::Truth;

/// Something that happened outside the disk, and when (wall time, ms since the epoch).
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) at_ms: i64,
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// At the cloud.
    Hub(HubMark),
    /// The lock server got a request. `intent`: sequence of the intent it belongs to, when there is one.
    Began { call: u64, operation: Arc<Operation>, intent: Option<u64> },
    /// The request had its effect.
    Effect { call: u64, operation: Arc<Operation> },
    /// The daemon got its answer.
    Answered { call: u64 },
}

/// A request at the lock server.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: Arc<Operation>,
    pub(crate) intent: Option<u64>,
    pub(crate) done: bool,
    pub(crate) answered: bool,
}

/// Cloud and site.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) site: Site,
    /// Requests of this run of the daemon.
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) now_ms: i64,
}

impl World {
    /// Has `mark` happen.
    pub(crate) fn take(&mut self, mark: &Mark) {
        self.now_ms = self.now_ms.max(mark.at_ms);
        match &mark.what {
            What::Hub(mark) => self.hub.take(mark),
            What::Began { call, operation, intent } => {
                let operation = Arc::clone(operation);
                self.calls.insert(*call, Call { operation, intent: *intent, done: false, answered: false });
            }
            What::Effect { call, operation } => {
                self.site.apply(operation);
                if let Some(call) = self.calls.get_mut(call) {
                    call.done = true;
                }
            }
            What::Answered { call } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.answered = true;
                }
            }
        }
    }

    /// The daemon is gone: its requests are nobody's any more. Gives those that had no effect yet and no answer.
    pub(crate) fn end_calls(&mut self) -> Vec<Arc<Operation>> {
        let calls = std::mem::take(&mut self.calls);
        calls.into_values().filter(|call| !call.done && !call.answered).map(|call| call.operation).collect()
    }
}

/// Both clocks follow the runtime's.
#[derive(Debug)]
pub(crate) struct WorldClock {
    begun: Instant,
    begun_ms: i64,
}

impl WorldClock {
    /// Begins now, at `begun_ms` wall time.
    pub(crate) fn at(begun_ms: i64) -> Self {
        Self { begun: Instant::now(), begun_ms }
    }
}

impl Clock for WorldClock {
    fn wall(&self) -> Timestamp {
        let passed = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(self.begun_ms.saturating_add(passed)).unwrap_or(Timestamp::MAX)
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1000) + self.begun.elapsed()
    }
}

/// One run of the daemon, as everybody outside of it sees it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) disk: PowerDisk<Mark>,
    pub(crate) clock: Arc<WorldClock>,
    world: Mutex<World>,
    truth: Mutex<Truth>,
    /// A session is open.
    pub(crate) connected: AtomicBool,
    problems: Mutex<Vec<String>>,
}

impl Live {
    /// Goes on from `world` and `truth` on `disk`, some seconds later.
    pub(crate) fn new(disk: PowerDisk<Mark>, mut world: World, truth: Truth) -> Arc<Self> {
        world.now_ms += 5_000;
        Arc::new(Self {
            disk,
            clock: Arc::new(WorldClock::at(world.now_ms)),
            world: Mutex::new(world),
            truth: Mutex::new(truth),
            connected: AtomicBool::new(false),
            problems: Mutex::new(Vec::new()),
        })
    }

    /// Has something happen, here and in the record, as one.
    pub(crate) fn happen(&self, what: What) {
        let mark = Mark { at_ms: self.clock.wall_ms(), what };
        let mut world = self.world();
        world.take(&mark);
        self.disk.mark(mark);
    }

    /// The world, which stands still while it is looked at.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the journal was given.
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session is open.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::SeqCst)
    }

    /// Notes what must not be.
    pub(crate) fn problem(&self, problem: String) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    }

    /// Gives what was noted.
    pub(crate) fn take_problems(&self) -> Vec<String> {
        std::mem::take(&mut *self.problems.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
