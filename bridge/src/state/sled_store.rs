//! sled, held the way our measurements allow: one tree, a small cache, nothing of its durability used.
//!
//! Every error takes back the trust in what it holds (see `trust`), so that the next start rebuilds it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::store::{Pair, StoreError};
use super::trust::Trust;

/// Changes of one step: a value, or `None` for a deleted key.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Debug, Clone)]
pub(super) struct SledStore {
    // Dropped after the tree; sled closes its files when the last of both is gone.
    tree: sled::Tree,
    _database: sled::Db,
    trust: Arc<Trust>,
}

impl SledStore {
    pub(super) fn open(directory: &Path, cache_bytes: u64, trust: Arc<Trust>) -> Result<Self, StoreError> {
        let database = sled::Config::new()
            .path(directory)
            .cache_capacity(cache_bytes)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None)
            .open()?;
        let tree = database.open_tree("working-set")?;
        Ok(Self { tree, _database: database, trust })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.checked(self.tree.get(key)).map(|value| value.map(|value| value.to_vec()))
    }

    pub(super) fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let begin = prefix.max(from);
        let mut pairs = Vec::new();
        for pair in self.tree.range(begin..).take(limit) {
            let (key, value) = self.checked(pair)?;
            if !key.starts_with(prefix) {
                break;
            }
            pairs.push((key.to_vec(), value.to_vec()));
        }
        Ok(pairs)
    }

    /// All changes or none, also across a crash.
    pub(super) fn write(&self, changes: Changes) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.checked(self.tree.apply_batch(batch))
    }

    /// Moves sled's own buffers to its files. They are not on disk after it.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.checked(self.tree.flush()).map(drop)
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
pub struct StoreReader(pub(super) SledStore);

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
