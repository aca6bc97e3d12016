//! What came of the points, as a table and as JSON.

use serde::Serialize;

use super::point::{At, Counts, Point};
use super::recover::Recovered;
use crate::fault_disk::Effect;
use crate::torture::check::Verdict;
use crate::torture::history::{History, Settled};

/// The rule: ready again this soon after a crash (O10).
const READY_S: f64 = 60.0;

/// The figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PointFigures {
    /// Draws what power cuts leave.
    pub seed: u64,
    /// Of one run of the script.
    pub counts: Counts,
    /// Points that there are.
    pub counted: usize,
    /// Points that were to be tried.
    pub chosen: usize,
    /// Points at which a crash happened.
    pub hit: usize,
    /// Kills at calls among them.
    pub kills_at_calls: u64,
    /// Kills at bytes to the lock server.
    pub kills_at_bytes: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Points that did not come in any of the tries.
    pub missed: Vec<String>,
    /// Crashes after which an encode had an intent and no outcome on the disk.
    pub in_window: u64,
    /// Those that the restarted bridge did not show as a doubt.
    pub silent: Vec<String>,
    /// Encodes that were in doubt.
    pub in_doubt: u64,
    /// Doubts settled by what the lock server said.
    pub settled_by_evidence: u64,
    /// Doubts settled by a person.
    pub settled_by_person: u64,
    /// Doubts that stayed.
    pub open: u64,
    /// Commands acknowledged by the API.
    pub commands: u64,
    /// Longest time to ready, seconds.
    pub slowest_ready_s: f64,
    /// Starts that took longer than the rule says.
    pub late: Vec<String>,
    /// Acknowledged and lost.
    pub lost: Vec<String>,
    /// Written more often than commanded.
    pub doubled: Vec<String>,
    /// Told otherwise than counted.
    pub dishonest: Vec<String>,
    /// Duration.
    pub seconds: f64,
}

impl PointFigures {
    pub(super) fn count(&mut self, number: usize, point: Point, recovered: &Recovered) {
        self.hit += 1;
        match point.at {
            At::Byte(_) => self.kills_at_bytes += 1,
            At::Call(_, _, Effect::PowerCut) => self.power_cuts += 1,
            At::Call(..) => self.kills_at_calls += 1,
        }
        self.in_window += u64::from(!recovered.in_window.is_empty());
        self.silent.extend(recovered.silent.iter().map(|id| format!("{number}: {point}: encode {id}")));
        self.slowest_ready_s = self.slowest_ready_s.max(recovered.ready_s);
        if recovered.ready_s > READY_S {
            self.late.push(format!("{number}: {point}: {:.0} s", recovered.ready_s));
        }
    }

    pub(super) fn judge(&mut self, history: &History, verdict: Verdict) {
        self.in_doubt += history.doubts.len() as u64;
        self.settled_by_evidence += history.settled(Settled::Evidence);
        self.settled_by_person += history.settled(Settled::Person);
        self.open += history.settled(Settled::Open);
        self.commands += history.commands;
        self.lost.extend(verdict.lost);
        self.doubled.extend(verdict.doubled);
        self.dishonest.extend(verdict.dishonest);
    }

    /// Whether everything promised held at every point, and all of them came but for one in twenty: which calls happen is
    /// not wholly ours (sled writes by its own clock, and what is committed together depends on the machine).
    pub fn held(&self) -> bool {
        let lists = [&self.silent, &self.late, &self.lost, &self.doubled, &self.dishonest];
        self.hit + self.missed.len() == self.chosen
            && self.missed.len() * 20 <= self.chosen
            && self.open == 0
            && lists.iter().all(|list| list.is_empty())
    }

    /// For people.
    pub fn table(&self) -> String {
        let rows = [
            ("seed", self.seed.to_string()),
            ("points of one run", self.counted.to_string()),
            ("points chosen", self.chosen.to_string()),
            ("points with a crash exactly there", self.hit.to_string()),
            ("  kills at calls", self.kills_at_calls.to_string()),
            ("  kills at bytes to the lock server", self.kills_at_bytes.to_string()),
            ("  power cuts at calls", self.power_cuts.to_string()),
            ("points that did not come", self.missed.len().to_string()),
            ("acknowledged commands", self.commands.to_string()),
            ("crashes between intent and outcome", self.in_window.to_string()),
            ("  not shown as a doubt", self.silent.len().to_string()),
            ("encodes in doubt", self.in_doubt.to_string()),
            ("  settled by the lock server's evidence", self.settled_by_evidence.to_string()),
            ("  settled by a person", self.settled_by_person.to_string()),
            ("  left open", self.open.to_string()),
            ("slowest start, seconds", format!("{:.2}", self.slowest_ready_s)),
            ("acknowledged commands lost", self.lost.len().to_string()),
            ("cards written twice", self.doubled.len().to_string()),
            ("told otherwise than counted", self.dishonest.len().to_string()),
            ("seconds", format!("{:.0}", self.seconds)),
        ];
        let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<44} {value:>8}")).collect();
        let lists = [
            ("missed", &self.missed),
            ("silent", &self.silent),
            ("late", &self.late),
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("dishonest", &self.dishonest),
        ];
        for (what, list) in lists {
            lines.extend(list.iter().take(20).map(|one| format!("  {what}: {one}")));
        }
        lines.join("\n")
    }
}
