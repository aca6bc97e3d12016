//! The data directory: the database file and, beside it, the few secrets that must not be in it.
//!
//! Secrets are files of mode 0600 in a directory of mode 0700, written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

/// Largest file read back: a key or a certificate.
const FILE_BYTES: u64 = 64 * 1024;

/// The directory or a file in it is not usable.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// A file operation failed.
    #[error("{attempt} {path}: {source}")]
    File {
        /// What was tried.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server runs on this directory.
    #[error("another lockbridge-cloud serves from {0}; stop it first, or choose another --data")]
    InUse(PathBuf),
    /// Others than the owner may read a secret.
    #[error("{0} is readable by others than its owner: chmod 600 it, and consider its key known")]
    Exposed(PathBuf),
}

/// The data directory, made if it was missing.
#[derive(Debug, Clone)]
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// Uses `path`, creating it (mode 0700) if needed.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("creating", path))?;
        Ok(Self(path.to_owned()))
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.0.join("cloud.sqlite")
    }

    /// The path of a file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Claims the directory for one server for as long as the returned file lives.
    pub fn claim(&self) -> Result<File, DirectoryError> {
        let path = self.path("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(at("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse(self.0.clone())),
            Err(TryLockError::Error(source)) => Err(at("locking", &path)(source)),
        }
    }

    /// Reads a secret file; `None` when there is none.
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, DirectoryError> {
        let path = self.path(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("opening", &path)(error)),
        };
        let metadata = file.metadata().map_err(at("reading", &path))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(DirectoryError::Exposed(path));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        (&mut file).take(FILE_BYTES).read_to_end(&mut bytes).map_err(at("reading", &path))?;
        Ok(Some(bytes))
    }

    /// Writes a file whole (mode 0600, or 0644 when `public`) and makes it durable: temporary file, fsync, rename,
    /// fsync of the directory.
    pub fn write(&self, name: &str, bytes: &[u8], public: bool) -> Result<(), DirectoryError> {
        let path = self.path(name);
        let temporary = self.path(&format!("{name}.new"));
        let mode = if public { 0o644 } else { 0o600 };
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(at("writing", &path))
    }
}

fn at(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::File { attempt, path, source }
}
