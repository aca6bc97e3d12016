//! Beginning: the last checks, the intent, and the effect once the intent is durable (rules B2, C6, I8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Intent, entry};
use lockbridge_protocol::proto::tunnel::{Command, CommandState, Mode, Priority, Signed, command::Body};
use lockbridge_protocol::signed::command::{kind_of, mode_of, priority_of};
use prost::Message;
use tokio::sync::oneshot;

use super::desk::CARD_REMOVAL;
use super::effect::{self, Ended};
use super::engine::{Act, Engine, EngineError, Running};
use super::finish::Detail;
use super::keys;
use super::log::Room;
use super::quarantine::{QUARANTINED, REPLAY, SENTENCE, refusal};
use super::work::{Context, Prepared, Steps, Work, encoder_of, error, prepare, user_of};
use crate::command::admit::may_run_without_time;
use crate::command::machine::{AttemptEnd, Event, step};
use crate::command::policy::{self, Moment, Ruling};
use crate::grant::Holder;
use crate::health::{ReasonCode, Scope};
use crate::journal::Reserve;
use crate::limits::EXECUTING_PER_SYSTEM;
use crate::state::fold::{
    CommandRecord, JOURNAL_LOST, SEALED_BEFORE, SEALED_COMMAND, SEALED_FACT, bucket_of, is_superseded,
};
use crate::system::{EffectClass, UserObservation};

/// Pause before the policy is asked again for something that may pass later.
const POLICY_PAUSE: Duration = Duration::from_secs(5);
/// Pause before a command that does not open with this state key is looked at again: the key file may be put back.
const SEALED_PAUSE: Duration = Duration::from_secs(300);
/// Pause until the first inventory of a lock system may be there.
const INVENTORY_PAUSE: Duration = Duration::from_secs(1);
/// The same for a rate, which only falls when a bucket of ten minutes ends.
const RATE_PAUSE: Duration = Duration::from_secs(60);
/// The same for what a quarantine holds.
const QUARANTINE_PAUSE: Duration = Duration::from_secs(60);
/// Between looks at what is not due yet: the wall clock may be set meanwhile, and rooms change.
const LATER_PAUSE_LEAST: Duration = Duration::from_secs(1);
const LATER_PAUSE_MOST: Duration = Duration::from_secs(600);
/// A clock before this has not been set since power-on (rule N2). 2026-01-01.
const CLOCK_FLOOR_MS: i64 = 1_767_225_600_000;

/// A live command with its content.
pub(super) struct Loaded {
    pub(super) record: CommandRecord,
    pub(super) command: Command,
    pub(super) body: Body,
}

impl Engine {
    /// Begins whatever may begin now.
    pub(super) async fn begin_ready(&mut self) -> Result<(), EngineError> {
        if self.draining {
            return Ok(());
        }
        let names: Vec<String> = self.systems.keys().cloned().collect();
        for name in names {
            // Each round may free lanes (a command that was refused or superseded); stop when nothing changes any more.
            loop {
                let mut progressed = false;
                for id in self.queue.ready(&name, self.clock.since_boot()) {
                    let Some(system) = self.systems.get(&name) else { break };
                    if system.running >= EXECUTING_PER_SYSTEM {
                        break;
                    }
                    let interactive = self.queue.get(&id).is_some_and(|slot| slot.interactive);
                    // Who waits in person is told at once; everything else waits for the lock system.
                    if system.reachable == Some(true) || (system.reachable == Some(false) && interactive) {
                        progressed |= self.begin(id, None).await?;
                    }
                }
                if !progressed {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Tries to begin one command; true when it is no longer waiting where it was.
    pub(super) async fn begin(&mut self, id: CommandId, seen: Option<UserObservation>) -> Result<bool, EngineError> {
        if self.running.contains_key(&id) {
            return Ok(false);
        }
        let (priority, interactive) = self.queue.get(&id).map_or((0, false), |slot| (slot.priority, slot.interactive));
        if let Some(why) = self.held_by_quarantine(priority) {
            return self.hold_or_refuse(id, interactive, why, SENTENCE).await;
        }
        if let Some(why) = self.held_by_loss(priority) {
            return self.hold_or_refuse(id, interactive, why, why).await;
        }
        let Some(loaded) = self.load(&id)? else {
            self.queue.delay(&id, self.clock.since_boot() + SEALED_PAUSE, "state_key");
            self.sync(&id)?;
            return Ok(true);
        };
        let Loaded { record, body, .. } = &loaded;
        if let Some(detail) = self.too_late(&id, record) {
            self.transition(id, Event::DeadlinePassed, detail).await?;
            return Ok(true);
        }
        let lane = self.view().lane(&record.lock_system, &record.lane)?;
        if is_superseded(&lane, record.lane_sequence, &record.object) && record.priority != Priority::Safety as u32 {
            self.transition(id, Event::Superseded, Detail::default()).await?;
            return Ok(true);
        }
        if let Body::CancelCommand(cancel) = body {
            self.cancel(id, &cancel.command_id).await?;
            return Ok(true);
        }
        // Ended while this waited to be tried again after a restart: nobody is left to give rights to.
        if matches!((body, &loaded.command.desk), (Body::PutGrant(_), Some(_)))
            && let Some(user_id) = user_of(body)
            && self.stays.get(&record.lock_system, user_id).is_none()
        {
            self.transition(id, Event::Superseded, Detail::default()).await?;
            return Ok(true);
        }
        let interactive = mode_of(body) == Mode::Interactive;
        let room = self.log.room(self.disk_reserve_bytes);
        if room == Room::Exhausted || (room == Room::Full && priority_of(body) != Priority::Safety) {
            let message = "the disk of the bridge is full: what came of it could not be written down";
            return self.hold_or_refuse(id, interactive, "disk_full", message).await;
        }
        let system = self.systems.get(&record.lock_system);
        if interactive && system.is_none_or(|system| system.reachable == Some(false)) {
            let why = system.map_or("the lock system is not configured", |system| system.unreachable.as_str());
            let detail = Detail { error: Some(error("bridge_disconnected", why)), ..Detail::default() };
            self.transition(id, Event::Settled(false), detail).await?;
            return Ok(true);
        }
        if let Some(encoder) = encoder_of(body)
            && system.is_some_and(|system| system.leases.contains(encoder))
        {
            return Ok(false);
        }
        if seen.is_none()
            && let Some(until) = self.card_removed_at(&id)
        {
            self.queue.delay(&id, until, CARD_REMOVAL);
            self.sync(&id)?;
            return Ok(true);
        }
        if !self.time_is_trusted() && !may_run_without_time(priority_of(body), body) {
            return self.hold_or_refuse(id, interactive, "clock", "the clock of the bridge cannot be trusted").await;
        }
        // Rights planned over an unknown inventory would leave out doors that exist.
        if priority_of(body) == Priority::Convergent
            && user_of(body).is_some()
            && system.is_some_and(|known| !known.inventoried)
        {
            self.queue.delay(&id, self.clock.since_boot() + INVENTORY_PAUSE, "inventory");
            self.sync(&id)?;
            return Ok(true);
        }
        let prepared = self.prepare(&loaded, seen.as_ref(), &lane.revoked)?;
        // Whether a key is a new one or a copy rests on the record of its room, so no other work about that may be under way.
        let touched = match &prepared {
            Prepared::Begin(work) => work.rooms_touched(),
            Prepared::Nothing(_, change) => change.rooms.iter().map(|(room, _)| room.clone()).collect(),
            Prepared::Observe | Prepared::Later(_) | Prepared::Refused(_) | Prepared::Superseded => BTreeSet::new(),
        };
        let held = self.systems.get(&loaded.record.lock_system).map(|system| &system.rooms_held);
        if held.is_some_and(|held| !held.is_disjoint(&touched)) {
            return Ok(false);
        }
        match prepared {
            Prepared::Begin(mut work) => {
                self.leave_nothing_uncertain(record, &mut work);
                let rooms = work.rooms.clone();
                let ruling = if is_own(record) {
                    self.ask_brake(body)
                } else {
                    self.ask_policy(Moment::Begin, &loaded.command, body, kind_of(body), priority_of(body), &rooms)
                };
                match ruling {
                    Ruling::Allowed => self.write_intent(id, loaded, *work, seen).await?,
                    Ruling::Wait(why) => return self.hold_or_refuse(id, interactive, why, why).await,
                    Ruling::Breach { rule, message } => {
                        let detail = Detail { error: Some(error(rule, message)), ..Detail::default() };
                        self.transition(id, Event::PolicyBreach, detail).await?;
                    }
                }
            }
            Prepared::Observe => self.observe_first(id, &loaded),
            Prepared::Later(at_ms) => {
                let wait = u64::try_from(at_ms.saturating_sub(self.clock.wall_ms()))
                    .map_or(Duration::ZERO, Duration::from_millis);
                let pause = wait.clamp(LATER_PAUSE_LEAST, LATER_PAUSE_MOST);
                self.queue.delay(&id, self.clock.since_boot() + pause, "start_of_stay");
                self.sync(&id)?;
            }
            Prepared::Nothing(evidence, change) => {
                let detail = Detail { evidence: *evidence, change, ..Detail::default() };
                self.transition(id, Event::Settled(true), detail).await?;
            }
            Prepared::Refused(refusal) => {
                let detail = Detail { error: Some(refusal), ..Detail::default() };
                self.transition(id, Event::Settled(false), detail).await?;
            }
            Prepared::Superseded => self.transition(id, Event::Superseded, Detail::default()).await?,
        }
        Ok(true)
    }

    async fn hold_or_refuse(
        &mut self,
        id: CommandId,
        interactive: bool,
        why: &'static str,
        message: &str,
    ) -> Result<bool, EngineError> {
        if interactive {
            let detail = Detail { error: Some(error(why, message)), ..Detail::default() };
            self.transition(id, Event::Settled(false), detail).await?;
        } else {
            let pause = match why {
                "policy:grants_per_hour" => RATE_PAUSE,
                // Its end looks at them at once.
                QUARANTINED | REPLAY | JOURNAL_LOST => QUARANTINE_PAUSE,
                _ => POLICY_PAUSE,
            };
            self.queue.delay(&id, self.clock.since_boot() + pause, why);
            self.sync(&id)?;
        }
        Ok(true)
    }

    /// Whether it may not begin any more, and why.
    pub(super) fn too_late(&self, id: &CommandId, record: &CommandRecord) -> Option<Detail> {
        let begin_by = self.queue.get(id).and_then(|slot| slot.begin_by);
        let message = if self.clock.wall_ms() >= record.expires_at_ms {
            "it expired before it could begin"
        } else if begin_by.is_some_and(|by| self.clock.since_boot() > by) {
            "it could not begin within the time that somebody waits for it"
        } else {
            return None;
        };
        Some(Detail { error: Some(error("action_attempt_expired", message)), ..Detail::default() })
    }

    pub(super) fn prepare(
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

    fn observe_first(&mut self, id: CommandId, loaded: &Loaded) {
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

    async fn write_intent(
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
    pub(super) async fn perform(&mut self, id: CommandId, attempt: u32) -> Result<(), EngineError> {
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

    /// A live command with its content; `None` when it ended, or when its seal does not open (another state key).
    pub(super) fn load(&self, id: &CommandId) -> Result<Option<Loaded>, EngineError> {
        let view = self.view();
        let (Some(record), Some(sealed)) = (view.command(id)?, view.payload(id)?) else { return Ok(None) };
        let Ok(plain) = self.sealer.open(SEALED_COMMAND, &sealed) else {
            tracing::error!(command = %id, "A stored command does not open with this state key.");
            return Ok(None);
        };
        let bytes = if record.operator.is_empty() {
            Signed::decode(plain.as_slice()).map(|signed| signed.payload).unwrap_or_default()
        } else {
            plain
        };
        let Ok(command) = Command::decode(bytes.as_slice()) else { return Ok(None) };
        let Some(body) = command.body.clone() else { return Ok(None) };
        Ok(Some(Loaded { record, command, body }))
    }

    /// What is known of a holder.
    pub(super) fn holder(&self, lock_system: &str, user_id: &str) -> Result<Option<Holder>, EngineError> {
        let sealed = self.view().fact("holder", lock_system, user_id)?;
        Ok(sealed
            .and_then(|sealed| self.sealer.open(SEALED_FACT, &sealed).ok())
            .and_then(|plain| Holder::decode(plain.as_slice()).ok()))
    }

    /// What is known of a room whose keys are made here.
    pub(super) fn room(&self, lock_system: &str, room: &str) -> Result<crate::grant::Room, EngineError> {
        let sealed = self.view().fact("room", lock_system, room)?;
        Ok(sealed
            .and_then(|sealed| self.sealer.open(SEALED_FACT, &sealed).ok())
            .and_then(|plain| crate::grant::Room::decode(plain.as_slice()).ok())
            .unwrap_or_default())
    }

    /// Asks the local policy.
    pub(super) fn ask_policy(
        &self,
        moment: Moment,
        command: &Command,
        body: &Body,
        kind: &str,
        priority: Priority,
        rooms: &[String],
    ) -> Ruling {
        let zone =
            self.systems.get(&command.lock_system).map_or(TimeZone::UTC, |system| system.config.time_zone.clone());
        let facts = policy::Facts {
            lock_system: &command.lock_system,
            kind,
            priority,
            minimum_version: command.minimum_policy_version,
            now_ms: self.clock.wall_ms(),
            local_time: self.clock.wall().to_zoned(zone).time(),
            brake: self.meta.brake,
        };
        let now = bucket_of(self.clock.wall_ms());
        policy::check(self.policy.as_ref(), moment, facts, body, rooms, &|subject, hours| {
            // Six buckets an hour. What cannot be counted is taken as too many.
            let first = now.saturating_sub(hours.saturating_mul(6).saturating_sub(1));
            self.view().rate(&command.lock_system, subject, first).unwrap_or(u64::MAX)
        })
    }

    /// What the bridge gives itself writes anew what was allowed before, so only the brake can stop it: rights written
    /// anew may open a door.
    fn ask_brake(&self, body: &Body) -> Ruling {
        if self.meta.brake && priority_of(body) != Priority::Safety {
            return Ruling::Wait("policy:brake");
        }
        Ruling::Allowed
    }

    /// Whether the wall clock may decide what is written on cards (rules N2, N3).
    pub(super) fn time_is_trusted(&self) -> bool {
        self.clock.wall_ms() >= CLOCK_FLOOR_MS && !self.health.holds(&Scope::Bridge, ReasonCode::ClockUntrusted)
    }
}

/// Names a request on the card that it writes. Short, because the field of a card is; unlike any other within the life of a
/// card, and without characters that look alike.
fn new_mark() -> String {
    data_encoding::BASE32_NOPAD.encode(&rand::random::<[u8; 5]>())
}

/// Given by the bridge itself, not by a person on site ("uid ..."), its front desk, or the cloud.
fn is_own(record: &CommandRecord) -> bool {
    let operator = record.operator.as_str();
    !operator.is_empty() && !operator.starts_with("uid ") && !operator.starts_with(super::front_desk::OPERATOR)
}

/// As the journal writes it.
pub(super) fn class_number(class: EffectClass) -> u32 {
    match class {
        EffectClass::Repeatable => 1,
        EffectClass::Queryable => 2,
        EffectClass::Blind => 3,
    }
}
