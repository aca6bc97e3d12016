//! The hotel on disk: one file, one line a request, whole or not at all.
//!
//! A line is written and synced before its request is answered, changes and effects together, so that a killed process has
//! lost nothing it answered and counted nothing twice. A last line without an end was never answered and is cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::hotel::{Change, Hotel};
use crate::simulator::site::store::{StoreError, read_lines};

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum LogError {
    /// The directory or the file.
    #[error("opening {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line that is no change.
    #[error(transparent)]
    Damaged(#[from] StoreError),
}

/// The open file.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// Reads the directory (made if missing).
    pub fn open(directory: &Path) -> Result<(Self, Hotel), LogError> {
        let path = directory.join("hotel.jsonl");
        let fault = |source| LogError::Io { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(fault)?;
        let mut hotel = Hotel::default();
        for changes in read_lines::<Vec<Change>>(&path)? {
            for change in changes {
                hotel.apply(change);
            }
        }
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(fault)?;
        Ok((Self { file }, hotel))
    }

    /// Writes what changed and syncs it. Nothing may be answered before this returned.
    pub fn commit(&mut self, hotel: &mut Hotel) -> io::Result<()> {
        let changes = hotel.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&changes)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}
