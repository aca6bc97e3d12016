//! The wire of one front desk, opened again and again, and one peer on it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::introduction;
use super::memory::Memory;
use super::session::{End, Session};
use crate::clock::Clock;
use crate::config::{FrontDeskConfig, read_link_key};
use crate::dispatch::EngineHandle;
use crate::health::{Health, ReasonCode, Scope};
use crate::link::{Limits, Opener, Statistics};

/// How long the property software may be away before people are told: it restarts at night.
const AWAY: Duration = Duration::from_secs(30);
/// Told where the link ended upon our introduction, and we proved to have a key.
const REFUSED: &str = ". The link ended when we introduced ourselves with our link key, so the key is perhaps not the right one: \
                       compare link_key_file with the key at the property software, and enter it there again";
/// Pause before a link key that cannot be read is looked for again.
const KEY_PAUSE: Duration = Duration::from_secs(30);

/// What one front desk needs.
#[derive(Debug, Clone)]
pub struct FrontDesk {
    pub(super) config: FrontDeskConfig,
    pub(super) engine: EngineHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Health,
    pub(super) statistics: Arc<Statistics>,
}

impl FrontDesk {
    /// Nothing is opened yet.
    pub fn new(config: FrontDeskConfig, engine: EngineHandle, clock: Arc<dyn Clock>, health: Health) -> Self {
        let statistics = Statistics::new(config.name.clone());
        Self { config, engine, clock, health, statistics }
    }

    /// Figures of the wire, shared with who shows them.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    pub(super) fn scope(&self) -> Scope {
        Scope::FrontDesk(self.config.name.clone())
    }

    fn tell_away(&self, message: &str) {
        self.health.raise(self.scope(), ReasonCode::FrontDesk, message);
    }
}

/// Serves one front desk until `stop`.
pub async fn run(desk: FrontDesk, stop: CancellationToken) {
    let mut wire = Opener::new(desk.config.endpoint.clone(), Limits::default(), Arc::clone(&desk.statistics));
    let mut memory = Memory::default();
    let away = tokio::time::sleep(AWAY);
    tokio::pin!(away);
    let mut last_problem = String::from("it has not connected since the bridge started");
    // Our key seems not to be the property software's. It closes its port then, so later problems look like another cause.
    let mut is_refused = false;
    while !stop.is_cancelled() {
        // Without its key the bridge does not show itself: the other side would take that for a wrong proof.
        if let Err(error) = read_link_key(desk.config.link_key.as_ref()).await {
            warn!(front_desk = desk.config.name, %error, "The key of the front desk's link cannot be used.");
            desk.tell_away(&format!("front desk `{}`: {error}", desk.config.name));
            if stop.run_until_cancelled(tokio::time::sleep(KEY_PAUSE)).await.is_none() {
                return;
            }
            continue;
        }
        let opened = tokio::select! {
            opened = wire.open() => opened,
            () = &mut away, if !away.is_elapsed() => {
                let refused = if is_refused { REFUSED } else { "" };
                desk.tell_away(&format!("front desk `{}`: {last_problem}{refused}", desk.config.name));
                continue;
            }
            () = stop.cancelled() => return,
        };
        let mut line = match opened {
            Ok(line) => line,
            Err(error) => {
                let problem = error.to_string();
                if problem != last_problem {
                    info!(front_desk = desk.config.name, %problem, "The wire to the front desk could not be opened.");
                }
                last_problem = problem;
                continue;
            }
        };
        let mut was_alive = false;
        loop {
            info!(front_desk = desk.config.name, peer = line.place(), "The front desk's wire is open.");
            // Opening may have taken hours: the key may be another one by now.
            let key = match read_link_key(desk.config.link_key.as_ref()).await {
                Ok(key) => key,
                Err(error) => {
                    last_problem = error.to_string();
                    break;
                }
            };
            let needs_key = key.is_some();
            let settings = introduction::settings(&desk.config, key);
            let mut session = Session::new(&desk, settings, &mut memory);
            let end = session.run(line, &mut wire, &mut away, &stop).await;
            was_alive |= session.was_alive();
            is_refused = !session.was_alive() && (is_refused || (needs_key && session.was_introduced()));
            drop(session);
            memory.link_lost(desk.clock.since_boot());
            match end {
                End::Stopped => return,
                End::Replaced(next) => line = next,
                End::Lost(problem) => {
                    info!(front_desk = desk.config.name, %problem, "The front desk's wire is closed.");
                    last_problem = problem;
                    break;
                }
            }
        }
        if was_alive {
            away.as_mut().reset(tokio::time::Instant::now() + AWAY);
        }
    }
}
