//! Enumerated crash points: one scripted run is counted, call by call and byte by byte, and run again once for each of
//! them with a crash exactly there.
//!
//! Two phases are counted apart: *start*, the daemon's start over work that a `kill -9` interrupted; and *work*, a grant,
//! the encode of its card, a second grant, the revoke of the first, and an orderly stop. The points of a phase are every
//! call that changes the state directory or makes it durable (the journal's and the others'), and every byte to the lock
//! server. At a call the process is killed before it and after it, or the power fails while it is in flight; at a byte
//! the process is killed when exactly so many have passed. Each run begins on the disk that the one before left behind.
//!
//! Promises: a point that a run did not reach is tried again, then named in the report. Never: counts a point as tried
//! without a crash at it.

mod figures;
mod point;
mod recover;
mod script;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

pub use figures::PointFigures;
pub use point::Kind;
use point::{At, Counts, Point};
use script::Run;

use super::check::check;

/// A point that was not reached is tried so often in all: runs differ by what the kernel lets happen together.
const TRIES: u32 = 2;
/// Runs that are counted before any crash.
const COUNTING_RUNS: u32 = 3;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct PointOptions {
    /// Draws what a power cut leaves.
    pub seed: u64,
    /// One kind of crash only.
    pub kind: Option<Kind>,
    /// Every k-th call only; 1: all.
    pub every: usize,
    /// Every k-th byte only; 1: all.
    pub every_byte: usize,
    /// The points from this one, counted from 1 ...
    pub from: usize,
    /// ... to this one.
    pub to: usize,
    /// Sites that work side by side.
    pub jobs: usize,
}

/// Runs it; `say` gets a line now and then.
pub async fn points(options: PointOptions, say: impl Fn(&str)) -> Result<PointFigures> {
    let begun = Instant::now();
    let mut runs = Vec::new();
    for job in 0..options.jobs.max(1) {
        runs.push(Run::open(options.seed.wrapping_add(job as u64)).await?);
    }
    let first = runs.first_mut().context("a site")?;
    let (mut starts, mut works) = (Vec::new(), Vec::new());
    for _ in 0..COUNTING_RUNS {
        starts.push(first.count_start().await?);
        works.push(first.count_work().await?);
    }
    let counts = Counts { start: Counts::least(&starts), work: Counts::least(&works) };
    say(&format!("counted: {counts}"));
    let all = counts.points(options.kind);
    let counted = all.len();
    let chosen: VecDeque<(usize, Point, u32)> = (1..)
        .zip(all)
        .filter(|(number, point)| {
            let every = if matches!(point.at, At::Byte(_)) { options.every_byte } else { options.every };
            (options.from..=options.to).contains(number) && number % every.max(1) == 0
        })
        .map(|(number, point)| (number, point, 1))
        .collect();
    if chosen.is_empty() {
        bail!("no point was chosen of {counted}");
    }
    let mut figures =
        PointFigures { seed: options.seed, counted, chosen: chosen.len(), counts, ..PointFigures::default() };
    let queue = Rc::new(RefCell::new(chosen));
    let shared = Rc::new(RefCell::new(&mut figures));
    let workers = runs.iter_mut().map(|run| {
        let (queue, shared, say) = (Rc::clone(&queue), Rc::clone(&shared), &say);
        async move {
            loop {
                let next = queue.borrow_mut().pop_front();
                let Some((number, point, tried)) = next else { return Ok(()) };
                let reached = run.point(point).await.with_context(|| {
                    format!("point {number} ({point}) of seed {}; files in {}", options.seed, run.folder().display())
                })?;
                let mut figures = shared.borrow_mut();
                match reached {
                    Some(reached) => figures.count(number, point, &reached),
                    None if tried < TRIES => queue.borrow_mut().push_back((number, point, tried + 1)),
                    None => figures.missed.push(format!("{number}: {point}")),
                }
                if figures.hit % 50 == 0 {
                    let seconds = begun.elapsed().as_secs();
                    say(&format!("{} of {} points after {seconds} s, at {point}", figures.hit, figures.chosen));
                }
            }
        }
    });
    let ended: Vec<Result<()>> = futures_util::future::join_all(workers).await;
    drop(shared);
    ended.into_iter().collect::<Result<()>>()?;
    for run in &mut runs {
        run.rest().await?;
        let verdict = check(&run.rig.site, &run.history).await?;
        figures.judge(&run.history, verdict);
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    Ok(figures)
}
