//! Reading a segment: committed batches in order, and an honest account of everything that is not one.
//!
//! Where no record follows, three things can be the case, and the bytes after that place tell which:
//!
//! * *Unwritten*: the end.
//! * *Torn*: a batch that was being written when the power failed. It is the last one, because each batch is flushed
//!   before the next is begun; its marker may even have survived without some of its entries.
//! * *Damaged*: a whole commit marker of a **later** batch stands further on, so this place was once flushed and good. So
//!   was it when the very next entry of the chain stands further on: only a marker can have stood between.
//!
//! In a closed segment, whose successor says where it ended, every entry short of that end was committed: there even
//! entries without their marker count, and a missing one is damage.

use super::record::{ChainHash, MAGIC, Record, RecordBody, Step};

/// A place in the chain: what comes next, and the hash of what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Sequence of the next entry.
    pub next: u64,
    /// Chain hash of the entry before it.
    pub head: ChainHash,
}

/// A committed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Sequence, payload and chain hash of each entry; may be empty.
    pub entries: Vec<(u64, &'a [u8], ChainHash)>,
    /// Starts of the store when it was committed, if its marker is there.
    pub boot_counter: Option<u64>,
}

/// How the bytes after the last batch look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of this use of the file.
    Clean,
    /// Remains of a batch that did not happen.
    Torn,
}

/// What a [`SegmentReader`] finds next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A committed batch.
    Batch(Batch<'a>),
    /// Committed entries `from..=through` are damaged. None at all (`from > through`) when only a marker is.
    Lost {
        /// First lost sequence.
        from: u64,
        /// Last lost sequence.
        through: u64,
    },
    /// No more; the reader's [`offset`](SegmentReader::offset) is where a next batch would be written.
    End(Ending),
}

/// Reads the records of one segment.
#[derive(Debug, Clone)]
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    offset: usize,
    position: Position,
    until: Option<u64>,
    /// Reading goes on behind damage, inside a batch whose beginning may be lost.
    resumed: bool,
}

/// Where reading goes on behind a bad place.
struct Tail {
    resume: Option<(usize, Position)>,
    remains: bool,
}

impl<'a> SegmentReader<'a> {
    /// Reads `bytes`, a whole segment file, from `offset` on, where the chain stands at `position`. `until` is the first
    /// sequence of the next segment when this one is closed.
    pub fn new(bytes: &'a [u8], offset: usize, position: Position, until: Option<u64>) -> Self {
        Self { bytes, offset, position, until, resumed: false }
    }

    /// End of the last committed batch, in bytes from the beginning of the file.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Where the chain stands after the last committed batch.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next finding. After [`Event::End`] it is given again.
    pub fn next_event(&mut self) -> Event<'a> {
        if self.until.is_some_and(|until| self.position.next >= until) {
            return Event::End(Ending::Clean);
        }
        let (batch, committed, offset, position) = self.read_batch();
        let tail = if committed { Tail { resume: None, remains: false } } else { self.search_tail(offset, position) };
        let proven = self.until.is_some() || tail.resume.is_some();
        if committed || (proven && !batch.entries.is_empty()) {
            (self.offset, self.position, self.resumed) = (offset, position, !committed);
            return Event::Batch(batch);
        }
        match (tail.resume, self.until) {
            (Some((offset, position)), _) => {
                let lost = Event::Lost { from: self.position.next, through: position.next.saturating_sub(1) };
                (self.offset, self.position, self.resumed) = (offset, position, true);
                lost
            }
            (None, Some(until)) => {
                let lost = Event::Lost { from: self.position.next, through: until.saturating_sub(1) };
                // The chain goes on with the next segment's header; there is no hash to hold it against here.
                self.position.next = until;
                lost
            }
            (None, None) => Event::End(if tail.remains { Ending::Torn } else { Ending::Clean }),
        }
    }

    /// Entries from the current place up to a marker, or up to where they stop.
    fn read_batch(&self) -> (Batch<'a>, bool, usize, Position) {
        let mut batch = Batch { entries: Vec::new(), boot_counter: None };
        let (mut offset, mut position) = (self.offset, self.position);
        while let Some(Ok(Step::Record(record, length))) = self.bytes.get(offset..).map(Record::read) {
            if record.previous != position.head {
                break;
            }
            match record.body {
                RecordBody::Entry(payload)
                    if record.sequence == position.next && self.until.is_none_or(|until| record.sequence < until) =>
                {
                    batch.entries.push((record.sequence, payload, record.hash));
                    position = Position { next: record.sequence.saturating_add(1), head: record.hash };
                    offset = offset.saturating_add(length);
                }
                RecordBody::Commit(commit) => {
                    let begins = if self.resumed {
                        commit.first <= self.position.next
                    } else {
                        commit.first == self.position.next
                    };
                    if begins && commit.last.checked_add(1) == Some(position.next) {
                        batch.boot_counter = Some(commit.boot_counter);
                        return (batch, true, offset.saturating_add(length), position);
                    }
                    break;
                }
                RecordBody::Entry(_) => break,
            }
        }
        (batch, false, offset, position)
    }

    /// Looks for records of this use of the file from `offset` on, where the chain stands at `position`, and whether one
    /// proves damage.
    fn search_tail(&self, mut offset: usize, position: Position) -> Tail {
        let here = (offset, position);
        let mut tail = Tail { resume: None, remains: offset > self.offset };
        let mut candidate = None;
        while let Some(rest) = self.bytes.get(offset..) {
            let Some(found) = rest.iter().position(|byte| *byte == MAGIC[0]) else { break };
            offset = offset.saturating_add(found);
            let rest = self.bytes.get(offset..).unwrap_or_default();
            let current =
                rest.starts_with(&MAGIC) && Record::claimed_sequence(rest).is_some_and(|it| self.is_current(it));
            tail.remains |= current;
            let Some(Ok(Step::Record(record, length))) = current.then(|| Record::read(rest)) else {
                offset = offset.saturating_add(1);
                continue;
            };
            let (place, proof) = match record.body {
                RecordBody::Entry(_) => {
                    let place = Position { next: record.sequence, head: record.previous };
                    (place, self.until.is_some() || place == position)
                }
                RecordBody::Commit(commit) => (
                    Position { next: record.sequence.saturating_add(1), head: record.previous },
                    self.until.is_some() || commit.first > self.position.next,
                ),
            };
            // A record that stands exactly here and still was not taken cannot be where reading goes on.
            if place.next >= position.next && (offset, place) != here {
                let candidate = *candidate.get_or_insert((offset, place));
                if proof {
                    tail.resume = Some(candidate);
                    return tail;
                }
            }
            offset = offset.saturating_add(length);
        }
        tail
    }

    fn is_current(&self, sequence: u64) -> bool {
        // A marker's sequence is its batch's last: one less than what comes next, for an empty batch.
        sequence.saturating_add(1) >= self.position.next && self.until.is_none_or(|until| sequence < until)
    }
}
