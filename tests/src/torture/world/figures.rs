//! What came of a run, as a table and as JSON.

use serde::Serialize;

/// Problems kept in words, of each kind; the rest only counts.
const KEPT: usize = 20;

/// The figures of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Draws the plans and the cuts.
    pub seed: u64,
    /// Runs of the daemon under load.
    pub sessions: u64,
    /// Entries given to the journal by them.
    pub entries: u64,
    /// Commands signed.
    pub commands: u64,
    /// Cards written, by the lock server's count.
    pub cards: u64,
    /// Power cuts, each recovered with the real journal, fold and engine.
    pub cuts: u64,
    /// Cuts before the engine of the run had started: recovery itself was cut.
    pub cuts_in_recovery: u64,
    /// Deaths of the process alone: the page cache stayed.
    pub kills: u64,
    /// Cuts and kills between intent and outcome of a blind operation.
    pub in_window: u64,
    /// Blind attempts found between intent and outcome.
    pub window_attempts: u64,
    /// Of those, ended as exactly one visible doubt.
    pub in_doubt: u64,
    /// Recoveries that were run until nothing was left to do.
    pub settled: u64,
    /// Recoveries on a working set that was believed.
    pub sets_kept: u64,
    /// Recoveries on a working set that was folded anew.
    pub sets_rebuilt: u64,
    /// Acknowledged and lost.
    pub lost: Vec<String>,
    /// Blind effects that happened more than once for a command.
    pub doubled: Vec<String>,
    /// Told or promised otherwise than it was.
    pub dishonest: Vec<String>,
    /// Problems beyond those kept in words.
    pub more_problems: u64,
    /// Duration.
    pub seconds: f64,
}

impl Figures {
    /// Whether everything promised held, and something was tried.
    pub fn held(&self) -> bool {
        self.cuts > 0
            && self.in_doubt == self.window_attempts
            && self.more_problems == 0
            && [&self.lost, &self.doubled, &self.dishonest].iter().all(|list| list.is_empty())
    }

    /// Takes what one recovery brought; `place` says which, so that it can be found again.
    pub(super) fn add(&mut self, one: Self, place: &str) {
        self.in_doubt += one.in_doubt;
        for (to, from) in
            [(&mut self.lost, one.lost), (&mut self.doubled, one.doubled), (&mut self.dishonest, one.dishonest)]
        {
            for problem in from {
                if to.len() < KEPT {
                    to.push(format!("{place}: {problem}"));
                } else {
                    self.more_problems += 1;
                }
            }
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let rate = |count: u64, seconds: f64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = count as f64 / seconds.max(0.001);
            format!("{rate:.0}")
        };
        let rows = [
            ("seed", self.seed.to_string()),
            ("runs of the daemon under load", self.sessions.to_string()),
            ("journal entries written by them", self.entries.to_string()),
            ("commands signed", self.commands.to_string()),
            ("cards written (lock server's count)", self.cards.to_string()),
            ("power cuts, each recovered and checked", self.cuts.to_string()),
            ("  of them during recovery", self.cuts_in_recovery.to_string()),
            ("kills, page cache intact", self.kills.to_string()),
            ("cuts and kills in the window of a blind effect", self.in_window.to_string()),
            ("  attempts cut there", self.window_attempts.to_string()),
            ("  ended as one visible doubt", self.in_doubt.to_string()),
            ("recoveries run until all work ended", self.settled.to_string()),
            ("working sets believed", self.sets_kept.to_string()),
            ("working sets folded anew", self.sets_rebuilt.to_string()),
            ("acknowledged commands lost", self.lost.len().to_string()),
            ("blind effects doubled", self.doubled.len().to_string()),
            ("told otherwise than it was", self.dishonest.len().to_string()),
            ("seconds", format!("{:.1}", self.seconds)),
            ("cuts a second", rate(self.cuts, self.seconds)),
        ];
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<width$}  {value:>10}")).collect();
        for (kind, problems) in [("LOST", &self.lost), ("DOUBLED", &self.doubled), ("DISHONEST", &self.dishonest)] {
            lines.extend(problems.iter().map(|problem| format!("{kind}: {problem}")));
        }
        if self.more_problems > 0 {
            lines.push(format!("... and {} more", self.more_problems));
        }
        lines.join("\n")
    }
}
