//! A line for one look.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use crate::link::{Endpoint, Limits, Line, LineError, Opener, Statistics};

/// Strangers that are named; there may be a whole network of them.
const NAMED: usize = 4;

/// There is no line.
#[derive(Debug)]
pub(in crate::check) enum NotOpen {
    /// It cannot be opened.
    Line(LineError),
    /// We listened and nobody came who may.
    Nobody {
        /// Our address.
        address: SocketAddr,
        /// How long.
        wait: Duration,
        /// Who else came.
        strangers: Vec<IpAddr>,
    },
}

/// Opens the line; a listener waits for its peer until `wait` is over.
pub(super) async fn open(name: &str, endpoint: &Endpoint, limits: Limits, wait: Duration) -> Result<Line, NotOpen> {
    let statistics = Statistics::new(name);
    let Endpoint::Listen { address, allow } = endpoint else {
        let mut opener = Opener::new(endpoint.clone(), limits, statistics);
        return opener.open().await.map_err(NotOpen::Line);
    };
    let fault = |source| NotOpen::Line(LineError::Listen { address: *address, source });
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let end = Instant::now() + wait;
    let mut strangers = Vec::new();
    while let Ok(accepted) = timeout_at(end, listener.accept()).await {
        let (stream, peer) = accepted.map_err(fault)?;
        let peer_address = peer.ip().to_canonical();
        if allow.contains(&peer_address) {
            return Ok(Line::over(stream, peer.to_string(), limits, statistics));
        }
        if strangers.len() < NAMED && !strangers.contains(&peer_address) {
            strangers.push(peer_address);
        }
    }
    Err(NotOpen::Nobody { address: *address, wait, strangers })
}
