//! Time as an argument: wall time for validity and logs, time since boot for everything that waits (rule N1).

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// Where a room gets its time from. One implementation runs in production, tests bring their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall time, UTC. May jump.
    fn wall(&self) -> Timestamp;

    /// Time since boot, suspend included. Never jumps, means nothing across a boot.
    fn since_boot(&self) -> Duration;

    /// [`wall`](Self::wall) in milliseconds since the epoch, as the wire formats carry it.
    fn wall_ms(&self) -> i64 {
        self.wall().as_millisecond()
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        // CLOCK_BOOTTIME exists on every Linux this runs on; a kernel without it would also lack what systemd needs.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
    }
}

/// What names this boot of the kernel: as the kernel tells it, or, where its file is hidden from the service, as systemd
/// does. Empty when neither tells: then every start counts as a new boot.
pub fn kernel_boot_id() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let named = || std::env::var("LOCKBRIDGE_KERNEL_BOOT_ID").ok();
    // The kernel writes it with hyphens, systemd without.
    kernel.or_else(named).and_then(|id| Uuid::parse_str(id.trim()).ok()).map_or_else(String::new, |id| id.to_string())
}

/// A clock that stands still until told otherwise.
#[cfg(test)]
#[derive(Debug)]
pub struct ManualClock(std::sync::Mutex<(Timestamp, Duration)>);

#[cfg(test)]
impl ManualClock {
    /// Starts at `wall_ms`, one hour after boot.
    pub fn at(wall_ms: i64) -> Self {
        let wall = Timestamp::from_millisecond(wall_ms).expect("a representable time");
        Self(std::sync::Mutex::new((wall, Duration::from_secs(3600))))
    }

    /// Lets both clocks run on by `by`.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no holder panicked");
        now.0 += by;
        now.1 += by;
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        self.0.lock().expect("no holder panicked").0
    }

    fn since_boot(&self) -> Duration {
        self.0.lock().expect("no holder panicked").1
    }
}
