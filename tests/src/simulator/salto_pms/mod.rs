//! A SALTO server with its PMS interface, its encoders, its cards and its doors, behind a byte line.
//!
//! * [`hotel`]: rooms, keys, cards, doors and the count of what was done; [`log`]: the same on disk.
//! * [`work`]: what a request does; [`encoder`]: the jobs at the encoders. [`serve`]: the exchange on a line.
//! * [`fault`]: what goes wrong on demand. [`control`]: the front panel. [`life`], [`options`]: the process.
//!
//! It owns its own state and shares only the codec's server end with the product; what a request means is decided here.
//!
//! Promises: an answer is sent after its change and its effects are on disk; a job that began ends, whether or not somebody
//! still listens; what a real server refuses is refused here with the code of the vendor's table. Never: repeats or drops an
//! effect, or lets anything go wrong that the control interface did not ask for.

pub mod control;
pub mod encoder;
pub mod fault;
pub mod hotel;
pub mod life;
pub mod log;
pub mod options;
pub mod serve;
#[cfg(test)]
mod tests;
pub mod work;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use lockbridge_protocol::line::Checksum;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use fault::Faults;
use hotel::{Card, Change, Contents, Encoder, Hotel, Room};
use log::Log;

/// Behaviour chosen at the start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time zone of the server.
    pub zone: TimeZone,
    /// How long an encoder waits for a card, and for a card to be taken away; below 30 s.
    pub card_wait: Duration,
    /// How long writing a card takes.
    pub write_time: Duration,
    /// What the server wants behind a frame.
    pub checksum: Checksum,
}

struct World {
    hotel: Hotel,
    log: Log,
    failed: bool,
}

/// Everything the tasks share.
pub struct Simulator {
    world: Mutex<World>,
    /// Behaviour chosen at the start.
    pub settings: Settings,
    /// Faults asked for.
    pub faults: Faults,
    /// Ends the process.
    pub shutdown: CancellationToken,
    /// Work that goes on although nobody listens any more.
    pub jobs: TaskTracker,
    /// Encoders with a job, and rooms whose key is being written.
    taken: Mutex<HashSet<String>>,
    changed: watch::Sender<u64>,
    clock_offset: Mutex<SignedDuration>,
    /// The licence covers keys for phones.
    mobile_licence: AtomicBool,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Simulator").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The disk failed: nothing may be answered any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFailed;

impl Simulator {
    /// A server over an opened hotel.
    pub fn new(log: Log, hotel: Hotel, settings: Settings) -> Self {
        Self {
            world: Mutex::new(World { hotel, log, failed: false }),
            settings,
            faults: Faults::default(),
            shutdown: CancellationToken::new(),
            jobs: TaskTracker::new(),
            taken: Mutex::default(),
            changed: watch::Sender::new(0),
            clock_offset: Mutex::default(),
            mobile_licence: AtomicBool::new(true),
        }
    }

    /// Looks at the hotel.
    pub fn read<T>(&self, look: impl FnOnce(&Hotel) -> T) -> T {
        look(&lock(&self.world).hotel)
    }

    /// Changes the hotel and writes the change to disk. An error of the disk ends the process.
    pub fn change<T>(&self, change: impl FnOnce(&mut Hotel) -> T) -> Result<T, DiskFailed> {
        let mut world = lock(&self.world);
        let world = &mut *world;
        if world.failed {
            return Err(DiskFailed);
        }
        let outcome = change(&mut world.hotel);
        if let Err(error) = world.log.commit(&mut world.hotel) {
            tracing::error!(%error, "the log cannot be written; the server stops");
            world.failed = true;
            self.shutdown.cancel();
            return Err(DiskFailed);
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(outcome)
    }

    /// The disk failed.
    pub fn failed(&self) -> bool {
        lock(&self.world).failed
    }

    /// Wakes on every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Switches the licence for keys on phones.
    pub fn license_phones(&self, licensed: bool) {
        self.mobile_licence.store(licensed, Ordering::SeqCst);
    }

    /// Whether keys may go to phones.
    pub fn phones_are_licensed(&self) -> bool {
        self.mobile_licence.load(Ordering::SeqCst)
    }

    /// Local time of the server, to the second.
    pub fn now(&self) -> DateTime {
        let at = Timestamp::now().saturating_add(*lock(&self.clock_offset)).unwrap_or(Timestamp::MAX);
        let local = at.to_zoned(self.settings.zone.clone()).datetime();
        local.with().subsec_nanosecond(0).build().unwrap_or(local)
    }

    /// Moves the clock of server and locks.
    pub fn advance(&self, by: SignedDuration) {
        let mut offset = lock(&self.clock_offset);
        *offset = offset.saturating_add(by);
    }

    /// Takes something that one job may have at a time. `None`: another has it.
    pub fn claim(&self, name: String) -> Option<Claim<'_>> {
        // A claim that is made gives back when it is dropped, so none may be made in vain.
        let is_free = lock(&self.taken).insert(name.clone());
        is_free.then(|| Claim { simulator: self, name })
    }

    /// A job runs at this encoder.
    pub fn has_job(&self, encoder: &str) -> bool {
        lock(&self.taken).contains(&encoder_claim(encoder))
    }

    /// A demo: rooms 101 to 112 and 201 to 212, two encoders, a staff card.
    pub fn seed_demo(&self) -> Result<(), DiskFailed> {
        self.change(|hotel| {
            for name in (101..=112).chain(201..=212) {
                hotel.put(Change::Room(Room { name: name.to_string(), ..Room::default() }));
            }
            for name in ["1", "2"] {
                hotel.put(Change::Encoder(Encoder {
                    name: name.to_owned(),
                    plugged: true,
                    busy: false,
                    auto_feed: false,
                    card: None,
                }));
            }
            let staff =
                Card { serial: "04AAAAAAAAAAAA".to_owned(), contents: Contents::Staff, tracks: Default::default() };
            hotel.put(Change::Card(staff));
        })
    }
}

/// Given back when dropped.
#[derive(Debug)]
pub struct Claim<'a> {
    simulator: &'a Simulator,
    name: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.simulator.taken).remove(&self.name);
    }
}

fn encoder_claim(encoder: &str) -> String {
    format!("encoder {encoder}")
}

fn room_claim(room: &str) -> String {
    format!("room {room}")
}

/// A holder that panicked ended its own request; the simulator goes on with what is there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
