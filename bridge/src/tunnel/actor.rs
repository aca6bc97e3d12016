//! The dialing loop: one try after another, with the wait between them, until told to stop.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{QuarantineReason, RefuseCode};
use lockbridge_protocol::tunnel::backoff::{Backoff, Ended};
use lockbridge_protocol::tunnel::session::{BridgeEnd, BridgeSession, Welcomed};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::ReportSigner;
use super::connected::{self, Outcome};
use super::link;
use super::reason::{Verdict, of_session};
use super::site::Site;
use super::status::{LastError, TunnelStatus};
use super::transport::Transport;
use super::websocket::{self, Guard, Guarded};
use crate::clock::Clock;
use crate::dispatch::{ControlError, EngineHandle, EngineRequest, Resume};
use crate::health::{Health, Pulse, ReasonCode, Scope};

/// One try, from asking the engine to the open session (rule G2).
pub(super) const TRY: Duration = Duration::from_secs(45);
/// For the engine to hear that a session is lost; it takes a request per batch, so this is far beyond any queue.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a wait looks whether the local link is back.
const LINK_INTERVAL: Duration = Duration::from_secs(2);

/// All that the tunnel is built from.
#[derive(Debug)]
pub struct TunnelParts<T> {
    /// Makes connections.
    pub transport: T,
    /// Takes deliveries, gives reports and credit.
    pub engine: EngineHandle,
    /// Holds the audit key.
    pub signer: Arc<dyn ReportSigner>,
    /// Where the reason goes while there is no session.
    pub health: Health,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// What Hello says of this bridge.
    pub site: Site,
    /// Time of the last complete inventory scan by lock system, ms since the epoch.
    pub inventory_at: watch::Receiver<BTreeMap<String, i64>>,
    /// Cancelled when the process begins to stop: no new deliveries, and no new session.
    pub draining: CancellationToken,
    /// Cancelled when all is said: the session closes and [`Tunnel::run`] returns.
    pub stop: CancellationToken,
    /// Uniform numbers for jitter.
    pub random: fn() -> u64,
}

/// What both loops use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: EngineHandle,
    pub(super) signer: Arc<dyn ReportSigner>,
    pub(super) health: Health,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) site: Site,
    pub(super) inventory_at: watch::Receiver<BTreeMap<String, i64>>,
    pub(super) draining: CancellationToken,
    pub(super) stop: CancellationToken,
    /// Turned by both loops.
    pub(super) pulse: Pulse,
    status: watch::Sender<TunnelStatus>,
}

impl Shared {
    /// The session is open: nothing is wrong with the link any more.
    pub(super) fn session_opened(&self, welcomed: &Welcomed) {
        info!(epoch = welcomed.epoch, workspace = %welcomed.workspace_name, "Connected to the cloud.");
        self.health.replace(&Scope::Cloud, None);
        let now = self.clock.wall_ms();
        self.status.send_modify(|status| {
            status.connected = true;
            status.since_ms = now;
            status.epoch = welcomed.epoch;
            status.workspace_name.clone_from(&welcomed.workspace_name);
        });
    }

    fn ended(&self, verdict: &Verdict, wait: Duration) {
        self.health.replace(&Scope::Cloud, Some((verdict.code, verdict.message.clone())));
        let now = self.clock.wall_ms();
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        self.status.send_modify(|status| {
            if status.connected || status.since_ms == 0 {
                status.since_ms = now;
            }
            status.connected = false;
            status.next_try_ms = Some(now.saturating_add(wait_ms));
            status.last_error =
                Some(LastError { code: verdict.code.code(), message: verdict.message.clone(), at_ms: now });
        });
    }
}

/// The session actor. One task; [`run`](Self::run) it under the supervisor.
#[derive(Debug)]
pub struct Tunnel<T> {
    transport: T,
    shared: Shared,
    backoff: Backoff,
    random: fn() -> u64,
}

/// Nothing is left to connect.
struct Stop;

impl<T: Transport> Tunnel<T> {
    /// Joins the parts; nothing is dialled before [`run`](Self::run).
    pub fn new(parts: TunnelParts<T>) -> Self {
        let url = parts.transport.url();
        let port = url.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
        let hub = format!("{}{port}", url.host_str().unwrap_or_default());
        let status = watch::Sender::new(TunnelStatus { hub, ..TunnelStatus::default() });
        Self {
            transport: parts.transport,
            shared: Shared {
                pulse: parts.health.pulse("tunnel"),
                engine: parts.engine,
                signer: parts.signer,
                health: parts.health,
                clock: parts.clock,
                site: parts.site,
                inventory_at: parts.inventory_at,
                draining: parts.draining,
                stop: parts.stop,
                status,
            },
            backoff: Backoff::default(),
            random: parts.random,
        }
    }

    /// What people are shown; changes with every try.
    pub fn status(&self) -> watch::Receiver<TunnelStatus> {
        self.shared.status.subscribe()
    }

    /// Connects, and connects again, until `stop` is cancelled or the engine has stopped.
    pub async fn run(mut self) {
        let message = format!("connecting to {}", self.shared.status.borrow().hub);
        self.shared.health.replace(&Scope::Cloud, Some((ReasonCode::Connecting, message)));
        loop {
            self.shared.status.send_modify(|status| status.next_try_ms = None);
            let Ok(verdict) = self.attempt().await else { return };
            if self.shared.stop.is_cancelled() {
                return;
            }
            let wait = self.backoff.after(verdict.ended, (self.random)());
            self.shared.ended(&verdict, wait);
            // The log tells of the reason when it begins and when it is over; each try alone is no news.
            debug!(reason = verdict.code.code(), error = %verdict.message, ?wait, "No session with the cloud.");
            if self.wait(wait).await.is_err() {
                return;
            }
        }
    }

    /// One try and, if it succeeds, its session.
    async fn attempt(&mut self) -> Result<Verdict, Stop> {
        let shared = &self.shared;
        let try_by = shared.clock.since_boot().saturating_add(TRY);
        let tried = tokio::select! {
            () = shared.stop.cancelled() => return Err(Stop),
            tried = shared.pulse.during(timeout(TRY, self.reach())) => tried,
        };
        let (resume, socket) = match tried {
            Ok(Ok(reached)) => reached,
            Ok(Err(Unreached::Engine(ControlError::Stopped))) => return Err(Stop),
            Ok(Err(Unreached::Engine(error))) => return Ok(Verdict::failed(ReasonCode::Connecting, error.to_string())),
            Ok(Err(Unreached::Hub(verdict))) => return Ok(verdict),
            Err(_) => {
                let message = format!("no connection came of it within {} s", TRY.as_secs());
                return Ok(Verdict::failed(ReasonCode::HubSilent, message));
            }
        };
        let hello = shared.site.hello(&resume, shared.clock.wall_ms());
        let session = match BridgeSession::open(hello, (self.random)(), shared.clock.since_boot()) {
            Ok(session) => session,
            Err(error) => return Ok(Verdict::failed(ReasonCode::HubRefused, format!("Hello cannot be sent: {error}"))),
        };
        let Outcome { end, up, welcomed, engine_stopped } = connected::run(shared, socket, session, try_by).await;
        if let BridgeEnd::Refused { code: RefuseCode::DuplicateSession, message, .. } = &end {
            let (reason, message) = (QuarantineReason::DuplicateSession, message.clone());
            let told = timeout(ENGINE_TIMEOUT, self.shared.engine.send(EngineRequest::Suspect { reason, message }));
            if self.shared.pulse.during(told).await.is_err() {
                warn!("The engine did not hear in time that another process uses this identity.");
            }
        }
        if let Some(welcomed) = welcomed {
            self.backoff.welcomed(welcomed.reconnect_window_s);
            let lost = timeout(ENGINE_TIMEOUT, self.shared.engine.send(EngineRequest::SessionLost));
            if self.shared.pulse.during(lost).await.is_err() {
                warn!("The engine did not hear in time that the session is lost.");
            }
        }
        if engine_stopped { Err(Stop) } else { Ok(of_session(&end, up)) }
    }

    async fn reach(&self) -> Result<(Resume, Socket<T::Stream>), Unreached> {
        let resume = self.shared.engine.ask(EngineRequest::Resume).await.map_err(Unreached::Engine)?;
        let stream = self.transport.connect().await.map_err(|error| Unreached::Hub(error.into()))?;
        let clock = Arc::clone(&self.shared.clock);
        let socket = websocket::upgrade(self.transport.url(), stream, clock)
            .await
            .map_err(|error| Unreached::Hub(error.into()))?;
        Ok((resume, socket))
    }

    /// Waits, less when the local link was down and comes back. A bridge that drains makes no new session.
    async fn wait(&mut self, wait: Duration) -> Result<(), Stop> {
        let clock = Arc::clone(&self.shared.clock);
        let mut until = clock.since_boot().saturating_add(wait);
        let mut was_down = !link::is_up();
        loop {
            self.shared.pulse.turn();
            let now = clock.since_boot();
            if now >= until && !self.shared.draining.is_cancelled() {
                return Ok(());
            }
            let step = if self.shared.draining.is_cancelled() {
                LINK_INTERVAL
            } else {
                until.saturating_sub(now).min(LINK_INTERVAL)
            };
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(Stop),
                () = sleep(step) => {}
            }
            let down = !link::is_up();
            if was_down && !down {
                let soon = self.backoff.after(Ended::LinkRestored, (self.random)());
                until = until.min(clock.since_boot().saturating_add(soon));
            }
            was_down = down;
        }
    }
}

type Socket<S> = (tokio_tungstenite::WebSocketStream<Guarded<S>>, Arc<Guard>);

enum Unreached {
    Engine(ControlError),
    Hub(Verdict),
}
