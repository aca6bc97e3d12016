//! The front desk's wires: the real bridge and cloud on one side, a simulated key service in this process on the other, so that
//! one clock sees both ends.
//!
//! * `station`: a site and its key service. `latency`: from a command to the first byte on the wire.
//! * `busy`: how busy a slow port is kept by a burst of keys. `replug`: how soon a line is used again.

mod busy;
mod latency;
mod replug;
mod station;

use std::path::Path;

use anyhow::{Result, ensure};

use super::{Table, whole};

/// Measures `samples` keys one by one, a burst of `burst` keys, and `rounds` interruptions, for each kind of line.
pub fn run(directory: &Path, samples: usize, burst: usize, rounds: usize) -> Result<Vec<Table>> {
    ensure!(samples > 0 && burst > 0 && rounds > 0, "at least one of each is needed");
    whole::block_on(async {
        Ok(vec![
            latency::measure(directory, samples).await?,
            busy::measure(burst).await?,
            replug::measure(rounds).await?,
        ])
    })
}
