//! The end of keys: each holder of the stay is deleted, whatever was still to be done or found out about it.

use std::collections::BTreeSet;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{DeleteUser, DeskAct, DeskOrder, command::Body};

use super::super::super::engine::{Engine, EngineError};
use super::super::super::finish::Detail;
use super::super::outcome::{Job, Told};
use super::super::{DeskAnswer, DeskAnswers, DeskOrderRequest, Done, OPERATOR};
use crate::command::machine::{Event, Verdict};
use crate::state::fold::Phase;

impl Engine {
    /// Deletes each holder. With none there is nothing to end.
    pub(super) async fn end_keys(
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
