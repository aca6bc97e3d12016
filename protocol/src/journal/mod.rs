//! The journal's bytes: segment files of hash-chained records, and checkpoint files.
//!
//! A segment file is a [`SegmentHeader`] followed by batches. A batch is zero or more entries and one commit marker; a
//! batch without its marker did not happen. All integers are little-endian.
//!
//! ```text
//! segment  = header entry* commit entry* commit ... unwritten
//! record   = magic[4] length:u32 kind:u8 sequence:u64 previous[32] payload[length] crc32c:u32
//! entry    = record of kind 1; takes the next sequence; `previous` is the chain hash of the entry before it
//! commit   = record of kind 2; `sequence` and `previous` are those of the chain's head, payload = first:u64 boots:u64
//! unwritten: zeros, or what an older use of the same file left there: it can only hold lower sequences
//! ```
//!
//! The chain hash of an entry is BLAKE3 over its record without the CRC. The CRC finds damage, the chain finds records
//! that are whole but do not belong here.
//!
//! Promises: a length is compared with its bound before anything is allocated; no input panics; any flipped bit of a
//! committed batch is noticed. Never: touches a file, or knows what an entry means.

mod checkpoint;
mod reader;
mod record;
mod segment;

pub use checkpoint::{
    CHECKPOINT_HEADER_BYTES, CheckpointDecoder, CheckpointEncoder, CheckpointError, CheckpointHeader, CheckpointStep,
    KEY_BYTES, VALUE_BYTES,
};
pub use reader::{Batch, Ending, Event, Position, SegmentReader};
pub use record::{
    COMMIT_BYTES, ChainHash, Commit, ENTRY_BYTES, RECORD_OVERHEAD, Record, RecordBody, RecordError, Step, write_commit,
    write_entry,
};
pub use segment::{FORMAT_VERSIONS, HEADER_BYTES, HeaderError, SegmentHeader, StoreId};

#[cfg(test)]
mod tests;
