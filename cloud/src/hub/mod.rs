//! Who routes: the bridges' sessions, and the signed values that move over them.
//!
//! Owns the listener of `/v1/tunnel`, `/v1/enroll` and `/v1/renew`, the sessions, and their cursors in the database.
//! Promises: one session per bridge with an epoch that only rises; a command keeps its delivery number for ever; a report
//! is acknowledged only when it and its consequences are committed; a storm of bridges is turned away before it costs a
//! query (rule G6). Never: makes a command or a report, and so holds no key that could.
//!
//! ```text
//!  listener ─ TLS ─► routes ─ upgrade ─► session (one task a bridge) ◄──► records (transactions)
//!                      │                    ▲ wake, challenge, drain, cut
//!                      └─► enroll           registry ◄── API after its commit, sweeper, shutdown
//! ```

mod admission;
mod ingest;
mod records;
mod registry;
mod routes;
mod session;
mod sweep;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::tunnel::session::HubSettings;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admission::AdmissionSettings;
pub use ingest::Ingest;

use crate::authority::Authority;
use crate::enroll::Enroller;
use crate::net::{self, Limits, TlsConnection};
use crate::store::{Store, StoreError};

/// TLS handshakes at once: a handshake is a millisecond of work, and a slow one holds its place for up to 10 s.
const HANDSHAKES: usize = 64;
/// Bridges, and whoever else connects, at once: at some 30 KB for an idle one, 300 MB.
const CONNECTIONS: usize = 10_000;
/// After the drain is spread out: close handshakes and last acknowledgements.
const DRAIN_REST: Duration = Duration::from_secs(10);
/// Spread of the first reconnect (rule G4): bounds of `1.5 x fleet / capacity`.
const RECONNECT_WINDOW_S: std::ops::RangeInclusive<u32> = 2..=300;

/// What the hub works with.
#[derive(Debug)]
pub struct HubParts {
    /// Where everything is kept.
    pub store: Store,
    /// Counter-signs audit checkpoints; the hub itself cannot.
    pub authority: Authority,
    /// The resource model.
    pub ingest: Arc<dyn Ingest>,
    /// Answers enrollment and renewal.
    pub enroller: Enroller,
    /// How many new sessions are let in.
    pub admission: AdmissionSettings,
    /// Longest spread of the closes at shutdown (rule G7).
    pub drain_window: Duration,
}

/// The hub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: HubParts,
    registry: registry::Registry,
    admission: admission::Admission,
    started: Instant,
}

impl Hub {
    /// Makes the hub, and notes that no bridge is connected yet: an earlier run may have ended without saying so.
    pub async fn start(parts: HubParts) -> Result<Self, StoreError> {
        records::all_down(&parts.store, &parts.ingest).await?;
        let admission = admission::Admission::new(parts.admission);
        Ok(Self(Arc::new(Shared {
            parts,
            registry: registry::Registry::default(),
            admission,
            started: Instant::now(),
        })))
    }

    /// Says that commands for this bridge were committed. Never waits; a bridge that is away finds them when it is back.
    pub fn wake(&self, bridge_id: &str) {
        self.0.registry.wake(bridge_id);
    }

    /// Whether the bridge has a session right now.
    pub fn is_connected(&self, bridge_id: &str) -> bool {
        self.0.registry.is_live(bridge_id)
    }

    /// Serves bridges until `stop`, then drains: no new connections, every session is told to come back later, and all
    /// are gone when this returns.
    pub async fn serve(&self, listener: TcpListener, tls: Arc<ServerConfig>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let hub = self.clone();
        let serve = move |connection: TlsConnection, address: SocketAddr| {
            let hub = hub.clone();
            async move { routes::serve(hub, connection, address).await }
        };
        let limits = Limits { handshakes: HANDSHAKES, connections: CONNECTIONS };
        let accepting = net::accept(listener, tls, limits, tasks.clone(), stop.clone(), serve);
        tokio::join!(accepting, sweep::decisions(self.clone(), stop.clone()), sweep::retention(self.clone(), stop));
        tasks.close();
        self.drain(&tasks).await;
    }

    async fn drain(&self, tasks: &TaskTracker) {
        let live = self.0.registry.live();
        let count = u32::try_from(live.len()).unwrap_or(u32::MAX).max(1);
        tracing::info!(sessions = live.len(), "Draining.");
        // Spread, so that a fleet does not come back as one; a single bridge is told at once.
        let step = self.0.parts.drain_window / count;
        let come_back = self.reconnect_window().max(5);
        for session in live {
            session.drain(come_back / 2, come_back);
            if tokio::time::timeout(step, tasks.wait()).await.is_ok() {
                break;
            }
        }
        if tokio::time::timeout(DRAIN_REST, tasks.wait()).await.is_err() {
            for session in self.0.registry.live() {
                session.cut();
            }
            if tokio::time::timeout(DRAIN_REST, tasks.wait()).await.is_err() {
                tracing::warn!(connections = tasks.len(), "Connections did not end in time; they are dropped.");
            }
        }
    }

    fn settings(&self) -> HubSettings {
        HubSettings { reconnect_window_s: self.reconnect_window(), ..HubSettings::default() }
    }

    fn reconnect_window(&self) -> u32 {
        let fleet = u64::try_from(self.0.registry.count()).unwrap_or(u64::MAX);
        let capacity = u64::from(self.0.parts.admission.sessions_per_second.max(1));
        let window = fleet.saturating_mul(3).div_ceil(capacity.saturating_mul(2));
        u32::try_from(window).unwrap_or(u32::MAX).clamp(*RECONNECT_WINDOW_S.start(), *RECONNECT_WINDOW_S.end())
    }

    /// Time that never jumps, as the session machines count it.
    fn now(&self) -> Duration {
        self.0.started.elapsed()
    }
}
