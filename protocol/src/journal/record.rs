//! One record: layout, checksum, chain hash.

use std::fmt;

use thiserror::Error;

use super::segment::StoreId;

/// Largest payload of an entry: a command and a report at their largest, sealed, with room for the readable extract.
pub const ENTRY_BYTES: usize = 256 * 1024;
/// Bytes of a record besides its payload.
pub const RECORD_OVERHEAD: usize = 53;
/// Bytes of a commit marker.
pub const COMMIT_BYTES: usize = RECORD_OVERHEAD + COMMIT_PAYLOAD;

const COMMIT_PAYLOAD: usize = 16;
/// First byte chosen to be rare, because damaged segments are searched for it; never zero, because zeros are unwritten.
pub(super) const MAGIC: [u8; 4] = [0xB7, b'L', b'B', b'R'];
const KIND_ENTRY: u8 = 1;
const KIND_COMMIT: u8 = 2;

/// Hash of an entry and, through it, of all entries before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before the first entry of a store, so that no two stores share a chain.
    pub fn genesis(store_id: StoreId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lockbridge journal chain v1");
        hasher.update(&store_id.0);
        Self(*hasher.finalize().as_bytes())
    }

    /// The chain hash of an entry that follows `self`; `None` when the payload is too long to be an entry.
    pub fn after(self, sequence: u64, payload: &[u8]) -> Option<Self> {
        let head = record_head(KIND_ENTRY, sequence, self, payload.len(), ENTRY_BYTES)?;
        Some(chain_hash(&[&head, payload]))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Closes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// First sequence of the batch; one past `last` when the batch is empty.
    pub first: u64,
    /// Last sequence of the batch.
    pub last: u64,
    /// Starts of this store so far.
    pub boot_counter: u64,
}

/// A record whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its sequence; of a commit marker, the last of its batch.
    pub sequence: u64,
    /// Chain hash of the entry before; of a commit marker, of the last entry of its batch.
    pub previous: ChainHash,
    /// What it says.
    pub body: RecordBody<'a>,
    /// Its chain hash; of a commit marker, `previous` again.
    pub hash: ChainHash,
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordBody<'a> {
    /// An entry's payload.
    Entry(&'a [u8]),
    /// The end of a batch.
    Commit(Commit),
}

/// What stands at one place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Zeros: nothing was written here.
    Unwritten,
    /// A record, and its length in bytes.
    Record(Record<'a>, usize),
}

/// Bytes that are neither unwritten nor a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// No record begins here.
    #[error("no record begins here")]
    Magic,
    /// A payload longer than its kind may have.
    #[error("a record of {0} payload bytes is longer than its kind may be")]
    Length(u32),
    /// A kind this version does not know.
    #[error("record kind {0} is unknown to this version")]
    Kind(u8),
    /// The segment ends inside the record.
    #[error("the segment ends inside a record")]
    Truncated,
    /// The checksum differs.
    #[error("the checksum of a record differs")]
    Checksum,
}

/// Appends the entry to `out` and returns its chain hash; `None`, with `out` unchanged, when `payload` exceeds
/// [`ENTRY_BYTES`].
pub fn write_entry(out: &mut Vec<u8>, sequence: u64, previous: ChainHash, payload: &[u8]) -> Option<ChainHash> {
    let head = record_head(KIND_ENTRY, sequence, previous, payload.len(), ENTRY_BYTES)?;
    write_record(out, &head, payload);
    Some(chain_hash(&[&head, payload]))
}

/// Appends a commit marker for a batch that ends at the chain hash `head`.
pub fn write_commit(out: &mut Vec<u8>, commit: Commit, head: ChainHash) {
    let mut payload = [0; COMMIT_PAYLOAD];
    for (to, from) in
        payload.iter_mut().zip(commit.first.to_le_bytes().into_iter().chain(commit.boot_counter.to_le_bytes()))
    {
        *to = from;
    }
    if let Some(record) = record_head(KIND_COMMIT, commit.last, head, COMMIT_PAYLOAD, COMMIT_PAYLOAD) {
        write_record(out, &record, &payload);
    }
}

impl<'a> Record<'a> {
    /// What every record begins with, for who searches damaged bytes for one.
    pub const FIRST_BYTE: u8 = MAGIC[0];

    /// Reads what stands at the beginning of `bytes`.
    pub fn read(bytes: &'a [u8]) -> Result<Step<'a>, RecordError> {
        let (magic, rest) = match bytes.split_first_chunk::<4>() {
            Some(parts) => parts,
            // A remainder too short for any record is the end when nothing was written there.
            None if bytes.iter().all(|byte| *byte == 0) => return Ok(Step::Unwritten),
            None => return Err(RecordError::Truncated),
        };
        if *magic == [0; 4] {
            return Ok(Step::Unwritten);
        }
        if *magic != MAGIC {
            return Err(RecordError::Magic);
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(RecordError::Truncated)?;
        let ([kind], rest) = rest.split_first_chunk::<1>().ok_or(RecordError::Truncated)?;
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or(RecordError::Truncated)?;
        let (previous, rest) = rest.split_first_chunk::<32>().ok_or(RecordError::Truncated)?;
        let (length, sequence, previous) =
            (u32::from_le_bytes(*length), u64::from_le_bytes(*sequence), ChainHash(*previous));
        let payload_bytes = usize::try_from(length).map_err(|_| RecordError::Length(length))?;
        let fits = match *kind {
            KIND_ENTRY => payload_bytes <= ENTRY_BYTES,
            KIND_COMMIT => payload_bytes == COMMIT_PAYLOAD,
            other => return Err(RecordError::Kind(other)),
        };
        if !fits {
            return Err(RecordError::Length(length));
        }
        let (payload, rest) = rest.split_at_checked(payload_bytes).ok_or(RecordError::Truncated)?;
        let (stored, _) = rest.split_first_chunk::<4>().ok_or(RecordError::Truncated)?;
        let total = payload_bytes.saturating_add(RECORD_OVERHEAD);
        let checked = bytes.get(..total.saturating_sub(4)).ok_or(RecordError::Truncated)?;
        if crc32c::crc32c(checked) != u32::from_le_bytes(*stored) {
            return Err(RecordError::Checksum);
        }
        let (body, hash) = match (*kind, payload.split_first_chunk::<8>()) {
            (KIND_COMMIT, Some((first, boots))) => {
                let (boots, _) = boots.split_first_chunk::<8>().ok_or(RecordError::Truncated)?;
                let (first, boot_counter) = (u64::from_le_bytes(*first), u64::from_le_bytes(*boots));
                (RecordBody::Commit(Commit { first, last: sequence, boot_counter }), previous)
            }
            _ => (RecordBody::Entry(payload), chain_hash(&[checked])),
        };
        Ok(Step::Record(Self { sequence, previous, body, hash }, total))
    }

    /// The sequence that bytes which look like a record claim to have; their checksum was not looked at.
    pub fn claimed(bytes: &[u8]) -> Option<u64> {
        bytes.starts_with(&MAGIC).then(|| Self::claimed_sequence(bytes)).flatten()
    }

    /// The sequence in the fixed part at the beginning of `bytes`, unverified: cheap to ask while searching.
    pub(super) fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
        let sequence = bytes.get(9..17)?;
        Some(u64::from_le_bytes(*sequence.first_chunk::<8>()?))
    }
}

/// Everything before the payload; `None` when the payload is longer than `bound`.
fn record_head(kind: u8, sequence: u64, previous: ChainHash, length: usize, bound: usize) -> Option<Vec<u8>> {
    if length > bound {
        return None;
    }
    let length = u32::try_from(length).ok()?;
    let mut head = Vec::with_capacity(RECORD_OVERHEAD);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&length.to_le_bytes());
    head.push(kind);
    head.extend_from_slice(&sequence.to_le_bytes());
    head.extend_from_slice(&previous.0);
    Some(head)
}

fn write_record(out: &mut Vec<u8>, head: &[u8], payload: &[u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(head), payload);
    out.extend_from_slice(head);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn chain_hash(parts: &[&[u8]]) -> ChainHash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    ChainHash(*hasher.finalize().as_bytes())
}
