//! After the crash: start on what is left, look at the doubts, let everything end.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::point::Point;
use super::script::Run;
use crate::harness::{guest, until};
use crate::torture::desk;
use crate::torture::disk_site::SESSION;
use crate::torture::history::End;
use crate::torture::window::open_encodes;
use crate::torture::witness;

/// What a restart showed.
#[derive(Debug, Clone, Default)]
pub(super) struct Recovered {
    /// Encodes whose intent is on the disk and whose outcome is not.
    pub(super) in_window: BTreeSet<String>,
    /// Those of them that the restarted bridge did not list as in doubt.
    pub(super) silent: BTreeSet<String>,
    /// From the start of the process to ready, in seconds.
    pub(super) ready_s: f64,
}

impl Run {
    /// Starts the daemon on the disk as it is, and lets everything come to rest.
    pub(super) async fn recover(&mut self, point: Option<Point>) -> Result<Recovered> {
        let in_window = open_encodes(&self.rig.disk.written());
        let begun = Instant::now();
        self.rig.site.start_bridge().await.context("starting on the crashed disk")?;
        let ready_s = begun.elapsed().as_secs_f64();
        desk::doubts(&self.rig.site, &mut self.history).await?;
        let silent = in_window.iter().filter(|id| !self.history.doubts.contains_key(*id)).cloned().collect();
        if point.is_some() {
            self.history.kills += 1;
            self.history.kills_in_window += u64::from(!in_window.is_empty());
        }
        self.settle().await?;
        Ok(Recovered { in_window, silent, ready_s })
    }

    /// Waits until all that was asked for is done; a person settles what is in doubt, by what the simulator counted.
    pub(super) async fn settle(&mut self) -> Result<()> {
        self.rig.site.wait_for_cloud(SESSION).await?;
        desk::resolve(&self.rig.site, &mut self.history).await?;
        for holder in &self.history.holders[self.settled..] {
            witness::rights(&self.rig.site, holder, !holder.deleted).await?;
        }
        self.settled = self.history.holders.len();
        self.rig.at_rest().await?;
        Ok(())
    }

    /// The end of the whole run: every attempt of the API has an end.
    pub(super) async fn rest(&mut self) -> Result<()> {
        self.settle().await?;
        desk::doubts(&self.rig.site, &mut self.history).await?;
        for encode in self.history.holders.iter_mut().flat_map(|holder| &mut holder.encodes) {
            let (End::Pending, Some(id)) = (&encode.end, &encode.attempt_id) else { continue };
            let site = &self.rig.site;
            let limit = std::time::Duration::from_secs(240);
            let ended = until("the end of an action attempt", limit, async || {
                let attempt = guest::attempt(site, id).await.map_err(|error| format!("{error:#}"))?;
                if attempt["status"] == "pending" { Err(attempt.to_string()) } else { Ok(attempt) }
            });
            let attempt = ended.await?;
            encode.learn(&attempt);
        }
        Ok(())
    }
}
