//! What a fold needs of a store, and what the working set needs of a fold.

use std::fmt;

use thiserror::Error;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The store behind the working set failed. The process must end (exit code 74); the next start rebuilds it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// sled refused something.
    #[error("the working set failed; it is rebuilt from the journal at the next start")]
    Sled(#[from] sled::Error),
    /// An entry that does not follow the last one applied.
    #[error("journal entry {sequence} was applied to a working set that expects {expected}")]
    OutOfOrder {
        /// Sequence given.
        sequence: u64,
        /// Sequence due.
        expected: u64,
    },
    /// Longer than an entry of the journal or an item of a checkpoint may be.
    #[error("a {what} of {length} bytes is too long for the working set")]
    TooLong {
        /// Key, value or entry.
        what: &'static str,
        /// Its length.
        length: usize,
    },
}

/// Ordered byte keys and their values. Keys that begin with a zero byte are the working set's own.
pub trait Store {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Sets the value of `key`.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Forgets `key`; nothing happens when it is not there.
    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError>;
    /// The first `limit` pairs, in key order, whose key begins with `prefix` and is not below `from`.
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;
}

/// Turns journal entries into key/value pairs. The same entries give the same pairs, always.
pub trait Fold: Clone + fmt::Debug + Send + Sync + 'static {
    /// Version of the keys and values it writes.
    const SCHEMA_VERSION: u32;

    /// Oldest version whose checkpoints it still reads: this version and the one before (rule M3). What sled holds of any
    /// other version is folded anew; only a checkpoint of a version that is not read, behind which the journal no longer
    /// reaches, is refused by name.
    const READS_FROM: u32 = Self::SCHEMA_VERSION;

    /// A pair of a checkpoint of the older version `_from`, as this version would have written it; `None`: it is dropped.
    /// Fields that were only added need nothing.
    fn migrate(&self, _from: u32, pair: Pair) -> Option<Pair> {
        Some(pair)
    }

    /// Applies one entry. Total: entries it does not understand change nothing; the only error is the store's own.
    fn apply(&self, store: &mut dyn Store, sequence: u64, payload: &[u8]) -> Result<(), StoreError>;
}
