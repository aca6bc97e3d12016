//! The journal: what happened, in order, on disk. The truth of the daemon and its audit log in one (rules F1-F9).
//!
//! Owns `<state>/lock` and `<state>/journal/`: segments, their spares, checkpoint files, and the note of how far it came.
//!
//! Promises: an entry whose sequence is at or below [`Durable::through`] survives a power cut. Entries keep the order of
//! the calls of [`Journal::append`]. A commit is one write and one `fdatasync`; what is queued when a flush returns goes
//! with the next one. Any failed write or flush is final (rule F3): nothing becomes durable after it. A full disk is not
//! a failure: what was set aside in advance goes on serving entries of [`Reserve::Safety`].
//! A record that was good once and is no longer is found, its segment renamed to `*.quarantined`, and everything that
//! can be proven is given back.
//!
//! Never: interprets an entry, or asks the working set anything.
//!
//! Order of effects on disk, so that a crash between any two is harmless:
//! * a new segment: zero-fill, fsync, rename to its name, fsync of the directory; only then may a commit use it;
//! * a used-up one: its head zeroed and flushed, then renamed to be a spare;
//! * a checkpoint: written, fsync, rename, fsync of the directory; only then are older checkpoints and segments dropped.

mod chain;
mod checkpoint;
mod disk;
mod lock;
mod names;
mod offline;
mod prepare;
mod progress;
mod queue;
mod recover;
mod replay;
mod shared;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use lockbridge_protocol::journal::{ChainHash, ENTRY_BYTES, Position, StoreId};
use tokio::sync::watch;

pub use checkpoint::{CheckpointFile, CheckpointFileError, CheckpointSink, Checkpoints};
pub use disk::{Disk, DiskFile, RealDisk};
pub use lock::{LockError, StateLock};
pub use offline::{JournalFiles, SegmentFile};
pub use queue::AppendError;
pub use recover::{Damage, OpenError};
pub use replay::{Replay, ReplayError, Replayed};

use crate::clock::SystemClock;
use crate::health::Pulse;
use crate::limits::{JOURNAL_QUEUE_BYTES, JOURNAL_SAFETY_RESERVE_BYTES, SEGMENT_BYTES};
use shared::Shared;

/// Sizes and the disk; the defaults are the production values.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Size of a segment file. At least twice the largest entry.
    pub segment_bytes: u64,
    /// Prepared space that only [`Reserve::Safety`] may use.
    pub reserve_bytes: u64,
    /// Bound of what waits for the writer thread.
    pub queue_bytes: usize,
    /// Bound of one entry, at most [`ENTRY_BYTES`].
    pub entry_bytes: usize,
    /// How often free space is looked at, and a full disk asked again (rule D6).
    pub look_interval: Duration,
    /// The files underneath.
    pub disk: Arc<dyn Disk>,
    /// Turned by the writer thread.
    pub pulse: Pulse,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: JOURNAL_SAFETY_RESERVE_BYTES,
            queue_bytes: JOURNAL_QUEUE_BYTES,
            entry_bytes: ENTRY_BYTES,
            look_interval: Duration::from_secs(10),
            disk: Arc::new(RealDisk),
            pulse: Pulse::new(Arc::new(SystemClock)),
        }
    }
}

/// Which space an entry may use when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// New work: refused when only the reserve is left.
    Ordinary,
    /// What must not be refused: safety commands, and the intents and outcomes of accepted work.
    Safety,
}

/// How far the journal is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// Every entry up to here is durable; 0 before the first.
    pub through: u64,
    /// Chain hash of that entry.
    pub chain_head: ChainHash,
    /// The disk failed: nothing becomes durable any more and the process must end with exit code 74.
    pub failed: bool,
}

/// Space for entries, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Prepared and usable by [`Reserve::Ordinary`] without asking the file system for more.
    pub ordinary_bytes: u64,
    /// Prepared for [`Reserve::Safety`] only.
    pub reserve_bytes: u64,
    /// Free on the file system, as of the last look (10 s at most).
    pub disk_free_bytes: u64,
    /// The file system refused more space; it is asked again every 10 s.
    pub full: bool,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Made with the journal, random.
    pub store_id: StoreId,
    /// Starts of this journal, this one included.
    pub boot_counter: u64,
    /// The last durable entry; 0 when there is none.
    pub last_sequence: u64,
    /// What could not be read; empty on a healthy disk.
    pub damage: Vec<Damage>,
}

/// Counters since opening, for benches and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalStatistics {
    /// Commits made.
    pub commits: u64,
    /// Flushes asked for by commits.
    pub flushes: u64,
    /// Entries made durable.
    pub entries: u64,
    /// Payload bytes of those entries.
    pub payload_bytes: u64,
    /// Bytes written by commits.
    pub committed_bytes: u64,
    /// Bytes written ahead, to prepare segments.
    pub prepared_bytes: u64,
}

/// The open journal. Shared by reference; dropping it commits what is queued and ends its threads.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    _lock: StateLock,
}

impl Journal {
    /// Locks `state_directory` and opens the journal in it, making both when they are not there.
    ///
    /// Reads every segment a replay from the newest checkpoints may need, so the caller should not be an async task.
    pub fn open(state_directory: &Path, options: JournalOptions) -> Result<(Self, Opened), OpenError> {
        Self::open_locked(StateLock::acquire(state_directory)?, options)
    }

    /// [`open`](Self::open) for a caller that holds the directory already.
    pub fn open_locked(lock: StateLock, options: JournalOptions) -> Result<(Self, Opened), OpenError> {
        let recovered = recover::recover(lock.directory(), options)?;
        let (shared, opened) = (recovered.shared, recovered.opened);
        let mut journal = Self { shared, threads: Vec::new(), _lock: lock };
        let (shared, writer) = (Arc::clone(&journal.shared), recovered.writer);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(OpenError::Thread)
        };
        journal.threads.push(spawn("journal", Box::new(move || writer.run()))?);
        journal.threads.push(spawn("journal-prepare", Box::new(move || prepare::run(&shared)))?);
        Ok((journal, opened))
    }

    /// Queues an entry and returns its sequence. Waits while the queue is full or space is being prepared.
    ///
    /// The entry is **not** durable when this returns: see [`durable`](Self::durable). Dropping the future before it is
    /// ready queues nothing.
    pub async fn append(&self, payload: Vec<u8>, reserve: Reserve) -> Result<u64, AppendError> {
        queue::append(&self.shared, &payload, reserve).await
    }

    /// [`append`](Self::append) that gives `None` instead of waiting.
    pub fn try_append(&self, payload: &[u8], reserve: Reserve) -> Result<Option<u64>, AppendError> {
        queue::try_append(&self.shared, payload, reserve)
    }

    /// Follows how far the journal is on disk.
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.shared.durable.subscribe()
    }

    /// Follows how much space there is.
    pub fn space(&self) -> watch::Receiver<Space> {
        self.shared.space.subscribe()
    }

    /// The durable entries from `from` on, oldest first, as of now. Entries older than the first segment are not given.
    pub fn replay(&self, from: u64) -> Replay {
        Replay::new(&self.shared, from)
    }

    /// Blocks until the entry `sequence` is durable. False: the journal failed or `deadline` passed.
    pub fn wait_durable(&self, sequence: u64, deadline: Duration) -> bool {
        self.shared.wait_durable(sequence, deadline)
    }

    /// Counters since opening.
    pub fn statistics(&self) -> JournalStatistics {
        let counters = &self.shared.counters;
        JournalStatistics {
            commits: counters.commits.load(Ordering::Relaxed),
            flushes: counters.flushes.load(Ordering::Relaxed),
            entries: counters.entries.load(Ordering::Relaxed),
            payload_bytes: counters.payload_bytes.load(Ordering::Relaxed),
            committed_bytes: counters.committed_bytes.load(Ordering::Relaxed),
            prepared_bytes: counters.prepared_bytes.load(Ordering::Relaxed),
        }
    }

    /// The store's identity.
    pub fn store_id(&self) -> StoreId {
        self.shared.store_id
    }

    /// Bytes of the segments begun after the entry `sequence`, roughly what was journaled since.
    pub fn bytes_since(&self, sequence: u64) -> u64 {
        let segments = self.shared.segments();
        let later = segments.list.iter().filter(|segment| segment.start.next > sequence).count();
        later as u64 * self.shared.options.segment_bytes
    }

    /// Gives up segments all of whose entries are at or below `through`, oldest first, while the journal's files take
    /// more than `keep_bytes`. The work is done by the preparing thread.
    pub fn retire(&self, through: u64, keep_bytes: u64) {
        self.shared.retire(through, keep_bytes);
    }

    /// Where the oldest segment begins: entries before it are only in checkpoints.
    pub fn begins_at(&self) -> Option<Position> {
        self.shared.segments().list.first().map(|segment| segment.start)
    }

    /// Files of this journal's checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(&self.shared)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("A thread of the journal panicked.");
            }
        }
        // The threads have ended: nothing becomes durable after this.
        progress::note(&self.shared);
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod space_tests;
#[cfg(test)]
mod tests;
