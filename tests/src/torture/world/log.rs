//! The journal as the engine of the world sees it: every entry is noted outside too, and the disk takes its time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockbridge::dispatch::{Log, Room};
use lockbridge::journal::{AppendError, Durable, Journal, Reserve};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::live::Live;

/// Longest wait, in real time, for the journal's own threads.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longest the clock is kept still, in real time, for room in the journal.
const STILL: Duration = Duration::from_secs(5);

/// A journal with a witness.
#[derive(Debug)]
pub(crate) struct WorldLog {
    pub(crate) journal: Journal,
    live: Arc<Live>,
    appended: watch::Sender<u64>,
    /// Dropped after the journal: who holds another one knows when its threads and its lock are gone.
    pub(crate) open: Arc<()>,
}

impl WorldLog {
    pub(crate) fn new(journal: Journal, live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self { journal, live, appended: watch::Sender::new(0), open: Arc::default() })
    }
}

impl WorldLog {
    /// Waits for room. A blocking task keeps the paused clock still meanwhile: what makes room is a thread of the journal,
    /// which knows no other time than the real one. Not for long, in case it waits for the clock itself.
    async fn append_later(&self, payload: Vec<u8>, reserve: Reserve) -> Result<u64, AppendError> {
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let _still = spawn_blocking(move || ended.recv_timeout(STILL));
        let sequence = self.journal.append(payload, reserve).await;
        drop(done);
        sequence
    }
}

impl Log for WorldLog {
    fn append(&self, payload: Vec<u8>, reserve: Reserve) -> BoxFuture<'_, Result<u64, AppendError>> {
        Box::pin(async move {
            let noted = payload.clone();
            let sequence = match self.journal.try_append(&payload, reserve)? {
                Some(sequence) => sequence,
                None => self.append_later(payload, reserve).await?,
            };
            if !self.live.truth().push(sequence, &noted) {
                self.live.problem(format!("the journal gave number {sequence} out of order"));
            }
            self.appended.send_replace(sequence);
            Ok(sequence)
        })
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.journal.durable()
    }

    fn room(&self, reserve_bytes: u64) -> Room {
        Log::room(&self.journal, reserve_bytes)
    }
}

/// Turns the disk: keeps the runtime's paused clock still while the journal's threads work, and lets each commit take a
/// drawn time of it. Without `pauses` commits take none. Ends when the journal does.
pub(crate) async fn spin(log: Arc<WorldLog>, mut pauses: Option<StdRng>) {
    let mut appended = log.appended.subscribe();
    loop {
        let target = *appended.borrow_and_update();
        let before = log.journal.durable().borrow().through;
        if target <= before {
            if appended.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut through = target;
        if let Some(random) = &mut pauses {
            let waiting = Arc::clone(&log);
            let at_gate = spawn_blocking(move || waiting.live.disk.wait_at_gate(DEADLINE)).await;
            sleep(Duration::from_micros(random.random_range(300..8_000))).await;
            log.live.disk.permit();
            if !matches!(at_gate, Ok(true)) {
                log.live.problem("the journal's writer did not come to its flush".into());
                return;
            }
            through = before + 1;
        }
        let waiting = Arc::clone(&log);
        // The clock stands still while this blocks, and goes on only when the engine has been woken.
        if !matches!(spawn_blocking(move || waiting.journal.wait_durable(through, DEADLINE)).await, Ok(true)) {
            log.live.problem(format!("entry {through} did not become durable"));
            return;
        }
    }
}
