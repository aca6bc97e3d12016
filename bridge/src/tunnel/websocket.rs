//! The websocket upgrade, with every limit of the tunnel set.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use lockbridge_protocol::limits::{FRAME_BYTES, HANDSHAKE_HEAD_BYTES};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use crate::clock::Clock;

/// The one subprotocol both ends must name.
pub(super) const SUBPROTOCOL: &str = "lockbridge.tunnel.v1";
/// From the request to the answer (rule G2).
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// What may stand in the socket's own buffer (rule D8).
const WRITE_BUFFER_MAXIMUM: usize = 1024 * 1024;

/// Why the hub's listener did not become a websocket.
#[derive(Debug, Error)]
pub(super) enum UpgradeError {
    #[error("the hub did not answer the websocket upgrade within {} s", UPGRADE_TIMEOUT.as_secs())]
    Timeout,
    #[error("the hub answers the websocket upgrade with HTTP {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    #[error("the head of the hub's answer is longer than {HANDSHAKE_HEAD_BYTES} bytes")]
    HeadTooLong,
    #[error("the connection broke during the websocket upgrade: {0}")]
    Lost(#[source] io::Error),
    #[error("the hub does not speak the tunnel's websocket: {0}")]
    Protocol(#[source] Box<Error>),
}

/// Limits of the tunnel: one message is one frame of at most 256 KiB, and buffers stay small.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(64 * 1024)
        .max_write_buffer_size(WRITE_BUFFER_MAXIMUM)
        .max_message_size(Some(FRAME_BYTES))
        .max_frame_size(Some(FRAME_BYTES))
}

/// Upgrades `stream` for `url`.
pub(super) async fn upgrade<S>(
    url: &Url,
    stream: S,
    clock: Arc<dyn Clock>,
) -> Result<(WebSocketStream<Guarded<S>>, Arc<Guard>), UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let protocol = |error: Error| UpgradeError::Protocol(Box::new(error));
    let mut request = url.as_str().into_client_request().map_err(protocol)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let guard =
        Arc::new(Guard { clock, heard_ms: AtomicU64::new(0), head_left: AtomicUsize::new(HANDSHAKE_HEAD_BYTES) });
    let guarded = Guarded { stream, guard: Arc::clone(&guard) };
    match timeout(UPGRADE_TIMEOUT, client_async_with_config(request, guarded, Some(limits()))).await {
        Err(_) => Err(UpgradeError::Timeout),
        Ok(Ok((socket, _))) => {
            guard.head_left.store(usize::MAX, Ordering::Relaxed);
            Ok((socket, guard))
        }
        Ok(Err(Error::Http(answer))) => Err(UpgradeError::Status {
            status: answer.status(),
            retry_after: answer.headers().get(RETRY_AFTER).and_then(seconds).map(Duration::from_secs),
        }),
        Ok(Err(_)) if guard.head_left.load(Ordering::Relaxed) == 0 => Err(UpgradeError::HeadTooLong),
        Ok(Err(Error::Io(error))) => Err(UpgradeError::Lost(error)),
        Ok(Err(error)) => Err(protocol(error)),
    }
}

fn seconds(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

/// What a stream tells beside its bytes.
#[derive(Debug)]
pub(super) struct Guard {
    clock: Arc<dyn Clock>,
    heard_ms: AtomicU64,
    head_left: AtomicUsize,
}

impl Guard {
    /// When any byte last arrived, by time since boot: half a message is a sign of life, too (rule G3).
    pub(super) fn heard(&self) -> Duration {
        Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    fn hear(&self) {
        let now_ms = u64::try_from(self.clock.since_boot().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// A stream that bounds the head of the upgrade answer and notes signs of life.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    guard: Arc<Guard>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = buffer.filled().len().saturating_sub(before);
        if count > 0 {
            self.guard.hear();
            let left = self.guard.head_left.load(Ordering::Relaxed);
            if left != usize::MAX {
                self.guard.head_left.store(left.saturating_sub(count), Ordering::Relaxed);
                if count >= left {
                    return Poll::Ready(Err(io::Error::other("the head of the answer is too long")));
                }
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
