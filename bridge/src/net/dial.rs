//! The one dialer: name, TCP, proxy, TLS, in this order, each with its own limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::certificate::CertificateFault;
use super::connection::Connection;
use super::error::DialError;
use super::proxy::{self, Credentials};
use super::tcp::{self, Resolve, SystemResolver};
use crate::config::ProxyConfig;

/// From the first byte of the handshake to its end (rule G2).
pub(super) const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// The first machine on the way to the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstHop {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// It is the configured proxy, not the cloud.
    pub is_proxy: bool,
}

/// Makes connections to the cloud. Cheap to clone; holds no connection and no secret.
#[derive(Debug, Clone)]
pub struct Dialer {
    proxy: Option<Arc<ProxyConfig>>,
    resolver: Arc<dyn Resolve>,
}

impl Dialer {
    /// A dialer that goes through `proxy` when there is one, except to loopback.
    pub fn new(proxy: Option<ProxyConfig>) -> Self {
        Self { proxy: proxy.map(Arc::new), resolver: Arc::new(SystemResolver) }
    }

    /// Who is spoken to first on the way to `url`: the proxy, or the host itself.
    pub fn first_hop(&self, url: &Url) -> Option<FirstHop> {
        let host = url.host()?;
        if let Some(proxy) = self.proxy.as_deref().filter(|_| !is_loopback(&host)) {
            return Some(FirstHop { host: proxy.host.clone(), port: proxy.port, is_proxy: true });
        }
        // A URL writes an IPv6 address in brackets, a resolver wants it without.
        let host = host.to_string().trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(FirstHop { host, port: url.port_or_known_default()?, is_proxy: false })
    }

    /// The addresses of the first hop, in the order in which [`connect`](Self::connect) tries them. At most 5 s.
    pub async fn resolve(&self, hop: &FirstHop) -> Result<Vec<SocketAddr>, DialError> {
        let addresses = tcp::resolve(self.resolver.as_ref(), &hop.host, hop.port).await?;
        Ok(tcp::interleave(addresses).into())
    }

    /// Connects to every address by itself and hangs up; how long it took, or why not. At most 5 s.
    pub async fn try_each(&self, addresses: &[SocketAddr]) -> Vec<(SocketAddr, io::Result<Duration>)> {
        let tries = addresses.iter().map(|address| async {
            let begun = Instant::now();
            let connected = timeout(tcp::ADDRESS_TIMEOUT, TcpStream::connect(*address)).await;
            let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            (*address, connected.map(|_| begun.elapsed()))
        });
        futures_util::future::join_all(tries).await
    }

    #[cfg(test)]
    pub(super) fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Connects to host and port of `url` (`https` or `wss`) with TLS as `tls` says. Ends within 32 s: 5 s for the name,
    /// 7 s for its addresses, 10 s for the proxy, 10 s for TLS.
    pub async fn connect(&self, url: &Url, tls: Arc<ClientConfig>) -> Result<Connection, DialError> {
        let unusable = |problem| DialError::Address { url: url.to_string(), problem };
        if !matches!(url.scheme(), "https" | "wss") {
            return Err(unusable("only https and wss are dialled"));
        }
        let host = url.host().ok_or_else(|| unusable("it names no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| unusable("it names no port"))?;
        let (name, server_name) = match &host {
            Host::Domain(domain) => {
                let server_name =
                    ServerName::try_from((*domain).to_owned()).map_err(|_| unusable("its host is not a valid name"))?;
                ((*domain).to_owned(), server_name)
            }
            Host::Ipv4(address) => (address.to_string(), ServerName::from(std::net::IpAddr::V4(*address))),
            Host::Ipv6(address) => (address.to_string(), ServerName::from(std::net::IpAddr::V6(*address))),
        };
        let stream = match self.proxy.as_deref().filter(|_| !is_loopback(&host)) {
            None => tcp::connect(self.resolver.as_ref(), &name, port).await?,
            Some(proxy) => self.through(proxy, &format!("{host}:{port}")).await?,
        };
        match timeout(TLS_TIMEOUT, TlsConnector::from(tls).connect(server_name, stream)).await {
            Ok(Ok(stream)) => Ok(Connection::new(stream)),
            Ok(Err(source)) => Err(match CertificateFault::of(&source) {
                Some(fault) => DialError::Certificate { host: name, source: fault },
                None => DialError::Tls { host: name, source },
            }),
            Err(_) => Err(DialError::TlsTimeout { host: name, seconds: TLS_TIMEOUT.as_secs() }),
        }
    }

    async fn through(&self, config: &ProxyConfig, target: &str) -> Result<TcpStream, DialError> {
        let credentials = match &config.user {
            None => None,
            Some(user) => {
                let password = match &config.password {
                    Some(source) => source.read().map_err(DialError::ProxyPassword)?,
                    None => String::new().into(),
                };
                Some(Credentials { user: user.clone(), password })
            }
        };
        let mut stream = tcp::connect(self.resolver.as_ref(), &config.host, config.port)
            .await
            .map_err(|error| DialError::ProxyUnreachable(Box::new(error)))?;
        proxy::open(&mut stream, target, credentials.as_ref()).await.map_err(|source| DialError::Proxy {
            proxy: format!("{}:{}", config.host, config.port),
            target: target.to_owned(),
            source,
        })?;
        Ok(stream)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(domain) => *domain == "localhost" || domain.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
