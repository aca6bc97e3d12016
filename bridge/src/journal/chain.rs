//! Following the chain from segment to segment at opening.

use std::io;

use lockbridge_protocol::journal::{
    ChainHash, Ending, Event, HEADER_BYTES, Position, Record, RecordBody, SegmentReader, Step, StoreId,
};

use super::disk::{Disk, DiskFile, read_whole};
use super::recover::{Damage, Found, OpenError, failed, set_aside};
use super::shared::Segment;
use super::writer::Active;

/// The chain as followed so far.
pub(super) struct Chain {
    pub(super) position: Position,
    /// False behind lost entries at the end of a segment: only the next segment's header knows their hash.
    head_known: bool,
    pub(super) boot_counter: u64,
    pub(super) list: Vec<Segment>,
    pub(super) active: Option<Active>,
    pub(super) damage: Vec<Damage>,
}

/// Follows the chain through the segments, oldest first. Those that only hold entries up to `settled` are not read.
pub(super) fn follow(
    disk: &dyn Disk,
    used: Vec<Found>,
    store_id: StoreId,
    settled: u64,
    segment_bytes: u64,
) -> Result<Chain, OpenError> {
    let genesis = Position { next: 1, head: ChainHash::genesis(store_id) };
    let first = used.first().and_then(|found| start_of(found, segment_bytes)).unwrap_or(genesis);
    let mut chain = Chain {
        position: first,
        head_known: true,
        boot_counter: 0,
        list: Vec::new(),
        active: None,
        damage: Vec::new(),
    };
    let mut used = used.into_iter().peekable();
    while let Some(found) = used.next() {
        let header = found.header.ok();
        let start = start_of(&found, segment_bytes).unwrap_or(chain.position);
        if start.next < chain.position.next {
            if !found.quarantined {
                chain.damage.push(Damage::Foreign { file: set_aside(disk, &found.path)? });
            }
            continue;
        }
        if start.next > chain.position.next {
            let (from, through) = (chain.position.next, start.next - 1);
            chain.damage.push(Damage::Lost { from, through, file: None });
        } else if chain.head_known && start.head != chain.position.head {
            // The numbers fit and the hashes do not: another history. What stands here cannot be held against anything.
            chain.damage.push(Damage::Foreign { file: found.path.clone() });
        }
        chain.position = start;
        chain.boot_counter = chain.boot_counter.max(header.map_or(0, |header| header.boot_counter));
        // A segment that is missing in between is not a damage of this one.
        let next = used.peek().filter(|next| next.index == found.index + 1).and_then(|next| next.header.ok());
        let (until, next_head) = (next.map(|next| next.start.next), next.map(|next| next.start.head));
        if let (Some(until), Some(head), true) = (until, next_head, header.is_some())
            && until <= settled + 1
            && until >= start.next
        {
            chain.list.push(Segment { path: found.path, start, quarantined: found.quarantined });
            (chain.position, chain.head_known) = (Position { next: until, head }, true);
            continue;
        }
        let is_last = used.peek().is_none();
        chain.read(disk, found, start, until, is_last, segment_bytes)?;
    }
    Ok(chain)
}

/// Where a segment begins: what its head says, or, when that is damaged, what its first record says of itself.
fn start_of(found: &Found, segment_bytes: u64) -> Option<Position> {
    if let Ok(header) = found.header {
        return Some(header.start);
    }
    let bytes = read_whole(found.file.as_ref(), segment_bytes).ok()?;
    match Record::read(bytes.get(HEADER_BYTES..)?) {
        Ok(Step::Record(record, _)) => Some(match record.body {
            RecordBody::Entry(_) => Position { next: record.sequence, head: record.previous },
            RecordBody::Commit(commit) => Position { next: commit.first, head: record.previous },
        }),
        _ => None,
    }
}

impl Chain {
    /// Flushes, reads and verifies one segment.
    fn read(
        &mut self,
        disk: &dyn Disk,
        found: Found,
        start: Position,
        until: Option<u64>,
        is_last: bool,
        segment_bytes: u64,
    ) -> Result<(), OpenError> {
        found.file.sync_all().map_err(failed("flush", &found.path))?;
        let bytes = read_whole(found.file.as_ref(), segment_bytes).map_err(failed("read", &found.path))?;
        let mut reader = SegmentReader::new(&bytes, HEADER_BYTES, start, until);
        let mut lost = Vec::new();
        let mut batches = 0_u64;
        let ending = loop {
            match reader.next_event() {
                Event::Batch(batch) => {
                    batches += 1;
                    self.boot_counter = self.boot_counter.max(batch.boot_counter.unwrap_or(0));
                }
                Event::Lost { from, through } => lost.push((from, through)),
                Event::End(ending) => break ending,
            }
        };
        self.position = reader.position();
        self.head_known =
            !lost.last().is_some_and(|&(from, through)| from <= through && through + 1 == self.position.next);
        let offset = reader.offset() as u64;
        let headless = found.header.is_err();
        if headless && batches == 0 && lost.is_empty() {
            // Its first batch, which would have brought the head, did not happen.
            return disk.remove(&found.path).map_err(failed("remove torn", &found.path));
        }
        let damaged = headless || !lost.is_empty();
        let mut segment = Segment { path: found.path, start, quarantined: found.quarantined };
        if damaged && !segment.quarantined {
            segment.path = set_aside(disk, &segment.path)?;
            segment.quarantined = true;
        }
        let file = Some(segment.path.clone());
        self.damage.extend(lost.iter().map(|&(from, through)| Damage::Lost { from, through, file: file.clone() }));
        if headless && lost.is_empty() {
            self.damage.push(Damage::Foreign { file: segment.path.clone() });
        }
        if is_last && !segment.quarantined && bytes.len() as u64 == segment_bytes {
            if ending == Ending::Torn {
                clear(found.file.as_ref(), offset, segment_bytes)
                    .map_err(failed("clear the torn end of", &segment.path))?;
            }
            let index = found.index;
            self.active = Some(Active { file: found.file, offset, index });
        }
        self.list.push(segment);
        Ok(())
    }
}

/// Writes zeros over the remains of a batch that did not happen.
fn clear(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(to - from).unwrap_or(0)];
    file.write_at(&zeros, from)?;
    file.sync_data()
}
