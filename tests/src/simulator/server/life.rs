//! One life of the server after the other: listen, serve, be restarted, listen again on the same ports.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Simulator, control, http, socket, tls};

/// A peer that does not take an answer, or does not finish its header, for this long is dropped.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// How long ended connections may take to finish what they do, and a port to become free again.
const SETTLE: Duration = Duration::from_secs(5);
/// Connections at a time on one port; further ones wait in the queue of the system.
const MOST_CONNECTIONS: usize = 64;

/// Why the server cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("listening on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("preparing HTTPS: {0}")]
    Tls(String),
    #[error("writing to the data directory failed")]
    Disk,
}

/// Where to listen, or where it listens.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Addresses {
    /// SHIP over TCP.
    pub stp: SocketAddr,
    /// SHIP over HTTP.
    pub http: SocketAddr,
    /// SHIP over HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
    /// The control interface.
    pub control: SocketAddr,
}

/// A server whose ports are open.
pub struct Bound {
    /// The ports that were given out.
    pub addresses: Addresses,
    acceptor: Option<TlsAcceptor>,
    listeners: Listeners,
    control: TcpListener,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Bound").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

struct Listeners {
    stp: TcpListener,
    http: TcpListener,
    https: Option<TcpListener>,
}

/// Opens the ports; a port of 0 is chosen by the system.
pub async fn bind(mut addresses: Addresses, directory: &Path) -> Result<Bound, RunError> {
    let acceptor = addresses.https.map(|_| tls::acceptor(directory)).transpose()?;
    let listeners = listen(&addresses).await?;
    let control = listen_on(addresses.control).await?;
    let local =
        |listener: &TcpListener, address| listener.local_addr().map_err(|source| RunError::Listen { address, source });
    addresses.stp = local(&listeners.stp, addresses.stp)?;
    addresses.http = local(&listeners.http, addresses.http)?;
    if let (Some(listener), Some(address)) = (&listeners.https, addresses.https) {
        addresses.https = Some(local(listener, address)?);
    }
    addresses.control = local(&control, addresses.control)?;
    Ok(Bound { addresses, acceptor, listeners, control })
}

async fn listen_on(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

async fn listen(addresses: &Addresses) -> Result<Listeners, RunError> {
    let https = match addresses.https {
        Some(address) => Some(listen_on(address).await?),
        None => None,
    };
    Ok(Listeners { stp: listen_on(addresses.stp).await?, http: listen_on(addresses.http).await?, https })
}

impl Bound {
    /// Serves until [`Simulator::shutdown`].
    pub async fn run(self, simulator: Arc<Simulator>) -> Result<(), RunError> {
        let Self { addresses, acceptor, listeners, control } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(control::serve(control, Arc::clone(&simulator), addresses));
        tasks.spawn(simulator.stream.clone().run(simulator.shutdown.clone()));
        let mut restart = simulator.restart.subscribe();
        let mut listeners = Some(listeners);
        while !simulator.shutdown.is_cancelled() {
            let listeners = match listeners.take() {
                Some(listeners) => listeners,
                None => listen_again(&addresses).await?,
            };
            let life = simulator.shutdown.child_token();
            let mut servers = serve_all(listeners, acceptor.clone(), &simulator, &life);
            let away = tokio::select! {
                biased;
                () = simulator.shutdown.cancelled() => None,
                _ = restart.changed() => *restart.borrow_and_update(),
            };
            life.cancel();
            let settled = timeout(SETTLE, async { while servers.join_next().await.is_some() {} }).await;
            if settled.is_err() {
                tracing::warn!("connections were still busy when the server stopped");
            }
            servers.shutdown().await;
            if let Some(away) = away {
                tracing::info!(?away, "the server is away");
                simulator.shutdown.run_until_cancelled(sleep(away)).await;
            }
        }
        if timeout(SETTLE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("the control interface was still busy at the end");
        }
        if simulator.failed() { Err(RunError::Disk) } else { Ok(()) }
    }
}

async fn listen_again(addresses: &Addresses) -> Result<Listeners, RunError> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match listen(addresses).await {
            Ok(listeners) => return Ok(listeners),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

fn serve_all(
    listeners: Listeners,
    acceptor: Option<TlsAcceptor>,
    simulator: &Arc<Simulator>,
    life: &CancellationToken,
) -> JoinSet<()> {
    let mut servers = JoinSet::new();
    servers.spawn(accept(listeners.stp, Arc::clone(simulator), life.clone(), Transport::Stp));
    servers.spawn(accept(listeners.http, Arc::clone(simulator), life.clone(), Transport::Http));
    if let (Some(listener), Some(acceptor)) = (listeners.https, acceptor) {
        servers.spawn(accept(listener, Arc::clone(simulator), life.clone(), Transport::Https(acceptor)));
    }
    servers
}

#[derive(Clone)]
enum Transport {
    Stp,
    Http,
    Https(TlsAcceptor),
}

async fn accept(listener: TcpListener, simulator: Arc<Simulator>, life: CancellationToken, transport: Transport) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        let stream = match life.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, peer))) => {
                let allow = &simulator.settings.allow;
                if !allow.is_empty() && !allow.contains(&peer.ip()) {
                    tracing::info!(%peer, "refused by the list of allowed clients");
                    continue;
                }
                stream
            }
            Some(Err(error)) => {
                // Out of descriptors, mostly: give the connections that are there time to end.
                tracing::warn!(%error, "accepting a connection");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        connections.spawn(serve_one(stream, Arc::clone(&simulator), life.clone(), transport.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_one(stream: TcpStream, simulator: Arc<Simulator>, life: CancellationToken, transport: Transport) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "setting TCP_NODELAY");
    }
    match transport {
        Transport::Stp => socket::serve(&simulator, stream, &life).await,
        Transport::Http => http::serve(simulator, stream, &life).await,
        Transport::Https(acceptor) => {
            match timeout_at(Instant::now() + WRITE_DEADLINE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => http::serve(simulator, stream, &life).await,
                Ok(Err(error)) => tracing::debug!(%error, "the TLS handshake failed"),
                Err(_) => tracing::debug!("the TLS handshake took too long"),
            }
        }
    }
}
