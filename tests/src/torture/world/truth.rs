//! Everything the daemon ever gave its journal, kept outside of it: what may be found again, and what it meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Entry, entry::Body};
use lockbridge_protocol::proto::tunnel::CommandState;
use prost::Message as _;

/// What an entry means for the checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A decision on this delivery.
    Received(u64),
    /// An attempt of a class (1 R, 2 Q, 3 B) may begin.
    Intent(u32),
    /// Nobody knows what came of it.
    Doubt,
    /// An attempt, or the command, ended.
    Closed,
}

/// The entries by sequence, from 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    entries: Vec<Arc<[u8]>>,
    steps: Vec<(u64, CommandId, Step)>,
    lanes: BTreeMap<CommandId, String>,
    /// The open attempt of each lane: whose, and the sequence of its intent.
    attempts: BTreeMap<String, (CommandId, u64)>,
}

impl Truth {
    /// The last sequence given.
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What was given under a sequence.
    pub(crate) fn entry(&self, sequence: u64) -> Option<&Arc<[u8]>> {
        self.entries.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    /// Takes the next entry. False: the journal gave it a number that is not the next.
    pub(crate) fn push(&mut self, sequence: u64, payload: &[u8]) -> bool {
        if sequence != self.last() + 1 {
            return false;
        }
        self.entries.push(payload.into());
        self.note(sequence, payload);
        true
    }

    /// Forgets what is behind `last`: it did not survive.
    pub(crate) fn truncate(&mut self, last: u64) {
        self.entries.truncate(usize::try_from(last).unwrap_or(usize::MAX));
        self.steps.retain(|(sequence, ..)| *sequence <= last);
        self.attempts.clear();
        for (sequence, id, step) in self.steps.clone() {
            self.attempt(sequence, &id, step);
        }
    }

    fn note(&mut self, sequence: u64, payload: &[u8]) {
        let Ok(Entry { body: Some(body), .. }) = Entry::decode(payload) else { return };
        let (id, step) = match body {
            Body::Received(received) => {
                let id = CommandId::from_bytes(&received.command_id).unwrap_or(CommandId([0; 16]));
                if !received.lane.is_empty() {
                    self.lanes.insert(id, received.lane);
                }
                (Some(id), Step::Received(received.delivery_sequence))
            }
            Body::Intent(intent) => (CommandId::from_bytes(&intent.command_id), Step::Intent(intent.class)),
            Body::Outcome(outcome) => {
                let doubt = outcome.state == CommandState::InDoubt as u32;
                (CommandId::from_bytes(&outcome.command_id), if doubt { Step::Doubt } else { Step::Closed })
            }
            Body::Requeued(requeued) => (CommandId::from_bytes(&requeued.command_id), Step::Closed),
            Body::Resolved(resolved) => (CommandId::from_bytes(&resolved.command_id), Step::Closed),
            _ => return,
        };
        let Some(id) = id else { return };
        self.steps.push((sequence, id, step));
        self.attempt(sequence, &id, step);
    }

    fn attempt(&mut self, sequence: u64, id: &CommandId, step: Step) {
        let Some(lane) = self.lanes.get(id) else { return };
        match step {
            Step::Intent(_) => drop(self.attempts.insert(lane.clone(), (*id, sequence))),
            // Others of the lane may end meanwhile without having begun.
            Step::Doubt | Step::Closed if self.attempts.get(lane).is_some_and(|(of, _)| of == id) => {
                self.attempts.remove(lane);
            }
            Step::Doubt | Step::Closed | Step::Received(_) => {}
        }
    }

    /// Sequence of the intent whose attempt is open in a lane.
    pub(crate) fn open_intent(&self, lane: &str) -> Option<u64> {
        self.attempts.get(lane).map(|(_, sequence)| *sequence)
    }

    /// The highest delivery with a decision among the entries up to `last`.
    pub(crate) fn decided_through(&self, last: u64) -> u64 {
        let steps = self.steps.iter().filter(|(sequence, ..)| *sequence <= last);
        let numbers = steps.filter_map(|(_, _, step)| match step {
            Step::Received(delivery) => Some(*delivery),
            _ => None,
        });
        numbers.max().unwrap_or(0)
    }

    /// Blind attempts without an outcome, and doubts without an end, as the entries up to `last` say.
    pub(crate) fn open_blind(&self, last: u64) -> (BTreeSet<CommandId>, BTreeSet<CommandId>) {
        let (mut begun, mut doubts) = (BTreeSet::new(), BTreeSet::new());
        for (_, id, step) in self.steps.iter().filter(|(sequence, ..)| *sequence <= last) {
            match step {
                Step::Intent(3) => drop(begun.insert(*id)),
                Step::Doubt => {
                    begun.remove(id);
                    doubts.insert(*id);
                }
                Step::Closed => {
                    begun.remove(id);
                    doubts.remove(id);
                }
                Step::Intent(_) | Step::Received(_) => {}
            }
        }
        (begun, doubts)
    }

    /// How often a command was written down as in doubt behind `last`.
    pub(crate) fn doubts_behind(&self, last: u64, id: &CommandId) -> usize {
        self.steps
            .iter()
            .filter(|(sequence, other, step)| *sequence > last && other == id && *step == Step::Doubt)
            .count()
    }
}
