//! The head of a segment file: which store, which segment, where in the chain.

use std::fmt;

use thiserror::Error;

use super::reader::Position;
use super::record::ChainHash;

/// Bytes of a segment's header; the first record follows at once.
pub const HEADER_BYTES: usize = 88;
/// Format versions this code reads; it writes the highest.
pub const FORMAT_VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;

const MAGIC: [u8; 8] = *b"LBJOURN\n";

/// 16 random bytes made with a store: two journals never share it, a copy of one does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Debug for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The head of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store_id: StoreId,
    /// Its place among the store's segments: 1, 2, 3, ...
    pub index: u64,
    /// Starts of the store when this segment was begun.
    pub boot_counter: u64,
    /// The first sequence written here and the chain hash before it.
    pub start: Position,
}

/// Why bytes are not the head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// All zeros: prepared ahead and not yet in use.
    #[error("the segment is not in use yet")]
    Unused,
    /// Not a journal segment, or its head is torn or damaged.
    #[error("the head of the segment is damaged, or this is no journal segment")]
    Damaged,
    /// Written by a version this code does not read.
    #[error("the segment has format version {0}; this version reads {low} to {high}", low = FORMAT_VERSIONS.start(), high = FORMAT_VERSIONS.end())]
    Version(u32),
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSIONS.end().to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.store_id.0);
        out.extend_from_slice(&self.boot_counter.to_le_bytes());
        out.extend_from_slice(&self.start.next.to_le_bytes());
        out.extend_from_slice(&self.start.head.0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a header from the beginning of a segment file.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>().ok_or(HeaderError::Damaged)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::Unused);
        }
        let (checked, stored) = bytes.split_last_chunk::<4>().ok_or(HeaderError::Damaged)?;
        if crc32c::crc32c(checked) != u32::from_le_bytes(*stored) {
            return Err(HeaderError::Damaged);
        }
        let rest = checked.strip_prefix(&MAGIC).ok_or(HeaderError::Damaged)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Damaged)?;
        let (index, rest) = rest.split_first_chunk::<8>().ok_or(HeaderError::Damaged)?;
        let (store_id, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Damaged)?;
        let (boot_counter, rest) = rest.split_first_chunk::<8>().ok_or(HeaderError::Damaged)?;
        let (next, rest) = rest.split_first_chunk::<8>().ok_or(HeaderError::Damaged)?;
        let (head, _) = rest.split_first_chunk::<32>().ok_or(HeaderError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if !FORMAT_VERSIONS.contains(&version) {
            return Err(HeaderError::Version(version));
        }
        Ok(Self {
            store_id: StoreId(*store_id),
            index: u64::from_le_bytes(*index),
            boot_counter: u64::from_le_bytes(*boot_counter),
            start: Position { next: u64::from_le_bytes(*next), head: ChainHash(*head) },
        })
    }
}
