//! Where the bytes of a session come from: TLS to the hub in production, a plain stream in tests.

use std::future::Future;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use url::Url;

use crate::health::ReasonCode;
use crate::net::{Connection, Dialer};

/// No connection, with the reason for health.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// Which hop failed.
    pub code: ReasonCode,
    /// This case, for people.
    pub message: String,
}

/// Makes one connection at a time. Every step inside has its own deadline.
pub trait Transport: Send + Sync + 'static {
    /// A connection, ready for the websocket upgrade.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects once; no retries.
    fn connect(&self) -> impl Future<Output = Result<Self::Stream, ConnectError>> + Send;

    /// What is connected to: scheme, host and path go into the upgrade request.
    fn url(&self) -> &Url;
}

/// TLS through [`Dialer`]. The client configuration is watched, so that a renewed certificate serves the next session.
#[derive(Debug)]
pub struct TlsTransport {
    dialer: Dialer,
    url: Url,
    tls: watch::Receiver<Arc<ClientConfig>>,
}

impl TlsTransport {
    /// Connects to `url` (`wss://host:port/v1/tunnel`) with the configuration `tls` holds at that time.
    pub fn new(dialer: Dialer, url: Url, tls: watch::Receiver<Arc<ClientConfig>>) -> Self {
        Self { dialer, url, tls }
    }
}

impl Transport for TlsTransport {
    type Stream = Connection;

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let tls = Arc::clone(&self.tls.borrow());
        self.dialer.connect(&self.url, tls).await.map_err(|error| {
            let (code, message) = error.reason();
            ConnectError { code, message }
        })
    }

    fn url(&self) -> &Url {
        &self.url
    }
}
