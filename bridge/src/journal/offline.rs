//! The journal's files for a reader that holds no lock and changes nothing: the auditor, also while the daemon runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::names::{self, Name};

/// Files in the journal's directory by what their names say; unfinished ones and strangers are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFiles {
    /// Segments, quarantined ones too, in use or only prepared, by index.
    pub segments: Vec<SegmentFile>,
    /// Checkpoints, by sequence.
    pub checkpoints: Vec<(u64, PathBuf)>,
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentFile {
    /// Place among the segments, by its name.
    pub index: u64,
    /// Set aside by recovery as damaged or foreign.
    pub quarantined: bool,
    /// The file.
    pub path: PathBuf,
}

impl JournalFiles {
    /// Lists the journal of `state_directory`.
    pub fn list(state_directory: &Path) -> io::Result<Self> {
        let mut files = Self::default();
        for entry in fs::read_dir(state_directory.join("journal"))? {
            let entry = entry?;
            let path = entry.path();
            match names::parse(&entry.file_name().to_string_lossy()) {
                Some(Name::Segment(index)) => files.segments.push(SegmentFile { index, quarantined: false, path }),
                Some(Name::Quarantined(index)) => files.segments.push(SegmentFile { index, quarantined: true, path }),
                Some(Name::Checkpoint(sequence)) => files.checkpoints.push((sequence, path)),
                Some(Name::Unfinished) | None => {}
            }
        }
        files.segments.sort();
        files.checkpoints.sort();
        Ok(files)
    }
}
