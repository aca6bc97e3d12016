//! Checkpoint files: all key/value pairs of the working set as of one sequence.
//!
//! ```text
//! checkpoint = header item* trailer
//! header     = magic[8] format:u32 schema:u32 store_id[16] sequence:u64 head[32] crc32c:u32
//! item       = key_length:u32 value_length:u32 key value          (key_length > 0)
//! trailer    = 0:u32 0:u32 count:u64 blake3[32]                   (hash of everything before it)
//! ```
//!
//! The header alone is enough to know how far a checkpoint reaches; nothing in it may be used before the trailer agreed.

use thiserror::Error;

use super::record::ChainHash;
use super::segment::StoreId;

/// Bytes of the header.
pub const CHECKPOINT_HEADER_BYTES: usize = 76;
/// Longest key.
pub const KEY_BYTES: usize = 1024;
/// Longest value: an entry at its largest, with room for what the fold adds.
pub const VALUE_BYTES: usize = 512 * 1024;

const MAGIC: [u8; 8] = *b"LBCHKPT\n";
const FORMAT_VERSION: u32 = 1;
const ITEM_HEAD_BYTES: usize = 8;
const TRAILER_BYTES: usize = 48;

/// The head of a checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Version of the key schema of the items.
    pub schema_version: u32,
    /// Store of the journal it was folded from.
    pub store_id: StoreId,
    /// Last entry folded in.
    pub sequence: u64,
    /// Chain hash of that entry.
    pub head: ChainHash,
}

/// Why bytes are not a whole checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not a checkpoint, or its head is damaged.
    #[error("the head of the checkpoint is damaged, or this is no checkpoint")]
    Header,
    /// Another format.
    #[error("the checkpoint has format version {0}; this version reads {FORMAT_VERSION}")]
    Version(u32),
    /// A key or value longer than allowed.
    #[error("a checkpoint item of {key} key bytes and {value} value bytes is too long")]
    TooLong {
        /// Claimed or given length of the key.
        key: usize,
        /// Claimed or given length of the value.
        value: usize,
    },
    /// Count or hash of the trailer differ.
    #[error("count or hash at the end of the checkpoint differ from its content")]
    Trailer,
}

impl CheckpointHeader {
    /// Reads the header from the beginning of a checkpoint file.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let bytes = bytes.first_chunk::<CHECKPOINT_HEADER_BYTES>().ok_or(CheckpointError::Header)?;
        let (checked, stored) = bytes.split_last_chunk::<4>().ok_or(CheckpointError::Header)?;
        if crc32c::crc32c(checked) != u32::from_le_bytes(*stored) {
            return Err(CheckpointError::Header);
        }
        let rest = checked.strip_prefix(&MAGIC).ok_or(CheckpointError::Header)?;
        let (format, rest) = rest.split_first_chunk::<4>().ok_or(CheckpointError::Header)?;
        let (schema, rest) = rest.split_first_chunk::<4>().ok_or(CheckpointError::Header)?;
        let (store_id, rest) = rest.split_first_chunk::<16>().ok_or(CheckpointError::Header)?;
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or(CheckpointError::Header)?;
        let (head, _) = rest.split_first_chunk::<32>().ok_or(CheckpointError::Header)?;
        let format = u32::from_le_bytes(*format);
        if format != FORMAT_VERSION {
            return Err(CheckpointError::Version(format));
        }
        Ok(Self {
            schema_version: u32::from_le_bytes(*schema),
            store_id: StoreId(*store_id),
            sequence: u64::from_le_bytes(*sequence),
            head: ChainHash(*head),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.schema_version.to_le_bytes());
        out.extend_from_slice(&self.store_id.0);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.head.0);
        let crc = crc32c::crc32c(out.get(begin..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// Writes a checkpoint piece by piece; the caller moves the pieces to the file.
#[derive(Debug)]
pub struct CheckpointEncoder {
    hasher: blake3::Hasher,
    count: u64,
}

impl CheckpointEncoder {
    /// Appends the header to `out`.
    pub fn begin(header: &CheckpointHeader, out: &mut Vec<u8>) -> Self {
        let begin = out.len();
        header.encode(out);
        let mut hasher = blake3::Hasher::new();
        hasher.update(out.get(begin..).unwrap_or_default());
        Self { hasher, count: 0 }
    }

    /// Appends one pair to `out`. Keys are not empty.
    pub fn item(&mut self, key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), CheckpointError> {
        let too_long = CheckpointError::TooLong { key: key.len(), value: value.len() };
        if key.is_empty() || key.len() > KEY_BYTES || value.len() > VALUE_BYTES {
            return Err(too_long);
        }
        let key_length = u32::try_from(key.len()).map_err(|_| too_long)?;
        let value_length = u32::try_from(value.len()).map_err(|_| too_long)?;
        let begin = out.len();
        out.extend_from_slice(&key_length.to_le_bytes());
        out.extend_from_slice(&value_length.to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
        self.hasher.update(out.get(begin..).unwrap_or_default());
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Appends the trailer to `out`.
    pub fn finish(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; ITEM_HEAD_BYTES]);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(self.hasher.finalize().as_bytes());
    }
}

/// One step of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointStep<'a> {
    /// One pair, and the bytes it took from the input.
    Item {
        /// Key.
        key: &'a [u8],
        /// Value.
        value: &'a [u8],
        /// Bytes to drop from the front of the input before the next step.
        used: usize,
    },
    /// At least this many bytes are needed at the front of the input; when the file ends before, it is not whole.
    More(usize),
    /// The trailer agreed: everything read is good.
    End,
}

/// Reads a checkpoint piece by piece, after its header.
#[derive(Debug)]
pub struct CheckpointDecoder {
    hasher: blake3::Hasher,
    count: u64,
}

impl CheckpointDecoder {
    /// Takes the header's bytes, [`CHECKPOINT_HEADER_BYTES`] of them or more; the items follow behind it.
    pub fn begin(bytes: &[u8]) -> Result<(CheckpointHeader, Self), CheckpointError> {
        let header = CheckpointHeader::decode(bytes)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes.get(..CHECKPOINT_HEADER_BYTES).ok_or(CheckpointError::Header)?);
        Ok((header, Self { hasher, count: 0 }))
    }

    /// Reads the next pair, or the trailer, from the front of `bytes`.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<CheckpointStep<'a>, CheckpointError> {
        let Some((head, rest)) = bytes.split_first_chunk::<ITEM_HEAD_BYTES>() else {
            return Ok(CheckpointStep::More(ITEM_HEAD_BYTES));
        };
        if *head == [0; ITEM_HEAD_BYTES] {
            return self.trailer(rest);
        }
        let (Some(key), Some(value)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else {
            return Ok(CheckpointStep::More(ITEM_HEAD_BYTES));
        };
        let length = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
        let (key, value) = (length(key), length(value));
        if key == 0 || key > KEY_BYTES || value > VALUE_BYTES {
            return Err(CheckpointError::TooLong { key, value });
        }
        let used = ITEM_HEAD_BYTES.saturating_add(key).saturating_add(value);
        let Some(item) = bytes.get(..used) else { return Ok(CheckpointStep::More(used)) };
        let Some((key, rest)) = rest.split_at_checked(key) else { return Ok(CheckpointStep::More(used)) };
        let Some(value) = rest.get(..value) else { return Ok(CheckpointStep::More(used)) };
        self.hasher.update(item);
        self.count = self.count.saturating_add(1);
        Ok(CheckpointStep::Item { key, value, used })
    }

    fn trailer<'a>(&self, rest: &[u8]) -> Result<CheckpointStep<'a>, CheckpointError> {
        let Some((count, hash)) = rest.split_first_chunk::<8>() else { return Ok(CheckpointStep::More(TRAILER_BYTES)) };
        let Some(hash) = hash.first_chunk::<32>() else { return Ok(CheckpointStep::More(TRAILER_BYTES)) };
        if u64::from_le_bytes(*count) != self.count || *hash != *self.hasher.finalize().as_bytes() {
            return Err(CheckpointError::Trailer);
        }
        Ok(CheckpointStep::End)
    }
}
