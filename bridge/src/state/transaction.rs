//! What one or several entries change, read through and not yet written.

use lockbridge_protocol::journal::{KEY_BYTES, VALUE_BYTES};

use super::pair_store::{Changes, PairStore};
use super::store::{Pair, Store, StoreError};

/// A [`Store`] over sled that keeps its changes to itself.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    base: &'a PairStore,
    pub(super) changes: Changes,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(base: &'a PairStore) -> Self {
        Self::with(base, Changes::new())
    }

    /// Goes on from `changes`.
    pub(super) fn with(base: &'a PairStore, changes: Changes) -> Self {
        Self { base, changes }
    }
}

impl Store for Transaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(key),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.len() > KEY_BYTES {
            return Err(StoreError::TooLong { what: "key", length: key.len() });
        }
        if value.len() > VALUE_BYTES {
            return Err(StoreError::TooLong { what: "value", length: value.len() });
        }
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.changes.insert(key.to_vec(), None);
        Ok(())
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let begin = prefix.max(from).to_vec();
        let changed = self.changes.range(begin..).take_while(|(key, _)| key.starts_with(prefix));
        // Each change can hide at most one pair of the base.
        let hidden = changed.clone().count();
        let below = self.base.scan(prefix, from, limit.saturating_add(hidden))?;
        Ok(merge(below, changed.map(|(key, value)| (key.clone(), value.clone())), limit))
    }
}

/// `base` with `changes` on top, both in key order, the first `limit`.
pub(super) fn merge(
    base: Vec<Pair>,
    changes: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    limit: usize,
) -> Vec<Pair> {
    let mut merged = Vec::new();
    let (mut base, mut changes) = (base.into_iter().peekable(), changes.peekable());
    while merged.len() < limit {
        let from_base = match (base.peek(), changes.peek()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((below, _)), Some((above, _))) => below < above,
        };
        if from_base {
            merged.extend(base.next());
        } else if let Some((key, value)) = changes.next() {
            base.next_if(|(below, _)| *below == key);
            merged.extend(value.map(|value| (key, value)));
        }
    }
    merged
}
