//! The driver: cycles of load, death and restart, then rest, then the checker.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use super::check::{Verdict, check};
use super::desk::{self, AtDesk};
use super::figures::Figures;
use super::history::{End, History, Settled};
use super::load;
use super::plan::{Cycle, ENCODERS, Plans};
use super::witness;
use crate::harness::{Site, SiteOptions, guest, until};

/// Longest wait for a session; a lost one is tried again after some seconds, drawn by the bridge.
pub(super) const SESSION: Duration = Duration::from_secs(150);
/// Longest wait for all work and reports to end; action attempts have a deadline of their own below it.
const REST: Duration = Duration::from_secs(240);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many deaths.
    pub cycles: u64,
    /// Draws the plans.
    pub seed: u64,
}

/// Runs it; `say` gets a line now and then.
pub async fn kill(options: Options, say: impl Fn(&str)) -> Result<Figures> {
    let begun = Instant::now();
    let simulator = ["--write-time", "150"].map(str::to_owned).to_vec();
    let mut site = Site::running(SiteOptions { simulator, ..SiteOptions::default() }).await?;
    let directory = guest::Directory::read(&site).await?;
    for encoder in ENCODERS {
        let body = serde_json::json!({ "encoder": encoder, "on": true });
        site.simulator.post("/encoders/auto-feed", body).await?;
    }
    let mut history = History::default();
    let mut plans = Plans::new(options.seed);
    for number in 1..=options.cycles {
        let plan = plans.next();
        cycle(&mut site, &directory, &plan, &mut history).await.with_context(|| {
            format!("cycle {number} of seed {}; files in {}", options.seed, site.folder().display())
        })?;
        if number % 10 == 0 || number == options.cycles {
            say(&format!(
                "{number} of {} cycles: {} commands, {} encodes in doubt so far",
                options.cycles,
                history.commands,
                history.doubts.len()
            ));
        }
    }
    rest(&site, &mut history).await?;
    let verdict = check(&site, &history).await?;
    let cards = witness::writes(&site).await?.values().sum();
    Ok(Figures {
        seed: options.seed,
        cycles: options.cycles,
        seconds: begun.elapsed().as_secs_f64(),
        ..figures(&history, verdict, cards)
    })
}

/// The figures of a history; seed, cycles and duration are the caller's.
pub(super) fn figures(history: &History, verdict: Verdict, cards_written: u64) -> Figures {
    Figures {
        commands: history.commands,
        encodes: history.attempts(),
        kills: history.kills,
        kills_in_window: history.kills_in_window,
        written_untold: history.written_untold,
        in_doubt: history.doubts.len() as u64,
        settled_by_evidence: history.settled(Settled::Evidence),
        settled_by_person: history.settled(Settled::Person),
        open: history.settled(Settled::Open),
        cards_written,
        lost: verdict.lost,
        doubled: verdict.doubled,
        dishonest: verdict.dishonest,
        ..Figures::default()
    }
}

async fn cycle(site: &mut Site, directory: &guest::Directory, plan: &Cycle, history: &mut History) -> Result<()> {
    if plan.connected_first {
        site.link.mend();
        site.wait_for_cloud(SESSION).await?;
    }
    learn(site, history).await?;
    let at_desk = load::run(site, directory, plan, history).await?;
    site.kill_bridge().await?;
    history.kills += 1;
    noted(at_desk, history).await?;
    witness::at_rest(site).await?;
    let writes = witness::writes(site).await?;
    history.written_untold += untold(history, &writes);
    site.start_bridge().await?;
    if desk::doubts(site, history).await? > 0 {
        history.kills_in_window += 1;
    }
    if plan.person {
        desk::resolve(site, history).await?;
    }
    Ok(())
}

/// Waits for the encodes at the desk, and notes what the person there was told.
pub(super) async fn noted(at_desk: Vec<AtDesk>, history: &mut History) -> Result<()> {
    for one in at_desk {
        let holder = one.holder;
        let end = one.end().await?;
        let open = history.holders[holder].encodes.iter_mut().rev().find(|encode| encode.attempt_id.is_none());
        open.context("an encode at the desk that was noted")?.end = end;
    }
    Ok(())
}

/// Holders whose card was written while no asker of theirs has heard of it.
pub(super) fn untold(history: &History, writes: &std::collections::BTreeMap<String, u64>) -> u64 {
    let told = |end: &End| matches!(end, End::Success);
    let count = history.holders.iter().filter(|holder| {
        let last = holder.encodes.last();
        writes.contains_key(&holder.external_id)
            && last.is_some_and(|encode| matches!(encode.end, End::Pending | End::Unknown(_)))
            && !holder.encodes.iter().any(|encode| told(&encode.end))
    });
    (count.count() as u64).saturating_sub(history.written_untold)
}

/// Asks the API about every attempt whose end is not known yet.
pub(super) async fn learn(site: &Site, history: &mut History) -> Result<()> {
    for encode in history.holders.iter_mut().flat_map(|holder| &mut holder.encodes) {
        if let (End::Pending, Some(id)) = (&encode.end, &encode.attempt_id) {
            let attempt = guest::attempt(site, id).await?;
            encode.learn(&attempt);
        }
    }
    Ok(())
}

/// Faults off, link up, doubts settled; then waits until nothing is left to do or to tell.
pub(super) async fn rest(site: &Site, history: &mut History) -> Result<()> {
    site.link.mend();
    site.wait_for_cloud(SESSION).await?;
    desk::resolve(site, history).await?;
    site.wait_for_status("no work left at the bridge", REST, |status| {
        let none = |key: &str| status["engine"][key] == 0;
        none("queued") && none("executing") && none("in_doubt") && none("outbox")
    })
    .await?;
    // Doubts that began after the last look are on the list, or were settled by evidence.
    desk::doubts(site, history).await?;
    let pending: Vec<String> = history
        .holders
        .iter()
        .flat_map(|holder| &holder.encodes)
        .filter(|encode| encode.end == End::Pending)
        .filter_map(|encode| encode.attempt_id.clone())
        .collect();
    for id in pending {
        until("the end of an action attempt", REST, async || {
            let attempt = guest::attempt(site, &id).await.map_err(|error| format!("{error:#}"))?;
            if attempt["status"] == "pending" { Err(attempt.to_string()) } else { Ok(()) }
        })
        .await?;
    }
    learn(site, history).await?;
    if history.holders.is_empty() {
        bail!("the plan made nothing");
    }
    Ok(())
}
