//! What the caller's side, the writer thread and the preparing thread share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockbridge_protocol::journal::{COMMIT_BYTES, HEADER_BYTES, Position, RECORD_OVERHEAD, StoreId};
use tokio::sync::{Notify, watch};

use super::disk::DiskFile;
use super::queue::Queue;
use super::{Durable, JournalOptions, Space};
use crate::limits::JOURNAL_SEGMENTS_POOLED;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) options: JournalOptions,
    pub(super) store_id: StoreId,
    pub(super) boot_counter: u64,
    queue: Mutex<Queue>,
    /// The writer waits here for entries.
    pub(super) queued: Condvar,
    /// Threads wait here for commits.
    committed: Condvar,
    /// Appending tasks wait here for room.
    pub(super) room: Notify,
    pub(super) durable: watch::Sender<Durable>,
    pub(super) space: watch::Sender<Space>,
    segments: Mutex<Segments>,
    /// The writer waits here for prepared segments, the preparing thread for work.
    pub(super) segments_changed: Condvar,
    pub(super) counters: Counters,
}

/// The segment files.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// In use, oldest first; the last one may be the active one.
    pub(super) list: Vec<Segment>,
    /// Ready for the writer, in order of use.
    pub(super) prepared: VecDeque<Prepared>,
    /// No longer needed; to be made anew or removed.
    pub(super) retired: VecDeque<Segment>,
    /// Index of the next segment to prepare.
    pub(super) next_index: u64,
}

/// One segment in use.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) start: Position,
    pub(super) quarantined: bool,
}

/// One segment not yet in use.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) index: u64,
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn DiskFile>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) payload_bytes: AtomicU64,
    pub(super) committed_bytes: AtomicU64,
    pub(super) prepared_bytes: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        directory: PathBuf,
        options: JournalOptions,
        store_id: StoreId,
        boot_counter: u64,
        position: Position,
        segments: Segments,
    ) -> Arc<Self> {
        let durable = Durable { through: position.next.saturating_sub(1), chain_head: position.head, failed: false };
        let space = Space { ordinary_bytes: 0, reserve_bytes: 0, disk_free_bytes: 0, full: false };
        Arc::new(Self {
            directory,
            options,
            store_id,
            boot_counter,
            queue: Mutex::new(Queue::new(position)),
            queued: Condvar::new(),
            committed: Condvar::new(),
            room: Notify::new(),
            durable: watch::Sender::new(durable),
            space: watch::Sender::new(space),
            segments: Mutex::new(segments),
            segments_changed: Condvar::new(),
            counters: Counters::default(),
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes for records in a fresh segment.
    pub(super) fn capacity(&self) -> u64 {
        self.options.segment_bytes.saturating_sub(HEADER_BYTES as u64)
    }

    /// Segments that make up the reserve.
    pub(super) fn reserve_segments(&self) -> usize {
        usize::try_from(self.options.reserve_bytes.div_ceil(self.options.segment_bytes)).unwrap_or(usize::MAX)
    }

    /// Most that the ends of segments can leave unused, because the next entry did not fit. Kept when all are used up too, for
    /// the markers of later starts.
    fn roll_waste(&self, queue: &Queue) -> u64 {
        queue.prepared.max(1).unsigned_abs() * (self.options.entry_bytes + RECORD_OVERHEAD + COMMIT_BYTES) as u64
    }

    /// Changes what is left for entries, and tells everybody.
    pub(super) fn change_room(&self, change: impl FnOnce(&mut Queue)) {
        let (left, full, waste) = {
            let mut queue = self.queue();
            change(&mut queue);
            (queue.room, queue.full, self.roll_waste(&queue))
        };
        let left = u64::try_from(left).unwrap_or(0);
        let ordinary = left.saturating_sub(self.options.reserve_bytes + waste);
        self.space.send_if_modified(|space| {
            let before = *space;
            space.ordinary_bytes = ordinary;
            space.reserve_bytes = left - ordinary;
            space.full = full;
            before != *space
        });
        self.room.notify_waiters();
    }

    /// Whether an entry that costs `cost` bytes may take them now.
    pub(super) fn admits(&self, queue: &Queue, cost: i64, safety: bool) -> bool {
        let kept = self.roll_waste(queue) + if safety { 0 } else { self.options.reserve_bytes };
        queue.room.saturating_sub(cost) >= i64::try_from(kept).unwrap_or(i64::MAX)
    }

    /// Nothing becomes durable any more (rule F3).
    pub(super) fn fail(&self, attempted: &str, error: &std::io::Error) {
        tracing::error!(%error, attempted, directory = %self.directory.display(), "Journal failed; stopping.");
        self.queue().failed = true;
        self.durable.send_modify(|durable| durable.failed = true);
        self.wake_all();
    }

    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.wake_all();
    }

    fn wake_all(&self) {
        // The condition of the second variable is in the queue; passing through its mutex keeps a waiter from missing it.
        drop(self.segments());
        self.queued.notify_all();
        self.committed.notify_all();
        self.segments_changed.notify_all();
        self.room.notify_waiters();
    }

    pub(super) fn writer_ended(&self) {
        self.queue().writer_ended = true;
        self.wake_all();
    }

    /// Nobody needs prepared segments any more.
    pub(super) fn ended(&self) -> bool {
        self.queue().writer_ended
    }

    pub(super) fn publish(&self, position: Position) {
        let through = position.next.saturating_sub(1);
        // First the mark that replays go by, so that who waited for an entry can read it.
        self.durable.send_modify(|durable| {
            durable.through = through;
            durable.chain_head = position.head;
        });
        self.queue().durable_through = through;
        self.committed.notify_all();
    }

    pub(super) fn wait_durable(&self, sequence: u64, deadline: Duration) -> bool {
        let begin = Instant::now();
        let mut queue = self.queue();
        while queue.durable_through < sequence {
            let left = deadline.saturating_sub(begin.elapsed());
            if queue.failed || left.is_zero() {
                return false;
            }
            queue = self.committed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn retire(&self, through: u64, keep_bytes: u64) {
        let mut segments = self.segments();
        let files =
            |segments: &Segments| (segments.list.len() + segments.prepared.len() + JOURNAL_SEGMENTS_POOLED) as u64;
        while files(&segments) * self.options.segment_bytes > keep_bytes {
            // The first may go when the second begins no later than right behind what is given up.
            if segments.list.get(1).is_none_or(|second| second.start.next > through.saturating_add(1)) {
                break;
            }
            let first = segments.list.remove(0);
            segments.retired.push_back(first);
        }
        drop(segments);
        self.segments_changed.notify_all();
    }

    pub(super) fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}
