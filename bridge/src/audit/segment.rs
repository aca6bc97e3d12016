//! One segment, record by record. Recovery may guess where a damaged journal goes on; the auditor says what does not fit.

use std::path::Path;

use lockbridge_protocol::journal::{ChainHash, HEADER_BYTES, Record, RecordBody, Step};

use super::AuditError;
use super::chain::Chain;
use super::finding::{At, Code, Place};

/// A segment as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) file: &'a Path,
    /// The whole file.
    pub(super) bytes: &'a [u8],
    /// Sequence it begins with.
    pub(super) first: u64,
    /// Sequence the next segment begins with; `None`: this is the last one.
    pub(super) until: Option<u64>,
}

/// An entry that waits for the mark of its batch.
struct Waiting<'a> {
    offset: usize,
    sequence: u64,
    previous: ChainHash,
    hash: ChainHash,
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Feeds the chain with everything that belongs to this use of the file. What an older use left behind the end has
    /// lower sequences and is passed over.
    pub(super) fn walk(&self, chain: &mut Chain<'_>) -> Result<(), AuditError> {
        let mut offset = HEADER_BYTES;
        let mut waiting: Vec<Waiting<'a>> = Vec::new();
        let mut reached = self.first;
        // First entry of the batch that is open; unknown behind damage.
        let (mut first, mut damaged) = (None, false);
        loop {
            let Some((record, length)) = self.current(offset, reached) else {
                // Unwritten, of an older use, torn or damaged: what stands further on tells.
                let Some(next) = self.search(offset.saturating_add(1), reached) else { break };
                self.take(chain, &mut waiting)?;
                let lost = chain.position().next;
                let message = format!("{} bytes are no record, or their checksum differs", next.saturating_sub(offset));
                chain.finding(Code::Damaged, Some((lost, lost)), self.place(offset), message);
                (offset, damaged) = (next, true);
                continue;
            };
            match record.body {
                RecordBody::Entry(payload) => {
                    reached = reached.max(record.sequence.saturating_add(1));
                    let (sequence, previous, hash) = (record.sequence, record.previous, record.hash);
                    first = Some(first.map_or(sequence, |first: u64| first.min(sequence)));
                    waiting.push(Waiting { offset, sequence, previous, hash, payload });
                }
                RecordBody::Commit(commit) => {
                    self.take(chain, &mut waiting)?;
                    let begun = (!damaged).then(|| first.unwrap_or_else(|| commit.last.saturating_add(1)));
                    chain.commit(self.place(offset), begun, commit, record.previous);
                    (first, damaged) = (None, false);
                }
            }
            offset = offset.saturating_add(length);
        }
        if waiting.is_empty() {
            self.remains(chain, offset, reached);
            return Ok(());
        }
        if self.until.is_none() {
            let first = waiting.first().map_or(reached, |entry| entry.sequence);
            chain.note(format!(
                "{}: the entries from {first} on are not committed: the daemon is writing them, or stopped while it was.",
                self.file.display()
            ));
            return Ok(());
        }
        let first = waiting.first().map_or(reached, |entry| entry.sequence);
        let message = "the mark that closes the last batch of the segment is not there".to_owned();
        chain.finding(Code::BatchMark, Some((first, reached.saturating_sub(1))), self.place(offset), message);
        self.take(chain, &mut waiting)
    }

    fn place(&self, offset: usize) -> Place<'a> {
        Place { file: self.file, at: At::Byte(offset) }
    }

    /// The record at `offset`, if it is a whole one of this use of the file.
    fn current(&self, offset: usize, reached: u64) -> Option<(Record<'a>, usize)> {
        let Ok(Step::Record(record, length)) = Record::read(self.bytes.get(offset..)?) else { return None };
        let after = record.sequence.saturating_add(1);
        let current = match record.body {
            RecordBody::Entry(_) => record.sequence >= self.first,
            // A mark of an older use can stand right below where this one begins.
            RecordBody::Commit(_) => after >= reached,
        };
        let inside = self.until.is_none_or(|until| record.sequence < until);
        (current && inside).then_some((record, length))
    }

    fn search(&self, from: usize, reached: u64) -> Option<usize> {
        let mut offset = from;
        while let Some(rest) = self.bytes.get(offset..) {
            let found = rest.iter().position(|byte| *byte == Record::FIRST_BYTE)?;
            offset = offset.saturating_add(found);
            if self.current(offset, reached).is_some() {
                return Some(offset);
            }
            offset = offset.saturating_add(1);
        }
        None
    }

    fn take(&self, chain: &mut Chain<'_>, waiting: &mut Vec<Waiting<'a>>) -> Result<(), AuditError> {
        for entry in waiting.drain(..) {
            chain.entry(self.place(entry.offset), entry.sequence, Some(entry.previous), entry.hash, entry.payload)?;
        }
        Ok(())
    }

    /// Says when something that is no record stands where the next one would.
    fn remains(&self, chain: &mut Chain<'_>, offset: usize, reached: u64) {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let claims = Record::claimed(rest).is_some_and(|sequence| {
            sequence.saturating_add(1) >= reached && self.until.is_none_or(|until| sequence < until)
        });
        if claims && self.until.is_none() {
            chain.note(format!(
                "{}: a record at byte {offset} is not whole: the daemon is writing it, or stopped while it was.",
                self.file.display()
            ));
        } else if claims {
            let message = "the last record of the segment is not whole, or its checksum differs".to_owned();
            let lost = chain.position().next;
            chain.finding(Code::Damaged, Some((lost, lost)), self.place(offset), message);
        }
    }
}
