//! From a name to a TCP connection: resolve each time, try every address, let neither address family hold up the other.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::error::DialError;

/// Limit of one name look-up (rule G2).
pub(super) const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of one address (rule G2).
pub(super) const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Head start of one address before the next one is tried beside it (rule G2).
pub(super) const STAGGER: Duration = Duration::from_millis(250);
/// Addresses tried of one answer: with [`STAGGER`], the last one ends before 7 s.
const ADDRESSES: usize = 8;
/// Unacknowledged bytes older than this end the connection (rule G3).
const USER_TIMEOUT_MS: u32 = 30_000;
/// Idle time before the kernel probes the peer; the tunnel's own pings are the first line (rule G3).
const KEEPALIVE_SECONDS: u32 = 20;

type ResolveFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// How names become addresses; tests bring their own answers.
pub(super) trait Resolve: fmt::Debug + Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> ResolveFuture<'a>;
}

/// The machine's resolver, asked anew each time, because hub addresses move.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> ResolveFuture<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Connects to a machine by name or address with the machine's resolver. Ends within 12 s.
pub async fn connect_to(host: &str, port: u16) -> Result<TcpStream, DialError> {
    connect(&SystemResolver, host, port).await
}

/// Resolves `host` and connects to the first of its addresses that answers.
pub(super) async fn connect(resolver: &dyn Resolve, host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = resolve(resolver, host, port).await?;
    let stream = race(interleave(addresses), TcpStream::connect).await.map_err(|attempts| DialError::Tcp {
        host: host.to_owned(),
        port,
        attempts,
    })?;
    set_options(&stream).map_err(|error| {
        let peer = stream.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], port)));
        DialError::Tcp { host: host.to_owned(), port, attempts: vec![(peer, error)] }
    })?;
    Ok(stream)
}

/// Resolves `host`; at least one address.
pub(super) async fn resolve(resolver: &dyn Resolve, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    match timeout(DNS_TIMEOUT, resolver.resolve(host, port)).await {
        Err(_) => Err(DialError::DnsTimeout { host: host.to_owned(), seconds: DNS_TIMEOUT.as_secs() }),
        Ok(Err(source)) => Err(DialError::Dns { host: host.to_owned(), source }),
        Ok(Ok(addresses)) if addresses.is_empty() => {
            let source = io::Error::new(io::ErrorKind::NotFound, "the resolver knows no address");
            Err(DialError::Dns { host: host.to_owned(), source })
        }
        Ok(Ok(addresses)) => Ok(addresses),
    }
}

/// Alternates the families, the resolver's first choice first, each family in the resolver's order.
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let mut ordered = VecDeque::new();
    while ordered.len() < ADDRESSES && !(first.is_empty() && second.is_empty()) {
        ordered.extend(first.pop_front());
        ordered.extend(second.pop_front());
    }
    ordered.truncate(ADDRESSES);
    ordered
}

/// Tries the addresses in order, the next one [`STAGGER`] after the one before or as soon as one has failed.
pub(super) async fn race<Attempt, Fut, Stream>(
    mut waiting: VecDeque<SocketAddr>,
    attempt: Attempt,
) -> Result<Stream, Vec<(SocketAddr, io::Error)>>
where
    Attempt: Fn(SocketAddr) -> Fut,
    Fut: Future<Output = io::Result<Stream>>,
{
    let mut failed = Vec::new();
    let mut running = FuturesUnordered::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            let connecting = timeout(ADDRESS_TIMEOUT, attempt(address));
            running.push(async move {
                let outcome = connecting.await.unwrap_or_else(|_| {
                    let text = format!("no answer within {} s", ADDRESS_TIMEOUT.as_secs());
                    Err(io::Error::new(io::ErrorKind::TimedOut, text))
                });
                (address, outcome)
            });
        }
        tokio::select! {
            ended = running.next() => match ended {
                Some((_, Ok(stream))) => return Ok(stream),
                Some((address, Err(error))) => failed.push((address, error)),
                None => return Err(failed),
            },
            () = sleep(STAGGER), if !waiting.is_empty() => {}
        }
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &USER_TIMEOUT_MS)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_SECONDS)?;
    Ok(())
}
