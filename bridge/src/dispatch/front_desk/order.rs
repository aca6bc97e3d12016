//! Taking orders: what can be refused at once is, and the rest becomes commands.

use std::collections::BTreeSet;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{
    Command, DeleteUser, DeskAct, DeskOrder, EncodeCredential, GrantMethod, KeyOperation, Medium, Priority, PutGrant,
    ScanCredential, User, command::Body,
};
use lockbridge_protocol::signed::command::{kind_of, priority_of};
use uuid::Uuid;

use super::super::engine::{Engine, EngineError};
use super::super::finish::Detail;
use super::super::log::Room;
use super::outcome::{Job, Told};
use super::{DeskAnswer, DeskAnswers, DeskOrderRequest, DeskRoom, DeskWish, Done, OPERATOR};
use crate::command::machine::{Event, Verdict};
use crate::command::policy::{Moment, Ruling};
use crate::limits::{DESK_JOBS, DESK_REPEAT};
use crate::state::fold::Phase;

/// What cannot be done, before anything was.
struct Refusal(DeskAnswer);

/// What is known of an equal request.
enum Repeated {
    /// Nothing, or that it had no effect.
    No,
    /// It is being carried out, and answers here now.
    UnderWay,
    /// This came of it.
    Told(DeskAnswer),
}

fn refusal(code: &str, message: impl Into<String>) -> Refusal {
    Refusal(DeskAnswer::Refused { code: code.to_owned(), message: message.into() })
}

impl Engine {
    /// An order: answered through `answers`, at once or when its commands have ended.
    pub(in crate::dispatch) async fn desk_order(
        &mut self,
        request: DeskOrderRequest,
        answers: DeskAnswers,
    ) -> Result<(), EngineError> {
        // What is told is durable already, or is told when the job ends.
        match self.repeated(&request, &answers)? {
            Repeated::UnderWay => return Ok(()),
            // Sure that it heard how the first one ended, the desk wants another card.
            Repeated::Told(DeskAnswer::Done(_)) if !request.may_be_repeated => {}
            Repeated::Told(answer) => {
                answers.tell(answer);
                return Ok(());
            }
            Repeated::No => {}
        }
        let taken = match self.desk_objection(&request) {
            None => self.take(&request, &answers).await?,
            Some(refused) => Err(refused),
        };
        if let Err(Refusal(answer)) = taken {
            answers.tell(answer);
        }
        Ok(())
    }

    /// Whether an equal request was carried out lately, and what it came to.
    fn repeated(&mut self, request: &DeskOrderRequest, answers: &DeskAnswers) -> Result<Repeated, EngineError> {
        if let Some(job) = self.jobs.of_request(&request.request) {
            // Who asked first has gone, or hears the same as who asks now.
            job.answers = answers.clone();
            return Ok(if job.doubtful { Repeated::Told(DeskAnswer::Asking) } else { Repeated::UnderWay });
        }
        let oldest_ms = self.clock.wall_ms().saturating_sub(i64::try_from(DESK_REPEAT.as_millis()).unwrap_or(0));
        let found = self
            .stays
            .at(&request.lock_system)
            .find(|(_, order)| order.request == request.request && order.asked_at_ms >= oldest_ms)
            .map(|(user_id, _)| user_id.to_owned());
        let Some(user_id) = found else { return Ok(Repeated::No) };
        let holder = self.holder(&request.lock_system, &user_id)?.unwrap_or_default();
        Ok(if holder.credentials.iter().any(|credential| credential.issued) {
            Repeated::Told(DeskAnswer::Done(Done::Before))
        } else if holder.may_hold_card() {
            Repeated::Told(DeskAnswer::InDoubt)
        } else {
            Repeated::No
        })
    }

    /// What this moment refuses, whatever is asked.
    fn desk_objection(&self, request: &DeskOrderRequest) -> Option<Refusal> {
        let Some(system) = self.systems.get(&request.lock_system) else {
            let message = format!("this bridge has no lock system `{}`", request.lock_system);
            return Some(refusal("lock_system_not_found", message));
        };
        if self.draining {
            return Some(refusal("draining", "the bridge is stopping"));
        }
        if self.jobs.len() >= DESK_JOBS {
            return Some(Refusal(DeskAnswer::Busy));
        }
        if matches!(request.wish, DeskWish::End { .. }) {
            // Ending keys is a revoke: nothing but the end of the process keeps it from being accepted.
            return None;
        }
        if let Some((code, message)) = self.quarantine_objection(Priority::Interactive) {
            return Some(refusal(&code, message));
        }
        if self.held_by_loss(Priority::Convergent as u32).is_some() {
            return Some(refusal("journal_lost", "part of the journal was lost; what it held is being found out"));
        }
        if self.log.room(self.disk_reserve_bytes) >= Room::SafetyOnly {
            return Some(refusal("disk_full", "the disk of the bridge is nearly full: only revokes are accepted"));
        }
        if !self.time_is_trusted() {
            return Some(refusal("clock", "the clock of the bridge cannot be trusted, so no dates are written"));
        }
        if system.reachable != Some(true) {
            let message = format!("the lock system does not answer: {}", system.unreachable);
            return Some(refusal("bridge_disconnected", message));
        }
        if !system.inventoried {
            return Some(refusal("inventory", "the doors of the lock system have not been read yet"));
        }
        if matches!(request.wish, DeskWish::Change { .. }) {
            return None;
        }
        if !system.catalog.encoders.contains(&request.encoder) {
            return Some(refusal("encoder_not_found", format!("there is no encoder `{}`", request.encoder)));
        }
        if system.leases.contains(&request.encoder) || self.jobs.uses(&request.lock_system, &request.encoder) {
            return Some(Refusal(DeskAnswer::Busy));
        }
        None
    }

    async fn take(
        &mut self,
        request: &DeskOrderRequest,
        answers: &DeskAnswers,
    ) -> Result<Result<(), Refusal>, EngineError> {
        match &request.wish {
            DeskWish::Key { .. } => self.make_key(request, answers).await,
            DeskWish::End { room, reservation } => {
                let entrance = match self.entrance_of(&request.lock_system, room) {
                    Ok(entrance) => entrance,
                    Err(refused) => return Ok(Err(refused)),
                };
                let mut stays = self.stays.of_room(&request.lock_system, &entrance);
                stays.retain(|(_, order)| reservation.is_empty() || order.reservation == *reservation);
                self.end_keys(request, answers, stays).await.map(Ok)
            }
            DeskWish::Change { .. } => self.change_keys(request, answers).await,
            DeskWish::Read => self.read_key(request, answers).await,
        }
    }

    async fn make_key(
        &mut self,
        request: &DeskOrderRequest,
        answers: &DeskAnswers,
    ) -> Result<Result<(), Refusal>, EngineError> {
        let DeskWish::Key { duplicate, rooms, reservation, starts_at_ms, ends_at_ms, holder_name } = &request.wish
        else {
            return Ok(Ok(()));
        };
        let entrances = match self.entrances_of(&request.lock_system, rooms) {
            Ok(entrances) => entrances,
            Err(refused) => return Ok(Err(refused)),
        };
        let room = entrances.first().map(String::as_str).unwrap_or_default();
        let stays = self.stays.of_room(&request.lock_system, room);
        let known = stays.iter().rfind(|(_, order)| order.reservation == *reservation);
        let Some(ends_at_ms) = ends_at_ms.or_else(|| known.map(|(_, order)| order.ends_at_ms)) else {
            return Ok(Err(refusal("dates", "the request names no departure")));
        };
        if ends_at_ms <= self.clock.wall_ms() || ends_at_ms <= *starts_at_ms {
            return Ok(Err(refusal("dates", "the departure has passed, or lies before the arrival")));
        }
        let act = if *duplicate { DeskAct::DuplicateKey } else { DeskAct::NewKey };
        let order = DeskOrder {
            reservation: reservation.clone(),
            room: rooms.first().map(|room| room.name.clone()).unwrap_or_default(),
            entrance_external_ids: entrances,
            starts_at_ms: *starts_at_ms,
            ends_at_ms,
            ..self.desk_form(request, act)
        };
        let user_id = Uuid::from_bytes(rand::random()).hyphenated().to_string();
        let credential_id = Uuid::from_bytes(rand::random()).hyphenated().to_string();
        let grant = Body::PutGrant(PutGrant {
            grant_id: Uuid::from_bytes(rand::random()).hyphenated().to_string(),
            revision: 1,
            user: Some(User { user_id: user_id.clone(), full_name: holder_name.clone(), ..User::default() }),
            entrance_external_ids: order.entrance_external_ids.clone(),
            starts_at_ms: *starts_at_ms,
            ends_at_ms,
            methods: vec![GrantMethod {
                access_method_id: credential_id.clone(),
                credential_id: credential_id.clone(),
                medium: Medium::Card as i32,
            }],
            reservation_key: self.stay_key(request, reservation, *duplicate, &stays)?,
        });
        let encode = Body::EncodeCredential(EncodeCredential {
            credential_id,
            user_id: user_id.clone(),
            encoder_external_id: request.encoder.clone(),
            operation: self.desk_operation(&request.lock_system, &order) as i32,
        });
        for body in [&grant, &encode] {
            if let Err(refused) = self.desk_policy(request, body) {
                return Ok(Err(refused));
            }
        }
        let lane = format!("user:{user_id}");
        self.stays.put(&request.lock_system, &user_id, order.clone());
        let grant = self.give_for_desk(grant, request, &lane, &order).await?;
        let encode = self.give_for_desk(encode, request, &lane, &order).await?;
        let job = Job::new(Told::Key(encode), request, answers);
        self.jobs.put(job, [grant, encode]);
        Ok(Ok(()))
    }

    /// What says to a key service which keys belong together. Without a reservation number it is the stay that a duplicate is
    /// added to, or one that nobody else has.
    fn stay_key(
        &self,
        request: &DeskOrderRequest,
        reservation: &str,
        duplicate: bool,
        stays: &[(String, DeskOrder)],
    ) -> Result<String, EngineError> {
        if !reservation.is_empty() {
            return Ok(format!("{OPERATOR}{}:{reservation}", request.desk));
        }
        let latest = stays.iter().filter(|_| duplicate).max_by_key(|(_, order)| order.order);
        let holder = match latest {
            Some((user_id, _)) => self.holder(&request.lock_system, user_id)?,
            None => None,
        };
        let known = holder.and_then(|holder| holder.grants.first().map(|grant| grant.reservation_key.clone()));
        Ok(known.unwrap_or_else(|| format!("{OPERATOR}{}", Uuid::from_bytes(rand::random()))))
    }

    /// A key service is told whether earlier keys end; where people are kept, every key is the first of its holder.
    fn desk_operation(&self, lock_system: &str, order: &DeskOrder) -> KeyOperation {
        let description = self.systems.get(lock_system).map(|system| system.adapter.description());
        let by_key = description.is_some_and(|description| {
            description.keys.as_ref().is_some_and(|keys| {
                !description.keeps_people || order.entrance_external_ids.iter().any(|door| keys.rooms.contains(door))
            })
        });
        match (by_key, order.act()) {
            (false, _) => KeyOperation::AssignNew,
            (true, DeskAct::DuplicateKey) => KeyOperation::Copy,
            (true, _) => KeyOperation::NewKey,
        }
    }

    /// Deletes each holder. With none there is nothing to end.
    async fn end_keys(
        &mut self,
        request: &DeskOrderRequest,
        answers: &DeskAnswers,
        stays: Vec<(String, DeskOrder)>,
    ) -> Result<(), EngineError> {
        let mut commands = BTreeSet::new();
        for (user_id, _) in &stays {
            let order = self.desk_form(request, DeskAct::EndKeys);
            commands.extend(self.end_stay(&request.lock_system, user_id, order, None).await?);
        }
        if commands.is_empty() {
            answers.tell(DeskAnswer::Done(Done::Nothing));
        } else {
            self.jobs.put(Job::new(Told::All, request, answers), commands);
        }
        Ok(())
    }

    async fn change_keys(
        &mut self,
        request: &DeskOrderRequest,
        answers: &DeskAnswers,
    ) -> Result<Result<(), Refusal>, EngineError> {
        let DeskWish::Change { rooms, reservation, starts_at_ms, ends_at_ms } = &request.wish else {
            return Ok(Ok(()));
        };
        let entrances = match self.entrances_of(&request.lock_system, rooms) {
            Ok(entrances) => entrances,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut changed = Vec::new();
        for (user_id, known) in self.stays.of_reservation(&request.lock_system, reservation) {
            let Some(holder) = self.holder(&request.lock_system, &user_id)? else { continue };
            let Some(grant) = holder.grants.first() else { continue };
            let person = holder.person.clone().unwrap_or_default();
            let order = DeskOrder {
                reservation: reservation.clone(),
                room: rooms.first().map(|room| room.name.clone()).unwrap_or_default(),
                entrance_external_ids: entrances.clone(),
                starts_at_ms: starts_at_ms.unwrap_or(known.starts_at_ms),
                ends_at_ms: ends_at_ms.unwrap_or(known.ends_at_ms),
                ..self.desk_form(request, DeskAct::ChangeKeys)
            };
            if order.ends_at_ms <= self.clock.wall_ms() || order.ends_at_ms <= order.starts_at_ms {
                return Ok(Err(refusal("dates", "the departure has passed, or lies before the arrival")));
            }
            let body = Body::PutGrant(PutGrant {
                grant_id: grant.grant_id.clone(),
                revision: grant.revision.saturating_add(1),
                user: Some(User { user_id: user_id.clone(), full_name: person.full_name, ..User::default() }),
                entrance_external_ids: entrances.clone(),
                starts_at_ms: order.starts_at_ms,
                ends_at_ms: order.ends_at_ms,
                methods: grant
                    .methods
                    .iter()
                    .map(|method| GrantMethod {
                        access_method_id: method.credential_id.clone(),
                        credential_id: method.credential_id.clone(),
                        medium: method.medium,
                    })
                    .collect(),
                reservation_key: grant.reservation_key.clone(),
            });
            if let Err(refused) = self.desk_policy(request, &body) {
                return Ok(Err(refused));
            }
            changed.push((user_id, order, body));
        }
        if changed.is_empty() {
            return Ok(Err(refusal("grant_not_found", "this bridge made no key for the reservation")));
        }
        let mut commands = BTreeSet::new();
        for (user_id, order, body) in changed {
            commands.insert(self.give_for_desk(body, request, &format!("user:{user_id}"), &order).await?);
        }
        self.jobs.put(Job::new(Told::All, request, answers), commands);
        Ok(Ok(()))
    }

    async fn read_key(
        &mut self,
        request: &DeskOrderRequest,
        answers: &DeskAnswers,
    ) -> Result<Result<(), Refusal>, EngineError> {
        let body = Body::ScanCredential(ScanCredential { encoder_external_id: request.encoder.clone() });
        if let Err(refused) = self.desk_policy(request, &body) {
            return Ok(Err(refused));
        }
        let order = self.desk_form(request, DeskAct::ReadKey);
        let lane = format!("encoder:{}", request.encoder);
        let id = self.give_for_desk(body, request, &lane, &order).await?;
        let job = Job::new(Told::Card, request, answers);
        self.jobs.put(job, [id]);
        Ok(Ok(()))
    }

    /// An order without its stay.
    fn desk_form(&self, request: &DeskOrderRequest, act: DeskAct) -> DeskOrder {
        DeskOrder {
            desk: request.desk.clone(),
            act: act as i32,
            encoder_external_id: request.encoder.clone(),
            order: self.last_sequence.saturating_add(1),
            request: request.request.to_vec(),
            asked_at_ms: self.clock.wall_ms(),
            ..DeskOrder::default()
        }
    }

    async fn give_for_desk(
        &mut self,
        body: Body,
        request: &DeskOrderRequest,
        lane: &str,
        order: &DeskOrder,
    ) -> Result<CommandId, EngineError> {
        let operator = format!("{OPERATOR}{}", request.desk);
        self.give_ordered(body, &request.lock_system, lane, &operator, Some(order.clone())).await
    }

    fn desk_policy(&self, request: &DeskOrderRequest, body: &Body) -> Result<(), Refusal> {
        let command = Command { lock_system: request.lock_system.clone(), ..Command::default() };
        match self.ask_policy(Moment::Accept, &command, body, kind_of(body), priority_of(body), &[]) {
            Ruling::Breach { rule, message } => Err(refusal(rule, message)),
            Ruling::Allowed | Ruling::Wait(_) => Ok(()),
        }
    }

    fn entrances_of(&self, lock_system: &str, rooms: &[DeskRoom]) -> Result<Vec<String>, Refusal> {
        let mut entrances = Vec::with_capacity(rooms.len());
        for room in rooms {
            let entrance = self.entrance_of(lock_system, room)?;
            let catalog = self.systems.get(lock_system).map(|system| &system.catalog);
            if !catalog.and_then(|catalog| catalog.entrances.get(&entrance)).is_some_and(|door| door.card) {
                return Err(refusal("entrance_not_usable", "the door of the room does not open with cards"));
            }
            entrances.push(entrance);
        }
        Ok(entrances)
    }

    /// The door of a room: as configured, or the one door whose name is the room's, or the door with that id.
    fn entrance_of(&self, lock_system: &str, room: &DeskRoom) -> Result<String, Refusal> {
        let unknown = || refusal("entrance_not_found", "no door of the lock system has the name of the room");
        let Some(system) = self.systems.get(lock_system) else { return Err(unknown()) };
        if let Some(entrance) = &room.entrance {
            let known = system.catalog.entrances.contains_key(entrance);
            return if known { Ok(entrance.clone()) } else { Err(unknown()) };
        }
        let mut named = system.catalog.named(&room.name);
        match (named.next(), named.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            (Some(_), Some(_)) => Err(refusal("entrance_ambiguous", "several doors have the name of the room")),
            (None, _) if system.catalog.entrances.contains_key(&room.name) => Ok(room.name.clone()),
            (None, _) => Err(unknown()),
        }
    }

    /// Makes an end of a holder of the front desk: what has not begun is cancelled, a doubt about its card is given up, and
    /// the lock system is told to forget it. Gives the command that does it; `None`: it is not a holder of ours. `ending`: the
    /// command whose end brings this about.
    pub(in crate::dispatch) async fn end_stay(
        &mut self,
        lock_system: &str,
        user_id: &str,
        order: DeskOrder,
        ending: Option<CommandId>,
    ) -> Result<Option<CommandId>, EngineError> {
        if self.stays.get(lock_system, user_id).is_none() {
            return Ok(None);
        }
        let lane = (lock_system.to_owned(), format!("user:{user_id}"));
        let operator = format!("{OPERATOR}{}", order.desk);
        let waits = self.queue.safety_in(&lane);
        let end = if let Some(end) = waits {
            end
        } else {
            let body = Body::DeleteUser(DeleteUser { user_id: user_id.to_owned() });
            self.give_ordered(body, lock_system, &lane.1, &operator, Some(order)).await?
        };
        for id in self.queue.queued_in(&lane) {
            if id != end && Some(id) != ending && !self.running.contains_key(&id) {
                Box::pin(self.transition(id, Event::Cancelled, Detail::default())).await?;
            }
        }
        let doubts: Vec<CommandId> = self.queue.in_phase(&lane, Phase::InDoubt);
        for id in doubts {
            if let Some(loaded) = self.load(&id)? {
                Box::pin(self.close_doubt(id, &loaded, Verdict::GivenUp, "person", operator.clone())).await?;
            }
        }
        Ok(Some(end))
    }
}
