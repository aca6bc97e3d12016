//! Where the bytes of a session come from: TLS to the hub as this bridge in production, a plain stream in tests.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::health::ReasonCode;

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
