//! Other dates or another room for all keys of a reservation.

use std::collections::BTreeSet;

use lockbridge_protocol::proto::tunnel::{DeskAct, DeskOrder, GrantMethod, PutGrant, User, command::Body};

use super::super::super::engine::{Engine, EngineError};
use super::super::outcome::{Job, Told};
use super::super::{DeskAnswers, DeskOrderRequest, DeskWish};
use super::{Refusal, refusal};

impl Engine {
    pub(super) async fn change_keys(
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
}
