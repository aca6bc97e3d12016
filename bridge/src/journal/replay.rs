//! Reading durable entries back, one segment in memory at a time.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use lockbridge_protocol::journal::{ChainHash, Event, HEADER_BYTES, Position, SegmentReader};
use thiserror::Error;

use super::disk::{Disk, read_whole};
use super::shared::Shared;

/// A segment could not be read.
#[derive(Debug, Error)]
#[error("cannot read the journal segment {path}")]
pub struct ReplayError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What the journal says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// An entry.
    Entry {
        /// Its sequence.
        sequence: u64,
        /// As it was appended.
        payload: Vec<u8>,
        /// Its chain hash.
        head: ChainHash,
    },
    /// Entries `from..=through` are damaged and cannot be given back.
    Lost {
        /// First lost sequence.
        from: u64,
        /// Last lost sequence.
        through: u64,
    },
}

/// The durable entries from one sequence on; see [`Journal::replay`](super::Journal::replay).
#[derive(Debug)]
pub struct Replay {
    disk: std::sync::Arc<dyn Disk>,
    bound: u64,
    /// Path, start, and first sequence of the next segment.
    segments: VecDeque<(PathBuf, Position, Option<u64>)>,
    from: u64,
    through: u64,
    ready: VecDeque<Replayed>,
}

impl Replay {
    pub(super) fn new(shared: &Shared, from: u64) -> Self {
        // First the mark, then the list: a segment begun in between only adds entries beyond the mark.
        let through = shared.durable.borrow().through;
        let list = shared.segments().list.clone();
        let nexts = list.iter().skip(1).map(|segment| Some(segment.start.next)).chain(std::iter::once(None));
        let segments = list.iter().zip(nexts).map(|(segment, next)| (segment.path.clone(), segment.start, next));
        let segments = segments.filter(|(_, _, next)| next.is_none_or(|next| next > from)).collect();
        let disk = std::sync::Arc::clone(&shared.options.disk);
        Self { disk, bound: shared.options.segment_bytes, segments, from, through, ready: VecDeque::new() }
    }

    fn load(&mut self, path: &Path, start: Position, until: Option<u64>) -> Result<(), ReplayError> {
        let read = self.disk.open(path).and_then(|file| read_whole(file.as_ref(), self.bound));
        let bytes = read.map_err(|source| ReplayError { path: path.to_owned(), source })?;
        let mut reader = SegmentReader::new(&bytes, HEADER_BYTES, start, until);
        loop {
            match reader.next_event() {
                Event::Batch(batch) => {
                    let wanted = batch.entries.iter().filter(|(it, ..)| (self.from..=self.through).contains(it));
                    let entries = wanted.map(|(sequence, payload, head)| Replayed::Entry {
                        sequence: *sequence,
                        payload: payload.to_vec(),
                        head: *head,
                    });
                    self.ready.extend(entries);
                }
                Event::Lost { from, through } => {
                    let (from, through) = (from.max(self.from), through.min(self.through));
                    if from <= through {
                        self.ready.push_back(Replayed::Lost { from, through });
                    }
                }
                Event::End(_) => return Ok(()),
            }
        }
    }
}

impl Iterator for Replay {
    type Item = Result<Replayed, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(replayed) = self.ready.pop_front() {
                return Some(Ok(replayed));
            }
            let (path, start, until) = self.segments.pop_front()?;
            if let Err(error) = self.load(&path, start, until) {
                self.segments.clear();
                return Some(Err(error));
            }
        }
    }
}
