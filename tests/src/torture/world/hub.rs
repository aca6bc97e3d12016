//! What the cloud remembers: commands it signed, numbers it gave, what was acknowledged, what it was told.
//!
//! Changed by [`Hub::take`] alone, both when things happen and when the hub is rebuilt as of a cut.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, Delivery, Report, Signed, report::Body as ReportBody};
use prost::Message as _;

/// What a command asks for, as far as the checker cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The holder may open these doors.
    Grant(Vec<String>),
    /// The holder may open nothing.
    Revoke,
    /// A card for the holder.
    Encode,
    /// A door opens once.
    Open(String),
}

/// One signed command.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) id: CommandId,
    pub(crate) holder: String,
    pub(crate) lane: String,
    pub(crate) wish: Wish,
    pub(crate) signed: Arc<Signed>,
}

/// What the hub does or learns.
#[derive(Debug, Clone)]
pub(crate) enum HubMark {
    /// The authority signed a command.
    Signed(Arc<Issued>),
    /// The oldest command without a number got the next one.
    Numbered,
    /// The bridge says that it has decided, durably, everything up to here.
    Acknowledged(u64),
    /// A session was opened.
    Opened,
    /// A report came, and the hub has it.
    Told(u64, Arc<[u8]>),
}

/// A command as the hub knows it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) issued: Arc<Issued>,
    /// States it was told, in order.
    pub(crate) told: Vec<CommandState>,
}

impl Known {
    /// The last final state told.
    pub(crate) fn end(&self) -> Option<CommandState> {
        self.told.iter().copied().rfind(|state| is_final(*state))
    }
}

/// The hub.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hub {
    pub(crate) commands: BTreeMap<CommandId, Known>,
    /// Of each holder, oldest first.
    pub(crate) holders: BTreeMap<String, Vec<CommandId>>,
    pub(crate) lanes: BTreeMap<String, u64>,
    unnumbered: VecDeque<CommandId>,
    unacknowledged: BTreeMap<u64, CommandId>,
    numbers: u64,
    pub(crate) acknowledged: u64,
    pub(crate) epoch: u64,
    /// Reports it has, as they came.
    pub(crate) reports: BTreeMap<u64, Arc<[u8]>>,
}

/// Whether a command can change no more.
pub(crate) fn is_final(state: CommandState) -> bool {
    !matches!(state, CommandState::Unspecified | CommandState::Executing | CommandState::InDoubt)
}

impl Hub {
    /// Has `mark` happen.
    pub(crate) fn take(&mut self, mark: &HubMark) {
        match mark {
            HubMark::Signed(issued) => {
                *self.lanes.entry(issued.lane.clone()).or_default() += 1;
                self.holders.entry(issued.holder.clone()).or_default().push(issued.id);
                self.unnumbered.push_back(issued.id);
                self.commands.insert(issued.id, Known { issued: Arc::clone(issued), told: Vec::new() });
            }
            HubMark::Numbered => {
                if let Some(id) = self.unnumbered.pop_front() {
                    self.numbers += 1;
                    self.unacknowledged.insert(self.numbers, id);
                }
            }
            HubMark::Acknowledged(through) => {
                self.acknowledged = self.acknowledged.max(*through);
                self.unacknowledged = self.unacknowledged.split_off(&(self.acknowledged + 1));
            }
            HubMark::Opened => self.epoch += 1,
            HubMark::Told(sequence, bytes) => {
                self.reports.insert(*sequence, Arc::clone(bytes));
                // Older ones are compared no more: the bridge is told that they are here.
                if let Some(old) = sequence.checked_sub(400) {
                    self.reports.remove(&old);
                }
                self.learn(bytes);
            }
        }
    }

    fn learn(&mut self, report: &[u8]) {
        let Ok(Report { body: Some(ReportBody::CommandUpdate(update)), .. }) = Report::decode(report) else { return };
        let known = CommandId::from_bytes(&update.command_id).and_then(|id| self.commands.get_mut(&id));
        if let Some(known) = known {
            known.told.push(update.state());
        }
    }

    /// The highest report it has; there are no gaps below.
    pub(crate) fn cursor(&self) -> u64 {
        self.reports.keys().next_back().copied().unwrap_or(0)
    }

    /// The command whose number was given last, with it.
    pub(crate) fn newest(&self) -> Option<Delivery> {
        self.unacknowledged.iter().next_back().and_then(|(number, id)| self.delivery(*number, id))
    }

    /// Whether a command waits for its number.
    pub(crate) fn has_unnumbered(&self) -> bool {
        !self.unnumbered.is_empty()
    }

    /// What was numbered and not acknowledged, in order.
    pub(crate) fn resends(&self) -> Vec<Delivery> {
        self.unacknowledged.iter().filter_map(|(number, id)| self.delivery(*number, id)).collect()
    }

    fn delivery(&self, number: u64, id: &CommandId) -> Option<Delivery> {
        let known = self.commands.get(id)?;
        Some(Delivery { delivery_sequence: number, command: Some((*known.issued.signed).clone()) })
    }

    /// Commands the bridge has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = CommandId> {
        self.unacknowledged.values().chain(&self.unnumbered).copied()
    }

    /// Commands that have no final state.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Known> {
        self.commands.values().filter(|known| known.end().is_none())
    }
}
