//! The one writer: takes what is queued, writes it with a commit marker, flushes once, tells.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lockbridge_protocol::journal::{COMMIT_BYTES, Commit, HEADER_BYTES, Position, SegmentHeader, write_commit};

use super::disk::DiskFile;
use super::queue::Waiting;
use super::shared::{Prepared, Segment, Shared};
use crate::health::TURN;
use crate::limits::JOURNAL_COMMIT_BYTES;

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    position: Position,
    scratch: Vec<u8>,
}

/// The segment being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    /// Where the next batch goes; 0: not even the header is written.
    pub(super) offset: u64,
    pub(super) index: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, active: Option<Active>, position: Position) -> Self {
        Self { shared, active, position, scratch: Vec::new() }
    }

    /// Bytes for records left in the active segment.
    pub(super) fn left(&self) -> u64 {
        let begin = |active: &Active| active.offset.max(HEADER_BYTES as u64);
        self.active.as_ref().map_or(0, |active| self.shared.options.segment_bytes.saturating_sub(begin(active)))
    }

    /// Commits until the journal is closed or fails.
    pub(super) fn run(mut self) {
        let mut batch = Waiting::default();
        while self.take(&mut batch) {
            if let Err(error) = self.commit_all(&batch) {
                self.shared.fail("commit a batch to the active segment", &error);
                break;
            }
            batch.bytes.clear();
            batch.records.clear();
        }
        self.shared.writer_ended();
    }

    /// Swaps the emptied `batch` for what is queued; waits while that is nothing. False: closed and all is written.
    fn take(&self, batch: &mut Waiting) -> bool {
        let mut queue = self.shared.queue();
        loop {
            self.shared.options.pulse.turn();
            if queue.failed {
                return false;
            }
            if !queue.waiting.records.is_empty() {
                std::mem::swap(&mut queue.waiting, batch);
                queue.taken_bytes = batch.bytes.len();
                return true;
            }
            if queue.closed {
                return false;
            }
            queue = self.shared.queued.wait_timeout(queue, TURN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn commit_all(&mut self, batch: &Waiting) -> io::Result<()> {
        let mut records = batch.records.as_slice();
        let mut begin = 0;
        while !records.is_empty() {
            let room = usize::try_from(self.left()).unwrap_or(usize::MAX).saturating_sub(COMMIT_BYTES);
            let bound = begin + room.min(JOURNAL_COMMIT_BYTES);
            let (now, later) = records.split_at(records.partition_point(|(end, ..)| *end <= bound));
            let Some((end, position, _)) = now.last() else {
                if room < JOURNAL_COMMIT_BYTES {
                    self.roll()?;
                    continue;
                }
                return Err(io::Error::other("an entry larger than a batch was queued"));
            };
            self.commit(&batch.bytes[begin..*end], *position)?;
            let markers = i64::try_from((now.len() - 1) * COMMIT_BYTES).unwrap_or(0);
            let written = end - begin;
            let payload: usize = now.iter().map(|(.., payload)| payload).sum();
            Shared::count(&self.shared.counters.entries, now.len() as u64);
            Shared::count(&self.shared.counters.payload_bytes, payload as u64);
            self.shared.options.pulse.turn();
            self.shared.publish(self.position);
            self.shared.change_room(|queue| {
                queue.room += markers;
                queue.taken_bytes = queue.taken_bytes.saturating_sub(written);
            });
            (records, begin) = (later, *end);
        }
        Ok(())
    }

    /// One write, one flush. `records` lead to `position`.
    fn commit(&mut self, records: &[u8], position: Position) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Err(io::Error::other("no active segment")) };
        self.scratch.clear();
        if active.offset == 0 {
            let header = SegmentHeader {
                store_id: self.shared.store_id,
                index: active.index,
                boot_counter: self.shared.boot_counter,
                start: self.position,
            };
            self.scratch.extend_from_slice(&header.encode());
        }
        self.scratch.extend_from_slice(records);
        let last = position.next.saturating_sub(1);
        let commit = Commit { first: self.position.next, last, boot_counter: self.shared.boot_counter };
        write_commit(&mut self.scratch, commit, position.head);
        active.file.write_at(&self.scratch, active.offset)?;
        active.file.sync_data()?;
        active.offset += self.scratch.len() as u64;
        self.position = position;
        let counters = &self.shared.counters;
        Shared::count(&counters.commits, 1);
        Shared::count(&counters.flushes, 1);
        Shared::count(&counters.committed_bytes, self.scratch.len() as u64);
        Ok(())
    }

    /// An empty batch, so that this start of the store is on record and the disk is known to take writes.
    pub(super) fn commit_start(&mut self) -> io::Result<()> {
        if self.left() < COMMIT_BYTES as u64 {
            self.roll()?;
        }
        self.commit(&[], self.position)
    }

    /// Goes on to the next prepared segment; its head is written with its first batch.
    fn roll(&mut self) -> io::Result<()> {
        let left = i64::try_from(self.left()).unwrap_or(0);
        let mut segments = self.shared.segments();
        let Prepared { index, path, file } = loop {
            if let Some(prepared) = segments.prepared.pop_front() {
                break prepared;
            }
            // Space for every queued entry was set aside when it was taken in; so the next segment is on its way.
            {
                let queue = self.shared.queue();
                if queue.failed || (queue.closed && queue.full) {
                    return Err(io::Error::other("no segment could be prepared"));
                }
            }
            let wait = self.shared.segments_changed.wait_timeout(segments, Duration::from_secs(1));
            segments = wait.unwrap_or_else(PoisonError::into_inner).0;
        };
        segments.list.push(Segment { path, start: self.position, quarantined: false });
        drop(segments);
        self.active = Some(Active { file, offset: 0, index });
        self.shared.change_room(|queue| {
            queue.room -= left;
            queue.prepared -= 1;
        });
        self.shared.segments_changed.notify_all();
        Ok(())
    }
}
