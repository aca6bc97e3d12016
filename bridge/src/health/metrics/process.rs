//! What the kernel says of this process, under the names that Prometheus clients use everywhere.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// Figures of this process; what the kernel does not tell is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// User and system time.
    pub cpu: Option<Duration>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// Bound of open file descriptors.
    pub files_bound: Option<u64>,
}

impl Process {
    /// Asks the kernel.
    pub fn look() -> Self {
        Self { resident_bytes: resident_bytes(), cpu: cpu_time(), open_files: open_files(), files_bound: files_bound() }
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(page).ok()?)
}

fn cpu_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Duration::from)
}

fn open_files() -> Option<u64> {
    // The listing itself holds one.
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count.saturating_sub(1)).ok()
}

fn files_bound() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
