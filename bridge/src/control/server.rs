//! Accepts connections, asks the engine, answers.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::desk::{Caller, Desk};
use super::message::Answer;
use crate::health::Health;
use crate::limits;

/// Longest request line.
pub(super) const LINE_BYTES: usize = 64 * 1024;
/// From accept to the whole request line.
const READ: Duration = Duration::from_secs(2);
/// Longest work for one request: an encode waits for a card and then for its lease.
const WORK: Duration = Duration::from_secs(150);
/// For answers in hand when serving ends.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Its sign of life.
const PULSE: &str = "control socket";

/// Binds the socket with mode 0660. A socket file left by a dead daemon is replaced; the state lock, taken before, makes
/// sure that it is dead.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves until `stop`; answers that are being written then still go out.
pub async fn serve(listener: Arc<UnixListener>, desk: impl Desk, health: Health, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits::LOCAL_CONNECTIONS));
    let mut connections = JoinSet::new();
    let pulse = health.pulse(PULSE);
    loop {
        pulse.turn();
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
            () = pulse.rest() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let desk = desk.clone();
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = connection(stream, &desk).await {
                        debug!(%error, "A control connection ended early.");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "Accepting a control connection failed.");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    health.retire_pulse(PULSE);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _late = tokio::time::timeout(LAST_ANSWERS, ended).await;
    connections.shutdown().await;
}

async fn connection(mut stream: UnixStream, desk: &impl Desk) -> io::Result<()> {
    let caller = Caller { uid: stream.peer_cred()?.uid() };
    let (mut read, mut write) = stream.split();
    let answer = match tokio::time::timeout(READ, request_line(&mut read)).await {
        Ok(Ok(Some(line))) => match serde_json::from_slice(&line) {
            Ok(request) => tokio::time::timeout(WORK, desk.answer(request, caller)).await.unwrap_or_else(|_| {
                Answer::refused("timeout", "The daemon took too long; look at `lockbridge status`.")
            }),
            Err(error) => Answer::refused("invalid_request", format!("The request cannot be read: {}.", place(&error))),
        },
        _ => Answer::refused("invalid_request", "One request line of at most 64 KiB is expected within 2 s."),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    write.shutdown().await
}

/// The first line without its end; `None` when the stream ends or grows too long before. It may hold a secret, so it has one
/// buffer that never grows and is wiped.
async fn request_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    let mut stream = stream.take(LINE_BYTES as u64);
    loop {
        let read = stream.read_buf(&mut *line).await?;
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return Ok(Some(line));
        }
        if read == 0 {
            return Ok(None);
        }
    }
}

/// What is wrong with a request and where, without repeating any of it.
fn place(error: &serde_json::Error) -> String {
    format!("{:?} error at column {}", error.classify(), error.column())
}
