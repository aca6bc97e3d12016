//! The last day by the minute: how the hops were, how much waited, what was done and how fast.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::latency::{BOUNDS_MS, Latencies};
use crate::limits::HISTORY_MINUTES;

const MINUTE_MS: i64 = 60_000;
/// Names of the cells of a minute, for whoever reads the JSON.
const COLUMNS: [&str; 10] = [
    "minute",
    "link_up_ms",
    "link_down_ms",
    "systems_up",
    "systems_down",
    "queued",
    "in_doubt",
    "done",
    "failed",
    "latency_counts",
];

/// What was seen of the hops at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// A session with the cloud is open.
    pub link_up: bool,
    /// By lock system in the order of the configuration, `None` where it is not known; those after the 32nd are not told apart.
    pub systems_up: Vec<Option<bool>>,
    /// Commands that wait.
    pub queued: u64,
    /// Commands in doubt.
    pub in_doubt: u64,
}

#[derive(Debug, Clone, Default)]
struct Minute {
    /// Since the epoch.
    number: i64,
    link_up_ms: u16,
    link_down_ms: u16,
    /// Bit by lock system: was seen up, was seen down.
    systems_up: u32,
    systems_down: u32,
    queued: u32,
    in_doubt: u32,
    done: u32,
    failed: u32,
    latency: Latencies<u16>,
}

/// Cells in the order of [`COLUMNS`]; the last: index of the bound, count, index, count, ...
type Row = (i64, u16, u16, u32, u32, u32, u32, u32, u32, Vec<u16>);

/// The day for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayView {
    /// ms since the epoch.
    pub now_ms: i64,
    /// Since when this process watches the hops, ms since the epoch; 0: not yet.
    pub watched_since_ms: i64,
    /// Upper bounds of the latencies; the last count is for everything above.
    pub latency_bounds_ms: &'static [u32],
    /// Names of the cells.
    pub columns: &'static [&'static str],
    /// Minutes of which something is known, oldest first.
    pub minutes: Vec<Row>,
}

/// At most [`HISTORY_MINUTES`], ordered.
#[derive(Debug, Default)]
pub(super) struct Day {
    minutes: VecDeque<Minute>,
    watched_since_ms: i64,
}

impl Day {
    pub(super) fn sample(&mut self, sample: &Sample, wall_ms: i64, elapsed: Duration) {
        if self.watched_since_ms == 0 {
            self.watched_since_ms = wall_ms;
        }
        let Some(minute) = self.at(wall_ms) else { return };
        let elapsed = u16::try_from(elapsed.as_millis()).unwrap_or(u16::MAX);
        let link = if sample.link_up { &mut minute.link_up_ms } else { &mut minute.link_down_ms };
        *link = link.saturating_add(elapsed);
        for (index, up) in sample.systems_up.iter().enumerate() {
            let Some(up) = up else { continue };
            let bit = 1 << index.min(31);
            *(if *up { &mut minute.systems_up } else { &mut minute.systems_down }) |= bit;
        }
        minute.queued = minute.queued.max(small(sample.queued));
        minute.in_doubt = minute.in_doubt.max(small(sample.in_doubt));
    }

    /// A command ended. What somebody took back is neither done nor failed.
    pub(super) fn ended(&mut self, state: &str, at_ms: i64, took_ms: Option<u64>) {
        let Some(minute) = self.at(at_ms) else { return };
        match state {
            "succeeded" => minute.done = minute.done.saturating_add(1),
            "failed" | "rejected" | "expired" | "abandoned" => minute.failed = minute.failed.saturating_add(1),
            _ => {}
        }
        if let Some(took_ms) = took_ms {
            minute.latency.add(took_ms);
        }
    }

    /// Adds another's minutes to these.
    pub(super) fn add(&mut self, other: Self) {
        for more in other.minutes {
            let Some(minute) = self.at(more.number.saturating_mul(MINUTE_MS)) else { continue };
            minute.done = minute.done.saturating_add(more.done);
            minute.failed = minute.failed.saturating_add(more.failed);
            minute.latency.merge(&more.latency);
        }
    }

    /// The minute of a time; `None` when it is older than all that may be kept. Times may come in any order: clocks are set.
    fn at(&mut self, wall_ms: i64) -> Option<&mut Minute> {
        let wanted = wall_ms.div_euclid(MINUTE_MS);
        let mut place = self.minutes.partition_point(|minute| minute.number < wanted);
        if self.minutes.get(place).is_none_or(|minute| minute.number != wanted) {
            if self.minutes.len() >= HISTORY_MINUTES {
                place = place.checked_sub(1)?;
                self.minutes.pop_front();
            }
            self.minutes.insert(place, Minute { number: wanted, ..Minute::default() });
        }
        self.minutes.get_mut(place)
    }

    pub(super) fn view(&self, now_ms: i64) -> DayView {
        let newest = now_ms.div_euclid(MINUTE_MS);
        let oldest = newest.saturating_sub(i64::try_from(HISTORY_MINUTES).unwrap_or(i64::MAX)) + 1;
        DayView {
            now_ms,
            watched_since_ms: self.watched_since_ms,
            latency_bounds_ms: &BOUNDS_MS,
            columns: &COLUMNS,
            minutes: self
                .minutes
                .iter()
                .filter(|minute| (oldest..=newest).contains(&minute.number))
                .map(Minute::row)
                .collect(),
        }
    }
}

impl Minute {
    fn row(&self) -> Row {
        let counts = self.latency.counts.iter().zip(0_u16..).filter(|(count, _)| **count > 0);
        (
            self.number,
            self.link_up_ms,
            self.link_down_ms,
            self.systems_up,
            self.systems_down,
            self.queued,
            self.in_doubt,
            self.done,
            self.failed,
            counts.flat_map(|(count, index)| [index, *count]).collect(),
        )
    }
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
