//! What a process holds of the machine now, as the kernel counts it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Process;

/// Memory, files and threads of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

impl Resources {
    /// Of a process that runs.
    pub fn of(process: &Process) -> Result<Self> {
        let id = process.id().context("the process has ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.with_context(|| format!("{name} in /proc/<id>/status"))?;
            Ok(value.trim().trim_end_matches(" kB").parse()?)
        };
        let open_files = fs::read_dir(format!("/proc/{id}/fd"))?.count();
        Ok(Self { resident_kib: field("VmRSS:")?, open_files: u64::try_from(open_files)?, threads: field("Threads:")? })
    }
}

/// Bytes of all files below a folder that others may change meanwhile.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let Ok(entry) = entry else { continue };
        // A file may be gone between listing and asking.
        let Ok(about) = entry.metadata() else { continue };
        sum += if about.is_dir() { folder_bytes(&entry.path()).unwrap_or(0) } else { about.len() };
    }
    Ok(sum)
}
