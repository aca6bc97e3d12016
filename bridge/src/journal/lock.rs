//! One process per state directory (rule F8).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

/// Why the state directory could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it. Exit code 75.
    #[error("another lockbridge{} works on the state directory {directory}; stop it first", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// The holder, when its number could be read.
        pid: Option<u32>,
    },
    /// The directory or its lock file cannot be used.
    #[error("cannot lock the state directory {directory}")]
    Io {
        /// The state directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Holds the state directory until dropped; the kernel lets go of it when the process ends in any way.
#[derive(Debug)]
pub struct StateLock {
    directory: PathBuf,
    _file: Flock<File>,
}

impl StateLock {
    /// Takes `directory`, making it (mode 0700) when it is not there.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { directory: directory.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("lock"))
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                // Only for the message of a second instance: a full disk must not keep the daemon from starting.
                let pid = std::process::id().to_string();
                if let Err(error) = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())) {
                    tracing::debug!(%error, "Process number not written to the lock file.");
                }
                Ok(Self { directory: directory.to_owned(), _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let read = Read::by_ref(&mut file).take(16).read_to_string(&mut pid);
                let pid = read.ok().and_then(|_| pid.trim().parse().ok());
                Err(LockError::Held { directory: directory.to_owned(), pid })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The directory held.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_refused_and_told_who_holds() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        let lock = StateLock::acquire(&state).expect("first");
        let second = StateLock::acquire(&state).expect_err("held");
        assert!(matches!(second, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(second.to_string().contains(&format!("pid {}", std::process::id())), "{second}");
        drop(lock);
        StateLock::acquire(&state).expect("free again");
    }
}
