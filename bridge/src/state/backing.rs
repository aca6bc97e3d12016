//! Where the pairs lie: in sled, or in memory while sled cannot be had.
//!
//! sled cannot even open on a full disk, and revokes must run on one (rule D6). What is in memory is as good, because the
//! journal is the truth; it costs memory, and the next start folds it anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::pair_store::Changes;
use super::store::Pair;

#[derive(Debug, Clone)]
pub(super) enum Backing {
    Sled {
        // Dropped before the database; sled closes its files when the last of both is gone.
        tree: sled::Tree,
        _database: sled::Db,
    },
    Memory(Arc<RwLock<BTreeMap<Vec<u8>, Vec<u8>>>>),
}

impl Backing {
    pub(super) fn sled(directory: &Path, cache_bytes: u64) -> Result<Self, sled::Error> {
        let database = sled::Config::new()
            .path(directory)
            .cache_capacity(cache_bytes)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None)
            .open()?;
        Ok(Self::Sled { tree: database.open_tree("working-set")?, _database: database })
    }

    pub(super) fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, sled::Error> {
        match self {
            Self::Sled { tree, .. } => Ok(tree.get(key)?.map(|value| value.to_vec())),
            Self::Memory(map) => Ok(map.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()),
        }
    }

    /// The first `limit` pairs from `begin` on whose key begins with `prefix`.
    pub(super) fn scan(&self, prefix: &[u8], begin: &[u8], limit: usize) -> Result<Vec<Pair>, sled::Error> {
        match self {
            Self::Sled { tree, .. } => {
                let mut pairs = Vec::new();
                for pair in tree.range(begin..).take(limit) {
                    let (key, value) = pair?;
                    if !key.starts_with(prefix) {
                        break;
                    }
                    pairs.push((key.to_vec(), value.to_vec()));
                }
                Ok(pairs)
            }
            Self::Memory(map) => {
                let map = map.read().unwrap_or_else(PoisonError::into_inner);
                let found = map.range(begin.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)).take(limit);
                Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
        }
    }

    /// All changes or none, also across a crash.
    pub(super) fn apply(&self, changes: Changes) -> Result<(), sled::Error> {
        match self {
            Self::Sled { tree, .. } => {
                let mut batch = sled::Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                tree.apply_batch(batch)
            }
            Self::Memory(map) => {
                let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(map.insert(key, value)),
                        None => drop(map.remove(&key)),
                    }
                }
                Ok(())
            }
        }
    }

    /// Gives what is buffered to the files. It is not on disk after this.
    pub(super) fn flush(&self) -> Result<(), sled::Error> {
        match self {
            Self::Sled { tree, .. } => tree.flush().map(drop),
            Self::Memory(_) => Ok(()),
        }
    }
}
