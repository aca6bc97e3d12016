//! The encoder desk: who is at each encoder, who waits for it, and how far a job has come, for people who wait.
//!
//! Only shown, never a truth of its own: order and leases are decided where commands begin. No protocol here tells the moment
//! in which a card is written, so from the first byte on people are told to present the card and to leave it there until the
//! end is known.

use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::limits::ENCODER_JOBS;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::ControlError;
use super::effect::{Ended, probe};
use super::engine::{Engine, EngineError};
use super::finish::Detail;
use super::work::error;
use crate::command::machine::Event;
use crate::limits::CALL_GRACE;
use crate::state::fold::Phase;
use crate::system::{Effect, OperationError, Probe};

/// Why the next in line waits although the encoder is free.
pub(super) const CARD_REMOVAL: &str = "card_removal";

/// How far a job at an encoder has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderStage {
    /// Others are before it.
    Waiting,
    /// It is the next one, and the card before it is being taken off the encoder.
    RemoveCard,
    /// The encoder is its own; the lock system is asked what has to be known first.
    Preparing,
    /// The encoder was told: the card is to be presented.
    PresentCard,
}

/// A command that needs an encoder and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderJob {
    /// Lock system.
    pub lock_system: String,
    /// Encoder, by the lock system's id.
    pub encoder: String,
    /// Text form of the command's id.
    pub command_id: String,
    /// How far it has come.
    pub stage: EncoderStage,
    /// 0: at the encoder; 1: the next one.
    pub position: u32,
}

/// Whether an error at an encoder leaves open what the encoder does now.
pub(super) fn is_fault(error: &OperationError) -> bool {
    error.effect == Effect::Unknown || error.code == "encoder_communication_timeout"
}

impl Engine {
    /// The jobs of all encoders; of many, the first in line everywhere.
    pub(super) fn encoder_jobs(&self) -> Vec<EncoderJob> {
        let mut jobs = Vec::new();
        for (lock_system, encoder, turns) in self.queue.at_encoders() {
            let (holders, waiting): (Vec<CommandId>, Vec<CommandId>) =
                turns.partition(|id| self.running.contains_key(id));
            let held = holders.iter().map(|id| (id, self.stage(id), 0));
            let behind = waiting.iter().zip(1..).map(|(id, position)| {
                let resting = self.queue.get(id).is_some_and(|slot| slot.waits_for == CARD_REMOVAL);
                (id, if resting { EncoderStage::RemoveCard } else { EncoderStage::Waiting }, position)
            });
            jobs.extend(held.chain(behind).map(|(id, stage, position)| EncoderJob {
                lock_system: lock_system.to_owned(),
                encoder: encoder.to_owned(),
                command_id: id.to_string(),
                stage,
                position,
            }));
        }
        jobs.sort_by_key(|job| job.position);
        jobs.truncate(ENCODER_JOBS);
        jobs
    }

    /// Somebody on site takes back what has not begun. What has begun runs to its end: nothing here can take a card out of an
    /// encoder.
    pub(super) async fn cancel_locally(
        &mut self,
        id: CommandId,
        who: &str,
        done: oneshot::Sender<Result<(), ControlError>>,
    ) -> Result<(), EngineError> {
        let refused =
            |code: &str, message: &str| Err(ControlError::Refused { code: code.into(), message: message.into() });
        let result = match self.view().command(&id)? {
            None => refused(
                "command_not_found",
                "No command with this id waits; it may have ended: look at `lockbridge queue`.",
            ),
            Some(_) if self.running.contains_key(&id) => {
                refused("command_begun", "The command has begun; it ends by itself, at an encoder when its time is up.")
            }
            Some(record) if record.phase() != Phase::Queued => {
                refused("command_in_doubt", "The command has begun once; settle it with `lockbridge doubt`.")
            }
            Some(_) => {
                let told = error("cancelled", format!("taken back on site by {who} before it began"));
                self.transition(id, Event::Cancelled, Detail { error: Some(told), ..Detail::default() }).await?;
                Ok(())
            }
        };
        self.answer(done, result);
        Ok(())
    }

    /// When the encoder may be used again, if somebody waited there while the last card was made; `None`: now. Who comes later
    /// does not get before who waited.
    pub(super) fn card_removed_at(&self, id: &CommandId) -> Option<Duration> {
        let slot = self.queue.get(id)?;
        let (system, encoder) = (self.systems.get(&slot.lane.0)?, slot.encoder.as_ref()?);
        let freed = *system.freed.get(encoder)?;
        let until = freed + system.config.card_removal;
        let waited = |id: CommandId| self.queue.get(&id).is_some_and(|slot| slot.received < freed);
        (self.clock.since_boot() < until && self.queue.at_encoder(&slot.lane.0, encoder).any(waited)).then_some(until)
    }

    /// After a fault an encoder is not given to the next one before the way to it was tried (rule B10). No protocol here has
    /// a reset for encoders, and asking one itself would make it wait for a card: what there is, is that the lock system,
    /// asked anew, answers. A job that its side still waits with shows there as "busy", which adapters wait out.
    pub(super) fn try_encoder(&mut self, lock_system: &str, encoder: &str) {
        let Some(system) = self.systems.get_mut(lock_system) else { return };
        system.leases.insert(encoder.to_owned());
        let (adapter, deadline) = (Arc::clone(&system.adapter), system.config.call_timeout + CALL_GRACE);
        let (lock_system, encoder) = (lock_system.to_owned(), encoder.to_owned());
        self.effects.spawn(async move { Ended::EncoderTried(lock_system, encoder, probe(adapter, deadline).await) });
    }

    /// Whatever came of it, the encoder is free: a lock system that does not answer refuses the next job by itself.
    pub(super) fn encoder_tried(&mut self, lock_system: &str, encoder: &str, result: Result<Probe, OperationError>) {
        if let Some(system) = self.systems.get_mut(lock_system) {
            system.leases.remove(encoder);
        }
        self.probed(lock_system, result);
    }

    /// Of a command that holds its encoder.
    fn stage(&self, id: &CommandId) -> EncoderStage {
        match self.running.get(id) {
            Some(running) if running.work.is_some() => EncoderStage::PresentCard,
            _ => EncoderStage::Preparing,
        }
    }
}
