//! The desk for doubts: restarts, questions to the lock system, persons, and what stands in for a lost card (B5 to B10).

use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{
    CommandState, DeleteCredential, DeleteUser, Evidence, Mode, PutUser, User, command::Body,
};
use tokio::sync::oneshot;

use super::begin::Loaded;
use super::effect::{self, Ended};
use super::engine::{Engine, EngineError, Question};
use super::finish::Detail;
use super::judge::judge;
use super::keys;
use super::phones;
use super::work::{Change, Prepared, error, user_of};
use super::{ControlError, DoubtVerdict};
use crate::command::machine::{Answer, Event, Verdict};
use crate::health::{ReasonCode, Scope};
use crate::limits::{CALL_GRACE, DOUBT_ABANDON, DOUBT_ALERT, DOUBT_QUESTION, DOUBT_QUESTION_MAXIMUM};
use crate::state::fold::{CommandRecord, Phase, SEALED_BEFORE};
use crate::system::{OperationError, UserObservation};

/// Who speaks when the bridge itself ends a doubt.
const BRIDGE: &str = "bridge";

impl Engine {
    /// Rule B5, at the start of the process; and rule C8: nobody stands at the encoder any more.
    pub(super) async fn restarted(&mut self, id: CommandId, record: &CommandRecord) -> Result<(), EngineError> {
        match record.phase() {
            Phase::Queued if self.may_have_begun(record) => self.doubt_lost_begin(id, record).await,
            Phase::Queued if record.mode == Mode::Interactive as u32 => {
                let lost = error("session_lost", "the bridge was restarted before it could begin");
                let detail = Detail { error: Some(lost), ..Detail::default() };
                self.transition(id, Event::DeadlinePassed, detail).await
            }
            Phase::Queued => Ok(()),
            Phase::InDoubt => {
                self.question(id, record, false);
                Ok(())
            }
            Phase::Executing => {
                let change = match self.load(&id)? {
                    Some(loaded) => self.doubtful_change(&loaded)?,
                    None => Change::keep(),
                };
                let lost = error("uncategorized_error", "the bridge was restarted while this was under way");
                let change = if record.class == 3 { change } else { Change::keep() };
                let detail = Detail { error: Some(lost), change, ..Detail::default() };
                self.transition(id, Event::Restarted, detail).await
            }
        }
    }

    /// For security a maybe-card exists (rule B8).
    pub(super) fn doubtful_change(&self, loaded: &Loaded) -> Result<Change, EngineError> {
        if let Some(attempt) = self.key_attempt(&loaded.record).filter(|attempt| !attempt.phone_credential.is_empty()) {
            let user_id = user_of(&loaded.body).unwrap_or_default();
            let known = self.holder(&loaded.record.lock_system, user_id)?;
            return Ok(phones::in_doubt(known, &loaded.body, user_id, &attempt, self.clock.wall_ms()));
        }
        let Body::EncodeCredential(encode) = &loaded.body else { return Ok(Change::keep()) };
        let Some(mut holder) = self.holder(&loaded.record.lock_system, &encode.user_id)? else {
            return Ok(Change::keep());
        };
        if let Some(attempt) = self.key_attempt(&loaded.record) {
            return Ok(keys::doubtful(&holder, &encode.user_id, &encode.credential_id, &attempt));
        }
        if let Some(credential) = holder.credential_mut(&encode.credential_id) {
            credential.maybe_issued = true;
        }
        Ok(Change::put(holder))
    }

    /// Puts a lost attempt on the desk. An encoder may go on waiting for a card as long as its own time limit: only after
    /// twice that time does "nothing changed" mean anything.
    pub(super) fn question(&mut self, id: CommandId, record: &CommandRecord, asking: bool) {
        let now = self.clock.since_boot();
        let longest =
            self.systems.get(&record.lock_system).map_or(DOUBT_QUESTION, |system| system.config.encode_timeout);
        let settled_at = now + longest.saturating_mul(2) + CALL_GRACE;
        let next = if asking { now } else { now + DOUBT_QUESTION };
        self.questions.insert(id, Question { next, asked: 0, under_way: false, asking, settled_at });
    }

    /// Asks what is due; an unreachable lock system is not asked.
    pub(super) fn ask_due(&mut self) -> Result<(), EngineError> {
        let now = self.clock.since_boot();
        let due: Vec<CommandId> = self
            .questions
            .iter()
            .filter(|(_, question)| !question.under_way && question.next <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(loaded) = self.load(&id)? else {
                self.questions.remove(&id);
                continue;
            };
            let system = self.systems.get(&loaded.record.lock_system);
            let (Some(user_id), Some(system)) = (user_of(&loaded.body).map(str::to_owned), system) else { continue };
            if system.reachable != Some(true) {
                continue;
            }
            // Nobody keeps a record that could be asked for: a person reads the card, or says what came of it.
            if self.key_attempt(&loaded.record).is_some() || !system.adapter.description().keeps_people {
                self.questions.remove(&id);
                continue;
            }
            let (adapter, deadline) = (Arc::clone(&system.adapter), system.config.call_timeout);
            if let Some(question) = self.questions.get_mut(&id) {
                question.under_way = true;
                question.asked += 1;
            }
            self.effects.spawn(async move { Ended::Answered(id, effect::observe(adapter, user_id, deadline).await) });
        }
        Ok(())
    }

    /// The lock system said what it knows of the holder.
    pub(super) async fn answered(
        &mut self,
        id: CommandId,
        result: Result<UserObservation, OperationError>,
    ) -> Result<(), EngineError> {
        let now = self.clock.since_boot();
        let Some(question) = self.questions.get_mut(&id) else { return Ok(()) };
        question.under_way = false;
        question.next = now
            + DOUBT_QUESTION.saturating_mul(2_u32.saturating_pow(question.asked.min(8))).min(DOUBT_QUESTION_MAXIMUM);
        let (asking, settled) = (question.asking, now >= question.settled_at);
        let Some(loaded) = self.load(&id)? else { return Ok(()) };
        let (answer, seen) = match result {
            Ok(seen) => {
                let before = self.before(&loaded.record);
                (judge(&loaded.body, before.as_ref(), &seen, settled || asking), Some(seen))
            }
            Err(error) => {
                self.note_reachability(&loaded.record.lock_system, &error);
                (Answer::Unknown, None)
            }
        };
        let who = self.systems.get(&loaded.record.lock_system).map_or("", |system| system.adapter.description().kind);
        let resolution = Some(("lock_system", who.to_owned()));
        let mut evidence = Evidence::default();
        if let (Answer::Found, Some(seen)) = (answer, &seen) {
            evidence.card_number.clone_from(&seen.card_number);
            evidence.key_valid_until_ms = seen.key_period_ms.1;
            evidence.detail = "the lock server shows the change".into();
        }
        let verdict = match answer {
            Answer::Found => Verdict::Done,
            Answer::Absent => Verdict::NotDone,
            Answer::Unknown => Verdict::GivenUp,
        };
        if asking {
            let change = if answer == Answer::Found {
                self.settled_change(&loaded, verdict, seen.as_ref())?
            } else {
                Change::keep()
            };
            let error = (answer != Answer::Found)
                .then(|| error("uncategorized_error", "the lock server gave no answer to the attempt"));
            let detail = Detail { error, evidence, change, ..Detail::default() };
            return self.transition(id, Event::Answered(answer), detail).await;
        }
        if answer == Answer::Unknown {
            return Ok(());
        }
        let change = self.settled_change(&loaded, verdict, seen.as_ref())?;
        let detail = Detail { evidence, change, resolution, ..Detail::default() };
        self.transition(id, Event::Resolved(verdict), detail).await
    }

    fn before(&self, record: &CommandRecord) -> Option<UserObservation> {
        let plain = self.sealer.open(SEALED_BEFORE, &record.sealed_before).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    /// The holder once a doubt is settled.
    pub(super) fn settled_change(
        &self,
        loaded: &Loaded,
        verdict: Verdict,
        seen: Option<&UserObservation>,
    ) -> Result<Change, EngineError> {
        let attempt = self.key_attempt(&loaded.record);
        let key_of = match (&loaded.body, &attempt) {
            (Body::EncodeCredential(encode), _) => Some((encode.user_id.as_str(), encode.credential_id.as_str())),
            (body, Some(attempt)) if !attempt.phone_credential.is_empty() => {
                user_of(body).map(|user_id| (user_id, attempt.phone_credential.as_str()))
            }
            _ => None,
        };
        if let Some((user_id, credential_id)) = key_of {
            let rooms = match (&attempt, verdict) {
                (Some(attempt), Verdict::Done) => attempt.settled(true),
                (Some(attempt), Verdict::NotDone) => attempt.settled(false),
                // The compensation takes the key away.
                (Some(_), Verdict::GivenUp) | (None, _) => Vec::new(),
            };
            let Some(mut holder) = self.holder(&loaded.record.lock_system, user_id)? else {
                return Ok(Change::keep().with_rooms(rooms));
            };
            let Some(credential) = holder.credential_mut(credential_id) else {
                return Ok(Change::keep().with_rooms(rooms));
            };
            match verdict {
                Verdict::Done => {
                    credential.issued = true;
                    credential.maybe_issued = false;
                    credential.up_to_date = seen.is_none_or(|seen| seen.card_up_to_date);
                    if let Some(window) = attempt.as_ref().and_then(|attempt| attempt.key.window) {
                        credential.valid_until_ms = window.ends_at_ms.unwrap_or_default();
                    }
                    if let Some(seen) = seen {
                        credential.card_number.clone_from(&seen.card_number);
                        credential.valid_until_ms = seen.key_period_ms.1;
                    }
                }
                Verdict::NotDone => credential.maybe_issued = false,
                // The compensation clears it when it is done.
                Verdict::GivenUp => {}
            }
            return Ok(Change::put(holder).with_rooms(rooms));
        }
        if verdict != Verdict::Done {
            return Ok(Change::keep());
        }
        Ok(match self.prepare(loaded, seen, &[])? {
            Prepared::Begin(work) => work.done,
            _ => Change::keep(),
        })
    }

    /// A person answers a doubt.
    pub(super) async fn resolve(
        &mut self,
        id: CommandId,
        verdict: DoubtVerdict,
        who: String,
        done: oneshot::Sender<Result<(), ControlError>>,
    ) -> Result<(), EngineError> {
        let refused = |code: &str, message: String| Err(ControlError::Refused { code: code.into(), message });
        let answer = match self.load(&id)? {
            None => refused("not_found", format!("no command {id} waits here; `lockbridge doubt` lists the doubts")),
            Some(loaded) if loaded.record.phase() != Phase::InDoubt => {
                refused("not_in_doubt", format!("the command {id} is not in doubt"))
            }
            Some(loaded) => {
                let verdict = match verdict {
                    DoubtVerdict::Done => Verdict::Done,
                    DoubtVerdict::NotDone => Verdict::NotDone,
                    DoubtVerdict::Unsure => Verdict::GivenUp,
                };
                self.close_doubt(id, &loaded, verdict, "person", who).await?;
                Ok(())
            }
        };
        self.answer(done, answer);
        Ok(())
    }

    pub(super) async fn close_doubt(
        &mut self,
        id: CommandId,
        loaded: &Loaded,
        verdict: Verdict,
        means: &'static str,
        who: String,
    ) -> Result<(), EngineError> {
        let change = self.settled_change(loaded, verdict, None)?;
        let detail = Detail { change, resolution: Some((means, who)), ..Detail::default() };
        self.transition(id, Event::Resolved(verdict), detail).await
    }

    /// The local command that makes a maybe-effect worthless (rule B9): the key is cancelled; for anything else that may or
    /// may not have been written the known wish is written anew. A momentary opening needs nothing.
    pub(super) async fn compensate(&mut self, loaded: &Loaded) -> Result<Option<CommandId>, EngineError> {
        let lock_system = loaded.record.lock_system.clone();
        let Some(user_id) = user_of(&loaded.body).map(str::to_owned) else { return Ok(None) };
        if loaded.command.desk.is_some()
            && let Some(order) = self.stays.get(&lock_system, &user_id).cloned()
        {
            // A key of the front desk is a holder of its own, so forgetting the holder makes its card worthless.
            let lane = (lock_system.clone(), loaded.record.lane.clone());
            if let Some(waits) = self.queue.safety_in(&lane) {
                return Ok(Some(waits));
            }
            let body = Body::DeleteUser(DeleteUser { user_id });
            let operator = loaded.record.operator.clone();
            return self.give_ordered(body, &lock_system, &lane.1, &operator, Some(order)).await.map(Some);
        }
        let credential_id = match &loaded.body {
            Body::EncodeCredential(encode) => Some(encode.credential_id.clone()),
            Body::AssignCard(assign) => Some(assign.credential_id.clone()),
            Body::ScanToAssign(scan) => Some(scan.credential_id.clone()),
            _ => self.key_attempt(&loaded.record).map(|attempt| attempt.phone_credential).filter(|id| !id.is_empty()),
        };
        let body = match credential_id {
            Some(credential_id) => Body::DeleteCredential(DeleteCredential { credential_id, user_id }),
            None => match self.rewrite(&lock_system, &user_id)? {
                Some(body) => body,
                None => return Ok(None),
            },
        };
        self.give_locally(body, &lock_system, &loaded.record.lane, BRIDGE).await.map(Some)
    }

    /// Writes all rights of a known holder anew: an absolute command that changes no wish.
    pub(super) fn rewrite(&self, lock_system: &str, user_id: &str) -> Result<Option<Body>, EngineError> {
        let Some(holder) = self.holder(lock_system, user_id)? else { return Ok(None) };
        let person = holder.person.unwrap_or_default();
        let user = User {
            user_id: user_id.to_owned(),
            full_name: person.full_name,
            email_address: person.email_address,
            phone_number: person.phone_number,
            starts_at_ms: person.starts_at_ms,
            ends_at_ms: person.ends_at_ms,
        };
        Ok(Some(Body::PutUser(PutUser { user: Some(user), revision: person.revision })))
    }

    /// Ages doubts: an alert after a quarter of an hour, given up after a day where that leaves nothing behind (B10).
    pub(super) async fn age_doubts(&mut self) -> Result<(), EngineError> {
        let now_ms = self.clock.wall_ms();
        let mut oldest: Option<CommandId> = None;
        let doubts: Vec<CommandId> =
            self.queue.iter().filter(|(_, slot)| slot.phase == Phase::InDoubt).map(|(id, _)| *id).collect();
        for id in doubts {
            let Some(loaded) = self.load(&id)? else { continue };
            let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(loaded.record.since_ms)).unwrap_or(0));
            let momentary = matches!(loaded.body, Body::UnlockEntrance(_) | Body::ScanCredential(_));
            if age >= DOUBT_ABANDON || (momentary && age >= DOUBT_ALERT) {
                self.close_doubt(id, &loaded, Verdict::GivenUp, "lock_system", BRIDGE.into()).await?;
            } else if age >= DOUBT_ALERT {
                oldest = Some(id);
            }
        }
        match oldest {
            Some(id) => self.health.raise(
                Scope::Bridge,
                ReasonCode::Doubt,
                format!("command {id} is in doubt for more than 15 minutes"),
            ),
            None => self.health.clear(Scope::Bridge, ReasonCode::Doubt),
        }
        Ok(())
    }

    /// A signed cancel: it works before anything has begun (and for a target that is still to come), never after.
    pub(super) async fn cancel(&mut self, id: CommandId, target: &[u8]) -> Result<(), EngineError> {
        let Some(target) = CommandId::from_bytes(target) else {
            let detail =
                Detail { error: Some(error("command_not_found", "the target is no command id")), ..Detail::default() };
            return self.transition(id, Event::Settled(false), detail).await;
        };
        let live = self.view().command(&target)?;
        let ended = self.view().tombstone(&target)?;
        let (event, detail) = match (live, ended) {
            (Some(record), _) if record.phase() == Phase::Queued && target != id => {
                self.transition(target, Event::Cancelled, Detail::default()).await?;
                (Event::Settled(true), Detail::default())
            }
            (Some(_), _) => {
                let refused = error("command_begun", "the target has begun; what it did stays");
                (Event::Settled(false), Detail { error: Some(refused), ..Detail::default() })
            }
            (None, Some(stone)) if stone.state == CommandState::Cancelled as u32 => {
                (Event::Settled(true), Detail::default())
            }
            (None, Some(_)) => {
                let refused = error("command_ended", "the target has ended already");
                (Event::Settled(false), Detail { error: Some(refused), ..Detail::default() })
            }
            (None, None) => {
                let detail = Detail { cancelled_ahead: target.0.to_vec(), ..Detail::default() };
                (Event::Settled(true), detail)
            }
        };
        self.transition(id, event, detail).await
    }
}
