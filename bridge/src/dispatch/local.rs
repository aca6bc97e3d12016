//! What people on site ask for: figures, the queue, the brake, a card while the cloud is away.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{BrakeChanged, PolicyLoaded, Received, entry};
use lockbridge_protocol::proto::tunnel::{
    Command, DeskOrder, EncodeCredential, KeyOperation, Medium, Priority, Report, command::Body,
};
use lockbridge_protocol::signed::command::{VERSION, kind_of, mode_of, priority_of};
use lockbridge_protocol::signed::sha256;
use prost::Message;
use tokio::sync::oneshot;

use super::engine::{Engine, EngineError};
use super::queue::rank;
use super::session::room_beside;
use super::{CommandSummary, ControlError, DoubtSummary, EncodeLocally, EngineRequest, EngineStatus};
use crate::command::admit::object_of;
use crate::command::policy::{Moment, Policy, Ruling};
use crate::grant::Holder;
use crate::health::{ReasonCode, Scope};
use crate::journal::Reserve;
use crate::state::fold::{CommandRecord, Phase, SEALED_COMMAND, SEALED_FACT};

/// How long a local command may wait. A person waits for an encode a minute at most; a rewrite has time.
const LOCAL_LIFE_MS: i64 = 30 * 24 * 3_600_000;

impl Engine {
    /// One request of another room.
    pub(super) async fn request(&mut self, request: EngineRequest) -> Result<(), EngineError> {
        match request {
            EngineRequest::Resume(done) => drop(done.send(self.resume())),
            EngineRequest::SessionOpened { epoch, reports_durable_through, quarantine, done } => {
                return self.session_opened(epoch, reports_durable_through, quarantine, done).await;
            }
            EngineRequest::Quarantined(told) => return self.told_quarantine(told, None).await,
            EngineRequest::Suspect { reason, message } => return self.suspect(reason, message).await,
            EngineRequest::LiftQuarantine { who, done } => return self.lift(who, done).await,
            EngineRequest::SessionLost => return self.session_lost().await,
            EngineRequest::Deliver(deliveries) => return self.deliver(deliveries).await,
            EngineRequest::ReportsDurable(through) => return self.reports_durable(through).await,
            EngineRequest::Witness(witness) => return self.witness(witness).await,
            EngineRequest::LostCommands(told) => return self.commands_lost(told).await,
            EngineRequest::Intake { lock_system, intake } => return self.intake(&lock_system, intake).await,
            EngineRequest::ScanFailed { lock_system, error } => self.scan_failed(&lock_system, &error),
            EngineRequest::Probed { lock_system, result } => self.probed(&lock_system, result),
            EngineRequest::EventCursor { lock_system, answer } => {
                if let Some(system) = self.systems.get_mut(&lock_system) {
                    system.events_refused = false;
                }
                drop(answer.send(self.view().event_cursor(&lock_system)?));
            }
            EngineRequest::Status(done) => drop(done.send(self.status()?)),
            EngineRequest::Queue(limit, done) => drop(done.send(self.summaries(limit)?)),
            EngineRequest::Doubts(done) => drop(done.send(self.doubts()?)),
            EngineRequest::Resolve { command_id, verdict, who, done } => {
                return self.resolve(command_id, verdict, who, done).await;
            }
            EngineRequest::EncodeLocally { request, who, done } => {
                return self.encode_locally(request, &who, done).await;
            }
            EngineRequest::EncoderJobs(done) => drop(done.send(self.encoder_jobs())),
            EngineRequest::Cancel { command_id, who, done } => {
                return self.cancel_locally(command_id, &who, done).await;
            }
            EngineRequest::FrontDesk { order, answers } => return self.desk_order(*order, answers).await,
            EngineRequest::Brake { on, who, done } => return self.brake(on, who, done).await,
            EngineRequest::ReloadPolicy(done) => {
                let result = self.load_policy().await?;
                self.answer(done, result);
            }
            EngineRequest::Drain(done) => return self.drain(done).await,
        }
        Ok(())
    }

    /// Reads the policy file; without a valid one only revokes go on.
    pub(super) async fn load_policy(&mut self) -> Result<Result<(), ControlError>, EngineError> {
        match Policy::load(&self.policy_file) {
            Ok(policy) => {
                self.health.clear(Scope::Bridge, ReasonCode::Policy);
                if self.meta.policy_hash != policy.hash {
                    let loaded = PolicyLoaded { version: policy.version, hash: policy.hash.to_vec() };
                    self.append(entry::Body::PolicyLoaded(loaded), Reserve::Safety).await?;
                }
                self.policy = Some(policy);
                Ok(Ok(()))
            }
            Err(error) => {
                let message = error.to_string();
                self.health.raise(Scope::Bridge, ReasonCode::Policy, message.clone());
                if self.policy.take().is_some() {
                    self.append(entry::Body::PolicyLoaded(PolicyLoaded::default()), Reserve::Safety).await?;
                }
                Ok(Err(ControlError::Refused { code: "policy".into(), message }))
            }
        }
    }

    async fn brake(&mut self, on: bool, who: String, done: oneshot::Sender<()>) -> Result<(), EngineError> {
        let message = format!("set by {who}");
        self.append(entry::Body::BrakeChanged(BrakeChanged { on, who }), Reserve::Safety).await?;
        if on {
            self.health.raise(Scope::Bridge, ReasonCode::Brake, message);
        } else {
            self.health.clear(Scope::Bridge, ReasonCode::Brake);
        }
        self.answer(done, ());
        Ok(())
    }

    /// A command of the bridge's own: journaled like any other, without a signature, after what waits in its lane.
    pub(super) async fn give_locally(
        &mut self,
        body: Body,
        lock_system: &str,
        lane: &str,
        operator: &str,
    ) -> Result<CommandId, EngineError> {
        self.give_ordered(body, lock_system, lane, operator, None).await
    }

    /// The same, because the front desk asked for it.
    pub(super) async fn give_ordered(
        &mut self,
        body: Body,
        lock_system: &str,
        lane: &str,
        operator: &str,
        desk: Option<DeskOrder>,
    ) -> Result<CommandId, EngineError> {
        let id = CommandId(rand::random());
        self.give_as(id, body, lock_system, lane, operator, desk).await?;
        Ok(id)
    }

    /// The same with an id that nobody used before.
    async fn give_as(
        &mut self,
        id: CommandId,
        body: Body,
        lock_system: &str,
        lane: &str,
        operator: &str,
        desk: Option<DeskOrder>,
    ) -> Result<(), EngineError> {
        let expires_at_ms = self.clock.wall_ms().saturating_add(LOCAL_LIFE_MS);
        let command = Command {
            version: VERSION,
            command_id: id.0.to_vec(),
            bridge_id: self.identity.audience.bridge_id.clone(),
            lock_system: lock_system.to_owned(),
            lane: lane.to_owned(),
            mode: mode_of(&body) as i32,
            expires_at_ms,
            body: Some(body.clone()),
            desk,
            ..Command::default()
        };
        let payload = command.encode_to_vec();
        let received = Received {
            command_id: id.0.to_vec(),
            command_hash: sha256(&payload).to_vec(),
            sealed: self.sealer.seal(SEALED_COMMAND, &payload)?,
            operator: operator.to_owned(),
            lock_system: lock_system.to_owned(),
            lane: lane.to_owned(),
            priority: priority_of(&body) as u32,
            mode: mode_of(&body) as u32,
            kind: kind_of(&body).to_owned(),
            object: object_of(&body),
            expires_at_ms,
            ..Received::default()
        };
        self.append(entry::Body::Received(received), Reserve::Safety).await?;
        self.enqueue(id, &body, 0)
    }

    async fn encode_locally(
        &mut self,
        request: EncodeLocally,
        who: &str,
        done: oneshot::Sender<Result<Report, ControlError>>,
    ) -> Result<(), EngineError> {
        match self.local_encode(&request)? {
            Ok((lock_system, user_id, body)) => {
                let command = Command { lock_system: lock_system.clone(), ..Command::default() };
                let ruling =
                    self.ask_policy(Moment::Accept, &command, &body, kind_of(&body), Priority::Interactive, &[]);
                if let Ruling::Breach { rule, message } = ruling {
                    drop(done.send(Err(ControlError::Refused { code: rule.to_owned(), message })));
                    return Ok(());
                }
                let id = match self.id_of_local(&request.command_id)? {
                    Ok(id) => id,
                    Err(refused) => {
                        drop(done.send(Err(refused)));
                        return Ok(());
                    }
                };
                let lane = format!("user:{user_id}");
                self.give_as(id, body, &lock_system, &lane, who, None).await?;
                self.desk.insert(id, done);
            }
            Err(refused) => drop(done.send(Err(refused))),
        }
        Ok(())
    }

    /// The id that somebody drew for a command, if it is one and nobody used it before; a new one when there is none.
    fn id_of_local(&self, drawn: &str) -> Result<Result<CommandId, ControlError>, EngineError> {
        if drawn.is_empty() {
            return Ok(Ok(CommandId(rand::random())));
        }
        let refused = |code: &str, message: &str| ControlError::Refused { code: code.into(), message: message.into() };
        let Some(id) = CommandId::parse(drawn) else {
            return Ok(Err(refused("invalid_request", "the id drawn for the command is none")));
        };
        let used = self.view().command(&id)?.is_some() || self.view().tombstone(&id)?.is_some();
        Ok(if used { Err(refused("id_reused", "a command with this id was given before")) } else { Ok(id) })
    }

    /// Finds grant, card and encoder, or says which of them is missing.
    fn local_encode(
        &self,
        request: &EncodeLocally,
    ) -> Result<Result<(String, String, Body), ControlError>, EngineError> {
        let refused = |code: &str, message: String| Ok(Err(ControlError::Refused { code: code.into(), message }));
        if self.draining {
            return refused("draining", "the bridge is stopping".into());
        }
        if let Some((code, message)) = self.quarantine_objection(Priority::Interactive) {
            return refused(&code, message);
        }
        let names: Vec<&String> = self.systems.keys().collect();
        let lock_system = match (request.lock_system.as_str(), names.as_slice()) {
            ("", [only]) => (*only).clone(),
            ("", _) => return refused("lock_system_not_found", "several lock systems are configured: name one".into()),
            (name, _) => name.to_owned(),
        };
        let Some(system) = self.systems.get(&lock_system) else {
            return refused("lock_system_not_found", format!("this bridge has no lock system `{lock_system}`"));
        };
        let mut encoders = system.catalog.encoders.iter();
        let encoder = match (request.encoder.as_str(), encoders.next(), encoders.next()) {
            ("", Some(only), None) => only.clone(),
            ("", _, _) => return refused("encoder_not_found", "name the encoder to use".into()),
            (name, _, _) => name.to_owned(),
        };
        for (user_id, sealed) in self.view().facts("holder", &lock_system)? {
            let Some(holder) = self.open_holder(&sealed) else { continue };
            let Some(grant) = holder.grants.iter().find(|grant| grant.grant_id == request.grant_id) else { continue };
            if grant.is_over(self.clock.wall_ms()) {
                return refused("grant_over", "the grant has ended".into());
            }
            let card = grant.methods.iter().find(|method| method.medium() == Medium::Card);
            let Some(card) = card else {
                return refused("credential_not_found", "the grant has no card".into());
            };
            let body = Body::EncodeCredential(EncodeCredential {
                credential_id: card.credential_id.clone(),
                user_id: user_id.clone(),
                encoder_external_id: encoder,
                operation: request.operation.unwrap_or(KeyOperation::Unspecified) as i32,
            });
            return Ok(Ok((lock_system, user_id, body)));
        }
        refused("grant_not_found", format!("the grant {} has not reached the lock server", request.grant_id))
    }

    /// Opens a sealed holder.
    pub(super) fn open_holder(&self, sealed: &[u8]) -> Option<Holder> {
        Holder::decode(self.sealer.open(SEALED_FACT, sealed).ok()?.as_slice()).ok()
    }

    fn status(&self) -> Result<EngineStatus, EngineError> {
        let (queued, executing, in_doubt) = self.queue.phases();
        let live = self.queue.live();
        Ok(EngineStatus {
            journal_sequence: self.durable.through,
            queued,
            executing,
            in_doubt,
            outbox: self.meta.reports_last.saturating_sub(self.meta.reports_acknowledged),
            ended: self.meta.ended,
            live,
            room: room_beside(live),
            held_back: self.credit_reason(),
            oldest_doubt_ms: if in_doubt > 0 { self.oldest_doubt_ms()? } else { 0 },
            brake: self.meta.brake,
            quarantine: self.quarantine_status(),
        })
    }

    fn oldest_doubt_ms(&self) -> Result<i64, EngineError> {
        let mut oldest = 0;
        for (id, _) in self.queue.iter().filter(|(_, slot)| slot.phase == Phase::InDoubt) {
            let since_ms = self.view().command(id)?.map_or(0, |record| record.since_ms);
            oldest = if oldest == 0 { since_ms } else { since_ms.min(oldest) };
        }
        Ok(oldest)
    }

    fn summaries(&self, limit: usize) -> Result<Vec<CommandSummary>, EngineError> {
        let mut ids: Vec<(u32, u64, CommandId)> =
            self.queue.iter().map(|(id, slot)| (slot.priority, slot.order, *id)).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        let jobs = self.encoder_jobs();
        let mut rows = Vec::with_capacity(ids.len());
        for (_, _, id) in ids {
            if let Some(record) = self.view().command(&id)? {
                let text = id.to_string();
                let encoder_job = jobs.iter().find(|job| job.command_id == text).cloned();
                rows.push(CommandSummary { encoder_job, ..self.summary(&id, &record) });
            }
        }
        Ok(rows)
    }

    fn summary(&self, id: &CommandId, record: &CommandRecord) -> CommandSummary {
        let slot = self.queue.get(id);
        let unreachable = self.systems.get(&record.lock_system).is_some_and(|system| system.reachable == Some(false));
        CommandSummary {
            command_id: id.to_string(),
            kind: record.kind.clone(),
            lock_system: record.lock_system.clone(),
            lane: record.lane.clone(),
            state: match record.phase() {
                Phase::Queued => "queued",
                Phase::Executing => "executing",
                Phase::InDoubt => "in_doubt",
            }
            .to_owned(),
            priority: u8::try_from(rank(record.priority)).unwrap_or(3),
            attempt: record.attempt,
            received_ms: record.received_ms,
            expires_ms: record.expires_at_ms,
            waits_for: match slot.map(|slot| slot.waits_for) {
                Some("") | None if unreachable && record.phase() == Phase::Queued => "lock_system".to_owned(),
                Some(why) => why.to_owned(),
                None => String::new(),
            },
            encoder_job: None,
            last_error: record.last_error.clone(),
        }
    }

    fn doubts(&self) -> Result<Vec<DoubtSummary>, EngineError> {
        let mut rows = Vec::new();
        for (id, slot) in self.queue.iter().filter(|(_, slot)| slot.phase == Phase::InDoubt) {
            let Some(record) = self.view().command(id)? else { continue };
            let asked = self.questions.get(id).map_or(0, |question| question.asked);
            let evidence = if asked == 0 {
                "the lock server has not been asked yet".to_owned()
            } else {
                format!("the lock server was asked {asked} time(s) and cannot tell")
            };
            let key = self.key_attempt(&record);
            let is_key = key.is_some();
            let evidence =
                if is_key { "the lock system keeps no record that could be asked".to_owned() } else { evidence };
            let advice = match record.kind.as_str() {
                _ if key.is_some_and(|key| !key.phone_credential.is_empty()) => {
                    "Ask the holder whether the key has come to the phone, and say which of the two it is. Nothing is sent again \
                     before that."
                }
                "encode_credential" if is_key => {
                    "Put the card that lay at the encoder back on it and read it (scan): if it is the key that was asked for, \
                     this settles itself. If no card was written, say so."
                }
                "encode_credential" => {
                    "Look whether a written card lies at the encoder or was handed out; try it at a door."
                }
                _ => "Look at the lock server whether the change is there.",
            };
            rows.push((
                slot.order,
                DoubtSummary {
                    command: self.summary(id, &record),
                    device: record.device.clone(),
                    since_ms: record.since_ms,
                    evidence,
                    advice: advice.to_owned(),
                },
            ));
        }
        rows.sort_by_key(|(order, _)| *order);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}
