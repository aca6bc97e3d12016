//! The working set: what the journal says, folded into key/value pairs that can be asked.

pub mod fold;
mod memory_store;
pub mod store;

pub use memory_store::MemoryStore;
pub use store::{Fold, Pair, Store, StoreError};
