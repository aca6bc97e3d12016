//! What came of a run, as a table and as JSON.

use serde::Serialize;

/// The figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// The seed that replays the plan.
    pub seed: u64,
    /// Cycles that were run.
    pub cycles: u64,
    /// Commands acknowledged by the API or given at the desk.
    pub commands: u64,
    /// Encodes among them.
    pub encodes: u64,
    /// `kill -9` of the bridge.
    pub kills: u64,
    /// Kills after which an encode stood between intent and outcome.
    pub kills_in_window: u64,
    /// Cards written although nobody had been told when the bridge was killed.
    pub written_untold: u64,
    /// Encodes that were in doubt.
    pub in_doubt: u64,
    /// Doubts settled by what the lock server said.
    pub settled_by_evidence: u64,
    /// Doubts settled by a person.
    pub settled_by_person: u64,
    /// Doubts nobody settled.
    pub open: u64,
    /// Cards written, by the simulator's durable log.
    pub cards_written: u64,
    /// Acknowledged and lost: what and how.
    pub lost: Vec<String>,
    /// Written more often than commanded.
    pub doubled: Vec<String>,
    /// Told otherwise than counted.
    pub dishonest: Vec<String>,
    /// Duration.
    pub seconds: f64,
}

impl Figures {
    /// Whether everything promised held, and something was tried.
    pub fn held(&self) -> bool {
        self.kills > 0
            && self.open == 0
            && [&self.lost, &self.doubled, &self.dishonest].iter().all(|list| list.is_empty())
    }

    /// For people.
    pub fn table(&self) -> String {
        let rows = [
            ("seed", self.seed.to_string()),
            ("cycles", self.cycles.to_string()),
            ("acknowledged commands", self.commands.to_string()),
            ("encodes among them", self.encodes.to_string()),
            ("deaths of the bridge", self.kills.to_string()),
            ("deaths with an encode in the window", self.kills_in_window.to_string()),
            ("cards written that nobody had been told of", self.written_untold.to_string()),
            ("encodes in doubt", self.in_doubt.to_string()),
            ("  settled by the lock server's evidence", self.settled_by_evidence.to_string()),
            ("  settled by a person", self.settled_by_person.to_string()),
            ("  left open", self.open.to_string()),
            ("cards written (simulator's count)", self.cards_written.to_string()),
            ("acknowledged commands lost", self.lost.len().to_string()),
            ("cards written twice", self.doubled.len().to_string()),
            ("told otherwise than counted", self.dishonest.len().to_string()),
            ("seconds", format!("{:.0}", self.seconds)),
        ];
        let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<44} {value:>8}")).collect();
        for (what, list) in [("lost", &self.lost), ("doubled", &self.doubled), ("dishonest", &self.dishonest)] {
            lines.extend(list.iter().take(20).map(|one| format!("  {what}: {one}")));
        }
        lines.join("\n")
    }
}
