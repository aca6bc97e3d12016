//! Mounting and unmounting, and whether this machine lets us.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;
use thiserror::Error;

use super::server::Server;
use super::volume::Volume;

/// Why there is no fault disk.
#[derive(Debug, Error)]
pub enum MountError {
    /// The machine has not what it takes.
    #[error("no fault disk on this machine: {0}")]
    Unavailable(&'static str),
    /// Mounting failed.
    #[error("cannot mount a fault disk on {path}")]
    Io {
        /// The mount point.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is missing for a fault disk, if anything.
pub(super) fn missing() -> Option<&'static str> {
    if !geteuid().is_root() {
        return Some("mounting needs root");
    }
    match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("there is no /dev/fuse"),
        Err(_) => Some("/dev/fuse cannot be opened"),
    }
}

/// A live mount; unmounted when dropped, whoever still has files open.
#[derive(Debug)]
pub(super) struct Mounted {
    point: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    pub(super) fn new(point: &Path, volume: Arc<Mutex<Volume>>) -> Result<Self, MountError> {
        if let Some(missing) = missing() {
            return Err(MountError::Unavailable(missing));
        }
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("lockbridge-fault-disk".to_owned()),
            MountOption::NoDev,
            MountOption::NoExec,
            MountOption::DefaultPermissions,
        ];
        let session = Session::new(Server::new(volume), point, &config).and_then(Session::spawn);
        let failed = |source| MountError::Io { path: point.to_owned(), source };
        Ok(Self { point: point.to_owned(), session: Some(session.map_err(failed)?) })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Force ends the connection, so that no process stays stuck in a call and the serving thread ends; detach takes
        // the mount away although files are open.
        match umount2(&self.point, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH) {
            Ok(()) => {
                if let Some(Err(error)) = self.session.take().map(BackgroundSession::join) {
                    tracing::warn!(%error, point = %self.point.display(), "The fault disk did not end well.");
                }
            }
            Err(error) => {
                tracing::error!(%error, point = %self.point.display(), "Fault disk not unmounted; do it by hand: umount -l.");
            }
        }
    }
}
