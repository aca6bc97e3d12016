//! What the benches of whole processes share: load over the API, and what the kernel counts of a process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Process, Site, SiteOptions};

/// Property software that asks at the same time.
pub(super) const CLIENTS: usize = 16;

/// A site as it runs in production: no debug log, no hasty polling.
pub(super) fn options() -> SiteOptions {
    SiteOptions { log_level: "info", poll_interval_s: 60, ..SiteOptions::default() }
}

/// Runs a bench whose relays and clients must not wait for one another.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

/// What a process used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
}

/// Bytes written to the device under `path` by everybody, since the machine started.
///
/// The kernel's count for one process (`write_bytes` of `/proc/<id>/io`) would say far more than is true: it charges the
/// whole of a large page-cache folio for every small write into it.
pub(super) fn device_written(path: &Path) -> Result<u64> {
    let device = nix::sys::stat::stat(path)?.st_dev;
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let file = format!("/sys/dev/block/{major}:{minor}/stat");
    let counted =
        fs::read_to_string(&file).with_context(|| format!("{} is on no block device: {file}", path.display()))?;
    let sectors: u64 = counted.split_whitespace().nth(6).with_context(|| format!("{file} is too short"))?.parse()?;
    Ok(sectors * 512)
}

impl Usage {
    pub(super) fn of(process: &Process) -> Result<Self> {
        Self::of_id(process.id().context("the process has ended")?)
    }

    pub(super) fn own() -> Result<Self> {
        Self::of_id(std::process::id())
    }

    fn of_id(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(')').context("/proc/<id>/stat without a name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<u64> { Ok(fields.next().context("/proc/<id>/stat is too short")?.parse()?) };
        let ticks = ticks()? + ticks()?;
        let rate = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("the kernel's clock rate")?;
        let milliseconds = ticks * 1_000 / u64::try_from(rate)?;
        Ok(Self { cpu: Duration::from_millis(milliseconds) })
    }

    /// What was used between `earlier` and now.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(earlier.cpu) }
    }
}

/// Resident memory in KiB.
pub(super) fn resident_kib(process: &Process) -> Result<u64> {
    let id = process.id().context("the process has ended")?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS of /proc/<id>/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Entrances at the API.
pub(super) async fn entrances(site: &Site) -> Result<Vec<Value>> {
    let answer = site.api.post("/acs/entrances/list", json!({})).await?;
    Ok(answer["acs_entrances"].as_array().context("no list of entrances")?.clone())
}

/// Makes grants over two doors for `count` new persons, [`CLIENTS`] at a time.
pub(super) async fn create_grants(site: &Site, prefix: &str, count: usize) -> Result<()> {
    let entrances = entrances(site).await?;
    let doors: Vec<Value> = entrances.iter().take(2).map(|door| door["acs_entrance_id"].clone()).collect();
    let now = jiff::Timestamp::now();
    let ends_at = (now + jiff::SignedDuration::from_hours(7 * 24)).to_string();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let api = site.api.with_bearer(&site.api_key);
        let (doors, ends_at, prefix) = (doors.clone(), ends_at.clone(), prefix.to_owned());
        clients.spawn(async move {
            for number in (client..count).step_by(CLIENTS) {
                let body = json!({
                    "user_identity": { "full_name": format!("{prefix} {number:06}") },
                    "acs_entrance_ids": doors,
                    "requested_access_methods": [{ "mode": "card" }],
                    "starts_at": now.to_string(),
                    "ends_at": ends_at,
                });
                api.post("/access_grants/create", body).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

/// Holders at the simulated lock server.
pub(super) async fn holders(site: &Site) -> Result<u64> {
    let state = site.simulator.get("/state").await?;
    state["counts"]["users"].as_u64().with_context(|| format!("no count of users in {state}"))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_kernel_counts_what_a_process_computes() {
        let (before, begin) = (Usage::own().unwrap(), Instant::now());
        let mut numbers = 0_u64;
        while Usage::own().unwrap().since(before).cpu < Duration::from_millis(30) {
            numbers = (0..100_000).fold(numbers, u64::wrapping_add);
            assert!(begin.elapsed() < Duration::from_secs(30), "no CPU was counted ({numbers})");
        }
        // Other tests of this process may compute at the same time, but never more than all processors together.
        let processors = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
        let most = (begin.elapsed() + Duration::from_millis(20)) * processors;
        assert!(Usage::own().unwrap().since(before).cpu <= most);
    }
}
