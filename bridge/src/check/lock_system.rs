//! One lock system, and what was found out about it for all its checks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::{Context, Verdict, cloud_proxy};
use crate::app::lock_system;
use crate::clock::Clock;
use crate::config::{
    HttpAuthentication, LockSystemConfig, LockSystemKind, SaltoSpaceConfig, SecretSource, ShipTransport,
};
use crate::net::chain_text;
use crate::system::{LockSystem, OperationError, Probe};

/// One name or one address; a server on the same site answers within milliseconds or not at all.
const CONNECT: Duration = Duration::from_secs(5);

/// Every address of a host with what came of it, or why it has none.
pub(super) type Addresses = Result<Vec<(SocketAddr, Result<(), String>)>, String>;

#[derive(Debug)]
pub(super) struct System {
    pub(super) config: LockSystemConfig,
    /// Or why it cannot be set up.
    pub(super) adapter: Result<Arc<dyn LockSystem>, String>,
    addresses: OnceCell<Addresses>,
    probe: OnceCell<Option<Result<Probe, OperationError>>>,
}

/// What kind of failure an error of a lock server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection, or silence.
    Silent,
    /// It refuses our credentials.
    Login,
    /// Its licence does not cover what was asked.
    Licence,
    /// Anything else it said.
    Other,
}

/// SALTO Space's codes for "not in the licence" and "licence limit exceeded".
const LICENCE_CODES: [&str; 2] = ["13", "14"];

impl Kind {
    pub(super) fn of(error: &OperationError) -> Self {
        match error.code {
            "bridge_disconnected" => Self::Silent,
            "account_disconnected" | "acs_system_disconnected" => Self::Login,
            _ if LICENCE_CODES.contains(&error.vendor_code.as_str()) => Self::Licence,
            _ => Self::Other,
        }
    }
}

impl System {
    pub(super) fn new(config: &LockSystemConfig, clock: &Arc<dyn Clock>) -> Self {
        let adapter = lock_system(config, clock).map_err(|error| chain_text(&error));
        Self { config: config.clone(), adapter, addresses: OnceCell::new(), probe: OnceCell::new() }
    }

    /// The SALTO Space server; `None`: this lock system is reached over a byte line only.
    pub(super) fn server(&self) -> Option<&SaltoSpaceConfig> {
        match &self.config.kind {
            LockSystemKind::SaltoSpace(space) => Some(space),
            LockSystemKind::SaltoPms(_) => None,
        }
    }

    /// `host:port` of the lock server; empty and 0 where there is none.
    pub(super) fn target(&self) -> (String, u16) {
        self.server().map(|space| space.transport.host_and_port()).unwrap_or_default()
    }

    pub(super) async fn addresses(&self) -> &Addresses {
        self.addresses.get_or_init(|| self.connect_each()).await
    }

    pub(super) async fn is_reachable(&self) -> bool {
        self.addresses().await.as_ref().is_ok_and(|tried| tried.iter().any(|(_, came)| came.is_ok()))
    }

    /// The adapter's own probe; `None` when the server is not reached or a secret is hidden from this user.
    pub(super) async fn probe(&self) -> Option<&Result<Probe, OperationError>> {
        let asked = self.probe.get_or_init(|| async {
            let adapter = self.adapter.as_ref().ok()?;
            if !self.is_reachable().await || self.hidden_secret().is_some() {
                return None;
            }
            Some(adapter.probe().await)
        });
        asked.await.as_ref()
    }

    /// Why the login cannot be tried by this user, if it cannot.
    pub(super) fn hidden_secret(&self) -> Option<String> {
        let error = self.secret()?.read().err()?;
        cloud_proxy::is_hidden(&error).then(|| format!("{error}; only the daemon may read it"))
    }

    fn secret(&self) -> Option<&SecretSource> {
        match &self.server()?.transport {
            ShipTransport::Http { authentication: HttpAuthentication::Basic { password, .. }, .. } => Some(password),
            ShipTransport::Http { authentication: HttpAuthentication::Custom { key }, .. } => Some(key),
            ShipTransport::Http { authentication: HttpAuthentication::None, .. } | ShipTransport::Stp { .. } => None,
        }
    }

    async fn connect_each(&self) -> Addresses {
        let (host, port) = self.target();
        let found = timeout(CONNECT, tokio::net::lookup_host((host.as_str(), port))).await;
        let found = found.map_err(|_| format!("{host} does not resolve within {} s", CONNECT.as_secs()))?;
        let addresses: Vec<SocketAddr> = found.map_err(|error| format!("{host} does not resolve: {error}"))?.collect();
        let tries = addresses.into_iter().map(|address| async move {
            let connected = timeout(CONNECT, TcpStream::connect(address)).await;
            let problem = match connected {
                Ok(Ok(_)) => return (address, Ok(())),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", CONNECT.as_secs()),
            };
            (address, Err(problem))
        });
        Ok(join_all(tries).await)
    }
}

/// A verdict for each lock system, under its name.
pub(super) async fn each<'context, Look, Fut>(context: &'context Context, look: Look) -> Vec<Verdict>
where
    Look: Fn(&'context System) -> Fut,
    Fut: Future<Output = Verdict>,
{
    let verdicts = context.systems.iter().map(|system| {
        let verdict = system.server().is_some().then(|| look(system));
        async move {
            let verdict = match verdict {
                Some(verdict) => verdict.await,
                // It takes one user: this check would end the daemon's connection, or wait behind it.
                None => Verdict::skipped("it is reached over a byte line, which has its own checks"),
            };
            verdict.about(&system.config.name)
        }
    });
    join_all(verdicts).await
}

/// What the checks behind the probe say when there was none.
pub(super) fn not_asked(system: &System) -> Verdict {
    match system.hidden_secret() {
        Some(why) => Verdict::skipped(why),
        None => Verdict::skipped("the lock server is not reached"),
    }
}
