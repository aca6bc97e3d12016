//! What an entry of the journal adds to the history: small, and without anything that is sealed.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Entry, Received, entry};
use lockbridge_protocol::proto::tunnel::CommandState;

use super::story::Step;
use crate::state::fold::CommandRecord;

/// A command as it is named to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub(super) id: CommandId,
    pub(super) kind: String,
    pub(super) lock_system: String,
    /// 0..=3 as in P0..P3.
    pub(super) priority: u8,
    /// Given at the site, not by the cloud.
    pub(super) on_site: bool,
    pub(super) received_ms: i64,
}

/// One entry, as far as history goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A step of one command. `command` is `None` when nothing is known of it any more.
    Step { id: CommandId, command: Option<Command>, step: Step, report: u64 },
    /// The cloud has every report up to here.
    Acknowledged { through: u64, at_ms: i64 },
}

impl Note {
    /// What `entry` adds; `None`: nothing. `known` gives the live command of an id, as it was before the entry.
    pub fn of(entry: &Entry, known: impl FnOnce(&CommandId) -> Option<Command>) -> Option<Self> {
        let at_ms = entry.wall_ms;
        let step = |what| Step { what, at_ms, ..Step::default() };
        let (id, step, report) = match entry.body.as_ref()? {
            entry::Body::Received(received) if !received.acknowledged_duplicate => {
                let id = CommandId::from_bytes(&received.command_id)?;
                // A refusal before the signature was believed names nothing that can be trusted.
                if received.lane.is_empty() {
                    return None;
                }
                let what = if received.rejection_code.is_empty() { "received" } else { "rejected" };
                let step = Step { code: received.rejection_code.clone(), ..step(what) };
                let command = Some(named(id, received, at_ms));
                return Some(Self { what: What::Step { id, command, step, report: received.report_sequence } });
            }
            entry::Body::Intent(intent) => {
                let step = Step { device: intent.device.clone(), attempt: intent.attempt, ..step("sent") };
                (&intent.command_id, step, 0)
            }
            entry::Body::Requeued(requeued) => {
                let code = requeued.error_code.clone();
                (&requeued.command_id, Step { code, attempt: requeued.attempt, ..step("requeued") }, 0)
            }
            entry::Body::Outcome(outcome) => {
                let code = outcome.error_code.clone();
                let step = Step { code, attempt: outcome.attempt, ..step(word(outcome.state)) };
                (&outcome.command_id, step, outcome.report_sequence)
            }
            entry::Body::Resolved(resolved) => {
                let by = if resolved.who.is_empty() { &resolved.means } else { &resolved.who };
                let step = Step { by: by.clone(), ..step(word(resolved.state)) };
                (&resolved.command_id, step, resolved.report_sequence)
            }
            entry::Body::ReportsAcknowledged(acknowledged) => {
                return Some(Self { what: What::Acknowledged { through: acknowledged.through, at_ms } });
            }
            _ => return None,
        };
        let id = CommandId::from_bytes(id)?;
        Some(Self { what: What::Step { command: known(&id), id, step, report } })
    }
}

impl Command {
    /// As the state keeps it.
    pub fn of(id: CommandId, record: &CommandRecord) -> Self {
        Self {
            id,
            kind: record.kind.clone(),
            lock_system: record.lock_system.clone(),
            priority: rank(record.priority),
            on_site: !record.operator.is_empty(),
            received_ms: record.received_ms,
        }
    }
}

fn named(id: CommandId, received: &Received, received_ms: i64) -> Command {
    Command {
        id,
        kind: received.kind.clone(),
        lock_system: received.lock_system.clone(),
        priority: rank(received.priority),
        on_site: !received.operator.is_empty(),
        received_ms,
    }
}

fn rank(priority: u32) -> u8 {
    u8::try_from(priority.saturating_sub(1)).unwrap_or(3).min(3)
}

/// The word for a state of the journal.
fn word(state: u32) -> &'static str {
    match i32::try_from(state).ok().and_then(|state| CommandState::try_from(state).ok()) {
        Some(CommandState::Executing) => "executing",
        Some(CommandState::Succeeded) => "succeeded",
        Some(CommandState::Failed) => "failed",
        Some(CommandState::InDoubt) => "in_doubt",
        Some(CommandState::Rejected) => "rejected",
        Some(CommandState::Expired) => "expired",
        Some(CommandState::Superseded) => "superseded",
        Some(CommandState::Cancelled) => "cancelled",
        Some(CommandState::Abandoned) => "abandoned",
        Some(CommandState::Unspecified) | None => "unknown",
    }
}

/// From received to outcome, of a command that was carried out or failed; a clock set back in between counts as no time.
pub(super) fn latency_ms(command: &Command, step: &Step) -> Option<u64> {
    matches!(step.what, "succeeded" | "failed")
        .then(|| u64::try_from(step.at_ms.saturating_sub(command.received_ms)).unwrap_or(0))
}
