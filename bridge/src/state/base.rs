//! Where the working set begins: sled as it was left, or an empty one filled from a checkpoint.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lockbridge_protocol::journal::{ChainHash, Position, StoreId};

use super::pair_store::{Changes, PairStore};
use super::store::Fold;
use super::trust::Trust;
use super::working_set::{APPLIED_KEY, CATCH_UP_CHANGES, OpenWorkingSetError, WorkingSetOptions};
use crate::journal::{CheckpointFile, Journal, Replayed};

/// sled as it was left, when it is a state of this journal.
pub(super) fn open_kept(
    directory: &Path,
    journal: &Journal,
    schema_version: u32,
    options: WorkingSetOptions,
    trust: &Arc<Trust>,
) -> Result<(PairStore, Position), &'static str> {
    let unusable = |_| "sled could not read it";
    let store = PairStore::open(directory, options.cache_bytes, Arc::clone(trust)).map_err(unusable)?;
    let applied = store.get(APPLIED_KEY).map_err(unusable)?;
    let Some((store_id, schema, position)) = applied.as_deref().and_then(decode_applied) else {
        return Err("it does not say how far it reaches");
    };
    if store_id != journal.store_id() {
        return Err("it belongs to another journal");
    }
    if schema != schema_version {
        return Err("it was folded by another version of this software");
    }
    let sequence = position.next.saturating_sub(1);
    let same = |other: u64, head: ChainHash| other == sequence && head == position.head;
    let in_journal = match journal.replay(sequence).next() {
        Some(Ok(Replayed::Entry { sequence, head, .. })) => same(sequence, head),
        _ => false,
    };
    let in_checkpoint =
        || journal.checkpoints().newest_first().iter().any(|file| same(file.header.sequence, file.header.head));
    let begins_behind = || journal.begins_at() == Some(position);
    if in_journal || begins_behind() || in_checkpoint() {
        Ok((store, position))
    } else {
        Err("it is not a state of this journal")
    }
}

/// An empty store filled from the newest good checkpoint; `empty` makes one.
pub(super) fn rebuild_base<F: Fold>(
    journal: &Journal,
    fold: &F,
    empty: impl Fn() -> Result<PairStore, OpenWorkingSetError>,
) -> Result<(PairStore, Position), OpenWorkingSetError> {
    let mut refused = None;
    for file in journal.checkpoints().newest_first() {
        if !(F::READS_FROM..=F::SCHEMA_VERSION).contains(&file.header.schema_version) {
            refused = refused.or(Some(file.header.schema_version));
            continue;
        }
        let store = empty()?;
        match load(&file, &store, fold) {
            Ok(()) => {
                return Ok((store, Position { next: file.header.sequence + 1, head: file.header.head }));
            }
            Err(OpenWorkingSetError::Checkpoint(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "Checkpoint not used.");
            }
            Err(other) => return Err(other),
        }
    }
    let genesis = Position { next: 1, head: ChainHash::genesis(journal.store_id()) };
    if let (Some(found), true) = (refused, journal.begins_at() != Some(genesis)) {
        return Err(OpenWorkingSetError::Schema { found, read: F::SCHEMA_VERSION });
    }
    Ok((empty()?, genesis))
}

/// A new sled in place of whatever is in `directory`.
pub(super) fn empty_sled(
    directory: &Path,
    options: WorkingSetOptions,
    trust: &Arc<Trust>,
) -> Result<PairStore, OpenWorkingSetError> {
    let io = |source| OpenWorkingSetError::Io { path: directory.to_owned(), source };
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    Ok(PairStore::open(directory, options.cache_bytes, Arc::clone(trust))?)
}

fn load<F: Fold>(file: &CheckpointFile, store: &PairStore, fold: &F) -> Result<(), OpenWorkingSetError> {
    let mut changes = Changes::new();
    let version = file.header.schema_version;
    file.read(|key, value| {
        let pair = (key.to_vec(), value.to_vec());
        let pair = if version == F::SCHEMA_VERSION { Some(pair) } else { fold.migrate(version, pair) };
        changes.extend(pair.map(|(key, value)| (key, Some(value))));
        if changes.len() >= CATCH_UP_CHANGES {
            store.write(std::mem::take(&mut changes))?;
        }
        Ok::<(), OpenWorkingSetError>(())
    })?;
    Ok(store.write(changes)?)
}

pub(super) fn encode_applied(store_id: StoreId, schema_version: u32, position: Position) -> Vec<u8> {
    [&store_id.0[..], &schema_version.to_le_bytes(), &position.next.to_le_bytes(), &position.head.0].concat()
}

fn decode_applied(bytes: &[u8]) -> Option<(StoreId, u32, Position)> {
    let (store_id, rest) = bytes.split_first_chunk::<16>()?;
    let (schema, rest) = rest.split_first_chunk::<4>()?;
    let (next, head) = rest.split_first_chunk::<8>()?;
    let position = Position { next: u64::from_le_bytes(*next), head: ChainHash(head.try_into().ok()?) };
    Some((StoreId(*store_id), u32::from_le_bytes(*schema), position))
}
