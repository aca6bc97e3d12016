//! Checkpoint files (rule F7): written beside, flushed, renamed; the last two are kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::journal::{
    CHECKPOINT_HEADER_BYTES, ChainHash, CheckpointDecoder, CheckpointEncoder, CheckpointError, CheckpointHeader,
    CheckpointStep,
};
use thiserror::Error;

use super::disk::{Disk, DiskFile};
use super::names::{self, Name};
use super::prepare::is_full;
use super::shared::Shared;
use crate::limits::CHECKPOINTS_KEPT;

/// Written and read in pieces of about this size.
pub(super) const PIECE: usize = 256 * 1024;

/// Why a checkpoint was not written or read.
#[derive(Debug, Error)]
pub enum CheckpointFileError {
    /// The disk refused something.
    #[error("cannot {attempted} the checkpoint {path}")]
    Io {
        /// What was tried.
        attempted: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content is not a whole checkpoint.
    #[error("the checkpoint {path} is not usable")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CheckpointError,
    },
}

/// The checkpoint files of one journal.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    shared: Arc<Shared>,
}

/// A checkpoint that is there.
#[derive(Debug)]
pub struct CheckpointFile {
    /// How far it reaches, and of which schema it is.
    pub header: CheckpointHeader,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

/// A checkpoint being written. Dropped before [`finish`](Self::finish), it never was.
#[derive(Debug)]
pub struct CheckpointSink {
    checkpoints: Checkpoints,
    encoder: CheckpointEncoder,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    pub(super) buffer: Vec<u8>,
    pub(super) offset: u64,
    finished: bool,
}

impl Checkpoints {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// The usable-looking checkpoints of this store, newest first. Only heads are looked at.
    pub fn newest_first(&self) -> Vec<CheckpointFile> {
        let mut files = headers(self.shared.options.disk.as_ref(), &self.shared.directory);
        files.retain(|file| file.header.store_id == self.shared.store_id);
        files
    }

    /// Begins the checkpoint as of the entry `sequence`, whose chain hash is `head`.
    pub fn begin(
        &self,
        schema_version: u32,
        sequence: u64,
        head: ChainHash,
    ) -> Result<CheckpointSink, CheckpointFileError> {
        let path = names::checkpoint(&self.shared.directory, sequence);
        let unfinished = names::unfinished(&path);
        let file = self.checked("create", &unfinished, self.shared.options.disk.create(&unfinished))?;
        let header = CheckpointHeader { schema_version, store_id: self.shared.store_id, sequence, head };
        let mut buffer = Vec::with_capacity(2 * PIECE);
        let encoder = CheckpointEncoder::begin(&header, &mut buffer);
        Ok(CheckpointSink { checkpoints: self.clone(), encoder, file, path, buffer, offset: 0, finished: false })
    }

    /// Removes all but the newest checkpoints, and returns the sequence of the oldest kept.
    pub(super) fn sweep(&self) -> Option<u64> {
        let mut files = self.newest_first();
        let disk = &self.shared.options.disk;
        for old in files.split_off(files.len().min(CHECKPOINTS_KEPT)) {
            if let Err(error) = disk.remove(&old.path) {
                tracing::warn!(%error, path = %old.path.display(), "Old checkpoint not removed.");
            }
        }
        files.last().map(|file| file.header.sequence)
    }

    /// See [`Journal::wait_durable`](super::Journal::wait_durable).
    pub fn wait_durable(&self, sequence: u64, deadline: Duration) -> bool {
        self.shared.wait_durable(sequence, deadline)
    }

    /// See [`Journal::retire`](super::Journal::retire).
    pub fn retire(&self, through: u64, keep_bytes: u64) {
        self.shared.retire(through, keep_bytes);
    }

    /// A full disk is the caller's to wait for; any other failure of a write or flush is final (rule F3).
    fn checked<T>(
        &self,
        attempted: &'static str,
        path: &Path,
        result: io::Result<T>,
    ) -> Result<T, CheckpointFileError> {
        result.map_err(|source| {
            if !is_full(&source) {
                self.shared.fail("write a checkpoint", &source);
            }
            CheckpointFileError::Io { attempted, path: path.to_owned(), source }
        })
    }
}

impl CheckpointSink {
    /// Adds one pair.
    pub fn item(&mut self, key: &[u8], value: &[u8]) -> Result<(), CheckpointFileError> {
        let content = |source| CheckpointFileError::Content { path: self.path.clone(), source };
        self.encoder.item(key, value, &mut self.buffer).map_err(content)?;
        if self.buffer.len() >= PIECE { self.write() } else { Ok(()) }
    }

    /// Makes the checkpoint durable, and drops what it supersedes. Returns the sequence of the oldest checkpoint kept,
    /// and the new one's size in bytes.
    pub fn finish(mut self) -> Result<(Option<u64>, u64), CheckpointFileError> {
        self.encoder.finish(&mut self.buffer);
        self.write()?;
        let (checkpoints, disk) = (&self.checkpoints, &self.checkpoints.shared.options.disk);
        checkpoints.checked("flush", &self.path, self.file.sync_all())?;
        checkpoints.checked("rename", &self.path, disk.rename(&names::unfinished(&self.path), &self.path))?;
        let directory = &checkpoints.shared.directory;
        checkpoints.checked("flush the directory of", &self.path, disk.sync_directory(directory))?;
        self.finished = true;
        Ok((checkpoints.sweep(), self.offset))
    }

    fn write(&mut self) -> Result<(), CheckpointFileError> {
        let written = self.file.write_at(&self.buffer, self.offset);
        self.checkpoints.checked("write", &self.path, written)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for CheckpointSink {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let unfinished = names::unfinished(&self.path);
        if let Err(error) = self.checkpoints.shared.options.disk.remove(&unfinished) {
            tracing::debug!(%error, path = %unfinished.display(), "Unfinished checkpoint not removed.");
        }
    }
}

impl CheckpointFile {
    /// Gives each pair to `take`. The pairs are good only if this ends well; `take` fails with the caller's own error.
    pub fn read<E: From<CheckpointFileError>>(
        &self,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let io = |source| CheckpointFileError::Io { attempted: "read", path: self.path.clone(), source };
        let content = |source| CheckpointFileError::Content { path: self.path.clone(), source };
        self.file.sync_all().map_err(io)?;
        let mut head = [0; CHECKPOINT_HEADER_BYTES];
        let count = self.file.read_at(&mut head, 0).map_err(io)?;
        let (_, mut decoder) = CheckpointDecoder::begin(&head[..count]).map_err(content)?;
        let mut offset = count as u64;
        let mut buffer = Vec::new();
        let (mut begin, mut needed) = (0, PIECE);
        loop {
            buffer.drain(..begin);
            begin = 0;
            let filled = buffer.len();
            buffer.resize(needed.max(PIECE), 0);
            let count = self.file.read_at(&mut buffer[filled..], offset).map_err(io)?;
            offset += count as u64;
            buffer.truncate(filled + count);
            loop {
                match decoder.step(&buffer[begin..]).map_err(content)? {
                    CheckpointStep::Item { key, value, used } => {
                        take(key, value)?;
                        begin += used;
                    }
                    CheckpointStep::End => return Ok(()),
                    CheckpointStep::More(more) => {
                        if count == 0 {
                            return Err(content(CheckpointError::Trailer).into());
                        }
                        needed = more;
                        break;
                    }
                }
            }
        }
    }
}

/// Checkpoints, of whatever store, whose head is good and agrees with the name, newest first.
pub(super) fn headers(disk: &dyn Disk, directory: &Path) -> Vec<CheckpointFile> {
    let names = disk.list(directory).unwrap_or_default();
    let mut files: Vec<CheckpointFile> = names
        .iter()
        .filter_map(|name| {
            let Some(Name::Checkpoint(sequence)) = names::parse(name) else { return None };
            let path = directory.join(name);
            let file = disk.open(&path).ok()?;
            let mut head = [0; CHECKPOINT_HEADER_BYTES];
            let count = file.read_at(&mut head, 0).ok()?;
            let header = CheckpointHeader::decode(&head[..count]).ok()?;
            (header.sequence == sequence).then_some(CheckpointFile { header, path, file })
        })
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.header.sequence));
    files
}
