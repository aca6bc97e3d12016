//! A key: a holder of its own with rights for the stay, and an encode behind them.

use lockbridge_protocol::proto::tunnel::{
    DeskAct, DeskOrder, EncodeCredential, GrantMethod, KeyOperation, Medium, PutGrant, User, command::Body,
};
use uuid::Uuid;

use super::super::super::engine::{Engine, EngineError};
use super::super::outcome::{Job, Told};
use super::super::{DeskAnswers, DeskOrderRequest, DeskWish, OPERATOR};
use super::{Refusal, refusal};

impl Engine {
    pub(super) async fn make_key(
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
}
