//! Typed reading and writing of the pairs.

use lockbridge_protocol::ids::CommandId;
use prost::Message;

use super::keys;
use super::records::{CommandRecord, Count, LaneRecord, Meta, OutboxRecord, Tombstone};
use crate::state::store::{Pair, Store, StoreError};

/// Whatever pairs can be read from.
pub trait Pairs {
    /// The value under a key.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The first `limit` pairs, in order of key, whose key begins with `prefix` and is not below `from`.
    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;
}

impl<T: Store + ?Sized> Pairs for T {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.scan(prefix, from, limit)
    }
}

/// The pairs, by meaning. A value that does not decode reads as absent: the pairs are a cache of the journal.
#[derive(Debug)]
pub struct View<'pairs, P: ?Sized>(&'pairs P);

impl<P: ?Sized> Clone for View<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: ?Sized> Copy for View<'_, P> {}

impl<'pairs, P: Pairs + ?Sized> View<'pairs, P> {
    /// Looks at `pairs`.
    pub fn new(pairs: &'pairs P) -> Self {
        Self(pairs)
    }

    /// Cursors and counters.
    pub fn meta(self) -> Result<Meta, StoreError> {
        Ok(self.get(keys::META)?.unwrap_or_default())
    }

    /// A live command.
    pub fn command(self, id: &CommandId) -> Result<Option<CommandRecord>, StoreError> {
        self.get(&keys::command(id))
    }

    /// The sealed payload of a live command.
    pub fn payload(self, id: &CommandId) -> Result<Option<Vec<u8>>, StoreError> {
        self.bytes(&keys::payload(id))
    }

    /// All live commands.
    pub fn commands(self) -> Result<Vec<(CommandId, CommandRecord)>, StoreError> {
        let mut all = Vec::new();
        for (key, value) in self.0.pairs(&[keys::COMMANDS], &[], usize::MAX)? {
            let id = key.get(1..).and_then(CommandId::from_bytes);
            if let (Some(id), Ok(record)) = (id, CommandRecord::decode(value.as_slice())) {
                all.push((id, record));
            }
        }
        Ok(all)
    }

    /// What is remembered of an ended command.
    pub fn tombstone(self, id: &CommandId) -> Result<Option<Tombstone>, StoreError> {
        self.get(&keys::tombstone(id))
    }

    /// A lane; one never used is empty.
    pub fn lane(self, lock_system: &str, lane: &str) -> Result<LaneRecord, StoreError> {
        Ok(self.get(&keys::lane(lock_system, lane))?.unwrap_or_default())
    }

    /// Reports of the outbox from `from` on.
    pub fn reports(self, from: u64, limit: usize) -> Result<Vec<(u64, OutboxRecord)>, StoreError> {
        let mut all = Vec::new();
        for (key, value) in self.0.pairs(&[keys::REPORTS], &keys::report(from), limit)? {
            let sequence = key.get(1..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
            if let (Some(sequence), Ok(record)) = (sequence, OutboxRecord::decode(value.as_slice())) {
                all.push((sequence, record));
            }
        }
        Ok(all)
    }

    /// The oldest batch of door events in the outbox.
    pub fn oldest_event_report(self) -> Result<Option<(u64, OutboxRecord)>, StoreError> {
        let marks = self.0.pairs(&[keys::EVENT_REPORTS], &[], 1)?;
        let sequence = marks.first().and_then(|(key, _)| key.get(1..)?.try_into().ok()).map_or(0, u64::from_be_bytes);
        Ok(self.get(&keys::report(sequence))?.map(|record| (sequence, record)))
    }

    /// A sealed fact.
    pub fn fact(self, kind: &str, lock_system: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.bytes(&keys::fact(kind, lock_system, id))
    }

    /// All sealed facts of a kind at a lock system, by id.
    pub fn facts(self, kind: &str, lock_system: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let prefix = keys::fact(kind, lock_system, "");
        let pairs = self.0.pairs(&prefix, &[], usize::MAX)?;
        Ok(pairs
            .into_iter()
            .filter_map(|(key, value)| {
                let id = String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?;
                Some((id, value))
            })
            .collect())
    }

    /// Where reading a lock system's event log goes on; empty at first.
    pub fn event_cursor(self, lock_system: &str) -> Result<String, StoreError> {
        let bytes = self.bytes(&keys::event_cursor(lock_system))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Holders whose rights have to be written again, soonest first: when, lock system, user.
    pub fn replans(self, limit: usize) -> Result<Vec<(i64, String, String)>, StoreError> {
        let pairs = self.0.pairs(&[keys::REPLANS], &[], limit)?;
        Ok(pairs.iter().filter_map(|(key, _)| split_replan(key)).collect())
    }

    /// How often `subject` was counted in the buckets from `first_bucket` on.
    pub fn rate(self, lock_system: &str, subject: &str, first_bucket: u64) -> Result<u64, StoreError> {
        let prefix = keys::rates(lock_system, subject);
        let pairs = self.0.pairs(&prefix, &keys::rate(lock_system, subject, first_bucket), usize::MAX)?;
        Ok(pairs
            .iter()
            .filter_map(|(_, value)| Count::decode(value.as_slice()).ok())
            .map(|count| count.count)
            .fold(0, u64::saturating_add))
    }

    pub(super) fn get<T: Message + Default>(self, key: &[u8]) -> Result<Option<T>, StoreError> {
        Ok(self.0.value(key)?.and_then(|bytes| T::decode(bytes.as_slice()).ok()))
    }

    fn bytes(self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.value(key)
    }
}

fn split_replan(key: &[u8]) -> Option<(i64, String, String)> {
    let (time, rest) = key.get(1..)?.split_at_checked(8)?;
    let at = i64::try_from(u64::from_be_bytes(time.try_into().ok()?)).ok()?;
    let mut names = rest.splitn(2, |byte| *byte == 0);
    let lock_system = String::from_utf8(names.next()?.to_vec()).ok()?;
    let user_id = String::from_utf8(names.next()?.to_vec()).ok()?;
    Some((at, lock_system, user_id))
}
