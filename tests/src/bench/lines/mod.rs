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

use anyhow::Result;

use super::{Table, whole};

/// Measures `samples` keys one by one, a burst of `burst` keys, and `rounds` interruptions, for each kind of line; a measurement
/// of which there is none is left out.
pub fn run(directory: &Path, samples: usize, burst: usize, rounds: usize) -> Result<Vec<Table>> {
    whole::block_on(async {
        let mut tables = Vec::new();
        if samples > 0 {
            tables.push(latency::measure(directory, samples).await?);
        }
        if burst > 0 {
            tables.push(busy::measure(burst).await?);
        }
        if rounds > 0 {
            tables.push(replug::measure(rounds).await?);
        }
        Ok(tables)
    })
}
