//! The steps, each from a healthy disk to a healthy disk.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt as _;
use serde_json::json;

use crate::fault_disk::{Call, Effect, Place, Rule};
use crate::harness::guest;
use crate::torture::disk_site::DiskSite;
use crate::torture::history::{Encode, End, History};
use crate::torture::plan::{ENCODERS, ROOMS};
use crate::torture::{load, witness};

/// The disk of a small site server that has enough for everything, in bytes.
const CAPACITY: u64 = 512 * 1024 * 1024;
/// The daemon looks at the disk every 10 s; and some time to act.
const LOOK: Duration = Duration::from_secs(15);
/// Free bytes that are less than the configured reserve of 16 MiB.
const LITTLE: u64 = 12 * 1024 * 1024;
/// The exit code of a failing disk.
const DISK: i32 = 74;

pub(super) struct Story {
    pub(super) rig: DiskSite,
    pub(super) history: History,
}

impl Story {
    pub(super) async fn open(seed: u64) -> Result<Self> {
        Ok(Self { rig: DiskSite::open(seed, CAPACITY, 1).await?, history: History::default() })
    }

    pub(super) async fn runs_low(&mut self) -> Result<()> {
        let known = self.arrived().await?;
        self.leave_free(LITTLE);
        self.rig.site.wait_for_status("a reason of the disk", LOOK, disk_reason).await?;
        let held = self.create().await?;
        self.revoke(known).await?;
        self.gone(known).await?;
        if self.is_there(held).await? {
            bail!("a grant was carried out although only revokes may be accepted");
        }
        self.space_returns().await?;
        // Held back by the missing credit it comes now; sent on credit from before, it was refused, which must be told.
        if self.refused(held).await? {
            self.revoke(held).await?;
            return self.arrived().await.map(drop);
        }
        self.there(held).await
    }

    /// Whether the API says of a grant that the bridge's disk kept it from being carried out.
    async fn refused(&self, holder: usize) -> Result<bool> {
        let body = json!({ "access_grant_id": self.history.holders[holder].access_grant_id });
        let grant = self.rig.site.api.post("/access_grants/get", body).await?;
        let errors = grant["access_grant"]["errors"].as_array().cloned().unwrap_or_default();
        Ok(errors.iter().any(|error| error["message"].as_str().is_some_and(|message| message.contains("disk"))))
    }

    pub(super) async fn is_full(&mut self) -> Result<()> {
        let (known, other) = (self.arrived().await?, self.arrived().await?);
        guest::ready_for_encoding(&self.rig.site, &self.grant(known)).await?;
        let before = self.cards().await?;
        self.leave_free(0);
        self.rig.site.wait_for_status("a reason of the disk", LOOK, disk_reason).await?;
        let told = self.encode(known).await?;
        self.revoke(other).await?;
        self.gone(other).await?;
        if self.cards().await? != before {
            bail!("a card was written on a full disk; the attempt was told {told:?}");
        }
        self.space_returns().await?;
        let told = self.encode(known).await?;
        if told != Some(End::Success) {
            bail!("with space again, the encode ended with {told:?}");
        }
        Ok(())
    }

    pub(super) async fn writes_short(&mut self) -> Result<()> {
        let most = self.rig.random.random_range(1..200);
        self.on_journal(Call::Write, 0, 20, Effect::Short(most));
        let known = self.arrived().await?;
        guest::ready_for_encoding(&self.rig.site, &self.grant(known)).await?;
        let told = self.encode(known).await?;
        self.rig.disk.heal();
        // What was written in pieces is read as a whole.
        self.rig.dead().await?;
        self.rig.site.start_bridge().await?;
        if told != Some(End::Success) {
            bail!("the encode ended with {told:?}");
        }
        self.there(known).await
    }

    pub(super) async fn flush_fails(&mut self) -> Result<()> {
        self.fails(Call::Sync).await
    }

    pub(super) async fn write_fails(&mut self) -> Result<()> {
        self.fails(Call::Write).await
    }

    /// One call of the journal fails under load; the disk is well again for the restart.
    async fn fails(&mut self, call: Call) -> Result<()> {
        let skip = self.rig.random.random_range(0..8);
        self.on_journal(call, skip, 1, Effect::InputOutput);
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(self.create().await?);
        }
        let status = self.rig.site.bridge()?.ended().await?;
        if status.code() != Some(DISK) {
            bail!("the daemon ended with {status}");
        }
        self.rig.disk.heal();
        self.rig.dead().await?;
        self.rig.site.start_bridge().await?;
        for one in made {
            self.there(one).await?;
        }
        Ok(())
    }

    pub(super) async fn starts_full_after_kill(&mut self) -> Result<()> {
        let known = self.arrived().await?;
        self.rig.dead().await?;
        self.starts_full(known).await
    }

    pub(super) async fn starts_full_after_power_cut(&mut self) -> Result<()> {
        let known = self.arrived().await?;
        self.rig.lose_power().await?;
        self.starts_full(known).await
    }

    async fn starts_full(&mut self, known: usize) -> Result<()> {
        self.leave_free(0);
        self.rig.site.start_bridge().await.context("starting on a full disk")?;
        self.rig.site.wait_for_status("a reason of the disk", LOOK, disk_reason).await?;
        self.revoke(known).await?;
        self.gone(known).await?;
        self.space_returns().await?;
        self.arrived().await.map(drop)
    }

    /// Not one write of the journal goes through, as on a file system that needs new blocks to write over old ones.
    pub(super) async fn starts_without_any_room(&mut self) -> Result<()> {
        let known = self.arrived().await?;
        self.rig.dead().await?;
        self.on_journal(Call::Write, 0, u64::MAX, Effect::NoSpace);
        self.rig.site.start_bridge().await.context("starting without room for one entry")?;
        let status = self.rig.site.wait_for_status("a reason of the disk", LOOK, disk_reason).await?;
        if status["state"] != "unready" || !status["engine"].is_null() {
            bail!("it works, or says so, without a journal: {status}");
        }
        self.rig.disk.heal();
        self.rig.site.wait_for_status("no reason of the disk", LOOK, |status| !disk_reason(status)).await?;
        self.revoke(known).await?;
        self.gone(known).await
    }

    /// After a step, however it ended: a disk with space and without rules, and a daemon with a session.
    pub(super) async fn mended(&mut self) -> Result<()> {
        self.rig.disk.set_capacity(CAPACITY);
        self.rig.disk.heal();
        let runs = self.rig.site.bridge().is_ok_and(crate::harness::Process::runs);
        if !runs {
            self.rig.dead().await?;
            self.rig.site.start_bridge().await?;
        }
        self.rig.site.wait_for_status("a healthy disk", LOOK, |status| !disk_reason(status)).await?;
        self.rig.at_rest().await
    }

    fn on_journal(&self, call: Call, skip: u64, times: u64, effect: Effect) {
        let calls: &'static [Call] = if call == Call::Sync { &[Call::Sync] } else { &[Call::Write] };
        self.rig.disk.inject(Rule { calls, place: Place::Below("journal"), skip, times, effect });
    }

    fn leave_free(&mut self, bytes: u64) {
        let used = CAPACITY.saturating_sub(self.rig.disk.free());
        self.rig.disk.set_capacity(used + bytes);
    }

    async fn space_returns(&mut self) -> Result<()> {
        self.rig.disk.set_capacity(CAPACITY);
        self.rig.site.wait_for_status("no reason of the disk", LOOK, |status| !disk_reason(status)).await?;
        Ok(())
    }

    async fn create(&mut self) -> Result<usize> {
        let room = self.history.holders.len() % ROOMS.len();
        load::create(&self.rig.site, &self.rig.directory, room, &mut self.history).await?;
        Ok(self.history.holders.len() - 1)
    }

    /// A grant that is at the lock server.
    async fn arrived(&mut self) -> Result<usize> {
        let holder = self.create().await?;
        self.there(holder).await?;
        Ok(holder)
    }

    fn grant(&self, holder: usize) -> guest::Grant {
        let holder = &self.history.holders[holder];
        guest::Grant {
            access_grant_id: holder.access_grant_id.clone(),
            access_method_id: holder.access_method_id.clone(),
            name: holder.name.clone(),
        }
    }

    async fn revoke(&mut self, holder: usize) -> Result<()> {
        let body = json!({ "access_grant_id": self.history.holders[holder].access_grant_id });
        self.rig.site.api.post("/access_grants/delete", body).await?;
        self.history.commands += 1;
        self.history.holders[holder].deleted = true;
        Ok(())
    }

    /// What the asker was told; `None`: the API took no command.
    async fn encode(&mut self, holder: usize) -> Result<Option<End>> {
        let begun = guest::begin_encode(&self.rig.site, &self.rig.directory, &self.grant(holder), ENCODERS[0]).await;
        let Ok(id) = begun else { return Ok(None) };
        self.history.commands += 1;
        let mut encode = Encode { attempt_id: Some(id.clone()), end: End::Pending, writes_before: 0 };
        // One that is still pending is learned of at the end.
        if let Ok(attempt) = guest::attempt_ended(&self.rig.site, &id).await {
            encode.learn(&attempt);
        }
        let end = encode.end.clone();
        self.history.holders[holder].encodes.push(encode);
        Ok(Some(end))
    }

    async fn cards(&self) -> Result<u64> {
        witness::at_rest(&self.rig.site).await?;
        Ok(witness::writes(&self.rig.site).await?.values().sum())
    }

    /// Whether the holder has any rights at the lock server.
    async fn is_there(&self, holder: usize) -> Result<bool> {
        witness::has_rights(&self.rig.site, &self.history.holders[holder].external_id).await
    }

    async fn there(&self, holder: usize) -> Result<()> {
        witness::rights(&self.rig.site, &self.history.holders[holder], true).await
    }

    async fn gone(&self, holder: usize) -> Result<()> {
        witness::rights(&self.rig.site, &self.history.holders[holder], false).await
    }
}

/// Whether `/status` says that the disk is full or below the reserve. That less than 1 GiB is free is always so here.
fn disk_reason(status: &serde_json::Value) -> bool {
    let reasons = status["reasons"].as_array().into_iter().flatten();
    reasons.into_iter().any(|reason| {
        let message = reason["message"].as_str().unwrap_or_default();
        reason["code"] == "disk" || (reason["code"] == "disk_low" && !message.contains("1 GiB"))
    })
}
