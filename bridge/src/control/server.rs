//! Accepts connections, asks the engine, answers.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::message::{Answer, EncodeAnswer, Request};
use crate::dispatch::{ControlError, EngineHandle, EngineRequest};
use crate::health::Observer;
use crate::limits;

/// Longest request line.
const LINE_BYTES: u64 = 64 * 1024;
/// From accept to the whole request line.
const READ: Duration = Duration::from_secs(2);
/// Longest work for one request: an encode waits for a card and then for its lease.
const WORK: Duration = Duration::from_secs(150);
/// Its sign of life.
const PULSE: &str = "control socket";
/// Most rows a queue listing gives.
const QUEUE_ROWS: usize = 10_000;

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

/// Serves until `stop`.
pub async fn serve(listener: UnixListener, engine: EngineHandle, observer: Observer, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits::LOCAL_CONNECTIONS));
    let mut connections = JoinSet::new();
    let pulse = observer.health().pulse(PULSE);
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
                let (engine, observer) = (engine.clone(), observer.clone());
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = connection(stream, &engine, &observer).await {
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
    observer.health().retire_pulse(PULSE);
    connections.shutdown().await;
}

async fn connection(mut stream: UnixStream, engine: &EngineHandle, observer: &Observer) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let who = format!("uid {uid}");
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LINE_BYTES));
    let read = tokio::time::timeout(READ, reader.read_line(&mut line)).await;
    let answer = match (read, line.ends_with('\n')) {
        (Ok(Ok(_)), true) => match serde_json::from_str(&line) {
            Ok(Request::LiftQuarantine) if !may_decide(uid) => {
                Answer::refused("not_allowed", "Only root may release a quarantine: run it with sudo.")
            }
            Ok(request) => {
                tokio::time::timeout(WORK, answer(request, who, engine, observer)).await.unwrap_or_else(|_| {
                    Answer::refused("timeout", "The daemon took too long; look at `lockbridge status`.")
                })
            }
            Err(error) => Answer::refused("invalid_request", format!("The request cannot be read: {error}.")),
        },
        _ => Answer::refused("invalid_request", "One request line of at most 64 KiB is expected within 2 s."),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    write.shutdown().await
}

async fn answer(request: Request, who: String, engine: &EngineHandle, observer: &Observer) -> Answer {
    let result = match request {
        Request::Status => return done(&observer.snapshot().await),
        Request::Queue { limit } => {
            engine.ask(|answer| EngineRequest::Queue(limit.min(QUEUE_ROWS), answer)).await.map(|rows| done(&rows))
        }
        Request::Doubts => engine.ask(EngineRequest::Doubts).await.map(|rows| done(&rows)),
        Request::Resolve { command_id, verdict } => {
            let Some(command_id) = CommandId::parse(&command_id) else {
                return Answer::refused("invalid_request", format!("{command_id:?} is not a command id."));
            };
            let asked = engine.ask(|done| EngineRequest::Resolve { command_id, verdict, who, done }).await;
            asked.and_then(|resolved| resolved).map(|()| done(&true))
        }
        Request::Encode(request) => {
            let asked = engine.ask(|done| EngineRequest::EncodeLocally { request, who, done }).await;
            asked.and_then(|ended| ended).map(|report| done(&EncodeAnswer::of(&report)))
        }
        Request::Brake { on } => engine.ask(|done| EngineRequest::Brake { on, who, done }).await.map(|()| done(&on)),
        Request::LiftQuarantine => {
            let asked = engine.ask(|done| EngineRequest::LiftQuarantine { who, done }).await;
            asked.and_then(|lifted| lifted).map(|answer| done(&answer))
        }
        Request::ReloadPolicy => {
            engine.ask(EngineRequest::ReloadPolicy).await.and_then(|reloaded| reloaded).map(|()| done(&true))
        }
    };
    result.unwrap_or_else(|error| match error {
        ControlError::Stopped => Answer::refused("stopped", "The daemon is stopping."),
        ControlError::Refused { code, message } => Answer::Refused { code, message },
    })
}

/// Root, or the daemon's own user, which nobody else is.
fn may_decide(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

fn done(value: &impl Serialize) -> Answer {
    match serde_json::to_value(value) {
        Ok(answer) => Answer::Done { answer },
        Err(error) => Answer::refused("internal", format!("The answer cannot be written: {error}.")),
    }
}
