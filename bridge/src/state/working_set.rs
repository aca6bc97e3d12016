//! Opening, applying, and when to make a checkpoint.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbridge_protocol::journal::{Position, StoreId};
use thiserror::Error;

use super::base::{empty_sled, encode_applied, open_kept, rebuild_base};
use super::dump::{Dump, DumpError, Job};
use super::pair_store::{Changes, PairStore, StoreReader};
use super::store::{Fold, Pair, StoreError};
use super::transaction::Transaction;
use super::trust::{Trust, flush_tree};
use crate::journal::{CheckpointFileError, Checkpoints, Journal, ReplayError, Replayed};
use crate::limits::{CHECKPOINT_INTERVAL_BYTES, WORKING_SET_CACHE_BYTES};

/// The working set's own key; it begins with zero.
pub(super) const APPLIED_KEY: &[u8] = b"\0applied";
/// Changes gathered before they are written, while catching up.
pub(super) const CATCH_UP_CHANGES: usize = 2_000;

/// Sizes; the defaults are the production values.
#[derive(Debug, Clone, Copy)]
pub struct WorkingSetOptions {
    /// sled's cache.
    pub cache_bytes: u64,
    /// Bytes journaled since the last checkpoint that make the next one due; never less than the size of the last one, so
    /// that checkpoints at most double what is written.
    pub checkpoint_bytes: u64,
    /// Journal files are kept up to this, for audit.
    pub audit_retention_bytes: u64,
}

impl Default for WorkingSetOptions {
    fn default() -> Self {
        Self {
            cache_bytes: WORKING_SET_CACHE_BYTES,
            checkpoint_bytes: CHECKPOINT_INTERVAL_BYTES,
            audit_retention_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Why the working set did not open.
#[derive(Debug, Error)]
pub enum OpenWorkingSetError {
    /// Its files could not be used or removed.
    #[error("cannot use the working set {path}")]
    Io {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A fresh store failed too.
    #[error("cannot rebuild the working set")]
    Store(#[from] StoreError),
    /// The journal could not be read.
    #[error("cannot rebuild the working set")]
    Replay(#[from] ReplayError),
    /// A checkpoint could not be read.
    #[error("cannot rebuild the working set")]
    Checkpoint(#[from] CheckpointFileError),
    /// The state was folded by another version, and what it was folded from is no longer there.
    #[error("the state has schema version {found}, this version reads {read}; install a version that reads it")]
    Schema {
        /// Of the checkpoint.
        found: u32,
        /// Of this code.
        read: u32,
    },
}

/// Where the working set came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// sled was good.
    Kept,
    /// Folded anew, and why.
    Rebuilt {
        /// For people.
        reason: String,
    },
    /// Folded anew into memory: sled cannot be had, as on a full disk. The next start tries it again.
    Memory {
        /// For people.
        reason: String,
    },
}

/// What opening did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingSetOpened {
    /// Where it came from.
    pub origin: Origin,
    /// Entries applied while opening.
    pub entries: u64,
    /// Ranges of entries that are damaged in the journal and were not applied.
    pub lost: Vec<(u64, u64)>,
}

/// The fold of the journal, up to [`applied`](Self::applied).
#[derive(Debug)]
pub struct WorkingSet<F: Fold> {
    fold: F,
    store: PairStore,
    trust: Arc<Trust>,
    directory: PathBuf,
    options: WorkingSetOptions,
    store_id: StoreId,
    checkpoints: Checkpoints,
    position: Position,
    /// Bytes applied since the last checkpoint was begun.
    since_checkpoint: u64,
    /// Size of the last checkpoint, or of what was journaled since it when it failed.
    checkpoint_size: u64,
    dump: Option<Dump>,
}

impl<F: Fold> WorkingSet<F> {
    /// Opens the working set of `journal` in `state_directory`, and applies what it misses. Where the disk refuses sled, as
    /// a full one does, it is held in memory.
    ///
    /// Blocks on the disk: not for an async task.
    pub fn open(
        state_directory: &Path,
        journal: &Journal,
        fold: F,
        options: WorkingSetOptions,
    ) -> Result<(Self, WorkingSetOpened), OpenWorkingSetError> {
        let trust = Arc::new(Trust::new(state_directory));
        let directory = state_directory.join("working-set");
        match Self::open_in_sled(directory.clone(), journal, fold.clone(), options, &trust) {
            Err(error @ (OpenWorkingSetError::Io { .. } | OpenWorkingSetError::Store(_))) => {
                let reason = crate::net::chain_text(&error);
                tracing::warn!(reason, "The working set goes to memory until the next start.");
                trust.end();
                // What is left of it only takes space; the next start would not use it.
                if let Err(error) = std::fs::remove_dir_all(&directory) {
                    tracing::debug!(%error, "Files of the working set not removed.");
                }
                let empty = || Ok(PairStore::in_memory(Arc::clone(&trust)));
                let base = rebuild_base(journal, &fold, empty)?;
                Self::on(base, Origin::Memory { reason }, directory, journal, fold, options, &trust)
            }
            other => other,
        }
    }

    fn open_in_sled(
        directory: PathBuf,
        journal: &Journal,
        fold: F,
        options: WorkingSetOptions,
        trust: &Arc<Trust>,
    ) -> Result<(Self, WorkingSetOpened), OpenWorkingSetError> {
        let io = |source| OpenWorkingSetError::Io { path: directory.clone(), source };
        let kept = match trust.take().map_err(io)? {
            Ok(unclean) => open_kept(&directory, journal, F::SCHEMA_VERSION, options, trust)
                .map(|(store, position)| (store, position, unclean + 1)),
            Err(reason) => Err(reason),
        };
        let (base, origin, unclean) = match kept {
            Ok((store, position, unclean)) => ((store, position), Origin::Kept, unclean),
            Err(reason) => {
                let base = rebuild_base(journal, &fold, || empty_sled(&directory, options, trust))?;
                (base, Origin::Rebuilt { reason: reason.to_owned() }, 0)
            }
        };
        let opened = Self::on(base, origin, directory, journal, fold, options, trust)?;
        let io = |source| OpenWorkingSetError::Io { path: opened.0.directory.clone(), source };
        trust.begin(unclean).map_err(io)?;
        Ok(opened)
    }

    /// Takes `base` and applies what it misses.
    fn on(
        base: (PairStore, Position),
        origin: Origin,
        directory: PathBuf,
        journal: &Journal,
        fold: F,
        options: WorkingSetOptions,
        trust: &Arc<Trust>,
    ) -> Result<(Self, WorkingSetOpened), OpenWorkingSetError> {
        let (store, position) = base;
        let mut opened = WorkingSetOpened { origin, entries: 0, lost: Vec::new() };
        let checkpoints = journal.checkpoints();
        let newest = checkpoints.newest_first().first().map_or(0, |file| file.header.sequence);
        let mut working_set = Self {
            fold,
            store,
            directory,
            options,
            store_id: journal.store_id(),
            checkpoints,
            position,
            since_checkpoint: journal.bytes_since(newest),
            checkpoint_size: 0,
            dump: None,
            trust: Arc::clone(trust),
        };
        working_set.catch_up(journal, &mut opened)?;
        Ok((working_set, opened))
    }

    /// Applies the journal from where the store stands.
    fn catch_up(&mut self, journal: &Journal, opened: &mut WorkingSetOpened) -> Result<(), OpenWorkingSetError> {
        let mut changes = Changes::new();
        for replayed in journal.replay(self.position.next) {
            match replayed? {
                Replayed::Entry { sequence, payload, head } => {
                    if sequence > self.position.next {
                        opened.lost.push((self.position.next, sequence - 1));
                    }
                    let mut transaction = Transaction::with(&self.store, changes);
                    self.fold.apply(&mut transaction, sequence, &payload)?;
                    changes = transaction.changes;
                    self.position = Position { next: sequence + 1, head };
                    opened.entries += 1;
                    if changes.len() >= CATCH_UP_CHANGES {
                        self.write(std::mem::take(&mut changes))?;
                    }
                }
                // Told by the gap in front of the next entry; at the very end, by the journal's own report.
                Replayed::Lost { .. } => {}
            }
        }
        let durable = *journal.durable().borrow();
        if durable.through >= self.position.next {
            opened.lost.push((self.position.next, durable.through));
            self.position = Position { next: durable.through + 1, head: durable.chain_head };
        }
        self.write(changes)?;
        // What was caught up need not be caught up again by the next start.
        Ok(self.store.settle()?)
    }

    /// Applies the entry that the journal gave `sequence`; the calls are in the order of the journal's.
    pub fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        if sequence != self.position.next {
            return Err(StoreError::OutOfOrder { sequence, expected: self.position.next });
        }
        let too_long = StoreError::TooLong { what: "entry", length: payload.len() };
        let head = self.position.head.after(sequence, payload).ok_or(too_long)?;
        let mut transaction = Transaction::new(&self.store);
        self.fold.apply(&mut transaction, sequence, payload)?;
        let changes = transaction.changes;
        self.position = Position { next: sequence + 1, head };
        self.write(changes)?;
        self.since_checkpoint += payload.len() as u64;
        self.tend_checkpoint();
        Ok(())
    }

    /// One sled batch: the changes, and how far they reach.
    fn write(&mut self, mut changes: Changes) -> Result<(), StoreError> {
        changes.insert(APPLIED_KEY.to_vec(), Some(encode_applied(self.store_id, F::SCHEMA_VERSION, self.position)));
        let hold = self.dump.as_ref().map(|dump| dump.hold(&self.store, &changes)).transpose()?;
        self.store.write(changes)?;
        drop(hold);
        Ok(())
    }

    /// Takes notice of an ended dump, and begins one when it is due.
    fn tend_checkpoint(&mut self) {
        if let Some(dump) = &mut self.dump {
            let Some(ended) = dump.ended() else { return };
            self.dump = None;
            self.note_checkpoint(ended);
        }
        if self.since_checkpoint >= self.options.checkpoint_bytes.max(self.checkpoint_size) {
            self.begin_checkpoint();
        }
    }

    fn note_checkpoint(&mut self, ended: Result<u64, DumpError>) {
        match ended {
            Ok(bytes) => self.checkpoint_size = bytes,
            Err(error) => tracing::warn!(%error, "Checkpoint not made; it is tried again later."),
        }
    }

    /// Blocks until the checkpoint being made, if any, is complete.
    pub fn settle(&mut self) {
        if let Some(dump) = self.dump.take() {
            self.note_checkpoint(dump.wait());
        }
    }

    /// Begins a checkpoint as of now, unless one is being made. It is written by a thread of its own.
    pub fn begin_checkpoint(&mut self) {
        if self.dump.as_mut().is_some_and(|dump| dump.ended().is_none()) {
            return;
        }
        self.since_checkpoint = 0;
        let job = Job {
            checkpoints: self.checkpoints.clone(),
            store: self.store.clone(),
            schema_version: F::SCHEMA_VERSION,
            sequence: self.position.next - 1,
            head: self.position.head,
            audit_retention_bytes: self.options.audit_retention_bytes,
        };
        match Dump::start(job) {
            Ok(dump) => self.dump = Some(dump),
            Err(error) => tracing::warn!(%error, "Checkpoint thread not started; it is tried again later."),
        }
    }

    /// The last entry applied; 0 before the first. It may not be durable yet.
    pub fn applied(&self) -> u64 {
        self.position.next - 1
    }

    /// See [`Store::get`](super::Store::get).
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    /// See [`Store::scan`](super::Store::scan).
    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.store.scan(prefix, from, limit)
    }

    /// A way to read from other threads.
    pub fn reader(&self) -> StoreReader {
        StoreReader(self.store.clone())
    }

    /// Closes so that the next start need not doubt it, even after a reboot. All readers must be gone by then.
    /// Dropping instead is what a crash does, and costs the next start of the machine a rebuild.
    pub fn close(self) -> Result<(), OpenWorkingSetError> {
        let Self { store, dump, directory, trust, .. } = self;
        drop(dump);
        if store.is_in_memory() {
            return Ok(());
        }
        store.flush()?;
        drop(store);
        let closed = flush_tree(&directory).and_then(|()| trust.close());
        closed.map_err(|source| OpenWorkingSetError::Io { path: directory, source })
    }
}
