//! The folded state behind the engine: the real working set on sled, or the same fold in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use lockbridge::dispatch::State;
use lockbridge::journal::{CheckpointFileError, Journal, Replayed};
use lockbridge::state::fold::{JournalFold, Pairs};
use lockbridge::state::{Fold as _, MemoryStore, Pair, Store as _, StoreError, StoreReader, WorkingSet};

/// The working set.
#[derive(Debug)]
pub(crate) struct SledState(pub(crate) WorkingSet<JournalFold>);

struct SledReader(StoreReader);

impl Pairs for SledState {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(prefix, from, limit)
    }
}

impl Pairs for SledReader {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(prefix, from, limit)
    }
}

impl State for SledState {
    fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        self.0.apply(sequence, payload)
    }

    fn reader(&self) -> Arc<dyn Pairs + Send + Sync> {
        Arc::new(SledReader(self.0.reader()))
    }

    fn close(self: Box<Self>) {
        if let Err(error) = self.0.close() {
            tracing::warn!(%error, "The working set did not close.");
        }
    }
}

/// The fold in memory. Clones are the same pairs.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryState(Arc<Mutex<MemoryStore>>);

impl MemoryState {
    /// Folds what the journal and its checkpoints hold.
    pub(crate) fn fold(journal: &Journal) -> anyhow::Result<Self> {
        let mut store = MemoryStore::default();
        let mut next = 1;
        for file in journal.checkpoints().newest_first() {
            let mut loaded = MemoryStore::default();
            let read = file.read(|key, value| {
                // A map takes every pair.
                loaded.put(key, value).map_err(Unreadable::Store)
            });
            match read {
                Ok(()) => {
                    (store, next) = (loaded, file.header.sequence + 1);
                    break;
                }
                Err(Unreadable::File(error)) => tracing::debug!(%error, "Checkpoint not used."),
                Err(Unreadable::Store(error)) => return Err(error).context("fold a checkpoint"),
            }
        }
        for replayed in journal.replay(next) {
            match replayed.context("read the journal")? {
                Replayed::Entry { sequence, payload, .. } if sequence == next => {
                    JournalFold.apply(&mut store, sequence, &payload)?;
                    next += 1;
                }
                other => bail!("entry {next} is not there: {other:?}"),
            }
        }
        Ok(Self(Arc::new(Mutex::new(store))))
    }

    /// Folds these entries, by sequence.
    pub(crate) fn of<'a>(entries: impl Iterator<Item = (u64, &'a [u8])>) -> Result<Self, StoreError> {
        let mut store = MemoryStore::default();
        for (sequence, payload) in entries {
            JournalFold.apply(&mut store, sequence, payload)?;
        }
        Ok(Self(Arc::new(Mutex::new(store))))
    }

    fn store(&self) -> MutexGuard<'_, MemoryStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pairs.
    pub(crate) fn all(&self) -> Vec<Pair> {
        self.store().pairs()
    }
}

#[derive(Debug)]
enum Unreadable {
    File(CheckpointFileError),
    Store(StoreError),
}

impl From<CheckpointFileError> for Unreadable {
    fn from(error: CheckpointFileError) -> Self {
        Self::File(error)
    }
}

impl Pairs for MemoryState {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store().get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.store().scan(prefix, from, limit)
    }
}

impl State for MemoryState {
    fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        JournalFold.apply(&mut *self.store(), sequence, payload)
    }

    fn reader(&self) -> Arc<dyn Pairs + Send + Sync> {
        Arc::new(self.clone())
    }

    fn close(self: Box<Self>) {}
}
