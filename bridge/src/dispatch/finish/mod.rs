//! What came back from effects.

mod facts;
mod report;
mod step;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandError, Evidence, Mode, command::Body};

use super::desk::is_fault;
use super::effect::Ended;
use super::engine::{Engine, EngineError};
use super::work::{Change, Fate};
use crate::command::machine::{AttemptEnd, Event};
use crate::system::{Effect, OperationError, Performed, Retry, UserObservation};

pub(super) use step::{Detail, backoff};

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
