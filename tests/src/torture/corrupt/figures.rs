//! What came of a run, as a table and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

/// Problems kept in words, of each kind; the rest only counts.
const KEPT: usize = 30;

/// The figures of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Draws runs and wounds.
    pub seed: u64,
    /// Runs of the daemon that made the folders.
    pub sessions: u64,
    /// Corruptions, each opened twice, with the engine between.
    pub corruptions: u64,
    /// By what was done.
    pub by_wound: BTreeMap<&'static str, u64>,
    /// The state was whole all the same.
    pub whole: u64,
    /// Entries were lost, and every one is named in a report.
    pub reported: u64,
    /// Entries at the very end were lost as if they had never been written: on this machine nothing tells. The cloud, which
    /// was told of them, does.
    pub tails: u64,
    /// Of those, the cloud's memory of acknowledgements and reports alone tells.
    pub tails_known_to_cloud: u64,
    /// Working sets that were believed.
    pub sets_kept: u64,
    /// Working sets that were folded anew.
    pub sets_rebuilt: u64,
    /// Longest opening with a working set folded anew, in milliseconds.
    pub slowest_rebuild_ms: u64,
    /// Recovered otherwise than it was, or lost without a word.
    pub silent: Vec<String>,
    /// Did not start: a crash loop.
    pub refused: Vec<String>,
    /// Panics.
    pub panicked: Vec<String>,
    /// The second start was not like the first.
    pub unstable: Vec<String>,
    /// Problems beyond those kept in words.
    pub more_problems: u64,
    /// Duration.
    pub seconds: f64,
}

impl Figures {
    /// Whether everything promised held, and something was tried.
    pub fn held(&self) -> bool {
        self.corruptions > 0
            && self.more_problems == 0
            && [&self.silent, &self.refused, &self.panicked, &self.unstable].iter().all(|list| list.is_empty())
    }

    /// Takes what one corruption brought; `place` says which.
    pub(super) fn add(&mut self, one: Self, place: &str) {
        self.whole += one.whole;
        self.reported += one.reported;
        self.tails += one.tails;
        self.tails_known_to_cloud += one.tails_known_to_cloud;
        self.sets_kept += one.sets_kept;
        self.sets_rebuilt += one.sets_rebuilt;
        self.slowest_rebuild_ms = self.slowest_rebuild_ms.max(one.slowest_rebuild_ms);
        for (to, from) in [
            (&mut self.silent, one.silent),
            (&mut self.refused, one.refused),
            (&mut self.panicked, one.panicked),
            (&mut self.unstable, one.unstable),
        ] {
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
        let mut rows = vec![
            ("seed", self.seed.to_string()),
            ("runs of the daemon that made the folders", self.sessions.to_string()),
            ("corruptions, each opened twice", self.corruptions.to_string()),
        ];
        rows.extend(self.by_wound.iter().map(|(name, count)| (*name, count.to_string())));
        rows.extend([
            ("state whole all the same", self.whole.to_string()),
            ("lost, and reported by sequence", self.reported.to_string()),
            ("lost at the very end, unknowable offline", self.tails.to_string()),
            ("  known from what the cloud was told", self.tails_known_to_cloud.to_string()),
            ("working sets believed", self.sets_kept.to_string()),
            ("working sets folded anew", self.sets_rebuilt.to_string()),
            ("  slowest opening, ms", self.slowest_rebuild_ms.to_string()),
            ("silent corruptions", self.silent.len().to_string()),
            ("did not start", self.refused.len().to_string()),
            ("panics", self.panicked.len().to_string()),
            ("second start differed", self.unstable.len().to_string()),
            ("seconds", format!("{:.1}", self.seconds)),
        ]);
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<width$}  {value:>10}")).collect();
        for (kind, problems) in [
            ("SILENT", &self.silent),
            ("REFUSED", &self.refused),
            ("PANICKED", &self.panicked),
            ("UNSTABLE", &self.unstable),
        ] {
            lines.extend(problems.iter().map(|problem| format!("{kind}: {problem}")));
        }
        if self.more_problems > 0 {
            lines.push(format!("... and {} more", self.more_problems));
        }
        lines.join("\n")
    }
}
