//! The points of a run, and how they are counted.

use std::fmt;

use serde::Serialize;

use crate::fault_disk::{Effect, Operation, Place};

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `kill -9`: the disk keeps everything that was written.
    Kill,
    /// The power fails: what was not synced may be lost.
    Power,
}

/// Part of the scripted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Work,
}

/// One moment of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The n-th call in a part of the state directory.
    Call(Place, u64, Effect),
    /// When n bytes went to the lock server.
    Byte(u64),
}

/// One moment of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) phase: Phase,
    pub(super) at: At,
}

/// The journal's part of the state directory.
const JOURNAL: Place = Place::Below("journal");
/// All else: lock, identity, the working set and the mark that it can be trusted.
const REST: Place = Place::Outside("journal");

/// What one run of a phase was counted to be.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PhaseCounts {
    /// Calls in the journal's directory.
    pub journal_calls: u64,
    /// Calls elsewhere in the state directory.
    pub other_calls: u64,
    /// Bytes to the lock server.
    pub bytes: u64,
}

/// What a whole run was counted to be.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counts {
    /// The start over interrupted work.
    pub start: PhaseCounts,
    /// The work and the orderly stop.
    pub work: PhaseCounts,
}

impl PhaseCounts {
    pub(super) fn of(operations: &[Operation], bytes: u64) -> Self {
        let count = |place: Place| operations.iter().filter(|operation| place.holds(&operation.path)).count() as u64;
        Self { journal_calls: count(JOURNAL), other_calls: count(REST), bytes }
    }
}

impl Counts {
    /// The least of several runs, each figure for itself: a busy machine makes some runs longer, and what only those have
    /// is no point that another run would reach.
    pub(super) fn least(runs: &[PhaseCounts]) -> PhaseCounts {
        let least = |of: fn(&PhaseCounts) -> u64| runs.iter().map(of).min().unwrap_or(0);
        PhaseCounts {
            journal_calls: least(|counts| counts.journal_calls),
            other_calls: least(|counts| counts.other_calls),
            bytes: least(|counts| counts.bytes),
        }
    }

    /// Every point, in the order of the run.
    pub(super) fn points(&self, kind: Option<Kind>) -> Vec<Point> {
        let effects: &[Effect] = match kind {
            Some(Kind::Kill) => &[Effect::KillBefore, Effect::KillAfter],
            Some(Kind::Power) => &[Effect::PowerCut],
            None => &[Effect::KillBefore, Effect::KillAfter, Effect::PowerCut],
        };
        let mut points = Vec::new();
        for (phase, counts) in [(Phase::Start, self.start), (Phase::Work, self.work)] {
            for (place, calls) in [(JOURNAL, counts.journal_calls), (REST, counts.other_calls)] {
                for n in 1..=calls {
                    points.extend(effects.iter().map(|effect| Point { phase, at: At::Call(place, n, *effect) }));
                }
            }
            if kind != Some(Kind::Power) {
                points.extend((1..=counts.bytes).map(|n| Point { phase, at: At::Byte(n) }));
            }
        }
        points
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = if self.phase == Phase::Start { "start" } else { "work" };
        match self.at {
            At::Byte(n) => write!(formatter, "{phase}, kill after byte {n} to the lock server"),
            At::Call(place, n, effect) => {
                let place = if place == JOURNAL { "journal" } else { "other" };
                let effect = match effect {
                    Effect::KillBefore => "kill before",
                    Effect::KillAfter => "kill after",
                    _ => "power cut at",
                };
                write!(formatter, "{phase}, {effect} {place} call {n}")
            }
        }
    }
}

impl fmt::Display for PhaseCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { journal_calls, other_calls, bytes } = self;
        write!(formatter, "{journal_calls} journal calls, {other_calls} other calls, {bytes} bytes to the lock server")
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "start: {}; work: {}", self.start, self.work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_taken_figure_by_figure() {
        let counts = |journal_calls, other_calls, bytes| PhaseCounts { journal_calls, other_calls, bytes };
        let least = Counts::least(&[counts(9, 1, 5), counts(2, 1, 7), counts(4, 3, 6)]);
        assert_eq!((least.journal_calls, least.other_calls, least.bytes), (2, 1, 5));
    }

    #[test]
    fn every_call_and_every_byte_is_a_point() {
        let phase = PhaseCounts { journal_calls: 3, other_calls: 2, bytes: 10 };
        let counts = Counts { start: phase, work: phase };
        assert_eq!(counts.points(None).len(), 2 * (3 * 3 + 2 * 3 + 10));
        assert_eq!(counts.points(Some(Kind::Kill)).len(), 2 * (3 * 2 + 2 * 2 + 10));
        assert_eq!(counts.points(Some(Kind::Power)).len(), 2 * (3 + 2));
        let points = counts.points(None);
        assert!(points.iter().enumerate().all(|(n, point)| !points[..n].contains(point)), "each once");
    }
}
