//! The real site with the bridge's state on a fault disk, and the ways its machine goes down.

use std::time::Duration;

use anyhow::Result;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use super::plan::ENCODERS;
use crate::fault_disk::{FaultDisk, Image, Tear};
use crate::harness::{Site, SiteOptions, guest};

/// Longest wait for a session with the cloud; a lost one is tried again after some seconds, drawn by the bridge.
pub(super) const SESSION: Duration = Duration::from_secs(60);
/// Longest wait for all work and all reports to end.
pub(super) const REST: Duration = Duration::from_secs(60);

/// The site, its disk, and the seeded choice among what a power cut may leave.
#[derive(Debug)]
pub(super) struct DiskSite {
    // Before the disk: the daemon's files are on it.
    pub(super) site: Site,
    pub(super) disk: FaultDisk,
    pub(super) directory: guest::Directory,
    pub(super) random: StdRng,
}

impl DiskSite {
    /// Enrolled, running, connected, every encoder with a stack of blanks.
    pub(super) async fn open(seed: u64, capacity: u64, poll_interval_s: u32) -> Result<Self> {
        let disk = FaultDisk::mount(Image::default(), capacity)?;
        let options = SiteOptions {
            simulator: ["--write-time", "100"].map(str::to_owned).to_vec(),
            log_level: "info",
            poll_interval_s,
            relay_lock_server: true,
            state: Some(disk.path()),
            ..SiteOptions::default()
        };
        let site = Site::running(options).await?;
        let directory = guest::Directory::read(&site).await?;
        for encoder in ENCODERS {
            site.simulator.post("/encoders/auto-feed", json!({ "encoder": encoder, "on": true })).await?;
        }
        Ok(Self { site, disk, directory, random: StdRng::seed_from_u64(seed) })
    }

    /// Makes sure that the daemon is dead, whoever killed it.
    pub(super) async fn dead(&mut self) -> Result<()> {
        if self.site.bridge().is_ok() { self.site.kill_bridge().await } else { Ok(()) }
    }

    /// The machine lost its power, at the moment a rule drew or now; what is left on the disk is drawn. The daemon is
    /// dead then and may be started.
    pub(super) async fn lose_power(&mut self) -> Result<()> {
        self.disk.cut_power();
        self.dead().await?;
        let left = self.disk.torn(Tear::draw(&mut self.random), &mut self.random);
        self.disk.swap(left)?;
        self.site.reboot()
    }

    /// Waits until nothing is left to do or to tell.
    pub(super) async fn at_rest(&self) -> Result<()> {
        self.none(&["queued", "executing", "in_doubt", "outbox"]).await
    }

    /// The same, but somebody may still have to settle doubts.
    pub(super) async fn at_rest_but_doubts(&self) -> Result<()> {
        self.none(&["queued", "executing", "outbox"]).await
    }

    async fn none(&self, of: &[&str]) -> Result<()> {
        self.site
            .wait_for_status("no work left at the bridge", REST, |status| {
                status["cloud"]["connected"] == true && of.iter().all(|key| status["engine"][*key] == 0)
            })
            .await?;
        Ok(())
    }
}
