//! A daemon that cannot work yet: it serves health and the control socket while it waits for what it lacks.
//!
//! * [`identity`]: nobody gave it a token. [`space`]: the disk has no room for the first journal entry of this start.
//!
//! Promises: whoever asks is told what is missing and what to do; the supervisor sees a living process, not one that ends
//! and is started again. Never: talks to a lock system.

mod identity;
mod space;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::AppError;
use super::doors::Doors;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{self, Desk};
use crate::health::{self, BridgeStatus, Health, Lines, Observer, Sources};
use crate::history::History;
use crate::seal::Sealer;
use crate::supervise::{self, Notifier};
use crate::tunnel::TunnelStatus;

/// What waiting needs of the rest of the daemon.
pub(super) struct Waiting<'daemon> {
    pub(super) config: &'daemon Config,
    pub(super) sealer: &'daemon Sealer,
    pub(super) notifier: &'daemon Notifier,
    pub(super) health: &'daemon Health,
    pub(super) clock: &'daemon Arc<dyn Clock>,
    pub(super) started_ms: i64,
}

impl Waiting<'_> {
    /// What there is to see of a daemon without journal, link and lock systems.
    fn observer(&self) -> Observer {
        let bridge =
            BridgeStatus { version: env!("CARGO_PKG_VERSION"), started_ms: self.started_ms, ..BridgeStatus::default() };
        let (_, link) = watch::channel(TunnelStatus::default());
        Observer::new(Sources {
            clock: Arc::clone(self.clock),
            health: self.health.clone(),
            link,
            bridge,
            systems: Vec::new(),
            lines: Lines::default(),
            history: History::default(),
            working: None,
        })
    }

    /// Serves the doors until `awaited` is ready.
    async fn serve<T>(
        &self,
        doors: &Doors,
        observer: Observer,
        desk: impl Desk,
        awaited: impl Future<Output = T>,
    ) -> Result<T, AppError> {
        let stop = CancellationToken::new();
        let (listener, seen, ended) = (doors.health()?, observer.clone(), stop.clone());
        let server = std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || health::server::serve(listener, seen, &ended))
            .map_err(AppError::Runtime)?;
        let control = tokio::spawn(control::serve(Arc::clone(&doors.control), desk, self.health.clone(), stop.clone()));
        let (health, notifier) = (self.health.clone(), self.notifier.clone());
        let feeding = tokio::spawn(supervise::feed(notifier.clone(), health, stop.clone()));
        let following = tokio::spawn(supervise::follow(notifier, observer, stop.clone()));
        info!(health_address = %doors.health_address, "The bridge waits.");

        let came = awaited.await;
        stop.cancel();
        let (control, feeding, following) = tokio::join!(control, feeding, following);
        if control.and(feeding).and(following).is_err() || server.join().is_err() {
            warn!("A local task of the waiting daemon panicked.");
        }
        Ok(came)
    }
}
