//! Taking orders: what can be refused at once is, and the rest becomes commands.

mod change;
mod end;
mod key;
mod rooms;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{Command, DeskAct, DeskOrder, Priority, ScanCredential, command::Body};
use lockbridge_protocol::signed::command::{kind_of, priority_of};

use super::super::engine::{Engine, EngineError};
use super::super::log::Room;
use super::outcome::{Job, Told};
use super::{DeskAnswer, DeskAnswers, DeskOrderRequest, DeskWish, Done, OPERATOR};
use crate::command::policy::{Moment, Ruling};
use crate::limits::{DESK_JOBS, DESK_REPEAT};

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
}
