//! Live power cuts: the load of the kill torture, over the real daemon with its state on a fault disk, and in each cycle
//! the power fails in the middle of some call. What was not synced is lost, torn or reordered; the machine boots anew;
//! sometimes the power fails again while the daemon recovers.
//!
//! Promises: load, moments and what each cut leaves are drawn from the seed. Never: takes a cycle without a cut for one.

use anyhow::{Context, Result};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Serialize;
use tokio::time::Instant;

use super::check::check;
use super::disk_site::DiskSite;
use super::figures::Figures;
use super::history::History;
use super::kill::{SESSION, figures, learn, noted, rest, untold};
use super::plan::{Cycle, Plans};
use super::window::open_encodes;
use super::{desk, load, witness};
use crate::fault_disk::{Call, Effect, Place, Rule};

/// Files, journal and sled take less.
const CAPACITY: u64 = 512 * 1024 * 1024;
/// A cut comes within so many calls, or else at the end of the cycle's load.
const CALLS: u64 = 160;
/// A cut during a recovery comes within so many calls.
const RECOVERY_CALLS: u64 = 40;
/// Of a hundred recoveries, so many are cut off.
const RECOVERIES_CUT: u32 = 35;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct PowerOptions {
    /// How many cycles.
    pub cycles: u64,
    /// Draws everything.
    pub seed: u64,
    /// The disk answers syncs and does nothing: a run must find what is lost, or it would prove nothing.
    pub lying_disk: bool,
}

/// The figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PowerFigures {
    /// As of the kill torture; its kills are cuts here.
    #[serde(flatten)]
    pub figures: Figures,
    /// Cuts in the middle of a call to the disk; the others fell between calls.
    pub in_call: u64,
    /// Cuts while the daemon recovered from one.
    pub in_recovery: u64,
    /// Encodes with an intent on the disk and no outcome that the restarted bridge did not show as a doubt.
    pub silent: Vec<String>,
}

impl PowerFigures {
    /// Whether everything promised held, and something was tried.
    pub fn held(&self) -> bool {
        self.figures.held() && self.silent.is_empty()
    }

    /// For people.
    pub fn table(&self) -> String {
        let rows = [
            ("power cuts in the middle of a call", self.in_call),
            ("power cuts during a recovery", self.in_recovery),
            ("encodes between intent and outcome not shown", self.silent.len() as u64),
        ];
        let mut lines = vec![self.figures.table()];
        lines.extend(rows.map(|(name, value)| format!("  {name:<44} {value:>8}")));
        lines.extend(self.silent.iter().map(|one| format!("  silent: {one}")));
        lines.join("\n")
    }
}

/// Runs it; `say` gets a line now and then.
pub async fn live(options: PowerOptions, say: impl Fn(&str)) -> Result<PowerFigures> {
    let begun = Instant::now();
    let mut rig = DiskSite::open(options.seed, CAPACITY, 1).await?;
    let mut told = PowerFigures::default();
    let mut history = History::default();
    let mut plans = Plans::new(options.seed);
    // Apart from what the plans and the images are drawn from, so that each replays by itself.
    let mut random = StdRng::seed_from_u64(options.seed ^ 0x9e37_79b9_7f4a_7c15);
    for number in 1..=options.cycles {
        let plan = plans.next();
        cycle(&mut rig, &plan, options.lying_disk, &mut random, &mut history, &mut told).await.with_context(|| {
            format!("cycle {number} of seed {}; files in {}", options.seed, rig.site.folder().display())
        })?;
        if number % 10 == 0 || number == options.cycles {
            say(&format!("{number} of {} cycles: {} commands", options.cycles, history.commands));
        }
    }
    rest(&rig.site, &mut history).await?;
    let verdict = check(&rig.site, &history).await?;
    let cards = witness::writes(&rig.site).await?.values().sum();
    told.figures = Figures {
        seed: options.seed,
        cycles: options.cycles,
        seconds: begun.elapsed().as_secs_f64(),
        ..figures(&history, verdict, cards)
    };
    Ok(told)
}

async fn cycle(
    rig: &mut DiskSite,
    plan: &Cycle,
    lying: bool,
    random: &mut StdRng,
    history: &mut History,
    told: &mut PowerFigures,
) -> Result<()> {
    if plan.connected_first {
        rig.site.link.mend();
        rig.site.wait_for_cloud(SESSION).await?;
    }
    learn(&rig.site, history).await?;
    rig.disk.inject(Rule::crash(Place::Anywhere, random.random_range(1..=CALLS), Effect::PowerCut));
    if lying {
        let calls = &[Call::Sync, Call::SyncDirectory];
        rig.disk.inject(Rule { calls, place: Place::Anywhere, skip: 0, times: u64::MAX, effect: Effect::Lie });
    }
    let at_desk = load::run(&rig.site, &rig.directory, plan, history).await?;
    cut(rig, history, told).await?;
    noted(at_desk, history).await?;
    witness::at_rest(&rig.site).await?;
    let writes = witness::writes(&rig.site).await?;
    history.written_untold += untold(history, &writes);

    let mut in_window = open_encodes(&rig.disk.written());
    if random.random_range(0..100) < RECOVERIES_CUT {
        rig.disk.inject(Rule::crash(Place::Anywhere, random.random_range(1..=RECOVERY_CALLS), Effect::PowerCut));
        // It may come before the daemon is ready, or never; then the power fails when it is.
        if rig.site.start_bridge().await.is_err() && rig.disk.crashed().borrow().is_none() {
            rig.site.start_bridge().await.context("starting on what a power cut left")?;
        }
        cut(rig, history, told).await?;
        told.in_recovery += 1;
        in_window = open_encodes(&rig.disk.written());
    }
    rig.site.start_bridge().await.context("starting on what a power cut left")?;
    desk::doubts(&rig.site, history).await?;
    history.kills_in_window += u64::from(!in_window.is_empty());
    told.silent.extend(in_window.into_iter().filter(|id| !history.doubts.contains_key(id)));
    if plan.person {
        desk::resolve(&rig.site, history).await?;
    }
    Ok(())
}

/// The power fails now, unless it has failed already.
async fn cut(rig: &mut DiskSite, history: &mut History, told: &mut PowerFigures) -> Result<()> {
    told.in_call += u64::from(rig.disk.crashed().borrow().is_some());
    history.kills += 1;
    rig.lose_power().await
}
