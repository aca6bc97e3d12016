//! The CLI's side: one request, one answer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::message::{Answer, Request};
use super::server::LINE_BYTES;

/// Longer than the server's longest work.
const ANSWER: Duration = Duration::from_secs(160);
/// Largest answer read: a full queue listing.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("no daemon answers on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket's mode keeps this user out.
    #[error("user may not speak to the daemon on {}", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the daemon on {} did not answer", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The daemon said no.
    #[error("{message}")]
    Refused {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
        /// The next step; empty when the message says it all.
        hint: String,
    },
    /// CLI and daemon are of different versions, most likely.
    #[error("the daemon's answer cannot be read: {detail}")]
    Unreadable {
        /// The parser's words.
        detail: String,
    },
}

/// Asks the daemon that listens on `path`.
pub async fn call<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, CallError> {
    let broken = |source| CallError::Broken { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => CallError::NotAllowed { path: path.to_owned() },
        _ => CallError::NotRunning { path: path.to_owned(), source },
    })?;
    // The request may carry a secret: one buffer, large enough from the start, and wiped.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    serde_json::to_writer(&mut *line, request).map_err(|error| CallError::Unreadable { detail: error.to_string() })?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broken)?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES);
    tokio::pin!(read);
    tokio::time::timeout(ANSWER, read.read_to_end(&mut answer))
        .await
        .map_err(|_| broken(io::ErrorKind::TimedOut.into()))?
        .map_err(broken)?;
    let unreadable = |error: serde_json::Error| CallError::Unreadable { detail: error.to_string() };
    match serde_json::from_slice(&answer).map_err(unreadable)? {
        Answer::Done { answer } => serde_json::from_value(answer).map_err(unreadable),
        Answer::Refused { code, message, hint } => Err(CallError::Refused { code, message, hint }),
    }
}
