//! The actor against a hub: over loopback TCP for what crosses, over memory with paused time for what waits.

mod crossing;
mod engine;
mod hub;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockbridge_protocol::proto::tunnel::Signed;
use lockbridge_protocol::signed::report::SigningFailed;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{ConnectError, ReportSigner, Site, Transport, Tunnel, TunnelParts, TunnelStatus};
use crate::clock::Clock;
use crate::health::{Health, ReasonCode, Scope};
use engine::Engine;

const WALL_MS: i64 = 1_790_000_000_000;

/// Runs with tokio's time, paused or not; the wall stands still.
#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(WALL_MS).unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1000) + self.0.elapsed()
    }
}

#[derive(Debug)]
struct Unsigned;

impl ReportSigner for Unsigned {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        Ok(Signed { payload_type: "r".into(), payload: report, signatures: Vec::new() })
    }
}

/// Plain TCP to a listener of the test.
struct Tcp(Url);

impl Transport for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> Result<TcpStream, ConnectError> {
        let address = self.0.socket_addrs(|| None).unwrap();
        TcpStream::connect(&*address)
            .await
            .map_err(|error| ConnectError { code: ReasonCode::Internet, message: error.to_string() })
    }

    fn url(&self) -> &Url {
        &self.0
    }
}

/// Hands the other end of each connection to the test.
struct Memory {
    url: Url,
    ends: mpsc::Sender<DuplexStream>,
}

impl Transport for Memory {
    type Stream = DuplexStream;

    async fn connect(&self) -> Result<DuplexStream, ConnectError> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        self.ends.send(far).await.map_err(|_| ConnectError { code: ReasonCode::Dns, message: "no hub".into() })?;
        Ok(near)
    }

    fn url(&self) -> &Url {
        &self.url
    }
}

/// A tunnel that runs.
struct Running {
    engine: Engine,
    health: Health,
    status: watch::Receiver<TunnelStatus>,
    draining: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start<T: Transport>(transport: T, random: fn() -> u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now()));
        let health = Health::new(Arc::clone(&clock));
        let engine = Engine::start();
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let tunnel = Tunnel::new(TunnelParts {
            transport,
            engine: engine.handle.clone(),
            signer: Arc::new(Unsigned),
            health: health.clone(),
            clock,
            site: Site {
                bridge_id: "bridge-1".into(),
                software_version: "0.1.0".into(),
                lock_systems: Vec::new(),
                boot_nonce: [9; 16],
            },
            inventory_at: watch::Sender::new(BTreeMap::new()).subscribe(),
            draining: draining.clone(),
            stop: stop.clone(),
            random,
        });
        let status = tunnel.status();
        let task = tokio::spawn(tunnel.run());
        Self { engine, health, status, draining, stop, task }
    }

    async fn connected(&mut self, connected: bool) -> TunnelStatus {
        let waiting =
            self.status.wait_for(|status| status.connected == connected && (connected || status.next_try_ms.is_some()));
        tokio::time::timeout(Duration::from_secs(3600), waiting).await.expect("in time").expect("it runs").clone()
    }

    fn cloud_reason(&self) -> Option<(ReasonCode, String)> {
        let reasons = self.health.reasons();
        reasons.into_iter().find(|reason| reason.scope == Scope::Cloud).map(|reason| (reason.code, reason.message))
    }
}

/// Waits until `condition` holds; fails after 20 s.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
