//! Quarantine (rules F9, H5, H8, H9): while state or identity may exist twice or be out of date, only revokes begin.
//!
//! It is entered on the hub's word or on a finding of our own, held over restarts by the journal, and left when the cloud's
//! operator and somebody at the site have both released it. What a lost part of the journal may have carried out before is
//! never begun again: see [`Engine::may_have_happened`]; the rest is wished for anew, in the order it was first sent.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{QuarantineChanged, Reported, entry};
use lockbridge_protocol::proto::tunnel::{Mode, Priority, Quarantine, QuarantineReason, Report};
use lockbridge_protocol::signed::command::VerifiedCommand;
use lockbridge_protocol::tunnel::quarantine::{lost_memory, reason, word};
use prost::Message;
use tokio::sync::oneshot;

use super::engine::{Act, Engine, EngineError};
use super::finish::Detail;
use super::handle::QuarantineStatus;
use super::work::{Fate, Steps, Work, error};
use super::{ControlError, LiftAnswer};
use crate::command::machine::Event;
use crate::health::{ReasonCode, Scope};
use crate::identity::machine::difference;
use crate::journal::Reserve;
use crate::state::fold::{CommandRecord, JOURNAL_LOST, Phase, QuarantineRecord, SEALED_REPORT};
use crate::system::Operation;

/// A grant waits, or a card is refused, because of it.
pub(super) const QUARANTINED: &str = "bridge_quarantined";
/// A revoke waits until the bridge has been told all that its journal lost: revokes write a holder's rights whole.
pub(super) const REPLAY: &str = "quarantine_replay";
/// Reports taken along in one look.
const REPORTS_AT_ONCE: usize = 256;
/// What a person is told who asks for something that does not go now.
pub(super) const SENTENCE: &str =
    "the bridge is in quarantine: its state may be a copy or out of date; see `lockbridge status`";

impl Engine {
    /// At the start: what held goes on, and a machine that is not the one of this state is told apart.
    pub(super) async fn recover_quarantine(&mut self) -> Result<(), EngineError> {
        self.show_quarantine();
        if let Some(held) = &self.meta.quarantine {
            self.health.raise(Scope::Bridge, ReasonCode::Quarantine, held.message.clone());
            return Ok(());
        }
        let known = self.meta.machine.clone().unwrap_or_default();
        match difference(&known, &self.identity.machine) {
            Some(what) => {
                let message = format!("this state was made on another machine: the {what} differ");
                self.suspect(QuarantineReason::MachineChanged, message).await
            }
            None => Ok(()),
        }
    }

    /// The feed's part that must be durable before it is told; at the start everything is.
    fn show_quarantine(&self) {
        let (holds, left) = (self.on_wire(), self.meta.quarantine_left);
        self.feed.send_modify(|feed| (feed.quarantine, feed.quarantine_left) = (holds, left));
    }

    /// As the hub is told.
    fn on_wire(&self) -> Option<Quarantine> {
        self.meta.quarantine.as_ref().map(|held| Quarantine {
            incident: held.incident,
            reason: reason(&held.reason) as i32,
            message: held.message.clone(),
            since_ms: held.since_ms,
            released: held.confirmed,
            replay_through: 0,
            replay_before_ms: 0,
        })
    }

    /// For `status`.
    pub(super) fn quarantine_status(&self) -> Option<QuarantineStatus> {
        self.meta.quarantine.as_ref().map(|held| QuarantineStatus {
            reason: held.reason.clone(),
            message: held.message.clone(),
            since_ms: held.since_ms,
            released_at_cloud: held.released,
            released_at_site: held.confirmed,
        })
    }

    /// A finding of our own.
    pub(super) async fn suspect(&mut self, found: QuarantineReason, message: String) -> Result<(), EngineError> {
        if self.meta.quarantine.is_some() {
            return Ok(());
        }
        let record = QuarantineRecord {
            reason: word(found).to_owned(),
            message,
            since_ms: self.clock.wall_ms(),
            ..QuarantineRecord::default()
        };
        self.hold(record, "bridge", QuarantineChanged::default()).await
    }

    /// The hub holds this bridge in quarantine. `reports_through`: its cursor, when a session opens with this.
    pub(super) async fn told_quarantine(
        &mut self,
        told: Quarantine,
        reports_through: Option<u64>,
    ) -> Result<(), EngineError> {
        if told.incident <= self.meta.quarantine_left {
            return Ok(()); // left here; the hub has not heard it yet
        }
        let held = self.meta.quarantine.clone();
        let named = word(told.reason());
        let same = held.filter(|held| held.incident == told.incident || (held.incident == 0 && held.reason == named));
        let news = same.as_ref().is_none_or(|held| held.incident != told.incident);
        let record = QuarantineRecord {
            reason: named.to_owned(),
            message: told.message.clone(),
            incident: told.incident,
            since_ms: same.as_ref().map_or(told.since_ms, |held| held.since_ms),
            // Who released something else did not know of this.
            confirmed: same.as_ref().is_some_and(|held| held.confirmed),
            released: told.released,
            replay_through: told.replay_through,
        };
        if self.meta.quarantine.as_ref() == Some(&record) {
            return Ok(());
        }
        let mut change = QuarantineChanged { replay_before_ms: told.replay_before_ms, ..QuarantineChanged::default() };
        if let Some(through) = reports_through.filter(|_| news && lost_memory(told.reason())) {
            self.number_behind(through).await?;
            change.reports_through = through;
        }
        self.hold(record, "cloud", change).await?;
        self.leave_if_released("cloud").await
    }

    /// Writes the quarantine down as it holds from now on. The person at the desk is told at once.
    async fn hold(
        &mut self,
        record: QuarantineRecord,
        who: &str,
        change: QuarantineChanged,
    ) -> Result<(), EngineError> {
        let entered = self.meta.quarantine.is_none();
        tracing::warn!(reason = record.reason, message = record.message, who, "Quarantine.");
        self.health.raise(Scope::Bridge, ReasonCode::Quarantine, record.message.clone());
        let changed = QuarantineChanged {
            on: true,
            reason: record.reason,
            message: record.message,
            who: who.to_owned(),
            incident: record.incident,
            since_ms: record.since_ms,
            confirmed: record.confirmed,
            released: record.released,
            replay_through: record.replay_through,
            ..change
        };
        self.append(entry::Body::QuarantineChanged(changed), Reserve::Safety).await?;
        self.when_durable(Act::ShowQuarantine(self.on_wire(), self.meta.quarantine_left));
        if entered {
            self.refuse_waiting().await?;
        }
        Ok(())
    }

    async fn refuse_waiting(&mut self) -> Result<(), EngineError> {
        let waiting: Vec<CommandId> = self
            .queue
            .iter()
            .filter(|(id, slot)| slot.interactive && slot.phase == Phase::Queued && !self.running.contains_key(id))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.transition(id, Event::Settled(false), refusal()).await?;
        }
        Ok(())
    }

    /// Somebody at the site releases it.
    pub(super) async fn lift(
        &mut self,
        who: String,
        done: oneshot::Sender<Result<LiftAnswer, ControlError>>,
    ) -> Result<(), EngineError> {
        let Some(held) = self.meta.quarantine.clone() else {
            let message = "the bridge is not in quarantine; there is nothing to lift".to_owned();
            drop(done.send(Err(ControlError::Refused { code: "not_quarantined".into(), message })));
            return Ok(());
        };
        if !held.confirmed {
            self.hold(QuarantineRecord { confirmed: true, ..held }, &who, QuarantineChanged::default()).await?;
        }
        self.leave_if_released(&who).await?;
        let answer = LiftAnswer { left: self.meta.quarantine.is_none() };
        self.answer(done, Ok(answer));
        Ok(())
    }

    async fn leave_if_released(&mut self, who: &str) -> Result<(), EngineError> {
        let Some(held) = self.meta.quarantine.clone().filter(|held| held.released && held.confirmed) else {
            return Ok(());
        };
        let changed = QuarantineChanged {
            on: false,
            reason: held.reason,
            message: held.message,
            who: who.to_owned(),
            incident: held.incident,
            since_ms: held.since_ms,
            confirmed: true,
            released: true,
            machine: Some(self.identity.machine.clone()),
            ..QuarantineChanged::default()
        };
        self.append(entry::Body::QuarantineChanged(changed), Reserve::Safety).await?;
        self.when_durable(Act::ShowQuarantine(None, self.meta.quarantine_left));
        tracing::warn!(who, "Quarantine left.");
        self.health.clear(Scope::Bridge, ReasonCode::Quarantine);
        self.wake_held()
    }

    /// What waited for the quarantine, or for the cloud's word on what a journal lost, is looked at again now.
    pub(super) fn wake_held(&mut self) -> Result<(), EngineError> {
        let now = self.clock.since_boot();
        let held: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, slot)| [QUARANTINED, REPLAY, JOURNAL_LOST].contains(&slot.waits_for))
            .map(|(id, slot)| (*id, slot.lane.clone()))
            .collect();
        for (id, lane) in held {
            self.queue.delay(&id, now, "");
            self.refresh_lane(&lane)?;
        }
        Ok(())
    }

    /// The last delivery that repeats the lost part is in: revokes know all that they have to know.
    pub(super) fn replayed(&mut self) -> Result<(), EngineError> {
        let through = self.meta.deliveries_through;
        if self.meta.quarantine.as_ref().is_some_and(|held| held.replay_through == through) {
            return self.wake_held();
        }
        Ok(())
    }

    /// Why a command of this priority may not begin now.
    pub(super) fn held_by_quarantine(&self, priority: u32) -> Option<&'static str> {
        let held = self.meta.quarantine.as_ref()?;
        if priority == Priority::Safety as u32 {
            return (self.meta.deliveries_through < held.replay_through).then_some(REPLAY);
        }
        (priority != Priority::Background as u32).then_some(QUARANTINED)
    }

    /// What an interactive command is refused with while quarantine holds.
    pub(super) fn quarantine_objection(&self, priority: Priority) -> Option<(String, String)> {
        let refused = priority == Priority::Interactive && self.meta.quarantine.is_some();
        refused.then(|| (QUARANTINED.to_owned(), SENTENCE.to_owned()))
    }

    /// Issued before the journal went back: it may have been carried out, and only the lost part knew.
    pub(super) fn may_have_happened(&self, verified: &VerifiedCommand) -> bool {
        verified.mode == Mode::Interactive && verified.command.not_before_ms <= self.meta.replay_before_ms
    }

    /// Rights that a lost part of the journal changed later must not come back with a revoke, which writes what is left. As
    /// long as such a change waits in the holder's lane, the revoke leaves nothing; the change writes the rest anew, and so
    /// does a rewrite behind it.
    pub(super) fn leave_nothing_uncertain(&self, record: &CommandRecord, work: &mut Work) {
        let lost = self.meta.quarantine.as_ref().is_some_and(|held| lost_memory(reason(&held.reason)));
        let lane = (record.lock_system.clone(), record.lane.clone());
        let changes_wait = || {
            let waiting = self.queue.queued_in(&lane);
            waiting.iter().filter_map(|id| self.queue.get(id)).any(|slot| slot.priority == Priority::Convergent as u32)
        };
        let Steps::Operations(operations) = &mut work.steps else { return };
        if !lost || !changes_wait() {
            return;
        }
        for operation in operations {
            if let Operation::ApplyUser(target) = operation {
                target.rights.clear();
                target.window = None;
            }
        }
        let now_ms = self.clock.wall_ms();
        for change in [&mut work.done, &mut work.doubtful, &mut work.failed] {
            if let Fate::Put(holder) = &mut change.holder {
                holder.replan_at_ms = now_ms;
            }
        }
    }

    /// The cloud holds reports through `through` that this journal may never have made. What waits in the outbox under such
    /// a number and is not theirs is numbered anew behind it, so that nothing made since is lost.
    async fn number_behind(&mut self, through: u64) -> Result<(), EngineError> {
        let mut from = self.meta.reports_acknowledged.saturating_add(1);
        let mut next = through.max(self.meta.reports_last).saturating_add(1);
        let last = through.min(self.meta.reports_last);
        while from <= last {
            let batch = self.view().reports(from, REPORTS_AT_ONCE)?;
            for (sequence, record) in batch.iter().filter(|(sequence, _)| *sequence <= last) {
                // A head of the lost chain is worth nothing to anybody.
                let plain = self.sealer.open(SEALED_REPORT, &record.sealed).ok();
                let report = plain.and_then(|plain| Report::decode(plain.as_slice()).ok());
                if let Some(report) = report.filter(|_| record.kind != "audit_checkpoint") {
                    let report = Report { sequence: next, ..report };
                    let sealed_report = self.sealer.seal(SEALED_REPORT, &report.encode_to_vec())?;
                    let kind = record.kind.clone();
                    let again = Reported { report_sequence: next, kind, sealed_report, ..Reported::default() };
                    self.append(entry::Body::Reported(again), Reserve::Safety).await?;
                    next = next.saturating_add(1);
                }
                from = sequence.saturating_add(1);
            }
            if batch.len() < REPORTS_AT_ONCE {
                break;
            }
        }
        Ok(())
    }
}

/// How an interactive command ends that quarantine stops.
pub(super) fn refusal() -> Detail {
    Detail { error: Some(error(QUARANTINED, SENTENCE)), ..Detail::default() }
}
