//! What happened lately: the last day by the minute, and the last commands with their story, in memory.
//!
//! Owns: minutes, stories, and the counters for metrics. Promises: tells of an entry only once it is durable (rule B3); never
//! grows beyond `limits::HISTORY_*`; holds its lock for a copy at most. After a start the commands of the journal's tail
//! are taken in again, while link and lock systems count as watched from then on only.
//! Never: opens sealed bytes, holds a name, a card number or a secret, decides anything.

mod day;
mod latency;
mod note;
mod seed;
mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use day::{DayView, Sample};
pub use latency::{BOUNDS_MS, Latencies};
pub use note::{Command, Note};
pub use seed::seed;
pub use story::{StoriesView, Story};

use day::Day;
use note::What;
use story::Stories;

/// Counters since this process began, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ended commands by final state.
    pub ended: BTreeMap<&'static str, u64>,
    /// Attempts that ended without an answer.
    pub doubts: u64,
    /// Attempts that were put back to be tried again.
    pub requeued: u64,
    /// From received to outcome, of commands that succeeded or failed, by priority 0..=3.
    pub latency: [Latencies<u64>; 4],
}

/// The history. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct History {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    day: Day,
    stories: Stories,
    totals: Totals,
}

impl History {
    /// Takes what a durable entry says; `durable_ms` is the wall clock now, ms since the epoch.
    pub fn take(&self, note: Note, durable_ms: i64) {
        let mut inner = self.lock();
        let Inner { day, stories, totals } = &mut *inner;
        if let What::Step { command: Some(command), step, .. } = &note.what {
            count(day, totals, command, step);
        }
        stories.take(note, durable_ms);
    }

    /// Takes what was seen of the hops for the last `elapsed`.
    pub fn sample(&self, sample: &Sample, wall_ms: i64, elapsed: Duration) {
        self.lock().day.sample(sample, wall_ms, elapsed);
    }

    /// The last 24 hours.
    pub fn day(&self, now_ms: i64) -> DayView {
        self.lock().day.view(now_ms)
    }

    /// Stories that changed after `version`, newest change last. 0 gives all.
    pub fn stories(&self, version: u64) -> StoriesView {
        self.lock().stories.view(version)
    }

    /// Counters for metrics.
    pub fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    /// Puts what a former process did before what this one did.
    fn prepend(&self, day: Day, stories: Stories) {
        let mut inner = self.lock();
        inner.day.add(day);
        inner.stories.prepend(stories);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A holder that panicked left at worst one story short of a step; history is told on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(day: &mut Day, totals: &mut Totals, command: &Command, step: &story::Step) {
    match step.what {
        "requeued" => totals.requeued += 1,
        "in_doubt" => totals.doubts += 1,
        state if story::is_final(state) => {
            *totals.ended.entry(state).or_default() += 1;
            let took_ms = note::latency_ms(command, step);
            if let (Some(took_ms), Some(latency)) = (took_ms, totals.latency.get_mut(usize::from(command.priority))) {
                latency.add(took_ms);
            }
            day.ended(state, step.at_ms, took_ms);
        }
        _ => {}
    }
}
