//! A consistent dump while entries go on being applied.
//!
//! The dump walks the keys in order, in small steps. Before a key ahead of it changes for the first time, its value as of
//! the beginning is put into a side map; the dump takes that one. Both happen under one lock, so that no change falls
//! between. The side map is bounded: when the dump is too slow for the changes it is given up, and tried again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lockbridge_protocol::journal::ChainHash;
use thiserror::Error;

use super::pair_store::{Changes, PairStore};
use super::store::{Pair, StoreError};
use super::transaction::merge;
use crate::journal::{CheckpointFileError, Checkpoints};
use crate::limits::CHECKPOINT_SIDE_BYTES;

/// Keys a step, which is also how long an apply may have to wait.
const STEP: usize = 128;
/// From the end of the dump to its last entry being durable.
const DURABLE_DEADLINE: Duration = Duration::from_mins(1);

/// Why no checkpoint was made. None of these loses anything.
#[derive(Debug, Error)]
pub(super) enum DumpError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] CheckpointFileError),
    #[error("too much changed during the dump")]
    TooSlow,
    #[error("the working set is closing")]
    Cancelled,
    #[error("the journal does not become durable")]
    Journal,
}

#[derive(Debug)]
struct Progress {
    /// Everything up to here is dumped; `None`: nothing yet.
    dumped: Option<Vec<u8>>,
    /// Values as of the beginning, of keys ahead that changed since.
    side: Changes,
    side_bytes: usize,
    overflowed: bool,
    cancelled: bool,
}

/// The side of a running dump that [`WorkingSet`](super::WorkingSet) sees.
#[derive(Debug)]
pub(super) struct Dump {
    progress: Arc<Mutex<Progress>>,
    thread: Option<JoinHandle<Result<u64, DumpError>>>,
}

/// What the dump is of, and where it goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) checkpoints: Checkpoints,
    pub(super) store: PairStore,
    pub(super) schema_version: u32,
    pub(super) sequence: u64,
    pub(super) head: ChainHash,
    pub(super) audit_retention_bytes: u64,
}

/// Keeps the dump still while changes are written; see [`Dump::hold`].
#[derive(Debug)]
pub(super) struct Hold<'a> {
    _progress: MutexGuard<'a, Progress>,
}

impl Dump {
    pub(super) fn start(job: Job) -> std::io::Result<Self> {
        let progress =
            Progress { dumped: None, side: Changes::new(), side_bytes: 0, overflowed: false, cancelled: false };
        let progress = Arc::new(Mutex::new(progress));
        let of_thread = Arc::clone(&progress);
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        let thread = thread.spawn(move || job.run(&of_thread))?;
        Ok(Self { progress, thread: Some(thread) })
    }

    /// Saves what `changes` are about to overwrite. The changes must be written before the returned value is dropped.
    pub(super) fn hold(&self, store: &PairStore, changes: &Changes) -> Result<Hold<'_>, StoreError> {
        let mut progress = lock(&self.progress);
        for key in changes.keys() {
            let own = key.first() == Some(&0);
            let behind = progress.dumped.as_ref().is_some_and(|dumped| key <= dumped);
            if own || behind || progress.overflowed || progress.side.contains_key(key) {
                continue;
            }
            let value = store.get(key)?;
            progress.side_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            progress.side.insert(key.clone(), value);
            if progress.side_bytes > CHECKPOINT_SIDE_BYTES {
                progress.overflowed = true;
                progress.side.clear();
            }
        }
        Ok(Hold { _progress: progress })
    }

    /// Waits for the end.
    pub(super) fn wait(mut self) -> Result<u64, DumpError> {
        self.thread
            .take()
            .map_or(Err(DumpError::Cancelled), |thread| thread.join().unwrap_or(Err(DumpError::Cancelled)))
    }

    /// The result, once it ended: the size of the checkpoint file.
    pub(super) fn ended(&mut self) -> Option<Result<u64, DumpError>> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        Some(thread.join().unwrap_or(Err(DumpError::Cancelled)))
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        lock(&self.progress).cancelled = true;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The checkpoint thread panicked.");
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    fn run(&self, progress: &Mutex<Progress>) -> Result<u64, DumpError> {
        let mut sink = self.checkpoints.begin(self.schema_version, self.sequence, self.head)?;
        while let Some(pairs) = self.step(progress)? {
            for (key, value) in pairs {
                sink.item(&key, &value)?;
            }
        }
        if !self.checkpoints.wait_durable(self.sequence, DURABLE_DEADLINE) {
            return Err(DumpError::Journal);
        }
        let (oldest, bytes) = sink.finish()?;
        if let Some(oldest) = oldest {
            self.checkpoints.retire(oldest, self.audit_retention_bytes);
        }
        Ok(bytes)
    }

    /// The next pairs; `None` at the end.
    fn step(&self, progress: &Mutex<Progress>) -> Result<Option<Vec<Pair>>, DumpError> {
        let mut progress = lock(progress);
        if progress.cancelled {
            return Err(DumpError::Cancelled);
        }
        if progress.overflowed {
            return Err(DumpError::TooSlow);
        }
        // The least key above those dumped. Keys from 1 on: those that begin with zero are not part of a checkpoint.
        let from = progress.dumped.as_ref().map_or_else(|| vec![1], |dumped| [dumped.as_slice(), &[0]].concat());
        let base = self.store.scan(&[], &from, STEP)?;
        let end = (base.len() == STEP).then(|| base.last().map(|(key, _)| key.clone())).flatten();
        let side = match &end {
            Some(end) => {
                let mut behind = progress.side.split_off([end.as_slice(), &[0]].concat().as_slice());
                std::mem::swap(&mut behind, &mut progress.side);
                behind
            }
            None => std::mem::take(&mut progress.side),
        };
        let freed: usize = side.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        progress.side_bytes -= freed;
        let last = [u8::MAX; lockbridge_protocol::journal::KEY_BYTES + 1];
        let ended = progress.dumped.as_deref() == Some(last.as_slice());
        progress.dumped = Some(end.unwrap_or_else(|| last.to_vec()));
        Ok((!ended).then(|| merge(base, side.into_iter(), usize::MAX)))
    }
}
