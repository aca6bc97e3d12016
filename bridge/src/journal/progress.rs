//! How far this journal is known to have come, and whose it is: one small file beside the segments.
//!
//! The end of a journal cannot be told from its segments alone: a last segment that is gone, or zeros over the last batches,
//! look like entries that were never written. So the place reached is noted at every start and orderly end and with every
//! prepared segment, after it became durable and never before. What lies between the note and the true end cannot be known on
//! this machine; the cloud, which was told of it, does.
//!
//! The file is the head of a checkpoint without content: store, sequence, chain hash, checksum. One that does not decode
//! says nothing.

use std::io;
use std::path::{Path, PathBuf};

use lockbridge_protocol::journal::{CHECKPOINT_HEADER_BYTES, CheckpointEncoder, CheckpointHeader};

use super::disk::Disk;
use super::names;
use super::prepare::is_full;
use super::shared::Shared;

/// Of the note itself; it has no keys.
const SCHEMA_VERSION: u32 = 0;

fn path(directory: &Path) -> PathBuf {
    directory.join("progress")
}

/// What was noted last.
pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Option<CheckpointHeader> {
    let file = disk.open(&path(directory)).ok()?;
    let mut head = [0; CHECKPOINT_HEADER_BYTES];
    let count = file.read_at(&mut head, 0).ok()?;
    CheckpointHeader::decode(&head[..count]).ok()
}

/// Notes how far the journal is durable. A full disk only leaves the older note; any other failure is final (rule F3).
pub(super) fn note(shared: &Shared) {
    let durable = *shared.durable.borrow();
    if durable.failed {
        return;
    }
    let store_id = shared.store_id;
    let header = CheckpointHeader {
        schema_version: SCHEMA_VERSION,
        store_id,
        sequence: durable.through,
        head: durable.chain_head,
    };
    let mut bytes = Vec::with_capacity(CHECKPOINT_HEADER_BYTES);
    CheckpointEncoder::begin(&header, &mut bytes);
    match write(shared, &bytes) {
        Ok(()) => {}
        Err(error) if is_full(&error) => tracing::warn!(%error, "The journal's progress was not noted."),
        Err(error) => shared.fail("note the journal's progress", &error),
    }
}

fn write(shared: &Shared, bytes: &[u8]) -> io::Result<()> {
    let (disk, path) = (&shared.options.disk, path(&shared.directory));
    let unfinished = names::unfinished(&path);
    let file = disk.create(&unfinished)?;
    file.write_at(bytes, 0)?;
    file.sync_all()?;
    disk.rename(&unfinished, &path)?;
    disk.sync_directory(&shared.directory)
}
