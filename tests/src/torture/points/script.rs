//! The scripted run, and the crash in it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt as _;
use serde_json::json;
use tokio::sync::watch;

use super::point::{At, Phase, PhaseCounts, Point};
use super::recover::Recovered;
use crate::fault_disk::{Effect, Operation, Rule};
use crate::harness::{guest, until};
use crate::torture::disk_site::DiskSite;
use crate::torture::history::{Encode, End, History};
use crate::torture::load;
use crate::torture::plan::{ENCODERS, ROOMS};
use crate::torture::witness;

/// Files, journal and sled of some thousand runs take less.
const CAPACITY: u64 = 512 * 1024 * 1024;
/// Seconds between looks at the lock server: what the clock triggers would make one run differ from the next.
const POLL_S: u32 = 300;
/// Longest wait for an encoder to begin.
const BEGIN: Duration = Duration::from_secs(20);

/// A site, and everything that was asked of it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) rig: DiskSite,
    pub(super) history: History,
    /// Holders before this one had what was asked for them when all was last at rest.
    pub(super) settled: usize,
}

/// Crashes of the daemon, by the disk's rules or the line's.
struct Crashes {
    disk: watch::Receiver<Option<Operation>>,
    line: watch::Receiver<u64>,
    deaths: u64,
}

impl Crashes {
    fn happened(&self) -> bool {
        self.disk.borrow().is_some() || *self.line.borrow() > self.deaths
    }

    /// Waits for one.
    async fn next(&mut self) {
        let deaths = self.deaths;
        let ended = tokio::select! {
            crash = self.disk.wait_for(Option::is_some) => crash.is_err(),
            death = self.line.wait_for(|line| *line > deaths) => death.is_err(),
        };
        if ended {
            // Whoever could crash is gone.
            std::future::pending::<()>().await;
        }
    }

    /// What a wait gave; `None` when a crash came first.
    async fn or<T>(&mut self, wait: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        let waited = tokio::select! {
            biased;
            () = self.next() => return Ok(None),
            waited = wait => waited,
        };
        match waited {
            Err(_) if self.happened() => Ok(None),
            waited => waited.map(Some),
        }
    }
}

impl Run {
    pub(super) async fn open(seed: u64) -> Result<Self> {
        Ok(Self { rig: DiskSite::open(seed, CAPACITY, POLL_S).await?, history: History::default(), settled: 0 })
    }

    pub(super) fn folder(&self) -> &Path {
        self.rig.site.folder()
    }

    /// Counts the phase *start*.
    pub(super) async fn count_start(&mut self) -> Result<PhaseCounts> {
        self.interrupt_work().await?;
        let bytes = self.line()?.passed_to_server();
        self.rig.disk.record();
        let mut crashes = self.crashes()?;
        if self.start(&mut crashes, None).await?.is_none() {
            bail!("a crash that nobody ordered: {:?}", self.rig.disk.crashed().borrow());
        }
        let counts = PhaseCounts::of(&self.rig.disk.recorded(), self.line()?.passed_to_server() - bytes);
        self.settle().await?;
        Ok(counts)
    }

    /// Counts the phase *work*.
    pub(super) async fn count_work(&mut self) -> Result<PhaseCounts> {
        let bytes = self.line()?.passed_to_server();
        self.rig.disk.record();
        let mut crashes = self.crashes()?;
        if self.work(&mut crashes).await?.is_none() {
            bail!("a crash that nobody ordered: {:?}", self.rig.disk.crashed().borrow());
        }
        let counts = PhaseCounts::of(&self.rig.disk.recorded(), self.line()?.passed_to_server() - bytes);
        self.recover(None).await?;
        Ok(counts)
    }

    /// Runs the point's phase with a crash at the point, and recovers. `None`: the run ended before the point came.
    pub(super) async fn point(&mut self, point: Point) -> Result<Option<Recovered>> {
        let mut deadly_bytes = None;
        if point.phase == Phase::Start {
            self.interrupt_work().await?;
        }
        let mut crashes = self.crashes()?;
        match point.at {
            At::Call(place, n, effect) => self.rig.disk.inject(Rule::crash(place, n, effect)),
            At::Byte(n) => deadly_bytes = Some(n),
        }
        let ran_through = match point.phase {
            Phase::Start => self.start(&mut crashes, deadly_bytes).await?.is_some(),
            Phase::Work => {
                self.arm(deadly_bytes)?;
                self.work(&mut crashes).await?.is_some()
            }
        };
        let reached = !ran_through || crashes.happened();
        self.line()?.spare();
        if reached && matches!(point.at, At::Call(_, _, Effect::PowerCut)) {
            self.rig.lose_power().await?;
        } else {
            self.rig.dead().await?;
            self.rig.disk.heal();
        }
        let recovered = self.recover(Some(point)).await?;
        Ok(reached.then_some(recovered))
    }

    fn line(&self) -> Result<&crate::harness::Link> {
        self.rig.site.lock_server_link.as_ref().context("a relay in front of the lock server")
    }

    fn crashes(&self) -> Result<Crashes> {
        let line = self.line()?.deaths();
        let deaths = *line.borrow();
        Ok(Crashes { disk: self.rig.disk.crashed(), line, deaths })
    }

    fn arm(&mut self, bytes: Option<u64>) -> Result<()> {
        if let Some(bytes) = bytes {
            let process = self.rig.site.bridge()?.id().context("a running bridge")?;
            self.line()?.kill_after(bytes, process)?;
        }
        Ok(())
    }

    /// A `kill -9` between the beginning of an encode and its end, with a grant on its way.
    async fn interrupt_work(&mut self) -> Result<()> {
        let first = self.create().await?;
        guest::ready_for_encoding(&self.rig.site, &self.grant(first)).await?;
        self.create().await?;
        self.encode(first).await?;
        let id = self.history.holders[first].encodes.last().and_then(|encode| encode.attempt_id.clone());
        if let Some(id) = id
            && self.rig.random.random_range(0..4) > 0
        {
            let site = &self.rig.site;
            until("an encoder at work, or done", BEGIN, async || {
                let state = site.simulator.get("/state").await.map_err(|error| error.to_string())?;
                let busy = state["encoders"].as_array().is_some_and(|list| list.iter().any(|one| one["busy"] == true));
                let attempt = guest::attempt(site, &id).await.map_err(|error| format!("{error:#}"))?;
                if busy || attempt["status"] != "pending" { Ok(()) } else { Err(state["encoders"].to_string()) }
            })
            .await?;
        }
        self.rig.dead().await
    }

    /// From the start of the process until it has done and told all that it found. `None`: it crashed.
    async fn start(&mut self, crashes: &mut Crashes, deadly_bytes: Option<u64>) -> Result<Option<()>> {
        self.rig.site.spawn_bridge()?;
        self.arm(deadly_bytes)?;
        if crashes.or(self.rig.site.bridge_ready()).await?.is_none() {
            return Ok(None);
        }
        crashes.or(self.rig.at_rest_but_doubts()).await
    }

    /// The script; between any two of its steps a crash may come. Calls of the API are never cut off, so that it is known
    /// what was accepted. `None`: it crashed.
    async fn work(&mut self, crashes: &mut Crashes) -> Result<Option<()>> {
        let first = self.create().await?;
        if crashes.or(guest::ready_for_encoding(&self.rig.site, &self.grant(first))).await?.is_none() {
            return Ok(None);
        }
        self.encode(first).await?;
        let id = self.history.holders[first].encodes.last().and_then(|encode| encode.attempt_id.clone());
        if let Some(id) = id
            && crashes.or(guest::attempt_ended(&self.rig.site, &id)).await?.is_none()
        {
            return Ok(None);
        }
        let second = self.create().await?;
        if crashes.or(guest::ready_for_encoding(&self.rig.site, &self.grant(second))).await?.is_none() {
            return Ok(None);
        }
        self.revoke(first).await?;
        if crashes.or(witness::rights(&self.rig.site, &self.history.holders[first], false)).await?.is_none() {
            return Ok(None);
        }
        if crashes.or(self.rig.at_rest()).await?.is_none() {
            return Ok(None);
        }
        crashes.or(self.rig.site.stop_bridge()).await
    }

    /// A grant for somebody new; the index of the holder.
    async fn create(&mut self) -> Result<usize> {
        let room = self.history.holders.len() % ROOMS.len();
        load::create(&self.rig.site, &self.rig.directory, room, &mut self.history).await?;
        Ok(self.history.holders.len() - 1)
    }

    fn grant(&self, holder: usize) -> guest::Grant {
        let holder = &self.history.holders[holder];
        guest::Grant {
            access_grant_id: holder.access_grant_id.clone(),
            access_method_id: holder.access_method_id.clone(),
            name: holder.name.clone(),
        }
    }

    /// Asks for a card; a refusal (the bridge has just died) signs no command.
    async fn encode(&mut self, holder: usize) -> Result<()> {
        let begun = guest::begin_encode(&self.rig.site, &self.rig.directory, &self.grant(holder), ENCODERS[0]).await;
        let Ok(id) = begun else { return Ok(()) };
        self.history.commands += 1;
        let encode = Encode { attempt_id: Some(id), end: End::Pending, writes_before: 0 };
        self.history.holders[holder].encodes.push(encode);
        Ok(())
    }

    async fn revoke(&mut self, holder: usize) -> Result<()> {
        let body = json!({ "access_grant_id": self.history.holders[holder].access_grant_id });
        self.rig.site.api.post("/access_grants/delete", body).await?;
        self.history.commands += 1;
        self.history.holders[holder].deleted = true;
        Ok(())
    }
}
