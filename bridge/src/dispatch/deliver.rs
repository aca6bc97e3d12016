//! Deliveries from the hub: verify, decide, write down, and only then acknowledge (rule A2).

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Received, entry};
use lockbridge_protocol::proto::tunnel::{CommandState, Delivery, Evidence, Priority, Signed, command::Body};
use lockbridge_protocol::signed::command::{VerifiedCommand, priority_of};
use lockbridge_protocol::signed::sha256;
use prost::Message;

use super::engine::{Engine, EngineError};
use super::finish::Detail;
use super::log::Room;
use super::queue::{Slot, rank};
use super::work::{encoder_of, error};
use crate::command::admit::{
    Accepted, Admission, Known, Standing, check_signature, check_state, may_run_without_time, object_of,
};
use crate::command::machine::Event;
use crate::command::policy::{Moment, Ruling};
use crate::journal::{AppendError, Reserve};
use crate::limits::INBOX_SLACK;
use crate::state::fold::{ROLLED_BACK, SEALED_COMMAND, Tombstone};
use lockbridge_protocol::limits::{INBOX_COMMANDS, START_DELAY_DEFAULT, START_DELAY_MAXIMUM};

impl Engine {
    /// Takes deliveries in wire order. One that has a decision already is only acknowledged again; one past a gap is
    /// left for the hub to resend.
    pub(super) async fn deliver(&mut self, deliveries: Vec<Delivery>) -> Result<(), EngineError> {
        for delivery in deliveries {
            let Some(signed) = delivery.command else { continue };
            // Resends count against the credit too.
            self.session.received(rank(unverified_priority(&signed) as u32));
            let next = self.meta.deliveries_through.saturating_add(1);
            if self.draining || delivery.delivery_sequence != next {
                continue;
            }
            self.decide(delivery.delivery_sequence, &signed).await?;
        }
        self.replayed()
    }

    async fn decide(&mut self, delivery_sequence: u64, signed: &Signed) -> Result<(), EngineError> {
        let received = Received { delivery_sequence, ..Received::default() };
        let verified = match check_signature(&self.identity.authority, &self.identity.audience, signed) {
            Ok(verified) => verified,
            Err((code, message)) => {
                // Nothing in it can be believed, not even its id: it is acknowledged, written down, and named to nobody.
                let hash = sha256(&signed.payload).to_vec();
                return self.reject(Received { command_hash: hash, ..received }, None, &code, &message).await;
            }
        };
        match self.admit(verified)? {
            Admission::Known { command_id, ended } => self.known_again(received, command_id, ended).await,
            Admission::Rejected { code, message, verified, standing } => {
                let hash = verified.hash.to_vec();
                let (received, told) = match standing {
                    Standing::IdAndPlace => (extract(received, &verified), Some(&*verified)),
                    Standing::Id => (Received { command_hash: hash, ..received }, Some(&*verified)),
                    Standing::Nothing => (Received { command_hash: hash, ..received }, None),
                };
                self.reject(received, told, &code, &message).await
            }
            Admission::Accepted(accepted) => self.accept(received, signed, *accepted).await,
        }
    }

    fn admit(&self, verified: VerifiedCommand) -> Result<Admission, EngineError> {
        let view = self.view();
        let id = verified.command_id;
        let lane_key = (verified.command.lock_system.clone(), verified.command.lane.clone());
        let (live, tombstone) = (view.command(&id)?, view.tombstone(&id)?);
        let lane = view.lane(&lane_key.0, &lane_key.1)?;
        let known = Known {
            live: live.as_ref(),
            tombstone: tombstone.as_ref(),
            lane: &lane,
            place_taken: self.queue.place_taken(&lane_key, verified.command.lane_sequence),
        };
        Ok(check_state(verified, &known, self.clock.wall_ms()))
    }

    /// What only this moment can refuse: unknown lock system, policy, time, space.
    fn objection(&self, verified: &VerifiedCommand) -> Option<(String, String)> {
        let system = &verified.command.lock_system;
        if !self.systems.contains_key(system) {
            let message = format!("this bridge has no lock system `{system}`");
            return Some(("lock_system_not_found".into(), message));
        }
        if verified.priority == Priority::Safety {
            return None;
        }
        if let Some(objection) = self.quarantine_objection(verified.priority) {
            return Some(objection);
        }
        if self.log.room(self.disk_reserve_bytes) >= Room::SafetyOnly {
            return Some((
                "disk_full".into(),
                "the disk of the bridge is nearly full: only revokes are accepted".into(),
            ));
        }
        if u64::try_from(self.queue.len()).unwrap_or(u64::MAX) >= INBOX_COMMANDS + INBOX_SLACK {
            return Some(("inbox_full".into(), "as many commands wait as the bridge may hold".into()));
        }
        if !self.time_is_trusted() && !may_run_without_time(verified.priority, &verified.body) {
            let message = "the clock of the bridge cannot be trusted, so no dates are written; set it and try again";
            return Some(("clock".into(), message.into()));
        }
        match self.ask_policy(Moment::Accept, &verified.command, &verified.body, verified.kind, verified.priority, &[])
        {
            Ruling::Breach { rule, message } => Some((rule.to_owned(), message)),
            Ruling::Allowed | Ruling::Wait(_) => None,
        }
    }

    async fn accept(&mut self, received: Received, signed: &Signed, accepted: Accepted) -> Result<(), EngineError> {
        let Accepted { verified, ends_at_once } = accepted;
        let received = extract(received, &verified);
        if self.may_have_happened(&verified) {
            let message = "the bridge's state went back to before this command, which may have been carried out";
            return self.reject(received, Some(&verified), ROLLED_BACK, message).await;
        }
        if ends_at_once.is_none()
            && let Some((code, message)) = self.objection(&verified)
        {
            return self.reject(received, Some(&verified), &code, &message).await;
        }
        let id = verified.command_id;
        let sealed = self.sealer.seal(SEALED_COMMAND, &signed.encode_to_vec())?;
        let reserve = if verified.priority == Priority::Safety { Reserve::Safety } else { Reserve::Ordinary };
        let cancels_below = received.cancels_below;
        let entry = entry::Body::Received(Received { sealed, ..received.clone() });
        match self.append(entry, reserve).await {
            // The disk filled up since it was last looked at: rule D6, and the lane moves on.
            Err(EngineError::Append(AppendError::Full)) if reserve == Reserve::Ordinary => {
                let message = "the disk of the bridge is full: only revokes are accepted";
                return self.reject(received, Some(&verified), "disk_full", message).await;
            }
            result => result?,
        };
        self.enqueue(id, &verified.body, verified.command.max_start_delay_ms)?;
        if verified.priority == Priority::Safety {
            self.supersede_older(id, &verified, cancels_below).await?;
        }
        let event = match ends_at_once {
            Some(CommandState::Cancelled) => Event::Cancelled,
            Some(CommandState::Superseded) => Event::Superseded,
            Some(_) => Event::DeadlinePassed,
            None => return Ok(()),
        };
        let message = "it was moot when it came";
        let detail = Detail { error: Some(error("action_attempt_expired", message)), ..Detail::default() };
        self.transition(id, event, detail).await
    }

    /// Puts a command that was just folded into its lane.
    pub(super) fn enqueue(&mut self, id: CommandId, body: &Body, max_start_delay_ms: u32) -> Result<(), EngineError> {
        let Some(record) = self.view().command(&id)? else { return Ok(()) };
        let now = self.clock.since_boot();
        let delay = match u64::from(max_start_delay_ms) {
            0 => START_DELAY_DEFAULT,
            given => std::time::Duration::from_millis(given).min(START_DELAY_MAXIMUM),
        };
        let interactive = priority_of(body) == Priority::Interactive;
        let lane = (record.lock_system.clone(), record.lane.clone());
        let mut slot = Slot::new(&record, now, interactive.then_some(now + delay));
        slot.encoder = encoder_of(body).map(str::to_owned);
        self.queue.put(id, slot);
        self.refresh_lane(&lane)
    }

    /// An accepted revoke ends what it made moot in its lane, as far as that has not begun (rule C5).
    async fn supersede_older(
        &mut self,
        id: CommandId,
        verified: &VerifiedCommand,
        cancels_below: u64,
    ) -> Result<(), EngineError> {
        let lane = (verified.command.lock_system.clone(), verified.command.lane.clone());
        let own = verified.command.lane_sequence;
        let object = object_of(&verified.body);
        for older in self.queue.queued_in(&lane) {
            let Some(slot) = self.queue.get(&older) else { continue };
            let sequence = slot.lane_sequence;
            let moot = older != id
                && !self.running.contains_key(&older)
                && sequence > 0
                && sequence < own
                && (sequence < cancels_below || (!object.is_empty() && slot.object == object));
            if moot {
                self.transition(older, Event::Superseded, Detail::default()).await?;
            }
        }
        self.refresh_lane(&lane)
    }

    async fn reject(
        &mut self,
        received: Received,
        verified: Option<&VerifiedCommand>,
        code: &str,
        message: &str,
    ) -> Result<(), EngineError> {
        tracing::warn!(code, delivery = received.delivery_sequence, "Command rejected.");
        let mut received =
            Received { rejection_code: code.to_owned(), rejection_message: message.to_owned(), ..received };
        if let Some(verified) = verified {
            // Rejected means that nothing was done; of these nobody knows.
            let state = if code == ROLLED_BACK { CommandState::Abandoned } else { CommandState::Rejected };
            let mut update = Self::update(&verified.command_id, &verified.hash, state, 0);
            update.error = Some(error(code, message));
            (received.report_sequence, received.sealed_report) = self.seal_report(update)?;
        }
        let lane = (received.lock_system.clone(), received.lane.clone());
        self.append(entry::Body::Received(received), Reserve::Safety).await?;
        self.refresh_lane(&lane)
    }

    /// The same bytes again under a new delivery number. The stored answer goes up again if the hub forgot it.
    async fn known_again(
        &mut self,
        received: Received,
        command_id: CommandId,
        ended: Option<Tombstone>,
    ) -> Result<(), EngineError> {
        let mut received = Received { command_id: command_id.0.to_vec(), acknowledged_duplicate: true, ..received };
        if let Some(stone) = ended.filter(|stone| stone.report_sequence <= self.meta.reports_acknowledged) {
            let hash = <[u8; 32]>::try_from(stone.hash.as_slice()).unwrap_or_default();
            let state = i32::try_from(stone.state).ok().and_then(|state| CommandState::try_from(state).ok());
            let mut update = Self::update(&command_id, &hash, state.unwrap_or_default(), 0);
            if !stone.error_code.is_empty() {
                update.error = Some(error(&stone.error_code, "told again: the command was delivered a second time"));
            }
            update.evidence = Some(Evidence::default());
            (received.report_sequence, received.sealed_report) = self.seal_report(update)?;
        }
        self.append(entry::Body::Received(received), Reserve::Safety).await?;
        Ok(())
    }
}

/// The readable part of a verified command.
fn extract(received: Received, verified: &VerifiedCommand) -> Received {
    let command = &verified.command;
    Received {
        command_id: verified.command_id.0.to_vec(),
        command_hash: verified.hash.to_vec(),
        lock_system: command.lock_system.clone(),
        lane: command.lane.clone(),
        lane_sequence: command.lane_sequence,
        priority: verified.priority as u32,
        mode: verified.mode as u32,
        kind: verified.kind.to_owned(),
        object: object_of(&verified.body),
        not_before_ms: command.not_before_ms,
        expires_at_ms: command.expires_at_ms,
        max_start_delay_ms: command.max_start_delay_ms,
        cancels_below: command.cancels_below,
        ..received
    }
}

/// For the count of credits only; what cannot be read counts as convergent, like the hub counts it.
fn unverified_priority(signed: &Signed) -> Priority {
    lockbridge_protocol::proto::tunnel::Command::decode(signed.payload.as_slice())
        .ok()
        .and_then(|command| command.body)
        .map_or(Priority::Convergent, |body| priority_of(&body))
}
