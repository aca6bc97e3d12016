//! What came back from effects, and how each step of the command machine is written down.

use std::collections::BTreeMap;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Fact, Outcome, Requeued, Resolved, entry};
use lockbridge_protocol::proto::tunnel::{
    CommandError, CommandState, CommandUpdate, Evidence, LocalOrigin, Mode, Report, Resolution, command::Body,
    report::Body as ReportBody,
};
use prost::Message;

use super::begin::Loaded;
use super::desk::is_fault;
use super::effect::Ended;
use super::engine::{Engine, EngineError};
use super::work::{Change, Fate, user_of};
use crate::command::machine::{Action, AttemptEnd, End, Event, Life, State, step};
use crate::journal::Reserve;
use crate::limits::RETRY_BACKOFF;
use crate::state::fold::{CommandRecord, Phase, SEALED_FACT, SEALED_REPORT};
use crate::system::{Effect, EffectClass, OperationError, Performed, Retry, UserObservation};

/// What a step of the machine has to tell besides itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detail {
    pub(super) error: Option<CommandError>,
    pub(super) evidence: Evidence,
    pub(super) change: Change,
    /// (means, who) of a resolution.
    pub(super) resolution: Option<(&'static str, String)>,
    /// A cancel whose target has not come.
    pub(super) cancelled_ahead: Vec<u8>,
}

/// How a step closes (or leaves open) a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// An attempt ended, or none was needed.
    Outcome,
    /// A doubt ended, with a compensation or without.
    Resolution(Option<CommandId>),
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            error: None,
            evidence: Evidence::default(),
            change: Change::keep(),
            resolution: None,
            cancelled_ahead: Vec::new(),
        }
    }
}

impl Engine {
    /// An effect came back.
    pub(super) async fn effect_ended(&mut self, ended: Ended) -> Result<(), EngineError> {
        match ended {
            Ended::Observed(id, result) => self.observed(id, result).await,
            Ended::Performed(id, attempt, result) => self.performed(id, attempt, result).await,
            Ended::Answered(id, result) => self.answered(id, result).await,
            Ended::EncoderTried(lock_system, encoder, result) => {
                self.encoder_tried(&lock_system, &encoder, result);
                Ok(())
            }
        }
    }

    /// The holder was observed before an attempt; nothing has begun yet.
    async fn observed(
        &mut self,
        id: CommandId,
        result: Result<UserObservation, OperationError>,
    ) -> Result<(), EngineError> {
        let running = self.release(&id);
        if let Some(running) = running {
            self.refresh_lane(&running.lane)?;
        }
        let Some(record) = self.view().command(&id)? else { return Ok(()) };
        match result {
            Ok(seen) => {
                if self.draining {
                    return self.sync(&id);
                }
                self.begin(id, Some(seen)).await?;
                Ok(())
            }
            Err(error) => {
                self.note_reachability(&record.lock_system, &error);
                if record.mode == Mode::Interactive as u32 || error.retry == Retry::Never {
                    let detail = Detail { error: Some(command_error(&error)), ..Detail::default() };
                    return self.transition(id, Event::Settled(false), detail).await;
                }
                let pause = backoff(record.spent);
                self.queue.delay(&id, self.clock.since_boot() + pause, "lock_system");
                self.sync(&id)
            }
        }
    }

    async fn performed(
        &mut self,
        id: CommandId,
        attempt: u32,
        result: Result<Performed, OperationError>,
    ) -> Result<(), EngineError> {
        let running = self.release(&id);
        let Some(loaded) = self.load(&id)? else { return Ok(()) };
        if loaded.record.attempt != attempt {
            return Ok(());
        }
        if let Some(encoder) = running.as_ref().and_then(|running| running.encoder.as_deref()) {
            self.note_encoder(&loaded.record.lock_system, encoder, &result);
            if result.as_ref().is_err_and(is_fault) {
                self.try_encoder(&loaded.record.lock_system, encoder);
            }
        }
        let work = running.and_then(|running| running.work);
        match result {
            Ok(performed) => {
                let (evidence, change) = match work {
                    Some(work) => (work.evidence, work.done),
                    None => (Evidence::default(), Change::keep()),
                };
                let mut evidence = with_performed(evidence, &performed);
                let change = learned(change, &loaded.body, &performed);
                let seen = performed.key_seen.as_deref();
                self.name_ours(&loaded.record.lock_system, &mut evidence, seen)?;
                let detail = Detail { evidence, change, ..Detail::default() };
                self.transition(id, Event::Finished { end: AttemptEnd::Done, again: false }, detail).await?;
                match seen {
                    Some(seen) => self.settle_by_reading(&loaded.record.lock_system, seen).await,
                    None => Ok(()),
                }
            }
            Err(error) => {
                self.note_reachability(&loaded.record.lock_system, &error);
                let end = match (error.effect, error.retry) {
                    (Effect::Unknown, _) => AttemptEnd::Lost,
                    (Effect::None, _) if error.code == "bridge_disconnected" => AttemptEnd::Unreachable,
                    (Effect::None, Retry::Later) => AttemptEnd::RefusedForNow,
                    (Effect::None, Retry::Never) => AttemptEnd::RefusedForGood,
                };
                let change = match (work, end) {
                    (Some(work), AttemptEnd::Lost) => work.doubtful,
                    (Some(work), _) => work.failed,
                    (None, _) => Change::keep(),
                };
                let again = loaded.record.mode != Mode::Interactive as u32;
                let detail = Detail { error: Some(command_error(&error)), change, ..Detail::default() };
                self.transition(id, Event::Finished { end, again }, detail).await
            }
        }
    }

    /// One step of the machine, written down.
    pub(super) async fn transition(&mut self, id: CommandId, event: Event, detail: Detail) -> Result<(), EngineError> {
        let Some(loaded) = self.load(&id)? else { return Ok(()) };
        let before = self.life(&id, &loaded.record);
        let (life, actions) = match step(before, event) {
            Ok(stepped) => stepped,
            Err(impossible) => {
                tracing::error!(%impossible, command = %id, "Step of a command refused.");
                return Ok(());
            }
        };
        // A compensation is written before what it compensates is closed: a crash between must not lose it.
        let compensation = if actions.contains(&Action::Compensate) { self.compensate(&loaded).await? } else { None };
        for action in actions {
            match action {
                Action::RecordOutcome(end) => {
                    self.record_end(&id, &loaded, state_of(end), life, &detail, Closing::Outcome).await?;
                }
                Action::RecordResolution(end) => {
                    self.record_end(&id, &loaded, state_of(end), life, &detail, Closing::Resolution(compensation))
                        .await?;
                }
                Action::RecordDoubt => {
                    self.record_end(&id, &loaded, CommandState::InDoubt, life, &detail, Closing::Outcome).await?;
                    self.question(id, &loaded.record, false);
                }
                Action::RecordRequeue { counted } => {
                    self.questions.remove(&id);
                    let restarted = event == Event::Restarted;
                    let pause =
                        if restarted { std::time::Duration::ZERO } else { backoff(life.spent.saturating_sub(1)) };
                    let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                    let requeued = Requeued {
                        command_id: id.0.to_vec(),
                        attempt: life.attempt,
                        error_code: detail.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
                        not_before_ms: self.clock.wall_ms().saturating_add(pause_ms),
                        counted,
                        uncertain: life.uncertain,
                    };
                    self.append(entry::Body::Requeued(requeued), Reserve::Safety).await?;
                    self.queue.delay(&id, self.clock.since_boot() + pause, "retry");
                }
                Action::Ask => {
                    if !self.questions.contains_key(&id) {
                        self.question(id, &loaded.record, true);
                    }
                }
                // An intent is written where an attempt begins; the compensation above.
                Action::RecordIntent | Action::Compensate => {}
            }
        }
        self.sync(&id)
    }

    /// Writes an outcome, a doubt or a resolution, with its report and what was learned.
    async fn record_end(
        &mut self,
        id: &CommandId,
        loaded: &Loaded,
        state: CommandState,
        life: Life,
        detail: &Detail,
        closing: Closing,
    ) -> Result<(), EngineError> {
        // What follows from an end is written before it, as a compensation is.
        self.desk_follows(id, loaded, state).await?;
        let facts = self.facts_of(loaded, &detail.change)?;
        let mut update = Self::update_of(id, loaded, state, life.attempt);
        update.error.clone_from(&detail.error);
        update.evidence = Some(detail.evidence.clone());
        let (means, who) = detail.resolution.clone().unwrap_or_default();
        let compensation = match closing {
            Closing::Resolution(Some(id)) => id.0.to_vec(),
            Closing::Resolution(None) | Closing::Outcome => Vec::new(),
        };
        let resolves = matches!(closing, Closing::Resolution(_));
        if resolves {
            update.resolution = Some(Resolution {
                verdict: match state {
                    CommandState::Succeeded => "done",
                    CommandState::Failed => "not_done",
                    _ => "abandoned",
                }
                .to_owned(),
                means: means.to_owned(),
                who: who.clone(),
                compensation_command_id: compensation.clone(),
            });
        }
        let report = self.report(ReportBody::CommandUpdate(update));
        let (report_sequence, sealed_report) = self.seal(&report)?;
        let command_id = id.0.to_vec();
        let body = if resolves {
            entry::Body::Resolved(Resolved {
                command_id,
                state: state as u32,
                means: means.to_owned(),
                who,
                compensation_command_id: compensation,
                sealed_report,
                report_sequence,
                facts,
            })
        } else {
            entry::Body::Outcome(Outcome {
                command_id,
                attempt: life.attempt,
                state: state as u32,
                error_code: detail.error.as_ref().map(|error| error.code.clone()).unwrap_or_default(),
                sealed_report,
                report_sequence,
                facts,
                cancelled_ahead: detail.cancelled_ahead.clone(),
            })
        };
        self.append(body, Reserve::Safety).await?;
        self.desk_ended(id, loaded, state, detail);
        if let Some(done) = self.desk.remove(id) {
            self.answer(done, Ok(report));
        }
        Ok(())
    }

    fn facts_of(&self, loaded: &Loaded, change: &Change) -> Result<Vec<Fact>, EngineError> {
        let Some(user_id) = user_of(&loaded.body) else { return Ok(Vec::new()) };
        let fact = Fact {
            kind: "holder".into(),
            lock_system: loaded.record.lock_system.clone(),
            id: user_id.to_owned(),
            ..Fact::default()
        };
        let mut facts = self.room_facts(&loaded.record.lock_system, change)?;
        match &change.holder {
            Fate::Keep => {}
            Fate::Forget => facts.push(fact),
            Fate::Put(holder) => facts.push(Fact {
                sealed: self.sealer.seal(SEALED_FACT, &holder.encode_to_vec())?,
                replan_at_ms: holder.replan_at_ms,
                ..fact
            }),
        }
        Ok(facts)
    }

    /// Rooms as they are with their edits; one without a stay is forgotten.
    fn room_facts(&self, lock_system: &str, change: &Change) -> Result<Vec<Fact>, EngineError> {
        let mut rooms = BTreeMap::new();
        for (id, edit) in &change.rooms {
            if !rooms.contains_key(id) {
                rooms.insert(id, self.room(lock_system, id)?);
            }
            if let Some(room) = rooms.get_mut(id) {
                room.apply(edit.clone());
            }
        }
        let mut facts = Vec::with_capacity(rooms.len().saturating_add(1));
        for (id, room) in rooms {
            let sealed = if room.stays.is_empty() {
                Vec::new()
            } else {
                self.sealer.seal(SEALED_FACT, &room.encode_to_vec())?
            };
            let (kind, lock_system, id) = ("room".to_owned(), lock_system.to_owned(), id.clone());
            facts.push(Fact { kind, lock_system, id, sealed, replan_at_ms: 0 });
        }
        Ok(facts)
    }

    /// The machine's view of a stored command.
    pub(super) fn life(&self, id: &CommandId, record: &CommandRecord) -> Life {
        let class = match record.class {
            1 => EffectClass::Repeatable,
            2 => EffectClass::Queryable,
            _ => EffectClass::Blind,
        };
        let question = self.questions.get(id);
        let state = match record.phase() {
            Phase::Queued => State::Queued,
            Phase::Executing if question.is_some_and(|question| question.asking) => State::Asking,
            Phase::Executing => State::Executing(class),
            Phase::InDoubt => State::InDoubt(class),
        };
        Life {
            state,
            attempt: record.attempt,
            spent: record.spent,
            queries: question.map_or(0, |question| question.asked.saturating_sub(1)),
            uncertain: record.uncertain,
        }
    }

    /// An update about a stored command.
    pub(super) fn update_of(id: &CommandId, loaded: &Loaded, state: CommandState, attempt: u32) -> CommandUpdate {
        let hash = <[u8; 32]>::try_from(loaded.record.hash.as_slice()).unwrap_or_default();
        let mut update = Self::update(id, &hash, state, attempt);
        if !loaded.record.operator.is_empty() {
            update.local = Some(LocalOrigin {
                operator: loaded.record.operator.clone(),
                encode_credential: match &loaded.body {
                    Body::EncodeCredential(encode) => Some(encode.clone()),
                    _ => None,
                },
                lock_system: loaded.record.lock_system.clone(),
                kind: loaded.record.kind.clone(),
                desk: loaded.command.desk.clone(),
            });
        }
        update
    }

    /// An update about a command.
    pub(super) fn update(id: &CommandId, hash: &[u8; 32], state: CommandState, attempt: u32) -> CommandUpdate {
        CommandUpdate {
            command_id: id.0.to_vec(),
            command_hash: hash.to_vec(),
            state: state as i32,
            attempt,
            ..CommandUpdate::default()
        }
    }

    /// The next report.
    pub(super) fn report(&self, body: ReportBody) -> Report {
        Report {
            version: lockbridge_protocol::signed::report::VERSION,
            bridge_id: self.identity.audience.bridge_id.clone(),
            store_id: self.identity.store_id.to_vec(),
            sequence: self.meta.reports_last.saturating_add(1),
            occurred_at_ms: self.clock.wall_ms(),
            body: Some(body),
        }
    }

    pub(super) fn seal(&self, report: &Report) -> Result<(u64, Vec<u8>), EngineError> {
        Ok((report.sequence, self.sealer.seal(SEALED_REPORT, &report.encode_to_vec())?))
    }

    pub(super) fn seal_report(&self, update: CommandUpdate) -> Result<(u64, Vec<u8>), EngineError> {
        self.seal(&self.report(ReportBody::CommandUpdate(update)))
    }
}

/// Doubling from one second to five minutes (rule B11).
pub(super) fn backoff(spent: u32) -> std::time::Duration {
    let factor = 2_u32.saturating_pow(spent.min(16));
    RETRY_BACKOFF.start().saturating_mul(factor).min(*RETRY_BACKOFF.end())
}

/// The words of an operation's error, for the report.
pub(super) fn command_error(error: &OperationError) -> CommandError {
    CommandError {
        code: error.code.to_owned(),
        message: error.message.clone(),
        vendor_code: error.vendor_code.clone(),
        vendor_text: error.vendor_text.clone(),
    }
}

fn state_of(end: End) -> CommandState {
    match end {
        End::Succeeded => CommandState::Succeeded,
        End::Failed => CommandState::Failed,
        End::Rejected => CommandState::Rejected,
        End::Expired => CommandState::Expired,
        End::Superseded => CommandState::Superseded,
        End::Cancelled => CommandState::Cancelled,
        End::Abandoned => CommandState::Abandoned,
    }
}

fn with_performed(evidence: Evidence, performed: &Performed) -> Evidence {
    Evidence {
        user_external_id: performed.user_external_id.clone(),
        card_number: performed.card_number.clone(),
        key_valid_until_ms: performed.key_valid_until_ms.unwrap_or(evidence.key_valid_until_ms),
        card_update_needed: evidence.card_update_needed || performed.card_update_needed,
        card_on_encoder: performed.card_on_encoder.clone(),
        detail: if performed.detail.is_empty() { evidence.detail.clone() } else { performed.detail.clone() },
        ..evidence
    }
}

/// The holder with what the lock system told about cards.
fn learned(change: Change, body: &Body, performed: &Performed) -> Change {
    let Change { holder: Fate::Put(mut holder), rooms } = change else { return change };
    let written = match body {
        Body::EncodeCredential(encode) => Some(encode.credential_id.clone()),
        Body::ScanToAssign(scan) => Some(scan.credential_id.clone()),
        _ => None,
    };
    match written {
        Some(written) => {
            for credential in &mut holder.credentials {
                if credential.credential_id == written {
                    credential.card_number.clone_from(&performed.card_number);
                    credential.valid_until_ms = performed.key_valid_until_ms.unwrap_or_default();
                } else if !performed.card_number.is_empty() && credential.card_number == performed.card_number {
                    // The same plastic carries the new credential now.
                    credential.issued = false;
                    credential.card_number.clear();
                }
            }
        }
        None => {
            // What a key for a room carries is known here, not at the lock server.
            for credential in holder.credentials.iter_mut().filter(|credential| credential.rooms.is_empty()) {
                credential.up_to_date = credential.issued && !performed.card_update_needed;
            }
        }
    }
    Change { holder: Fate::Put(holder), rooms }
}
