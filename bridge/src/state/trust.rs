//! Whether sled's files may be believed at the next start.
//!
//! The page cache survives the death of a process, not that of the machine: sled's files are good for the next process
//! of the same kernel boot, or when they were closed and flushed. A small file beside them says which. It is removed
//! before sled is opened and on any of its errors, so that a start that dies in sled is followed by a rebuild.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock::kernel_boot_id;

/// Unclean ends in a row after which the working set is rebuilt all the same, so that no damage in it can make the
/// daemon die again and again.
const UNCLEAN_ENDS: u32 = 8;
const CLOSED: &str = "closed";

#[derive(Debug)]
pub(super) struct Trust {
    path: PathBuf,
    boot_id: String,
}

impl Trust {
    pub(super) fn new(state_directory: &Path) -> Self {
        Self { path: state_directory.join("working-set.trust"), boot_id: kernel_boot_id() }
    }

    /// Why the files cannot be believed, or how many unclean ends they have seen. Trust is gone after this until
    /// [`begin`](Self::begin).
    pub(super) fn take(&self) -> io::Result<Result<u32, &'static str>> {
        let content = match fs::read(&self.path) {
            // Bytes that are no text are an unknown state, and must not keep the daemon from starting.
            Ok(content) => String::from_utf8_lossy(&content).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err("it was not there, or had failed")),
            Err(error) => return Err(error),
        };
        fs::remove_file(&self.path)?;
        self.sync_directory()?;
        let (state, unclean) = content.trim().split_once(' ').unwrap_or_default();
        let unclean = unclean.parse().unwrap_or(UNCLEAN_ENDS);
        Ok(if state == CLOSED {
            Ok(0)
        } else if state.is_empty() || state != self.boot_id {
            Err("the machine was started anew without closing it")
        } else if unclean >= UNCLEAN_ENDS {
            Err("it was not closed many times in a row")
        } else {
            Ok(unclean)
        })
    }

    /// sled's files serve this process, after `unclean` ends without closing.
    pub(super) fn begin(&self, unclean: u32) -> io::Result<()> {
        // An unknown boot cannot be recognised again.
        if self.boot_id.is_empty() { Ok(()) } else { self.write(&format!("{} {unclean}", self.boot_id)) }
    }

    /// sled's files are closed and flushed.
    pub(super) fn close(&self) -> io::Result<()> {
        self.write(&format!("{CLOSED} 0"))
    }

    /// sled failed.
    pub(super) fn end(&self) {
        let removed = fs::remove_file(&self.path).and_then(|()| self.sync_directory());
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, path = %self.path.display(), "Remove this file by hand before the next start.");
        }
    }

    fn write(&self, content: &str) -> io::Result<()> {
        let new = self.path.with_extension("trust.new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

/// Flushes every file below `directory`, and the directories.
pub(super) fn flush_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { flush_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_no_trust_and_no_reason_not_to_start() {
        let state = tempfile::tempdir().expect("a directory");
        let trust = Trust::new(state.path());
        for bytes in [b"\xff\xfe\x00 0".as_slice(), b"", b"closed", b"closed \xff", b"\n\n"] {
            fs::write(&trust.path, bytes).expect("written");
            let taken = trust.take().expect("readable");
            assert!(taken.is_err() || bytes.starts_with(b"closed "), "{taken:?} of {bytes:?}");
        }
        trust.close().expect("written");
        assert_eq!(trust.take().expect("readable"), Ok(0));
        assert!(trust.take().expect("readable").is_err(), "once only");
    }
}
