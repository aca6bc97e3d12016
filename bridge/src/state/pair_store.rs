//! The pairs, with what changed last gathered in front of them: sled held the way our measurements allow (one tree, a small
//! cache, nothing of its durability used), or memory where the disk refuses sled.
//!
//! Changes are gathered in memory and go to sled in batches of some hundred keys, so that what is soon overwritten or gone (the
//! cursors, a command that lives for milliseconds) never reaches it. Reads see the gathered changes too. A killed process loses them, and the next start takes them from the journal: how far a batch reaches stands in it.
//!
//! Every error takes back the trust in what it holds (see `trust`), so that the next start rebuilds it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::backing::Backing;
use super::store::{Pair, StoreError};
use super::transaction::merge;
use super::trust::Trust;

/// Changes of one step: a value, or `None` for a deleted key.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Gathered keys that make a batch due.
const GATHERED_KEYS: usize = 1_024;
/// Gathered bytes that make a batch due, whatever their number.
const GATHERED_BYTES: usize = 512 * 1024;

/// Changes that sled has not been given yet.
#[derive(Debug, Default)]
struct Gathered {
    changes: Changes,
    /// Roughly: a key that is overwritten counts again.
    bytes: usize,
}

#[derive(Debug, Clone)]
pub(super) struct PairStore {
    backing: Backing,
    gathered: Arc<RwLock<Gathered>>,
    trust: Arc<Trust>,
}

impl PairStore {
    pub(super) fn open(directory: &Path, cache_bytes: u64, trust: Arc<Trust>) -> Result<Self, StoreError> {
        Ok(Self { backing: Backing::sled(directory, cache_bytes)?, gathered: Arc::default(), trust })
    }

    /// Empty, and gone with the process.
    pub(super) fn in_memory(trust: Arc<Trust>) -> Self {
        Self { backing: Backing::memory(), gathered: Arc::default(), trust }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.backing, Backing::Memory(_))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(changed) = self.gathered().changes.get(key) {
            return Ok(changed.clone());
        }
        self.checked(self.backing.get(key))
    }

    pub(super) fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let begin = prefix.max(from);
        // Held to the end, so that no change moves from here to sled in between.
        let gathered = self.gathered();
        let changed = gathered.changes.range(begin.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        // Each change can hide at most one pair of sled's.
        let hidden = changed.clone().count();
        let pairs = self.checked(self.backing.scan(prefix, begin, limit.saturating_add(hidden)))?;
        Ok(merge(pairs, changed.map(|(key, value)| (key.clone(), value.clone())), limit))
    }

    /// All changes or none, also across a crash; not before [`flush`](Self::flush) or until enough have gathered.
    pub(super) fn write(&self, changes: Changes) -> Result<(), StoreError> {
        let mut gathered = self.gathered.write().unwrap_or_else(PoisonError::into_inner);
        let length = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        gathered.bytes += changes.iter().map(length).sum::<usize>();
        gathered.changes.extend(changes);
        if gathered.changes.len() >= GATHERED_KEYS || gathered.bytes >= GATHERED_BYTES {
            self.hand_over(&mut gathered)?;
        }
        Ok(())
    }

    /// Moves what is gathered to sled.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.hand_over(&mut self.gathered.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves what is gathered to sled, and sled's own buffers to its files. They are not on disk after it.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.settle()?;
        self.checked(self.backing.flush())
    }

    fn gathered(&self) -> RwLockReadGuard<'_, Gathered> {
        // A holder that panicked did so in sled, and the trust in it ends with the process.
        self.gathered.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, gathered: &mut Gathered) -> Result<(), StoreError> {
        let Gathered { changes, .. } = std::mem::take(gathered);
        self.checked(self.backing.apply(changes))
    }

    fn checked<T>(&self, result: Result<T, sled::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            tracing::error!(%error, "Working set failed.");
            self.trust.end();
            StoreError::Sled(error)
        })
    }
}

/// Reads the working set from other threads, as of now: what it shows may not be durable yet.
#[derive(Debug, Clone)]
pub struct StoreReader(pub(super) PairStore);

impl StoreReader {
    /// See [`Store::get`](super::Store::get).
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    /// See [`Store::scan`](super::Store::scan).
    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(prefix, from, limit)
    }
}
