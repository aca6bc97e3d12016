//! The running server: sockets, encoder jobs, faults, the event stream, the control interface.
//!
//! What it owns: the one lock around site and store, and every task. What it promises: [`Simulator::change`] returns after
//! the change is on disk; a job once started ends (a client that goes away does not stop the card from being written); a
//! restart drops all connections and cuts running writes off. When the disk fails, the process stops.
//! What it never does: inject a fault that was not asked for.

mod answer;
pub mod control;
pub mod encoder;
pub mod fault;
mod http;
mod life;
mod socket;
pub mod stream;
mod tls;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use life::{Addresses, Bound, RunError, bind};

use super::refusal::{Refusal, code};
use super::ship::Rules;
use super::site::Site;
use super::site::store::{Store, Tally};
use fault::Faults;
use stream::Stream;

/// How the HTTP variant knows its client.
#[derive(Debug, Clone)]
pub enum HttpLogin {
    /// Anybody may ask.
    Nobody,
    /// `Authorization: Basic` with this base64 text.
    Basic(String),
    /// `Salto-SHIP-Key` with this text.
    Custom(String),
}

/// Behaviour a person chose at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rules of the requests.
    pub rules: Rules,
    /// Whether online readers update cards.
    pub updating_readers: bool,
    /// How long an encoder waits for a card.
    pub card_wait: Duration,
    /// How long writing a card takes.
    pub write_time: Duration,
    /// Clients that may connect; empty is everybody.
    pub allow: Vec<IpAddr>,
    /// Login on HTTP.
    pub http_login: HttpLogin,
}

struct World {
    site: Site,
    store: Store,
    failed: bool,
}

/// Everything the tasks share.
pub struct Simulator {
    world: Mutex<World>,
    /// Behaviour chosen at start.
    pub settings: Settings,
    /// Faults asked for.
    pub faults: Faults,
    /// The event stream.
    pub stream: Stream,
    /// Ends the process.
    pub shutdown: CancellationToken,
    busy: Mutex<HashSet<String>>,
    written: Mutex<HashSet<String>>,
    encoders_changed: watch::Sender<u64>,
    restart: watch::Sender<Option<Duration>>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Simulator").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Simulator {
    /// A server over an opened site.
    pub fn new(site: Site, store: Store, settings: Settings, stream: Stream) -> Self {
        Self {
            world: Mutex::new(World { site, store, failed: false }),
            settings,
            faults: Faults::default(),
            stream,
            shutdown: CancellationToken::new(),
            busy: Mutex::default(),
            written: Mutex::default(),
            encoders_changed: watch::Sender::new(0),
            restart: watch::Sender::new(None),
        }
    }

    /// Looks at the site.
    pub fn read<T>(&self, look: impl FnOnce(&Site) -> T) -> T {
        look(&lock(&self.world).site)
    }

    /// Looks at the counted effects.
    pub fn tally<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&lock(&self.world).store.tally)
    }

    /// Changes the site and writes the change to disk. The change is made whole or, by its own checks, not at all.
    pub fn change<T>(&self, change: impl FnOnce(&mut Site) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut world = lock(&self.world);
        let world = &mut *world;
        if world.failed {
            return Err(Refusal::of(code::DATABASE));
        }
        let outcome = change(&mut world.site);
        match world.store.commit(&mut world.site) {
            Ok(events) => {
                for event in &events {
                    self.stream.send(&world.site, event);
                }
                outcome
            }
            Err(error) => {
                tracing::error!(%error, "writing to the data directory failed; the simulator stops");
                world.failed = true;
                self.shutdown.cancel();
                Err(Refusal::of(code::DATABASE))
            }
        }
    }

    /// Whether the disk failed; the process then ends with an error.
    pub fn failed(&self) -> bool {
        lock(&self.world).failed
    }

    /// Drops all connections and listens again after a while.
    pub fn restart(&self, away: Duration) {
        self.restart.send_replace(Some(away));
    }

    /// Wakes the jobs that wait for a card to come or go.
    pub fn encoders_changed(&self) {
        self.encoders_changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Whether a job runs on an encoder.
    pub fn is_busy(&self, encoder: &str) -> bool {
        lock(&self.busy).contains(encoder)
    }

    fn claim<'a>(names: &'a Mutex<HashSet<String>>, name: &str) -> Option<Claim<'a>> {
        lock(names).insert(name.to_owned()).then(|| Claim { names, name: name.to_owned() })
    }
}

/// A name that is taken while this lives.
#[derive(Debug)]
struct Claim<'a> {
    names: &'a Mutex<HashSet<String>>,
    name: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(self.names).remove(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
