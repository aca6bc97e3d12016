//! Soak: work comes and goes for a long time, and what the bridge holds of the machine must not grow with it (rule O9).
//!
//! A round is what a busy minute of a large site brings: guests arrive, get cards, go; probes ask for health; now and then
//! the link is cut under load. After each round the bridge comes to rest and is measured. The first third warms up; then
//! nothing may grow.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::plan::{ENCODERS, ROOMS};
use super::witness;
use crate::harness::{Resources, Site, SiteOptions, folder_bytes, guest, until};

/// Longest wait for a round to come to rest, reconnecting included.
const REST: Duration = Duration::from_secs(240);
/// The link is cut in every so manieth round.
const FLAP_EVERY: u64 = 10;
/// First name of everybody who comes and goes.
const NAME: &str = "Soaked";
/// Rule D2, in KiB.
const RESIDENT_BOUND_KIB: u64 = 64 * 1024;
/// Memory may differ by so much between rests without being growth: pages of the allocator, sled's cache.
const RESIDENT_SLACK_KIB: u64 = 3 * 1024;
/// Besides the audit retention, which is the journal's own bound: checkpoints, working set, prepared segments.
const FOLDER_BOUND: u64 = (256 + 64) << 20;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct SoakOptions {
    /// Busy minutes.
    pub rounds: u64,
    /// Guests that arrive in each; as many go.
    pub guests: u64,
    /// Draws doors, encoders and who goes.
    pub seed: u64,
}

/// What the bridge held at rest after a round.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rest {
    /// Commands ended so far.
    pub ended: u64,
    /// Resident memory, KiB.
    pub resident_kib: u64,
    /// Open files.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// State folder, bytes.
    pub folder_bytes: u64,
}

/// The figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SoakFigures {
    /// The seed.
    pub seed: u64,
    /// What was held after each round.
    pub rests: Vec<Rest>,
    /// Cards written, by the simulator's count.
    pub cards_written: u64,
    /// Cards that were asked for and told as written.
    pub cards_told: u64,
    /// What grew, or passed a bound.
    pub grown: Vec<String>,
    /// Duration.
    pub seconds: f64,
}

/// Runs it; `say` gets a line now and then.
pub async fn soak(options: SoakOptions, say: impl Fn(&str)) -> Result<SoakFigures> {
    let begun = Instant::now();
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut site = Site::running(SiteOptions { log_level: "info", ..SiteOptions::default() }).await?;
    let directory = guest::Directory::read(&site).await?;
    for encoder in ENCODERS {
        site.simulator.post("/encoders/auto-feed", json!({ "encoder": encoder, "on": true })).await?;
    }
    let mut figures = SoakFigures { seed: options.seed, ..SoakFigures::default() };
    let mut guests: Vec<guest::Grant> = Vec::new();
    for round in 1..=options.rounds {
        let arrived = arrive(&site, &directory, round, options.guests, &mut random).await?;
        let flaps = round % FLAP_EVERY == 0;
        if flaps {
            site.link.cut();
        } else {
            figures.cards_told += cards(&site, &directory, &arrived, &mut random).await?;
        }
        guests.extend(arrived);
        while guests.len() as u64 > options.guests * 2 {
            let gone = guests.swap_remove(random.random_range(0..guests.len()));
            site.api.post("/access_grants/delete", json!({ "access_grant_id": gone.access_grant_id })).await?;
        }
        if flaps {
            site.link.mend();
        }
        let rest =
            at_rest(&mut site, &guests).await.with_context(|| format!("round {round}, seed {}", options.seed))?;
        figures.rests.push(rest);
        if round % 10 == 0 || round == options.rounds {
            say(&format!("{round} of {} rounds: {rest:?}", options.rounds));
        }
    }
    figures.cards_written = witness::writes(&site).await?.values().sum();
    figures.grown = grown(&figures.rests);
    if figures.cards_written != figures.cards_told {
        figures.grown.push(format!("{} cards written, {} told", figures.cards_written, figures.cards_told));
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    Ok(figures)
}

async fn arrive(
    site: &Site,
    directory: &guest::Directory,
    round: u64,
    count: u64,
    random: &mut StdRng,
) -> Result<Vec<guest::Grant>> {
    let mut arrived = Vec::new();
    for number in 0..count {
        let room = ROOMS[random.random_range(0..ROOMS.len())];
        let name = format!("{NAME} {round:04}-{number:04} Example");
        arrived.push(guest::grant(site, directory, &name, &["Main entrance", room]).await?);
    }
    Ok(arrived)
}

/// Every tenth guest gets a card at once; how many were told as written. Probes ask meanwhile, as supervisors do.
async fn cards(
    site: &Site,
    directory: &guest::Directory,
    arrived: &[guest::Grant],
    random: &mut StdRng,
) -> Result<u64> {
    let mut told = 0;
    for grant in arrived.iter().step_by(10) {
        guest::ready_for_encoding(site, grant).await?;
        let encoder = ENCODERS[random.random_range(0..ENCODERS.len())];
        let attempt = guest::encode(site, directory, grant, encoder).await?;
        anyhow::ensure!(attempt["status"] == "success", "{attempt}");
        told += 1;
        site.status().await?;
    }
    Ok(told)
}

async fn at_rest(site: &mut Site, guests: &[guest::Grant]) -> Result<Rest> {
    site.wait_for_cloud(REST).await?;
    // What the API took in last may still be on its way: the lock server must hold exactly those who are guests now (and
    // the staff it had before).
    until("the guests, and nobody else, at the lock server", REST, async || {
        let present = witness::present(site).await.map_err(|error| format!("{error:#}"))?;
        let mut there: Vec<&str> =
            present.iter().filter(|one| !one.doors.is_empty()).map(|one| one.name.as_str()).collect();
        there.retain(|name| name.starts_with(NAME));
        let mut wanted: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
        there.sort_unstable();
        wanted.sort_unstable();
        if there == wanted { Ok(()) } else { Err(format!("{} of {} are there", there.len(), wanted.len())) }
    })
    .await?;
    let status = site
        .wait_for_status("no work left at the bridge", REST, |status| {
            ["queued", "executing", "in_doubt", "outbox"].iter().all(|key| status["engine"][*key] == 0)
        })
        .await?;
    let folder_bytes = folder_bytes(&site.state())?;
    let held = Resources::of(site.bridge()?)?;
    Ok(Rest {
        ended: status["engine"]["ended"].as_u64().with_context(|| format!("{status}"))?,
        resident_kib: held.resident_kib,
        open_files: held.open_files,
        threads: held.threads,
        folder_bytes,
    })
}

/// Compares the last third with the one before it, each by its median; bounds hold for every rest.
fn grown(rests: &[Rest]) -> Vec<String> {
    let third = rests.len() / 3;
    let (middle, last) = (&rests[third..2 * third], &rests[rests.len() - third..]);
    let mut grown = Vec::new();
    let mut compare = |what: &str, of: fn(&Rest) -> u64, slack: u64, bound: u64| {
        if let Some(most) = rests.iter().map(of).max().filter(|most| *most > bound) {
            grown.push(format!("{what}: {most}, bound {bound}"));
        }
        if let (Some(before), Some(after)) = (median(middle, of), median(last, of))
            && after > before + slack
        {
            grown.push(format!("{what}: from {before} to {after}"));
        }
    };
    // Only the release build is what the bound of rule D2 speaks of; a debug build is allowed half as much again.
    let bound = if cfg!(debug_assertions) { RESIDENT_BOUND_KIB * 3 / 2 } else { RESIDENT_BOUND_KIB };
    compare("resident KiB", |rest| rest.resident_kib, RESIDENT_SLACK_KIB, bound);
    compare("open files", |rest| rest.open_files, 1, 256);
    compare("threads", |rest| rest.threads, 1, 64);
    compare("state folder, bytes", |rest| rest.folder_bytes, FOLDER_BOUND, FOLDER_BOUND);
    grown
}

fn median(rests: &[Rest], of: fn(&Rest) -> u64) -> Option<u64> {
    let mut values: Vec<u64> = rests.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

impl SoakFigures {
    /// Whether nothing grew, and something was done.
    pub fn held(&self) -> bool {
        self.grown.is_empty() && self.cards_told > 0 && self.rests.len() >= 3
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![
            format!("  seed {}, {} rounds, {:.0} s", self.seed, self.rests.len(), self.seconds),
            format!("  cards told and written (simulator's count): {} / {}", self.cards_told, self.cards_written),
            format!(
                "  {:>8} {:>10} {:>13} {:>11} {:>8} {:>16}",
                "round", "ended", "resident KiB", "open files", "threads", "state folder KiB"
            ),
        ];
        let step = (self.rests.len() / 12).max(1);
        for (number, rest) in self.rests.iter().enumerate().skip(step - 1).step_by(step) {
            lines.push(format!(
                "  {:>8} {:>10} {:>13} {:>11} {:>8} {:>16}",
                number + 1,
                rest.ended,
                rest.resident_kib,
                rest.open_files,
                rest.threads,
                rest.folder_bytes >> 10
            ));
        }
        lines.extend(self.grown.iter().map(|what| format!("  grew: {what}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(resident: impl Fn(u64) -> u64) -> Vec<Rest> {
        let rest = |round| Rest {
            ended: round,
            resident_kib: resident(round),
            open_files: 30,
            threads: 12,
            folder_bytes: 40 << 20,
        };
        (0..30).map(rest).collect()
    }

    #[test]
    fn a_leak_is_seen_and_warming_up_is_not_one() {
        assert_eq!(grown(&rests(|round| 20_000 + round.min(8) * 1_000)), Vec::<String>::new(), "warms up");
        assert_eq!(grown(&rests(|round| 20_000 + (round % 3) * 500)), Vec::<String>::new(), "breathes");
        assert_eq!(grown(&rests(|round| 20_000 + round * 500)).len(), 1, "leaks");
        assert_eq!(grown(&rests(|_| 100_000)).len(), 1, "passes the bound");
    }
}
