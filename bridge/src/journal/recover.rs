//! Opening: which files are this journal's, how far they can be believed, and where writing goes on.
//!
//! Segments are in chain order by their index. Those a checkpoint has made superfluous are only looked at by their
//! heads; the others are flushed (rule F4), read and verified. Nothing here depends on the order in which files happened
//! to survive: a segment that does not continue the chain is set aside, whatever made it so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbridge_protocol::journal::{
    COMMIT_BYTES, CheckpointHeader, Ending, Event, HEADER_BYTES, HeaderError, Position, SegmentHeader, SegmentReader,
    StoreId,
};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use super::chain::follow;
use super::checkpoint::{self, CheckpointFile, Checkpoints};
use super::disk::{Disk, DiskFile, read_whole};
use super::names::{self, Name};
use super::shared::{Prepared, Segments, Shared};
use super::writer::Writer;
use super::{JournalOptions, LockError, Opened};
use super::{prepare, progress};

/// What an unused segment is full of.
const ZEROS: [u8; 4096] = [0; 4096];

/// Why the journal did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The state directory could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk refused something.
    #[error("cannot open the journal: {attempted} {path}")]
    Io {
        /// What was tried.
        attempted: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Written by a newer (or much older) version.
    #[error("cannot read the journal segment {path}: {reason}; install a version that can")]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version and ours.
        reason: HeaderError,
    },
    /// A thread could not be started.
    #[error("cannot start a thread of the journal")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// The file system had no more space: opening may succeed later, and nothing was lost by trying.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if prepare::is_full(source))
    }
}

/// What could not be read at opening. The files are kept under `*.quarantined`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Entries that were once durable are unreadable. `from > through`: only a commit marker is.
    Lost {
        /// First lost sequence.
        from: u64,
        /// Last lost sequence.
        through: u64,
        /// The segment they stood in, if there is one.
        file: Option<PathBuf>,
    },
    /// A segment of another store, a copy, or one that does not continue the chain.
    Foreign {
        /// The file as it is called now.
        file: PathBuf,
    },
}

pub(super) struct Recovered {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) opened: Opened,
}

/// A segment file as found.
pub(super) struct Found {
    pub(super) index: u64,
    pub(super) path: PathBuf,
    pub(super) quarantined: bool,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) header: Result<SegmentHeader, HeaderError>,
}

pub(super) fn recover(state_directory: &Path, options: JournalOptions) -> Result<Recovered, OpenError> {
    let directory = state_directory.join("journal");
    let disk = Arc::clone(&options.disk);
    make_directory(&directory)?;
    disk.sync_directory(state_directory).map_err(failed("flush directory", state_directory))?;
    let found = find(disk.as_ref(), &directory)?;
    let checkpoints = checkpoint::headers(disk.as_ref(), &directory);
    let progress = progress::read(disk.as_ref(), &directory);
    let headers: Vec<SegmentHeader> = found.iter().filter_map(|it| it.header.ok()).collect();
    let store_id = match owner(&headers, &checkpoints, progress.as_ref()) {
        Some(store_id) => store_id,
        None => new_store_id().map_err(failed("draw a random identity for", &directory))?,
    };
    let checkpoint = checkpoints.iter().map(|file| file.header).find(|header| header.store_id == store_id);
    let progress = progress.filter(|progress| progress.store_id == store_id);
    let next_index = found.iter().map(|it| it.index).max().unwrap_or(0) + 1;
    let (used, prepared, mut damage) = sort_out(disk.as_ref(), found, store_id, options.segment_bytes)?;
    let mut chain =
        follow(disk.as_ref(), used, store_id, checkpoint.map_or(0, |it| it.sequence), options.segment_bytes)?;
    damage.append(&mut chain.damage);
    let reached = checkpoint.into_iter().chain(progress).max_by_key(|it| it.sequence);
    if let Some(reached) = reached.filter(|it| it.sequence >= chain.position.next) {
        // Checkpoints and notes are made of durable entries only, so the journal once reached at least as far.
        damage.push(Damage::Lost { from: chain.position.next, through: reached.sequence, file: None });
        chain.position = Position { next: reached.sequence + 1, head: reached.head };
        chain.active = None;
    }
    let prepared = without_records(disk.as_ref(), prepared, chain.position, options.segment_bytes)?;
    disk.sync_directory(&directory).map_err(failed("flush directory", &directory))?;
    let boot_counter = chain.boot_counter + 1;
    let opened = Opened { store_id, boot_counter, last_sequence: chain.position.next - 1, damage };
    for damage in &opened.damage {
        tracing::error!(?damage, "Journal damaged; going on with what can be proven.");
    }
    let segments = Segments { list: chain.list, prepared: prepared.into(), next_index, ..Segments::default() };
    let shared = Shared::new(directory.clone(), options, store_id, boot_counter, chain.position, segments);
    let mut writer = Writer::new(Arc::clone(&shared), chain.active, chain.position);
    // The thread that prepares segments does not run yet: the first commit must find room.
    if shared.segments().prepared.is_empty() && writer.left() < COMMIT_BYTES as u64 {
        let index = {
            let mut segments = shared.segments();
            segments.next_index += 1;
            segments.next_index - 1
        };
        prepare::prepare(&shared, None, index).map_err(failed("prepare a segment in", &directory))?;
    }
    writer.commit_start().map_err(failed("write to a segment of", &directory))?;
    let prepared = shared.segments().prepared.len() as u64;
    let room = i64::try_from(prepared * shared.capacity() + writer.left()).unwrap_or(i64::MAX);
    shared.change_room(|queue| (queue.room, queue.prepared) = (room, i64::try_from(prepared).unwrap_or(i64::MAX)));
    prepare::look(&shared);
    Checkpoints::new(&shared).sweep();
    progress::note(&shared);
    Ok(Recovered { shared, writer, opened })
}

pub(super) fn failed<'a>(attempted: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenError + use<'a> {
    move |source| OpenError::Io { attempted, path: path.to_owned(), source }
}

fn new_store_id() -> io::Result<StoreId> {
    let mut store_id = [0; 16];
    let random = SystemRandom::new();
    random.fill(&mut store_id).map_err(|_| io::Error::other("the system's random source failed"))?;
    Ok(StoreId(store_id))
}

fn make_directory(directory: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed("make directory", directory))
}

/// Lists the segments with their heads; removes what was never finished.
fn find(disk: &dyn Disk, directory: &Path) -> Result<Vec<Found>, OpenError> {
    let mut found = Vec::new();
    for name in disk.list(directory).map_err(failed("list", directory))? {
        let path = directory.join(&name);
        let (index, quarantined) = match names::parse(&name) {
            Some(Name::Segment(index)) => (index, false),
            Some(Name::Quarantined(index)) => (index, true),
            Some(Name::Unfinished) => {
                disk.remove(&path).map_err(failed("remove unfinished", &path))?;
                continue;
            }
            Some(Name::Checkpoint(_)) | None => continue,
        };
        let file = disk.open(&path).map_err(failed("open", &path))?;
        let mut head = [0; HEADER_BYTES];
        let count = file.read_at(&mut head, 0).map_err(failed("read", &path))?;
        let header = SegmentHeader::decode(&head[..count]);
        if let (Err(reason @ HeaderError::Version(_)), false) = (header, quarantined) {
            return Err(OpenError::Version { path, reason });
        }
        found.push(Found { index, path, quarantined, file, header });
    }
    found.sort_by_key(|it| (it.index, it.quarantined));
    Ok(found)
}

/// The store most files belong to; of two with as many, the one that was noted, then the one started more often.
pub(super) fn owner(
    headers: &[SegmentHeader],
    checkpoints: &[CheckpointFile],
    progress: Option<&CheckpointHeader>,
) -> Option<StoreId> {
    let noted = progress.map(|progress| progress.store_id);
    let files = || headers.iter().map(|it| it.store_id).chain(checkpoints.iter().map(|it| it.header.store_id));
    let weight = |store_id: StoreId| {
        let count = files().chain(noted).filter(|it| *it == store_id).count();
        let boots = headers.iter().filter(|it| it.store_id == store_id).map(|it| it.boot_counter).max();
        (count, noted == Some(store_id), boots)
    };
    files().chain(noted).max_by_key(|store_id| (weight(*store_id), *store_id))
}

/// Segments in use, segments prepared, and what was set aside.
type Sorted = (Vec<Found>, Vec<Prepared>, Vec<Damage>);

/// Tells used segments from prepared ones, and sets foreign ones aside.
fn sort_out(disk: &dyn Disk, found: Vec<Found>, store_id: StoreId, segment_bytes: u64) -> Result<Sorted, OpenError> {
    let ours = |found: &Found, header: &SegmentHeader| header.store_id == store_id && header.index == found.index;
    let in_use = found.iter().filter(|it| !it.quarantined && it.header.is_ok_and(|header| ours(it, &header)));
    let last_used = in_use.map(|it| it.index).max().unwrap_or(0);
    let (mut used, mut prepared, mut damage) = (Vec::new(), Vec::new(), Vec::new());
    for found in found {
        match found.header {
            Ok(header) if ours(&found, &header) => used.push(found),
            Ok(_) if found.quarantined => {}
            Ok(_) => damage.push(Damage::Foreign { file: set_aside(disk, &found.path)? }),
            Err(HeaderError::Unused) if !found.quarantined => {
                let length = found.file.length().map_err(failed("measure", &found.path))?;
                // One before the last in use was being taken back when the process ended. Or its head is lost; what it holds could as
                // well be another store's, which nothing but the head tells.
                if found.index > last_used && length == segment_bytes {
                    prepared.push(Prepared { index: found.index, path: found.path, file: found.file });
                } else {
                    disk.remove(&found.path).map_err(failed("remove unused", &found.path))?;
                }
            }
            Err(_) => used.push(found),
        }
    }
    Ok((used, prepared, damage))
}

/// Keeps the prepared segments in which nothing would be taken for an entry behind `position`. One taken back from earlier use
/// holds lower sequences; higher ones are another store's, and would be read as ours behind the first batch written there.
fn without_records(
    disk: &dyn Disk,
    prepared: Vec<Prepared>,
    position: Position,
    segment_bytes: u64,
) -> Result<Vec<Prepared>, OpenError> {
    let mut kept = Vec::new();
    for segment in prepared {
        let bytes = read_whole(segment.file.as_ref(), segment_bytes).map_err(failed("read", &segment.path))?;
        let written = bytes.chunks(ZEROS.len()).any(|chunk| chunk != &ZEROS[..chunk.len()]);
        let clean = || {
            let mut reader = SegmentReader::new(&bytes, HEADER_BYTES, position, None);
            reader.next_event() == Event::End(Ending::Clean)
        };
        if !written || clean() {
            kept.push(segment);
        } else {
            disk.remove(&segment.path).map_err(failed("remove another store's", &segment.path))?;
        }
    }
    Ok(kept)
}

pub(super) fn set_aside(disk: &dyn Disk, path: &Path) -> Result<PathBuf, OpenError> {
    let kept = names::quarantined(path);
    disk.rename(path, &kept).map_err(failed("rename", path))?;
    Ok(kept)
}
