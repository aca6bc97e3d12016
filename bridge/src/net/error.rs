//! Why a connection could not be made, step by step, and which health reason that is (rules G2, L3).

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use super::certificate::CertificateFault;
use super::proxy::ProxyError;
use crate::config::SecretError;
use crate::health::ReasonCode;

/// A step of [`Dialer::connect`](super::Dialer::connect) failed.
#[derive(Debug, Error)]
pub enum DialError {
    /// The URL is not one that can be dialled.
    #[error("{url} cannot be dialled: {problem}")]
    Address {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The resolver refused.
    #[error("the name {host} does not resolve")]
    Dns {
        /// The name asked for.
        host: String,
        /// The resolver's answer.
        #[source]
        source: io::Error,
    },
    /// The resolver said nothing in time.
    #[error("the name {host} did not resolve within {seconds} s")]
    DnsTimeout {
        /// The name asked for.
        host: String,
        /// The limit.
        seconds: u64,
    },
    /// No address of the name could be reached.
    #[error("no connection to {host} port {port}: {}", attempts_text(attempts))]
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Each address tried, with what came of it.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    /// The proxy could not be reached.
    #[error("the proxy cannot be reached")]
    ProxyUnreachable(#[source] Box<Self>),
    /// The password for the proxy could not be read.
    #[error("the proxy password cannot be read")]
    ProxyPassword(#[source] SecretError),
    /// The proxy was reached and did not open the way.
    #[error("the proxy {proxy} did not connect to {target}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// Host and port asked for.
        target: String,
        /// What it did instead.
        #[source]
        source: ProxyError,
    },
    /// The handshake took too long.
    #[error("{host} did not finish the TLS handshake within {seconds} s")]
    TlsTimeout {
        /// Host of the URL.
        host: String,
        /// The limit.
        seconds: u64,
    },
    /// The certificate shown by the other side is refused.
    #[error("the certificate shown for {host} is refused")]
    Certificate {
        /// Host of the URL.
        host: String,
        /// Why.
        #[source]
        source: CertificateFault,
    },
    /// Any other failure of the handshake, such as an old TLS version or a reset.
    #[error("the TLS handshake with {host} failed")]
    Tls {
        /// Host of the URL.
        host: String,
        /// The alert, protocol error or I/O error.
        #[source]
        source: io::Error,
    },
}

impl DialError {
    /// The health reason of this failure, and a message with the whole chain of causes.
    pub fn reason(&self) -> (ReasonCode, String) {
        let code = match self {
            Self::Address { .. } | Self::Tcp { .. } => ReasonCode::Internet,
            Self::Dns { .. } | Self::DnsTimeout { .. } => ReasonCode::Dns,
            Self::ProxyUnreachable(_) | Self::ProxyPassword(_) | Self::Proxy { .. } => ReasonCode::Proxy,
            Self::Certificate { source, .. } => match source {
                CertificateFault::Foreign { .. } => ReasonCode::TlsIntercepted,
                CertificateFault::NotYetValid { .. } | CertificateFault::Expired { .. } => ReasonCode::Clock,
                CertificateFault::WrongName { .. } | CertificateFault::Invalid { .. } => ReasonCode::Tls,
            },
            Self::TlsTimeout { .. } | Self::Tls { .. } => ReasonCode::Tls,
        };
        (code, chain_text(self))
    }
}

/// An error and its sources in one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        // I/O errors repeat the text of what they wrap.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

fn attempts_text(attempts: &[(SocketAddr, io::Error)]) -> String {
    let parts: Vec<String> = attempts.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    parts.join("; ")
}
