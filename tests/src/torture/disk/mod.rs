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
use super::history::Settled;
use super::kill::rest;
use steps::Story;

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

/// Runs it, on two sites side by side because the daemon looks at its disk every 10 s only; `say` gets a line now and then.
pub async fn disk(options: DiskOptions, say: impl Fn(&str)) -> Result<DiskFigures> {
    let begun = Instant::now();
    let (failing, full) =
        tokio::join!(Box::pin(failing(options.seed, &say)), Box::pin(full(options.seed.wrapping_add(1), &say)));
    let mut figures = DiskFigures { seed: options.seed, ..DiskFigures::default() };
    for part in [failing?, full?] {
        figures.steps.extend(part.steps);
        figures.commands += part.commands;
        figures.open += part.open;
        figures.lost.extend(part.lost);
        figures.doubled.extend(part.doubled);
        figures.dishonest.extend(part.dishonest);
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    Ok(figures)
}

/// Tries a step, notes what came of it, and mends what it left: it must not break the next one.
macro_rules! step {
    ($story:ident, $figures:ident, $say:ident, $expected:literal, $does:ident) => {
        let begun = Instant::now();
        let instead = $story.$does().await.err().map(|error| format!("{error:#}"));
        $say(&format!("{}: {}", if instead.is_none() { "held" } else { "FAILED" }, $expected));
        $figures.steps.push(Step { expected: $expected, instead, seconds: begun.elapsed().as_secs_f64() });
        $story.mended().await?;
    };
}

async fn failing(seed: u64, say: &impl Fn(&str)) -> Result<DiskFigures> {
    let mut story = Story::open(seed).await?;
    let mut told = DiskFigures::default();
    step!(story, told, say, "a disk that runs low takes revokes, holds grants, says so, goes on by itself", runs_low);
    step!(story, told, say, "short writes to the journal change nothing", writes_short);
    step!(story, told, say, "a failed flush of the journal: exit code 74, and the restart recovers", flush_fails);
    step!(story, told, say, "a failed write to the journal: exit code 74, and the restart recovers", write_fails);
    judged(story, told).await
}

async fn full(seed: u64, say: &impl Fn(&str)) -> Result<DiskFigures> {
    let mut story = Story::open(seed).await?;
    let mut told = DiskFigures::default();
    step!(story, told, say, "on a full disk no card is written whose outcome might not fit; revokes run", is_full);
    step!(story, told, say, "it starts on a full disk after a kill; revokes run", starts_full_after_kill);
    step!(story, told, say, "it starts on a full disk after a power cut; revokes run", starts_full_after_power_cut);
    step!(
        story,
        told,
        say,
        "without room for one entry it waits, says so, and goes on by itself",
        starts_without_any_room
    );
    judged(story, told).await
}

async fn judged(mut story: Story, mut told: DiskFigures) -> Result<DiskFigures> {
    rest(&story.rig.site, &mut story.history).await?;
    let verdict = check(&story.rig.site, &story.history).await?;
    (told.lost, told.doubled, told.dishonest) = (verdict.lost, verdict.doubled, verdict.dishonest);
    told.open = story.history.settled(Settled::Open);
    told.commands = story.history.commands;
    Ok(told)
}
