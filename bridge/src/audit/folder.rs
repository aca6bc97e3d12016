//! A journal folder as a source. It may be in use: segments are begun, appended to and given up while it is read.
//!
//! What is listed last is read last, and a daemon gives up its oldest segments only; so the order of the steps here keeps a
//! running daemon from looking like tampering: checkpoint heads, then segment heads from the newest down (a closed segment
//! is whole once its successor has a head), then the segments from the oldest up.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lockbridge_protocol::journal::{
    HEADER_BYTES, HeaderError, Position, Record, RecordBody, SegmentHeader, Step, StoreId,
};

use super::chain::{Chain, whole};
use super::finding::Code;
use super::keys::Keys;
use super::segment::Segment;
use super::verdict::{Verdict, Visited};
use super::{AuditError, checkpoint};
use crate::identity::PublicKeys;
use crate::journal::JournalFiles;

/// No segment is longer, whatever its settings.
const SEGMENT_MAXIMUM: u64 = 64 * 1024 * 1024;
/// How often the beginning is tried again when the daemon gave it up meanwhile.
const TRIES: usize = 5;

/// A segment file with a head.
struct Head {
    path: PathBuf,
    index: u64,
    quarantined: bool,
    header: Result<SegmentHeader, HeaderError>,
}

/// What came of a try.
enum Tried {
    Done(Box<Verdict>),
    /// The first segment was given up before it was read.
    Again,
}

pub(super) fn verify(
    state: &Path,
    keys: &Keys,
    visit: &mut dyn FnMut(&Visited<'_>) -> Result<(), AuditError>,
) -> Result<Verdict, AuditError> {
    // Without an identity the keys must be given; that is told as a finding where one is needed.
    let keys = keys.or_beside(&PublicKeys::read(state).unwrap_or_default());
    for _ in 0..TRIES {
        if let Tried::Done(verdict) = once(state, &keys, visit)? {
            return Ok(*verdict);
        }
    }
    Err(AuditError::Moving { path: state.to_owned() })
}

fn once(
    state: &Path,
    keys: &Keys,
    visit: &mut dyn FnMut(&Visited<'_>) -> Result<(), AuditError>,
) -> Result<Tried, AuditError> {
    let nothing = || AuditError::Nothing { path: state.to_owned() };
    let files = match JournalFiles::list(state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(nothing()),
        listed => listed.map_err(AuditError::read(&state.join("journal")))?,
    };
    let checkpoints = checkpoint::heads(&files)?;
    // Again, from here on: a segment may have been begun since, and one that was begun has a head.
    let files = JournalFiles::list(state).map_err(AuditError::read(&state.join("journal")))?;
    let heads = segment_heads(&files)?;
    let Some(store_id) = owner(&heads) else { return Err(nothing()) };
    let starts: Vec<Option<Position>> = heads.iter().map(start_of).collect();
    let Some(begin) = heads.iter().zip(&starts).find_map(|(head, start)| start.filter(|_| head.is_of(store_id))) else {
        return Err(nothing());
    };
    let mut chain = Chain::begin(keys, visit, store_id, begin);
    let mut read_any = false;
    for (at, head) in heads.iter().enumerate() {
        let place = whole(&head.path);
        if !head.is_of(store_id) {
            chain.finding(Code::Foreign, None, place, "the segment is of another journal".to_owned());
            continue;
        }
        match head.header {
            Ok(header) if header.index != head.index => {
                let message = format!(
                    "the file is named as segment {}, and says that it is segment {}",
                    head.index, header.index
                );
                chain.finding(Code::SegmentHead, None, place, message);
            }
            Err(_) => {
                chain.finding(Code::SegmentHead, None, place, "the head of the segment is damaged".to_owned());
            }
            Ok(_) => {}
        }
        let Some(start) = starts.get(at).copied().flatten() else { continue };
        if head.quarantined {
            chain.note(format!("{} was set aside by recovery.", head.path.display()));
        }
        if start.next < chain.position().next {
            let message = format!(
                "the segment begins with entry {}, and the chain has come to entry {} before it",
                start.next,
                chain.position().next
            );
            chain.finding(Code::Repeated, Some((start.next, start.next)), place, message);
            continue;
        }
        let last = at + 1 == heads.len();
        let Some(bytes) = read_if_same(head, last)? else {
            if read_any {
                return Err(AuditError::Moving { path: state.to_owned() });
            }
            return Ok(Tried::Again);
        };
        let until = starts.iter().skip(at + 1).flatten().map(|next| next.next).find(|next| *next > start.next);
        chain.segment(start, place);
        Segment { file: &head.path, bytes: &bytes, first: start.next, until }.walk(&mut chain)?;
        read_any = true;
    }
    for (path, header) in checkpoints {
        checkpoint::claim(&mut chain, &path, header)?;
    }
    Ok(Tried::Done(Box::new(chain.finish())))
}

impl Head {
    fn is_of(&self, store_id: StoreId) -> bool {
        self.header.is_ok_and(|header| header.store_id == store_id) || self.header == Err(HeaderError::Damaged)
    }
}

/// Heads of the segments in use, in the order of the chain.
fn segment_heads(files: &JournalFiles) -> Result<Vec<Head>, AuditError> {
    let mut heads = Vec::new();
    for file in files.segments.iter().rev() {
        let Some(bytes) = read(&file.path, HEADER_BYTES as u64)? else { continue };
        let header = SegmentHeader::decode(&bytes);
        if let Err(HeaderError::Version(_)) = header {
            let problem = header.err().map(|error| error.to_string()).unwrap_or_default();
            return Err(AuditError::Version { path: file.path.clone(), problem });
        }
        // Prepared and not used, or being taken back.
        if header != Err(HeaderError::Unused) {
            heads.push(Head { path: file.path.clone(), index: file.index, quarantined: file.quarantined, header });
        }
    }
    heads.sort_by_key(|head| (head.header.map_or(head.index, |header| header.index), head.index, head.quarantined));
    Ok(heads)
}

/// The store most segments are of.
fn owner(heads: &[Head]) -> Option<StoreId> {
    let ids = || heads.iter().filter_map(|head| head.header.ok()).map(|header| header.store_id);
    ids().max_by_key(|id| (ids().filter(|other| other == id).count(), *id))
}

/// Where a segment begins: by its head, or, when that is damaged, by what its first record says of itself.
fn start_of(head: &Head) -> Option<Position> {
    if let Ok(header) = head.header {
        return Some(header.start);
    }
    let bytes = read(&head.path, SEGMENT_MAXIMUM).ok().flatten()?;
    let Ok(Step::Record(record, _)) = Record::read(bytes.get(HEADER_BYTES..)?) else { return None };
    Some(match record.body {
        RecordBody::Entry(_) => Position { next: record.sequence, head: record.previous },
        RecordBody::Commit(commit) => Position { next: commit.first, head: record.previous },
    })
}

/// The segment's bytes, if the file is still the one whose head was read.
fn read_if_same(head: &Head, last: bool) -> Result<Option<Vec<u8>>, AuditError> {
    let mut bytes = read(&head.path, SEGMENT_MAXIMUM)?;
    if let (true, Some(bytes)) = (last, &mut bytes) {
        settle(bytes, &read(&head.path, SEGMENT_MAXIMUM)?.unwrap_or_default());
    }
    // The head is looked at again after the content: a segment given up meanwhile has lost it.
    let again = read(&head.path, HEADER_BYTES as u64)?;
    Ok(bytes.filter(|_| again.is_some_and(|again| SegmentHeader::decode(&again) == head.header)))
}

/// Keeps what two readings agree on. The daemon may write a batch while the segment is read, and the reading may see a later
/// page of it without an earlier one; by the second reading the earlier one is there too.
fn settle(bytes: &mut [u8], again: &[u8]) {
    let same = bytes.iter().zip(again).take_while(|(one, other)| one == other).count();
    if let Some(rest) = bytes.get_mut(same..) {
        rest.fill(0);
    }
}

/// At most `bound` bytes of a file; `None` when it is not there (any more).
pub(super) fn read(path: &Path, bound: u64) -> Result<Option<Vec<u8>>, AuditError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.and_then(|file| file.take(bound).read_to_end(&mut bytes)).map_err(AuditError::read(path))?,
    };
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::settle;

    #[test]
    fn what_changed_between_two_readings_counts_as_unwritten() {
        let mut torn = *b"committed....LATER PAGE";
        settle(&mut torn, b"committed EARLY LATER PAGE");
        assert_eq!(&torn, b"committed\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let mut same = *b"same";
        settle(&mut same, b"same and more");
        assert_eq!(&same, b"same");
    }
}
