//! Commands that only a damaged part of the journal knew: told to the cloud by delivery number, answered by name.
//!
//! The cloud may have acknowledged commands whose every trace is gone here. Nothing about them is guessed. The bridge tells
//! their delivery numbers once the cloud has every report that is left, so that known ends are known there, too. The cloud
//! answers with the signed commands; they count as ended here and never run, and what should still be reached comes as new
//! commands. Until then grants wait: a holder's rights are written whole, and a lost revoke must not be undone by an older
//! wish that is still held.
//!
//! A loss without missing numbers is found here alone: an interactive command whose intent may have stood in the damaged part
//! is in doubt, not expired; and numbers of reports that are gone are filled, because the cloud takes them without gaps.

use std::collections::BTreeSet;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{CommandsLost, LostCommand, Reported, Requeued, entry};
use lockbridge_protocol::proto::tunnel::{LostCommands, Mode, Priority, ReportsLost, report::Body as ReportBody};
use lockbridge_protocol::signed::command::VerifiedCommand;

use super::LaneGapNotice;
use super::engine::{Engine, EngineError};
use super::finish::Detail;
use super::work::error;
use crate::command::admit::{check_signature, object_of};
use crate::command::machine::Event;
use crate::health::{ReasonCode, Scope};
use crate::journal::Reserve;
use crate::limits::LOSS_HOLD;
use crate::state::fold::{CommandRecord, JOURNAL_LOST};

/// Report numbers looked at in one step.
const REPORTS_AT_ONCE: usize = 256;

/// What this process found at its start.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// Every entry that could not be read lies at or below this; 0: all could be read.
    unread_through: u64,
    /// Highest report that the journal still had: the cloud must have it before it can answer.
    reports_through: u64,
    /// Missing report numbers were looked for.
    reports_filled: bool,
    /// Grants wait no longer than this, since boot.
    hold_until: Duration,
    /// What health said of the damage when the journal was opened.
    damage: String,
}

impl Loss {
    /// `damaged`: entries that could not be read, first and last.
    pub(super) fn found(damaged: &[(u64, u64)]) -> Self {
        Self { unread_through: damaged.iter().map(|(_, through)| *through).max().unwrap_or(0), ..Self::default() }
    }
}

impl Engine {
    /// At the start, before any command is looked at.
    pub(super) fn recover_loss(&mut self) {
        self.loss.reports_through = self.meta.reports_last;
        self.loss.hold_until = self.clock.since_boot() + LOSS_HOLD;
        let reasons = self.health.reasons();
        let said = reasons.into_iter().find(|reason| reason.code == ReasonCode::JournalDamaged);
        self.loss.damage = said.map(|reason| reason.message).unwrap_or_default();
        if !self.loss.damage.is_empty() || !self.meta.lost.is_empty() {
            self.tell_loss();
        }
    }

    /// Whether the intent of a waiting command may be among what could not be read. Reading a card changes nothing.
    pub(super) fn may_have_begun(&self, record: &CommandRecord) -> bool {
        record.mode == Mode::Interactive as u32
            && record.order <= self.loss.unread_through
            && record.kind != "scan_credential"
    }

    /// It waits as far as is known, and nothing proves that it never began.
    pub(super) async fn doubt_lost_begin(&mut self, id: CommandId, record: &CommandRecord) -> Result<(), EngineError> {
        let change = match self.load(&id)? {
            Some(loaded) => self.doubtful_change(&loaded)?,
            None => return Ok(()),
        };
        let uncertain = Requeued {
            command_id: id.0.to_vec(),
            attempt: record.attempt,
            error_code: JOURNAL_LOST.to_owned(),
            uncertain: true,
            ..Requeued::default()
        };
        self.append(entry::Body::Requeued(uncertain), Reserve::Safety).await?;
        let message = "a part of the journal cannot be read, and this may have begun in it";
        let detail = Detail { error: Some(error(JOURNAL_LOST, message)), change, ..Detail::default() };
        self.transition(id, Event::DeadlinePassed, detail).await
    }

    /// The cloud takes reports without gaps: what is gone is told as gone. Once in a process, when its cursor is known.
    pub(super) async fn fill_lost_reports(&mut self) -> Result<(), EngineError> {
        if std::mem::replace(&mut self.loss.reports_filled, true) {
            return Ok(());
        }
        let last = self.meta.reports_last;
        let mut next = self.meta.reports_acknowledged.saturating_add(1);
        while next <= last {
            let batch = self.view().reports(next, REPORTS_AT_ONCE)?;
            let end = if batch.len() < REPORTS_AT_ONCE { last } else { batch.last().map_or(last, |(at, _)| *at) };
            let kept: BTreeSet<u64> = batch.iter().map(|(sequence, _)| *sequence).collect();
            for sequence in (next..=end).filter(|sequence| !kept.contains(sequence)) {
                let mut report = self.report(ReportBody::ReportsLost(ReportsLost {}));
                report.sequence = sequence;
                let (report_sequence, sealed_report) = self.seal(&report)?;
                let kind = "reports_lost".to_owned();
                let reported = Reported { report_sequence, kind, sealed_report, ..Reported::default() };
                self.append(entry::Body::Reported(reported), Reserve::Safety).await?;
                tracing::warn!(report = sequence, "A report was lost with a part of the journal.");
            }
            next = end.saturating_add(1);
        }
        Ok(())
    }

    /// Why a command of this priority may not begin now.
    pub(super) fn held_by_loss(&self, priority: u32) -> Option<&'static str> {
        let holds = !self.meta.lost.is_empty() && self.clock.since_boot() < self.loss.hold_until;
        (holds && priority == Priority::Convergent as u32).then_some(JOURNAL_LOST)
    }

    /// Lost deliveries, first and last, once the cloud holds every end that is known.
    pub(super) fn loss_to_tell(&self) -> Vec<(u64, u64)> {
        if self.meta.reports_acknowledged < self.loss.reports_through {
            return Vec::new();
        }
        self.meta.lost.iter().map(|range| (range.first, range.last)).collect()
    }

    /// Lanes that miss a command. While some are lost, the cloud is asked about those first: sent once more, an old wish
    /// would come behind newer ones.
    pub(super) fn gaps_to_tell(&self) -> Vec<LaneGapNotice> {
        if self.meta.lost.is_empty() { self.queue.gaps().into_iter().map(|(gap, _)| gap).collect() } else { Vec::new() }
    }

    /// The cloud names what stood under lost numbers. What it says is taken from what the authority signed.
    pub(super) async fn commands_lost(&mut self, told: LostCommands) -> Result<(), EngineError> {
        let Some(answered) = told.deliveries else { return Ok(()) };
        // Told twice, or never asked. Answers begin where a range does, so that they never split one.
        let asked = |first: u64, last: u64| first == answered.first && (first..=last).contains(&answered.last);
        if !self.meta.lost.iter().any(|range| asked(range.first, range.last)) {
            return Ok(());
        }
        let mut commands = Vec::with_capacity(told.commands.len());
        for lost in told.commands {
            let state = u32::try_from(lost.state).unwrap_or_default();
            let signed = lost.command.unwrap_or_default();
            match check_signature(&self.identity.authority, &self.identity.audience, &signed) {
                Ok(verified) => commands.push(on_record(&verified, state, lost.successor_id)),
                Err((code, message)) => tracing::warn!(code, message, "The cloud names a lost command that is none."),
            }
        }
        for lost in &commands {
            let id = CommandId::from_bytes(&lost.command_id).map(|id| id.to_string()).unwrap_or_default();
            let anew = !lost.successor_id.is_empty();
            tracing::warn!(
                command = id,
                kind = lost.kind,
                lane = lost.lane,
                anew,
                "A command was lost with a part of the journal."
            );
        }
        let lanes: BTreeSet<_> = commands.iter().map(|lost| (lost.lock_system.clone(), lost.lane.clone())).collect();
        let lost = CommandsLost { first_delivery: answered.first, last_delivery: answered.last, commands };
        self.append(entry::Body::CommandsLost(lost), Reserve::Safety).await?;
        for lane in lanes {
            self.refresh_lane(&lane)?;
        }
        self.tell_loss();
        if self.meta.lost.is_empty() { self.wake_held() } else { Ok(()) }
    }

    /// The reason says what was lost by name, as far as it is known.
    fn tell_loss(&self) {
        let mut sentences = Vec::new();
        if !self.loss.damage.is_empty() {
            sentences.push(self.loss.damage.clone());
        }
        let open: u64 = self.meta.lost.iter().map(|range| range.last.saturating_sub(range.first) + 1).sum();
        if open > 0 {
            let them = if open == 1 { "one command" } else { "several commands" };
            sentences.push(format!(
                "The cloud is asked for {them} of which only the lost part knew ({open}); grants wait for the answer."
            ));
        }
        if self.meta.lost_named > 0 {
            sentences.push(self.named());
        }
        if sentences.is_empty() {
            return;
        }
        self.health.raise(Scope::Bridge, ReasonCode::JournalDamaged, sentences.join(" "));
    }

    fn named(&self) -> String {
        let (count, unknown) = (self.meta.lost_named, self.meta.lost_unknown);
        let shown: Vec<String> =
            self.meta.lost_shown.iter().filter_map(|id| CommandId::from_bytes(id)).map(|id| id.to_string()).collect();
        let rest = count.saturating_sub(shown.len() as u64);
        let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        let doubt = match unknown {
            0 => "nothing of them is unknown".to_owned(),
            some => format!("of {some} it is not known whether they were carried out: look at cards and doors"),
        };
        format!("Lost commands: {count}; {doubt}; their ids: {}{more}.", shown.join(", "))
    }
}

/// The readable part, for the journal.
fn on_record(verified: &VerifiedCommand, state: u32, successor_id: Vec<u8>) -> LostCommand {
    let command = &verified.command;
    LostCommand {
        command_id: verified.command_id.0.to_vec(),
        command_hash: verified.hash.to_vec(),
        lock_system: command.lock_system.clone(),
        lane: command.lane.clone(),
        lane_sequence: command.lane_sequence,
        priority: verified.priority as u32,
        kind: verified.kind.to_owned(),
        expires_at_ms: command.expires_at_ms,
        cancels_below: command.cancels_below,
        object: object_of(&verified.body),
        state,
        successor_id,
    }
}
