//! The working set: what the journal says, folded into key/value pairs that can be asked.
//!
//! Owns `<state>/working-set/` (sled) and `<state>/working-set.trust`.
//!
//! Promises: it is exactly the journal entries applied to it, in order, up to [`WorkingSet::applied`]; deleting it loses
//! nothing. It writes checkpoints, from which it is rebuilt together with the journal, and by them lets the journal give
//! up old segments. Any error of sled ends the trust in what sled holds: the next start rebuilds it.
//!
//! Never: is trusted over the journal, or holds a secret (sled's deletes leave plaintext on disk).

mod backing;
mod base;
mod dump;
pub mod fold;
mod memory_store;
mod pair_store;
pub mod store;
mod transaction;
mod trust;
mod working_set;

pub use memory_store::MemoryStore;
pub use pair_store::StoreReader;
pub use store::{Fold, Pair, Store, StoreError};
pub use working_set::{OpenWorkingSetError, Origin, WorkingSet, WorkingSetOpened, WorkingSetOptions};

#[cfg(test)]
mod tests;
