//! Beginning: the last checks, the intent, and the effect once the intent is durable (rules B2, C6, I8).

mod intent;
mod known;
mod leave;

use std::collections::BTreeSet;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{Mode, Priority, command::Body};
use lockbridge_protocol::signed::command::{kind_of, mode_of, priority_of};

use super::desk::CARD_REMOVAL;
use super::engine::{Engine, EngineError};
use super::finish::Detail;
use super::log::Room;
use super::quarantine::{QUARANTINED, REPLAY, SENTENCE};
use super::work::{Prepared, encoder_of, error, user_of};
use crate::command::admit::may_run_without_time;
use crate::command::machine::Event;
use crate::command::policy::{Moment, Ruling};
use crate::limits::EXECUTING_PER_SYSTEM;
use crate::state::fold::{CommandRecord, JOURNAL_LOST, is_superseded};
use crate::system::UserObservation;

pub(super) use known::Loaded;

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
}

/// Given by the bridge itself, not by a person on site ("uid ..."), its front desk, or the cloud.
fn is_own(record: &CommandRecord) -> bool {
    let operator = record.operator.as_str();
    !operator.is_empty() && !operator.starts_with("uid ") && !operator.starts_with(super::front_desk::OPERATOR)
}
