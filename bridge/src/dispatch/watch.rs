//! Beside the engine: one task a lock system and interest (probe, inventory, events), each feeding the engine's queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::EngineRequest;
use crate::config::LockSystemConfig;
use crate::limits::{CALL_GRACE, INVENTORY_SCAN};
use crate::system::{Effect, Intake, LockSystem, OperationError, Retry};

/// Pieces of a scan or of events that wait for the engine.
const PIECES: usize = 4;
/// Pause after event reading ended, so that a failing lock server is not hammered.
const EVENTS_PAUSE: Duration = Duration::from_secs(5);
/// Pause after events were read that there was no space for: a full disk is asked again that often (rule D6), and the lock
/// server is not asked for the same events more often than that.
const EVENTS_REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// What the tasks of one lock system share.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) config: LockSystemConfig,
    pub(super) adapter: Arc<dyn LockSystem>,
    pub(super) probe_now: Arc<Notify>,
    pub(super) scan_now: Arc<Notify>,
    pub(super) reread_events: Arc<Notify>,
}

/// Starts the tasks of one lock system; they end with `stop` or with the engine.
pub(super) fn watch(
    tasks: &mut JoinSet<()>,
    watched: &Watched,
    engine: &mpsc::Sender<EngineRequest>,
    stop: &CancellationToken,
) {
    let spawn = |tasks: &mut JoinSet<()>, task: futures_util::future::BoxFuture<'static, ()>| {
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    };
    spawn(tasks, Box::pin(probe(watched.clone(), engine.clone())));
    spawn(tasks, Box::pin(scan(watched.clone(), engine.clone())));
    spawn(tasks, Box::pin(events(watched.clone(), engine.clone())));
}

fn silent(what: &str) -> OperationError {
    OperationError {
        code: "bridge_disconnected",
        message: format!("{what}: the lock server does not answer"),
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect: Effect::None,
        retry: Retry::Later,
    }
}

async fn probe(watched: Watched, engine: mpsc::Sender<EngineRequest>) {
    loop {
        let deadline = watched.config.call_timeout + CALL_GRACE;
        let result = timeout(deadline, watched.adapter.probe()).await.unwrap_or_else(|_| Err(silent("the probe")));
        // A lock server that answers again is used at once; one that does not is asked more often than a healthy one.
        let pause = if result.is_ok() { watched.config.probe_interval } else { watched.config.probe_interval / 3 };
        let request = EngineRequest::Probed { lock_system: watched.config.name.clone(), result };
        if engine.send(request).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = watched.probe_now.notified() => sleep(Duration::from_secs(1).min(pause)).await,
        }
    }
}

async fn scan(watched: Watched, engine: mpsc::Sender<EngineRequest>) {
    loop {
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let running = timeout(INVENTORY_SCAN, watched.adapter.scan(sender));
        let forward = async {
            while let Some(intake) = pieces.recv().await {
                if !hand_on(&watched, &engine, intake).await {
                    return false;
                }
            }
            true
        };
        let (result, alive) = tokio::join!(running, forward);
        if !alive {
            return;
        }
        let failed = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(silent("the inventory scan")),
        };
        let mut pause = watched.config.inventory_interval;
        if let Some(error) = failed {
            pause = pause.min(watched.config.probe_interval.saturating_mul(2));
            let request = EngineRequest::ScanFailed { lock_system: watched.config.name.clone(), error };
            if engine.send(request).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = watched.scan_now.notified() => {}
        }
    }
}

async fn events(watched: Watched, engine: mpsc::Sender<EngineRequest>) {
    loop {
        let (answer, cursor) = oneshot::channel();
        let request = EngineRequest::EventCursor { lock_system: watched.config.name.clone(), answer };
        if engine.send(request).await.is_err() {
            return;
        }
        let Ok(cursor) = cursor.await else { return };
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let reading = watched.adapter.events(cursor, sender);
        let forward = async {
            while let Some(intake) = pieces.recv().await {
                if !hand_on(&watched, &engine, intake).await {
                    return false;
                }
            }
            true
        };
        tokio::select! {
            (result, alive) = async { tokio::join!(reading, forward) } => {
                if !alive {
                    return;
                }
                if let Err(error) = result {
                    let lock_system = &watched.config.name;
                    tracing::debug!(lock_system, %error, "Event reading ended; it goes on from the cursor.");
                }
                sleep(EVENTS_PAUSE).await;
            }
            () = watched.reread_events.notified() => {
                sleep(EVENTS_REFUSED_PAUSE).await;
                // Pieces that were on the way were refused, too; that is no reason to give up the next reading.
                let _stale = watched.reread_events.notified().now_or_never();
            }
        }
    }
}

async fn hand_on(watched: &Watched, engine: &mpsc::Sender<EngineRequest>, intake: Intake) -> bool {
    engine.send(EngineRequest::Intake { lock_system: watched.config.name.clone(), intake }).await.is_ok()
}
