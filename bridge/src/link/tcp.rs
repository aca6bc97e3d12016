//! Lines over the network: we connect, or we wait to be connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

use super::error::LineError;
use super::statistics::Statistics;
use super::tls;
use crate::config::TlsTrust;
use crate::net::{self, DialError};

/// Idle time before the kernel asks whether a peer that connected to us is still there.
const KEEPALIVE_SECONDS: u32 = 20;
/// Unacknowledged bytes older than this end the connection.
const USER_TIMEOUT_MS: u32 = 30_000;
/// A listener that is out of descriptors tries again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, LineError> {
    net::connect(host, port).await.map_err(|source| {
        let place = format!("{host} port {port}");
        match &source {
            DialError::Tcp { attempts, .. }
                if attempts.iter().all(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) =>
            {
                LineError::Refused { place }
            }
            _ => LineError::Unreachable { place, source },
        }
    })
}

pub(super) async fn dial_tls(host: &str, port: u16, trust: &TlsTrust) -> Result<TlsStream<TcpStream>, LineError> {
    let fault = |problem: String| LineError::Tls { place: format!("{host} port {port}"), problem };
    let client = tls::client(trust, &[]).map_err(fault)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| fault(error.to_string()))?;
    let stream = dial(host, port).await?;
    TlsConnector::from(client).connect(name, stream).await.map_err(|error| fault(error.to_string()))
}

/// The next connection of somebody on the list.
pub(super) async fn accept(
    listener: &TcpListener,
    address: SocketAddr,
    allow: &[IpAddr],
    statistics: &Statistics,
) -> Result<(TcpStream, SocketAddr), LineError> {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(source) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return Err(LineError::Listen { address, source });
            }
        };
        // An IPv4 peer shows as a mapped address on a socket of both families.
        if !allow.contains(&peer.ip().to_canonical()) {
            statistics.stranger(peer.ip().to_canonical());
            warn!(%peer, %address, "A connection of somebody who is not on the list was cut off.");
            continue;
        }
        match set_options(&stream) {
            Ok(()) => return Ok((stream, peer)),
            Err(error) => warn!(%peer, %error, "A connection ended before it began."),
        }
    }
}

/// The peer went before we looked; the listener itself is well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &USER_TIMEOUT_MS)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &(KEEPALIVE_SECONDS / 4))?;
    Ok(())
}
