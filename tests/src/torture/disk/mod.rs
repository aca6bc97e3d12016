//! A full and a failing disk under the real daemon: it fills up, is empty of space, gives space back, refuses a flush,
//! and is full at the start (rules D3 to D6, F3).
//!
//! Promises: every step says what it expected and what came instead, and the run goes on to the next; at the end the
//! checker of the kill torture judges everything that was asked for. Never: makes space to help the daemon, except where
//! the return of space is what is tried.

mod steps;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use super::check::check;
use super::disk_site::DiskSite;
use super::history::{History, Settled};
use super::kill::rest;
use steps::Story;

/// The disk of a small site server that has enough for everything.
const CAPACITY: u64 = 512 * 1024 * 1024;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct DiskOptions {
    /// Draws which calls fail.
    pub seed: u64,
}

/// What one step showed.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What was expected.
    pub expected: &'static str,
    /// What came instead; nothing when all was well.
    pub instead: Option<String>,
    /// Duration.
    pub seconds: f64,
}

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiskFigures {
    /// Draws which calls fail.
    pub seed: u64,
    /// In the order they were tried.
    pub steps: Vec<Step>,
    /// Commands acknowledged by the API.
    pub commands: u64,
    /// Doubts nobody settled.
    pub open: u64,
    /// Acknowledged and lost.
    pub lost: Vec<String>,
    /// Written more often than commanded.
    pub doubled: Vec<String>,
    /// Told otherwise than counted.
    pub dishonest: Vec<String>,
    /// Duration.
    pub seconds: f64,
}

impl DiskFigures {
    /// Whether everything was as expected.
    pub fn held(&self) -> bool {
        !self.steps.is_empty()
            && self.steps.iter().all(|step| step.instead.is_none())
            && self.open == 0
            && [&self.lost, &self.doubled, &self.dishonest].iter().all(|list| list.is_empty())
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("  seed {}, {} commands, {:.0} s", self.seed, self.commands, self.seconds)];
        for step in &self.steps {
            let mark = if step.instead.is_none() { "held  " } else { "FAILED" };
            lines.push(format!("  {mark} {:>5.1} s  {}", step.seconds, step.expected));
            lines.extend(step.instead.iter().map(|instead| format!("                  {instead}")));
        }
        for (what, list) in [("lost", &self.lost), ("doubled", &self.doubled), ("dishonest", &self.dishonest)] {
            lines.extend(list.iter().map(|one| format!("  {what}: {one}")));
        }
        lines.join("\n")
    }
}

/// Runs it; `say` gets a line now and then.
pub async fn disk(options: DiskOptions, say: impl Fn(&str)) -> Result<DiskFigures> {
    let begun = Instant::now();
    let rig = DiskSite::open(options.seed, CAPACITY, 1).await?;
    let mut story = Story { rig, history: History::default() };
    let mut figures = DiskFigures { seed: options.seed, ..DiskFigures::default() };
    macro_rules! step {
        ($expected:literal, $does:ident) => {
            let step_begun = Instant::now();
            let instead = story.$does().await.err().map(|error| format!("{error:#}"));
            say(&format!("{}: {}", if instead.is_none() { "held" } else { "FAILED" }, $expected));
            figures.steps.push(Step { expected: $expected, instead, seconds: step_begun.elapsed().as_secs_f64() });
            // What a step broke must not break the next one.
            story.mended().await?;
        };
    }
    step!("a disk that runs low takes revokes, holds grants, says so, and goes on by itself", runs_low);
    step!("on a full disk no card is written whose outcome might not fit, and revokes run", is_full);
    step!("short writes to the journal change nothing", writes_short);
    step!("a failed flush of the journal ends the daemon with exit code 74, and the restart recovers", flush_fails);
    step!("a failed write to the journal ends the daemon with exit code 74, and the restart recovers", write_fails);
    step!("it starts on a full disk after a kill, and revokes run", starts_full_after_kill);
    step!("it starts on a full disk after a power cut, and revokes run", starts_full_after_power_cut);
    rest(&story.rig.site, &mut story.history).await?;
    let verdict = check(&story.rig.site, &story.history).await?;
    (figures.lost, figures.doubled, figures.dishonest) = (verdict.lost, verdict.doubled, verdict.dishonest);
    figures.open = story.history.settled(Settled::Open);
    figures.commands = story.history.commands;
    figures.seconds = begun.elapsed().as_secs_f64();
    Ok(figures)
}
