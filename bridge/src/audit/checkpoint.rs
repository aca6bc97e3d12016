//! Checkpoint files of the working set as witnesses of a kind: unsigned, but made apart from the segments, so that somebody who
//! cuts or changes the chain has to think of them too.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lockbridge_protocol::journal::{
    CHECKPOINT_HEADER_BYTES, CheckpointDecoder, CheckpointError, CheckpointHeader, CheckpointStep,
};

use super::AuditError;
use super::chain::{Chain, whole};
use super::finding::Code;
use super::folder::read;
use super::signed::{Claim, Voucher};
use crate::journal::JournalFiles;

/// The files are read in pieces of this size.
const PIECE: usize = 256 * 1024;

pub(super) type CheckpointHead = Result<CheckpointHeader, CheckpointError>;

/// Heads of the checkpoint files; those whose name says something else are damaged.
pub(super) fn heads(files: &JournalFiles) -> Result<Vec<(PathBuf, CheckpointHead)>, AuditError> {
    let mut heads = Vec::new();
    for (sequence, path) in &files.checkpoints {
        let Some(bytes) = read(path, CHECKPOINT_HEADER_BYTES as u64)? else { continue };
        let header = CheckpointHeader::decode(&bytes)
            .and_then(|header| if header.sequence == *sequence { Ok(header) } else { Err(CheckpointError::Header) });
        heads.push((path.clone(), header));
    }
    Ok(heads)
}

/// Reads a checkpoint file through, and makes a claim of what its head says.
pub(super) fn claim(chain: &mut Chain<'_>, path: &Path, header: CheckpointHead) -> Result<(), AuditError> {
    let header = match header.and_then(|header| content(path).map(|checked| checked.map(|()| header))) {
        Ok(Ok(header)) => header,
        Err(error @ CheckpointError::Version(_)) => {
            return Err(AuditError::Version { path: path.to_owned(), problem: error.to_string() });
        }
        Err(error) => {
            chain.finding(Code::CheckpointFile, None, whole(path), error.to_string());
            return Ok(());
        }
        // A newer one took its place.
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(Err(error)) => return Err(AuditError::read(path)(error)),
    };
    let place = path.display().to_string();
    let (store_id, sequence, head) = (header.store_id.0.to_vec(), header.sequence, header.head);
    chain.claim(Claim { voucher: Voucher::File, store_id, sequence, head, time_ms: 0, place });
    Ok(())
}

/// Reads a checkpoint file through, up to the hash at its end.
fn content(path: &Path) -> Result<io::Result<()>, CheckpointError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut buffer = Vec::new();
    let mut more = |buffer: &mut Vec<u8>| file.by_ref().take(PIECE as u64).read_to_end(buffer);
    if let Err(error) = more(&mut buffer) {
        return Ok(Err(error));
    }
    let (_, mut decoder) = CheckpointDecoder::begin(&buffer)?;
    let mut begin = CHECKPOINT_HEADER_BYTES;
    loop {
        match decoder.step(buffer.get(begin..).unwrap_or_default())? {
            CheckpointStep::Item { used, .. } => begin += used,
            CheckpointStep::End => return Ok(Ok(())),
            CheckpointStep::More(_) => {
                buffer.drain(..begin);
                begin = 0;
                match more(&mut buffer) {
                    Ok(0) => return Err(CheckpointError::Trailer),
                    Ok(_) => {}
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
    }
}
