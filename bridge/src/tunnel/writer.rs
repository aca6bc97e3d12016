//! The writing half of one session: a short queue, many messages to one flush, and a deadline on each step (rule D8).

use std::future::Future;
use std::time::Duration;

use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Messages queued for the socket: 16 of about 64 KiB are the 1 MiB of rule D8.
pub(super) const QUEUE: usize = 16;
/// Places of the queue that reports leave free, so that pings, heartbeats and acknowledgements always find one.
pub(super) const RESERVED: usize = 8;
/// Longest a socket may take for one message or one flush, at most 128 KiB each.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Error)]
pub(super) enum WriteError {
    #[error("the hub took nothing for {} s", WRITE_TIMEOUT.as_secs())]
    Slow,
    #[error("{0}")]
    Socket(#[from] Error),
}

/// Writes what is queued until the queue is closed and empty; then gives the socket's half back.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut messages: mpsc::Receiver<Message>,
) -> Result<SplitSink<WebSocketStream<S>, Message>, WriteError> {
    while let Some(first) = messages.recv().await {
        limited(sink.feed(first)).await?;
        while let Ok(next) = messages.try_recv() {
            limited(sink.feed(next)).await?;
        }
        limited(sink.flush()).await?;
    }
    Ok(sink)
}

async fn limited(step: impl Future<Output = Result<(), Error>>) -> Result<(), WriteError> {
    timeout(WRITE_TIMEOUT, step).await.map_err(|_| WriteError::Slow)?.map_err(WriteError::Socket)
}
