//! The preparing thread: keeps segments ready outside the commit path, takes back retired ones, watches free space.
//!
//! A segment is written full of zeros once: overwriting blocks that exist makes a flush cheaper, and needs no space when
//! the disk is full. A retired segment is not filled again, only its head is cleared: what is left in it has lower
//! sequences than anything that will be written over it, and readers take it for unwritten.

use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use lockbridge_protocol::journal::HEADER_BYTES;

use super::shared::{Prepared, Segment, Shared};
use super::{names, progress};
use crate::limits::{JOURNAL_SEGMENTS_AHEAD, JOURNAL_SEGMENTS_POOLED};

/// Zeros are written in pieces of this size.
const ZEROS: usize = 256 * 1024;

enum Task {
    Prepare(Option<Segment>, u64),
    Remove(Segment),
    Look,
}

/// Works until the writer has ended.
pub(super) fn run(shared: &Shared) {
    let mut looked = Instant::now();
    loop {
        let done = match next_task(shared, looked) {
            None => return,
            Some(Task::Look) => {
                look(shared);
                looked = Instant::now();
                Ok(())
            }
            Some(Task::Remove(segment)) => shared
                .options
                .disk
                .remove(&segment.path)
                .and_then(|()| shared.options.disk.sync_directory(&shared.directory)),
            Some(Task::Prepare(old, index)) => match prepare(shared, old.as_ref(), index) {
                Ok(()) => {
                    progress::note(shared);
                    Ok(())
                }
                Err(error) if is_full(&error) => {
                    note_full(shared, &error);
                    looked = Instant::now();
                    Ok(())
                }
                other => other,
            },
        };
        if let Err(error) = done {
            shared.fail("prepare or remove a segment", &error);
            return;
        }
    }
}

fn next_task(shared: &Shared, looked: Instant) -> Option<Task> {
    let target = shared.reserve_segments() + JOURNAL_SEGMENTS_AHEAD;
    let mut segments = shared.segments();
    loop {
        if shared.ended() {
            return None;
        }
        let wait = shared.options.look_interval.saturating_sub(looked.elapsed());
        if wait.is_zero() {
            if shared.queue().full {
                // Asked again by trying: free bytes alone do not tell what a quota allows.
                shared.queue().full = false;
            } else {
                return Some(Task::Look);
            }
        }
        if segments.prepared.len() < target && (!shared.queue().full || !segments.retired.is_empty()) {
            let index = segments.next_index;
            segments.next_index += 1;
            // A quarantined segment is evidence; its file is removed in its turn, never written over.
            let reusable = segments.retired.iter().position(|segment| !segment.quarantined);
            let old = reusable.and_then(|place| segments.retired.remove(place));
            return Some(Task::Prepare(old, index));
        }
        let evidence = segments.retired.iter().position(|segment| segment.quarantined);
        let surplus = || (segments.retired.len() > JOURNAL_SEGMENTS_POOLED).then_some(0);
        if let Some(place) = evidence.or_else(surplus)
            && let Some(segment) = segments.retired.remove(place)
        {
            return Some(Task::Remove(segment));
        }
        let wait = wait.max(Duration::from_millis(1));
        segments = shared.segments_changed.wait_timeout(segments, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Makes one segment ready and hands it over.
pub(super) fn prepare(shared: &Shared, old: Option<&Segment>, index: u64) -> io::Result<()> {
    let (disk, path) = (&shared.options.disk, names::segment(&shared.directory, index));
    let file = if let Some(segment) = old {
        let file = disk.open(&segment.path)?;
        file.write_at(&[0; HEADER_BYTES], 0)?;
        file.sync_data()?;
        disk.rename(&segment.path, &path)?;
        Shared::count(&shared.counters.prepared_bytes, HEADER_BYTES as u64);
        file
    } else {
        let unfinished = names::unfinished(&path);
        let filled = disk.create(&unfinished).and_then(|file| {
            let zeros = vec![0; ZEROS];
            let mut offset = 0;
            while offset < shared.options.segment_bytes {
                let left = usize::try_from(shared.options.segment_bytes - offset).unwrap_or(ZEROS).min(ZEROS);
                file.write_at(&zeros[..left], offset)?;
                offset += left as u64;
            }
            file.sync_all()?;
            Ok(file)
        });
        let file = match filled {
            Ok(file) => file,
            Err(error) if is_full(&error) => {
                // What was written so far would only keep others from writing.
                if let Err(error) = disk.remove(&unfinished) {
                    tracing::debug!(%error, "Unfinished segment not removed.");
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        disk.rename(&unfinished, &path)?;
        Shared::count(&shared.counters.prepared_bytes, shared.options.segment_bytes);
        file
    };
    disk.sync_directory(&shared.directory)?;
    shared.segments().prepared.push_back(Prepared { index, path, file });
    let capacity = i64::try_from(shared.capacity()).unwrap_or(i64::MAX);
    shared.change_room(|queue| {
        queue.room += capacity;
        queue.prepared += 1;
        queue.full = false;
    });
    shared.segments_changed.notify_all();
    Ok(())
}

fn note_full(shared: &Shared, error: &io::Error) {
    tracing::warn!(%error, directory = %shared.directory.display(), "No space for another journal segment.");
    shared.change_room(|queue| queue.full = true);
    look(shared);
}

/// Tells how much is free on the file system.
pub(super) fn look(shared: &Shared) {
    match shared.options.disk.free_bytes(&shared.directory) {
        Ok(free) => {
            shared.space.send_if_modified(|space| std::mem::replace(&mut space.disk_free_bytes, free) != free);
        }
        Err(error) => tracing::warn!(%error, "Free space of the state directory is unknown."),
    }
}

/// The file system has no more space for us: not a failing disk (rule D6).
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
