//! How each step of the command machine is written down.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Outcome, Requeued, Resolved, entry};
use lockbridge_protocol::proto::tunnel::{
    CommandError, CommandState, Evidence, Resolution, report::Body as ReportBody,
};

use super::super::begin::Loaded;
use super::super::engine::{Engine, EngineError};
use super::super::work::Change;
use crate::command::machine::{Action, End, Event, Life, State, step};
use crate::journal::Reserve;
use crate::limits::RETRY_BACKOFF;
use crate::state::fold::{CommandRecord, Phase};
use crate::system::EffectClass;

/// What a step of the machine has to tell besides itself.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dispatch) struct Detail {
    pub(in crate::dispatch) error: Option<CommandError>,
    pub(in crate::dispatch) evidence: Evidence,
    pub(in crate::dispatch) change: Change,
    /// (means, who) of a resolution.
    pub(in crate::dispatch) resolution: Option<(&'static str, String)>,
    /// A cancel whose target has not come.
    pub(in crate::dispatch) cancelled_ahead: Vec<u8>,
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
    /// One step of the machine, written down.
    pub(in crate::dispatch) async fn transition(
        &mut self,
        id: CommandId,
        event: Event,
        detail: Detail,
    ) -> Result<(), EngineError> {
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

    /// The machine's view of a stored command.
    pub(in crate::dispatch) fn life(&self, id: &CommandId, record: &CommandRecord) -> Life {
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
}

/// Doubling from one second to five minutes (rule B11).
pub(in crate::dispatch) fn backoff(spent: u32) -> std::time::Duration {
    let factor = 2_u32.saturating_pow(spent.min(16));
    RETRY_BACKOFF.start().saturating_mul(factor).min(*RETRY_BACKOFF.end())
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
