//! What is to be done, and from there to the first byte: places are taken, the intent is written, and what was decided
//! is done once that is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Intent, entry};
use lockbridge_protocol::proto::tunnel::{CommandState, Mode};
use lockbridge_protocol::signed::command::mode_of;
use tokio::sync::oneshot;

use super::super::effect::{self, Ended};
use super::super::engine::{Act, Engine, EngineError, Running};
use super::super::keys;
use super::super::quarantine::refusal;
use super::super::work::{Context, Prepared, Steps, Work, encoder_of, error, prepare, user_of};
use super::known::Loaded;
use crate::command::machine::{AttemptEnd, Event, step};
use crate::command::policy;
use crate::journal::Reserve;
use crate::state::fold::{CommandRecord, SEALED_BEFORE};
use crate::system::{EffectClass, UserObservation};

impl Engine {
    pub(in crate::dispatch) fn prepare(
        &self,
        loaded: &Loaded,
        seen: Option<&UserObservation>,
        revoked: &[crate::state::fold::Revoked],
    ) -> Result<Prepared, EngineError> {
        let Some(system) = self.systems.get(&loaded.record.lock_system) else {
            let message = format!("this bridge has no lock system `{}`", loaded.record.lock_system);
            return Ok(Prepared::Refused(error("lock_system_not_found", message)));
        };
        let holder = match user_of(&loaded.body) {
            Some(user_id) => self.holder(&loaded.record.lock_system, user_id)?,
            None => None,
        };
        let mut rooms = BTreeMap::new();
        if let Some(keys) = &system.adapter.description().keys {
            for room in keys::rooms_of(&loaded.body, holder.as_ref(), keys) {
                let known = self.room(&loaded.record.lock_system, &room)?;
                rooms.insert(room, known);
            }
        }
        let revoked: BTreeSet<String> = revoked
            .iter()
            .filter(|revoked| loaded.record.lane_sequence > 0 && loaded.record.lane_sequence < revoked.below)
            .filter_map(|revoked| revoked.object.strip_prefix("credential:").map(str::to_owned))
            .collect();
        Ok(prepare(
            &loaded.body,
            &Context {
                config: &system.config,
                adapter: system.adapter.as_ref(),
                catalog: &system.catalog,
                holder,
                observation: seen,
                rooms,
                mark: new_mark(),
                now_ms: self.clock.wall_ms(),
                revoked: &revoked,
                compensates: !loaded.record.operator.is_empty(),
                desk: loaded.command.desk.as_ref(),
            },
        ))
    }

    pub(super) fn observe_first(&mut self, id: CommandId, loaded: &Loaded) {
        let Some(user_id) = user_of(&loaded.body).map(str::to_owned) else { return };
        let encoder = encoder_of(&loaded.body).map(str::to_owned);
        let Some((adapter, deadline)) = self.occupy(id, &loaded.record, encoder, BTreeSet::new(), None) else { return };
        self.effects.spawn(async move { Ended::Observed(id, effect::observe(adapter, user_id, deadline).await) });
    }

    /// Takes lane, encoder, rooms and a place at the lock system.
    fn occupy(
        &mut self,
        id: CommandId,
        record: &CommandRecord,
        encoder: Option<String>,
        rooms: BTreeSet<String>,
        work: Option<Box<Work>>,
    ) -> Option<(Arc<dyn crate::system::LockSystem>, Duration)> {
        let system = self.systems.get_mut(&record.lock_system)?;
        system.running += 1;
        if let Some(encoder) = &encoder {
            system.leases.insert(encoder.clone());
        }
        system.rooms_held.extend(rooms.iter().cloned());
        let lane = (record.lock_system.clone(), record.lane.clone());
        let result = (Arc::clone(&system.adapter), system.config.call_timeout);
        self.queue.set_busy(&lane, true);
        self.running.insert(id, Running { lane: lane.clone(), encoder, rooms, work });
        // The lane may not offer its next command while this one is under way.
        if let Ok(record) = self.view().lane(&lane.0, &lane.1) {
            self.queue.refresh(&lane, record, self.clock.since_boot(), self.clock.wall_ms());
        }
        Some(result)
    }

    pub(super) async fn write_intent(
        &mut self,
        id: CommandId,
        loaded: Loaded,
        work: Work,
        seen: Option<UserObservation>,
    ) -> Result<(), EngineError> {
        let Loaded { record, body, .. } = &loaded;
        let life = match step(self.life(&id, record), Event::Begun(work.class)) {
            Ok((life, _)) => life,
            Err(impossible) => {
                tracing::error!(%impossible, command = %id, "Command not begun.");
                return Ok(());
            }
        };
        let mut intent = Intent {
            command_id: id.0.to_vec(),
            attempt: life.attempt,
            class: class_number(work.class),
            device: work.device.clone(),
            nonce: rand::random::<[u8; 16]>().to_vec(),
            rate_subjects: policy::subjects(body, &work.rooms),
            ..Intent::default()
        };
        if let Some(seen) = &seen {
            let plain = serde_json::to_vec(seen).unwrap_or_default();
            intent.sealed_before = self.sealer.seal(SEALED_BEFORE, &plain)?;
        }
        if let Some(key) = &work.key {
            let plain = serde_json::to_vec(key).unwrap_or_default();
            intent.sealed_before = self.sealer.seal(SEALED_BEFORE, &plain)?;
        }
        if mode_of(body) == Mode::Interactive {
            let mut update = Self::update_of(&id, &loaded, CommandState::Executing, life.attempt);
            update.evidence = None;
            (intent.report_sequence, intent.sealed_report) = self.seal_report(update)?;
        }
        self.append(entry::Body::Intent(intent), Reserve::Safety).await?;
        self.occupy(id, record, work.encoder.clone(), work.rooms_touched(), Some(Box::new(work)));
        self.sync(&id)?;
        self.when_durable(Act::Perform(id, life.attempt));
        Ok(())
    }

    /// The intent is durable: the first byte may go.
    pub(in crate::dispatch) async fn perform(&mut self, id: CommandId, attempt: u32) -> Result<(), EngineError> {
        let Some(record) = self.view().command(&id)? else { return Ok(()) };
        // The disk may have been slow: nobody waits any more, and certainly nothing was begun.
        if record.mode == Mode::Interactive as u32
            && let Some(detail) = self.too_late(&id, &record)
        {
            self.release(&id);
            return self
                .transition(id, Event::Finished { end: AttemptEnd::RefusedForGood, again: false }, detail)
                .await;
        }
        if self.held_by_quarantine(record.priority).is_some() {
            // Entered while the intent was on its way to the disk: certainly nothing was begun.
            self.release(&id);
            let again = record.mode != Mode::Interactive as u32;
            let end = if again { AttemptEnd::Unreachable } else { AttemptEnd::RefusedForGood };
            return self.transition(id, Event::Finished { end, again }, refusal()).await;
        }
        let Some(running) = self.running.get(&id) else { return Ok(()) };
        let Some(work) = &running.work else { return Ok(()) };
        let (steps, deadline) = (work.steps.clone(), work.deadline);
        let Some(system) = self.systems.get_mut(&record.lock_system) else { return Ok(()) };
        let scanned = (steps == Steps::Scan).then(|| {
            let (sender, receiver) = oneshot::channel();
            system.scan_waiters.push(sender);
            system.scan_now.notify_one();
            receiver
        });
        let attempt_of = effect::perform(Arc::clone(&system.adapter), steps, deadline, scanned);
        self.effects.spawn(async move { Ended::Performed(id, attempt, attempt_of.await) });
        Ok(())
    }
}

/// Names a request on the card that it writes. Short, because the field of a card is; unlike any other within the life of a
/// card, and without characters that look alike.
fn new_mark() -> String {
    data_encoding::BASE32_NOPAD.encode(&rand::random::<[u8; 5]>())
}

/// As the journal writes it.
fn class_number(class: EffectClass) -> u32 {
    match class {
        EffectClass::Repeatable => 1,
        EffectClass::Queryable => 2,
        EffectClass::Blind => 3,
    }
}
