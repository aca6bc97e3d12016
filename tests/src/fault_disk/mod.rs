//! A disk that fails on purpose: a file system in memory, mounted with FUSE, under the real programs (rule P1).
//!
//! Owns a mount point in a temporary folder, and the image behind it. What was not synced is kept apart from what was:
//! `fsync` or `fdatasync` of a file makes its content and length durable, `fsync` of a directory the names in it, and
//! nothing else does (`sync_file_range` never reaches a FUSE file system, so it counts as nothing). Every call that
//! changes something, or makes it durable, has a number in one total order, and a rule can meet the n-th of a kind with
//! `ENOSPC`, `EIO`, a short write, the death of the caller, or a power cut.
//!
//! Promises: what was synced is in every image; an image can be mounted again; the disk is unmounted when its value is
//! dropped, also by a panic. Never: writes back by itself less than 32 MiB, caches in the kernel, or skips in silence
//! where it cannot be mounted.
//!
//! What a real disk may do and this one does not: reorder the names of two directories after one of them was synced, or
//! lose sectors that were synced.

mod change;
mod content;
mod image;
mod mount;
mod rule;
mod server;
mod volume;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::sync::watch;

pub use change::Tear;
pub use image::Image;
pub use mount::MountError;
pub use rule::{Call, Effect, Operation, Place, Rule};

use content::BLOCK;
use mount::Mounted;
use volume::Volume;

/// A mounted disk.
#[derive(Debug)]
pub struct FaultDisk {
    // Before the folder: a folder that is mounted on cannot be removed.
    mounted: Option<Mounted>,
    volume: Arc<Mutex<Volume>>,
    capacity: u64,
    folder: TempDir,
}

/// Says once, loudly, that something is left out because there can be no fault disk here. True: it can.
pub fn available(what: &str) -> bool {
    let Some(missing) = mount::missing() else { return true };
    // Past the capture of test output: a line nobody sees would be silence.
    let _closed = writeln!(io::stderr(), "SKIPPED: {what} needs a fault disk, and {missing}.");
    false
}

impl FaultDisk {
    /// Mounts an image on a disk of that many bytes.
    pub fn mount(image: Image, capacity: u64) -> Result<Self, MountError> {
        let folder = tempfile::Builder::new().prefix("lockbridge-disk-").tempdir();
        let folder = folder.map_err(|source| MountError::Io { path: std::env::temp_dir(), source })?;
        let volume = Arc::new(Mutex::new(Volume::new(image, capacity)));
        let mounted = Some(Mounted::new(folder.path(), Arc::clone(&volume))?);
        Ok(Self { mounted, volume, capacity, folder })
    }

    /// Puts another image in its place, without rules. Whoever has files open on the old one gets errors.
    pub fn swap(&mut self, image: Image) -> Result<(), MountError> {
        self.mounted = None;
        self.volume = Arc::new(Mutex::new(Volume::new(image, self.capacity)));
        self.mounted = Some(Mounted::new(self.folder.path(), Arc::clone(&self.volume))?);
        Ok(())
    }

    fn volume(&self) -> MutexGuard<'_, Volume> {
        self.volume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Adds a rule; of several that meet a call, the oldest decides.
    pub fn inject(&self, rule: Rule) {
        self.volume().add_rule(rule);
    }

    /// Forgets all rules, and that there was a crash.
    pub fn heal(&self) {
        self.volume().clear_rules();
    }

    /// Another capacity, in bytes. Less than what is used: the disk is full.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
        self.volume().set_capacity(bytes);
    }

    /// Bytes that may still be written.
    pub fn free(&self) -> u64 {
        self.volume().space().1 * BLOCK as u64
    }

    /// Begins to write down the operations.
    pub fn record(&self) {
        self.volume().record();
    }

    /// Ends the recording: the operations since [`record`](Self::record).
    pub fn recorded(&self) -> Vec<Operation> {
        self.volume().take_recorded()
    }

    /// Follows the crashes that rules cause: the operation at which one happened.
    pub fn crashed(&self) -> watch::Receiver<Option<Operation>> {
        self.volume().crashed()
    }

    /// The power fails now: every call from now on gives `EIO`.
    pub fn cut_power(&self) {
        self.volume().freeze();
    }

    /// Everything that was written, synced or not: what a killed process leaves.
    pub fn written(&self) -> Image {
        self.volume().written()
    }

    /// What a power cut leaves, now or at the moment of the cut. Can be asked again, for other outcomes.
    pub fn torn(&self, tear: Tear, random: &mut StdRng) -> Image {
        self.volume().torn(tear, random)
    }
}

/// Whether anything is mounted on a path.
pub fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}
