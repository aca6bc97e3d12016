//! The fold: one function from journal entries to key/value pairs, the same when running and when recovering.
//!
//! Total and deterministic: it opens no sealed bytes, reads no clock and refuses nothing; sealed values are moved as they
//! are. Format [`FORMAT`]; another format in a store means that it is rebuilt.
//!
//! | Key | Value | Lives |
//! | --- | --- | --- |
//! | `m` | [`Meta`]: cursors, counters, brake, quarantine, machine | always |
//! | `c` id | [`CommandRecord`]: a live command without its payload | until it ends |
//! | `p` id | sealed payload, purpose [`SEALED_COMMAND`] | until it ends |
//! | `t` id | [`Tombstone`]: hash, state, report | rule C2 |
//! | `x` time id | nothing: tombstones by the time they may go | with `t` |
//! | `l` system 0 lane | [`LaneRecord`]: next sequence, what is superseded | always |
//! | `r` sequence | [`OutboxRecord`], purpose [`SEALED_REPORT`] | until the cloud has it |
//! | `e` sequence | nothing: which reports are door events | with `r` |
//! | `f` system 0 kind 0 id | sealed fact, purpose [`SEALED_FACT`]: holders, inventory | until forgotten |
//! | `v` system | cursor of the lock system's event log | always |
//! | `w` time system 0 user | nothing: rights to be written again at a time | until written |
//! | `y` system 0 user | the `w` key of a holder | with `w` |
//! | `q` system 0 subject 0 bucket | [`Count`] of what the policy bounds | a day |

pub mod keys;
mod lanes;
mod loss;
mod records;
#[cfg(test)]
mod tests;
mod view;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{
    Entry, Fact, Intent, Machine, Outcome, QuarantineChanged, Received, Reported, Requeued, Resolved, entry,
};
use lockbridge_protocol::proto::tunnel::CommandState;
use prost::Message;

pub use lanes::{is_superseded, next_of};
pub use loss::{JOURNAL_LOST, LOST_SHOWN};
pub use records::{
    CommandRecord, Count, LaneRecord, LostRange, Meta, OutboxRecord, Phase, QuarantineRecord, Revoked, Tombstone,
};
pub use view::{Pairs, View};

use super::store::{Fold, Store, StoreError};
use crate::limits::{TOMBSTONE_LIFE, TOMBSTONE_PAST_EXPIRY};

/// Version of keys and values.
pub const FORMAT: u32 = 1;
/// Purpose of sealed command payloads.
pub const SEALED_COMMAND: &str = "command";
/// Purpose of sealed reports.
pub const SEALED_REPORT: &str = "report";
/// Purpose of sealed facts.
pub const SEALED_FACT: &str = "fact";
/// Purpose of sealed observations.
pub const SEALED_BEFORE: &str = "before";
/// Rejection of an interactive command that a lost part of the journal may have carried out: its end is not known.
pub const ROLLED_BACK: &str = "state_rolled_back";
/// Width of a rate bucket.
pub const RATE_BUCKET_MS: i64 = 600_000;
/// Buckets kept: a day.
const RATE_BUCKETS: u64 = 144;
/// Tombstones forgotten with one entry, so that no entry pays for all.
const FORGOTTEN_AT_ONCE: usize = 4;

/// The fold, as the working set wants it.
#[derive(Debug, Clone, Copy, Default)]
pub struct JournalFold;

impl Fold for JournalFold {
    const SCHEMA_VERSION: u32 = FORMAT;

    fn apply(&self, store: &mut dyn Store, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        // What does not decode was not written by this schema: it changes nothing.
        Entry::decode(payload).map_or(Ok(()), |entry| apply(store, sequence, &entry))
    }
}

/// Takes one entry of the journal into the pairs.
pub fn apply(store: &mut dyn Store, sequence: u64, entry: &Entry) -> Result<(), StoreError> {
    use entry::Body;
    let meta = View::new(&*store).meta()?;
    let mut fold = Folding { store, meta, sequence, wall_ms: entry.wall_ms };
    let before = fold.meta.clone();
    match &entry.body {
        Some(Body::Started(started)) => {
            fold.meta.boot_counter = started.boot_counter;
            fold.first_seen(started.machine.as_ref());
        }
        Some(Body::QuarantineChanged(changed)) => fold.quarantine(changed)?,
        Some(Body::SessionOpened(opened)) => fold.meta.epoch = fold.meta.epoch.max(opened.epoch),
        Some(Body::Received(received)) => fold.received(received)?,
        Some(Body::Intent(intent)) => fold.intent(intent)?,
        Some(Body::Outcome(outcome)) => fold.outcome(outcome)?,
        Some(Body::Requeued(requeued)) => fold.requeued(requeued)?,
        Some(Body::Resolved(resolved)) => fold.resolved(resolved)?,
        Some(Body::Reported(reported)) => fold.reported(reported)?,
        Some(Body::ReportsAcknowledged(acknowledged)) => fold.acknowledged(acknowledged.through)?,
        Some(Body::PolicyLoaded(loaded)) => {
            fold.meta.policy_version = loaded.version;
            fold.meta.policy_hash.clone_from(&loaded.hash);
        }
        Some(Body::BrakeChanged(brake)) => fold.meta.brake = brake.on,
        Some(Body::CommandsLost(lost)) => fold.commands_lost(lost)?,
        Some(Body::LaneMarked(marked)) => {
            let mut lane = fold.view().lane(&marked.lock_system, &marked.lane)?;
            lanes::skip_to(&mut lane, marked.through.saturating_add(1));
            put(fold.store, &keys::lane(&marked.lock_system, &marked.lane), &lane)?;
        }
        Some(Body::Stopped(_) | Body::ClockJumped(_) | Body::Witnessed(_) | Body::IdentityInUse(_)) | None => {}
    }
    fold.forget_old()?;
    if fold.meta != before {
        fold.meta.format = FORMAT;
        put(fold.store, keys::META, &fold.meta)?;
    }
    Ok(())
}

struct Folding<'store> {
    store: &'store mut dyn Store,
    meta: Meta,
    sequence: u64,
    wall_ms: i64,
}

impl Folding<'_> {
    fn view(&self) -> View<'_, dyn Store + '_> {
        View::new(&*self.store)
    }

    fn received(&mut self, received: &Received) -> Result<(), StoreError> {
        if received.delivery_sequence > 0 {
            self.miss_before(received.delivery_sequence);
            self.meta.deliveries_through = received.delivery_sequence;
        }
        self.report(received.report_sequence, "command", &received.sealed_report)?;
        let Some(id) = CommandId::from_bytes(&received.command_id) else { return Ok(()) };
        if received.acknowledged_duplicate {
            return Ok(());
        }
        if !received.rejection_code.is_empty() {
            // A forged or reused id leaves no trace under that id: only a command whose lane is known was verified.
            if received.lane.is_empty() {
                return Ok(());
            }
            lanes::end(self.store, &received.lock_system, &received.lane, received.lane_sequence)?;
            return self.bury(
                &id,
                &Tombstone {
                    hash: received.command_hash.clone(),
                    state: if received.rejection_code == ROLLED_BACK {
                        CommandState::Abandoned as u32
                    } else {
                        CommandState::Rejected as u32
                    },
                    report_sequence: received.report_sequence,
                    error_code: received.rejection_code.clone(),
                    ..Tombstone::default()
                },
                received.expires_at_ms,
            );
        }
        let record = CommandRecord {
            order: self.sequence,
            hash: received.command_hash.clone(),
            lock_system: received.lock_system.clone(),
            lane: received.lane.clone(),
            lane_sequence: received.lane_sequence,
            priority: received.priority,
            mode: received.mode,
            kind: received.kind.clone(),
            object: received.object.clone(),
            not_before_ms: received.not_before_ms,
            expires_at_ms: received.expires_at_ms,
            max_start_delay_ms: received.max_start_delay_ms,
            operator: received.operator.clone(),
            received_ms: self.wall_ms,
            since_ms: self.wall_ms,
            phase: Phase::Queued as i32,
            ..CommandRecord::default()
        };
        lanes::overtake(self.store, &record, received.cancels_below)?;
        self.store.put(&keys::payload(&id), &received.sealed)?;
        put(self.store, &keys::command(&id), &record)
    }

    fn intent(&mut self, intent: &Intent) -> Result<(), StoreError> {
        self.report(intent.report_sequence, "command", &intent.sealed_report)?;
        let Some((id, mut record)) = self.live(&intent.command_id)? else { return Ok(()) };
        record.phase = Phase::Executing as i32;
        record.attempt = intent.attempt;
        record.class = intent.class;
        record.device.clone_from(&intent.device);
        record.sealed_before.clone_from(&intent.sealed_before);
        record.since_ms = self.wall_ms;
        for subject in &intent.rate_subjects {
            self.count(&record.lock_system, subject)?;
        }
        put(self.store, &keys::command(&id), &record)
    }

    fn requeued(&mut self, requeued: &Requeued) -> Result<(), StoreError> {
        let Some((id, mut record)) = self.live(&requeued.command_id)? else { return Ok(()) };
        record.phase = Phase::Queued as i32;
        record.spent = record.spent.saturating_add(u32::from(requeued.counted));
        record.uncertain = requeued.uncertain;
        record.last_error.clone_from(&requeued.error_code);
        record.retry_at_ms = requeued.not_before_ms;
        record.since_ms = self.wall_ms;
        put(self.store, &keys::command(&id), &record)
    }

    fn outcome(&mut self, outcome: &Outcome) -> Result<(), StoreError> {
        self.report(outcome.report_sequence, "command", &outcome.sealed_report)?;
        self.learn(&outcome.facts)?;
        if let Some(ahead) = CommandId::from_bytes(&outcome.cancelled_ahead) {
            let note = Tombstone { state: CommandState::Cancelled as u32, ..Tombstone::default() };
            self.bury(&ahead, &note, self.wall_ms)?;
        }
        let Some((id, mut record)) = self.live(&outcome.command_id)? else { return Ok(()) };
        record.last_error.clone_from(&outcome.error_code);
        if outcome.state == CommandState::InDoubt as u32 {
            record.phase = Phase::InDoubt as i32;
            record.uncertain = true;
            record.since_ms = self.wall_ms;
            return put(self.store, &keys::command(&id), &record);
        }
        self.end(&id, &record, outcome.state, outcome.report_sequence)
    }

    fn resolved(&mut self, resolved: &Resolved) -> Result<(), StoreError> {
        self.report(resolved.report_sequence, "command", &resolved.sealed_report)?;
        self.learn(&resolved.facts)?;
        let Some((id, record)) = self.live(&resolved.command_id)? else { return Ok(()) };
        self.end(&id, &record, resolved.state, resolved.report_sequence)
    }

    fn reported(&mut self, reported: &Reported) -> Result<(), StoreError> {
        self.report(reported.report_sequence, &reported.kind, &reported.sealed_report)?;
        self.learn(&reported.facts)?;
        if !reported.event_cursor.is_empty() {
            self.store.put(&keys::event_cursor(&reported.lock_system), reported.event_cursor.as_bytes())?;
        }
        Ok(())
    }

    /// What the machine shows is taken as its own where nothing was known; only leaving a quarantine replaces it.
    fn first_seen(&mut self, shown: Option<&Machine>) {
        let Some(shown) = shown.filter(|_| self.meta.quarantine.is_none()) else { return };
        let known = self.meta.machine.get_or_insert_default();
        if known.machine_id.is_empty() {
            known.machine_id.clone_from(&shown.machine_id);
        }
        if known.hardware.is_empty() {
            known.hardware.clone_from(&shown.hardware);
        }
    }

    fn quarantine(&mut self, changed: &QuarantineChanged) -> Result<(), StoreError> {
        self.meta.replay_before_ms = self.meta.replay_before_ms.max(changed.replay_before_ms);
        self.meta.reports_last = self.meta.reports_last.max(changed.reports_through);
        self.acknowledged(changed.reports_through)?;
        if !changed.on {
            self.meta.quarantine = None;
            self.meta.quarantine_left = self.meta.quarantine_left.max(changed.incident);
            self.meta.machine = changed.machine.clone().or_else(|| self.meta.machine.take());
            return Ok(());
        }
        self.meta.quarantine = Some(QuarantineRecord {
            reason: changed.reason.clone(),
            message: changed.message.clone(),
            incident: changed.incident,
            since_ms: changed.since_ms,
            confirmed: changed.confirmed,
            released: changed.released,
            replay_through: changed.replay_through,
        });
        Ok(())
    }

    fn acknowledged(&mut self, through: u64) -> Result<(), StoreError> {
        let through = through.min(self.meta.reports_last);
        for sequence in self.meta.reports_acknowledged.saturating_add(1)..=through {
            self.drop_event_mark(sequence)?;
            self.store.delete(&keys::report(sequence))?;
        }
        self.meta.reports_acknowledged = self.meta.reports_acknowledged.max(through);
        Ok(())
    }

    /// Puts a report into the outbox; one with a known sequence takes the place of what stood there.
    fn report(&mut self, sequence: u64, kind: &str, sealed: &[u8]) -> Result<(), StoreError> {
        if sequence == 0 || sequence <= self.meta.reports_acknowledged {
            return Ok(());
        }
        self.drop_event_mark(sequence)?;
        let record = OutboxRecord { kind: kind.to_owned(), sealed: sealed.to_vec() };
        put(self.store, &keys::report(sequence), &record)?;
        if kind == "events" {
            self.store.put(&keys::event_report(sequence), &[])?;
            self.meta.event_batches = self.meta.event_batches.saturating_add(1);
        }
        self.meta.reports_last = self.meta.reports_last.max(sequence);
        Ok(())
    }

    fn drop_event_mark(&mut self, sequence: u64) -> Result<(), StoreError> {
        let key = keys::event_report(sequence);
        if self.meta.event_batches > 0 && self.store.get(&key)?.is_some() {
            self.store.delete(&key)?;
            self.meta.event_batches = self.meta.event_batches.saturating_sub(1);
        }
        Ok(())
    }

    fn learn(&mut self, facts: &[Fact]) -> Result<(), StoreError> {
        for fact in facts {
            let key = keys::fact(&fact.kind, &fact.lock_system, &fact.id);
            if fact.sealed.is_empty() {
                self.store.delete(&key)?;
            } else {
                self.store.put(&key, &fact.sealed)?;
            }
            if fact.kind == "holder" {
                self.replan(fact)?;
            }
        }
        Ok(())
    }

    fn replan(&mut self, fact: &Fact) -> Result<(), StoreError> {
        let place = keys::replan_of(&fact.lock_system, &fact.id);
        if let Some(old) = self.store.get(&place)? {
            self.store.delete(&old)?;
            self.store.delete(&place)?;
        }
        if fact.replan_at_ms > 0 {
            let key = keys::replan(fact.replan_at_ms, &fact.lock_system, &fact.id);
            self.store.put(&key, &[])?;
            self.store.put(&place, &key)?;
        }
        Ok(())
    }

    fn count(&mut self, lock_system: &str, subject: &str) -> Result<(), StoreError> {
        let bucket = bucket_of(self.wall_ms);
        let key = keys::rate(lock_system, subject, bucket);
        let count = self.view().get::<Count>(&key)?.unwrap_or_default().count.saturating_add(1);
        put(self.store, &key, &Count { count })?;
        let old = keys::rate(lock_system, subject, bucket.saturating_sub(RATE_BUCKETS));
        for (key, _) in self.store.scan(&keys::rates(lock_system, subject), &[], FORGOTTEN_AT_ONCE)? {
            if key < old {
                self.store.delete(&key)?;
            }
        }
        Ok(())
    }

    fn live(&self, id: &[u8]) -> Result<Option<(CommandId, CommandRecord)>, StoreError> {
        let Some(id) = CommandId::from_bytes(id) else { return Ok(None) };
        Ok(self.view().command(&id)?.map(|record| (id, record)))
    }

    fn end(&mut self, id: &CommandId, record: &CommandRecord, state: u32, report: u64) -> Result<(), StoreError> {
        self.store.delete(&keys::command(id))?;
        self.store.delete(&keys::payload(id))?;
        self.meta.ended = self.meta.ended.saturating_add(1);
        lanes::end(self.store, &record.lock_system, &record.lane, record.lane_sequence)?;
        let stone = Tombstone {
            hash: record.hash.clone(),
            state,
            report_sequence: report,
            error_code: record.last_error.clone(),
            ..Tombstone::default()
        };
        self.bury(id, &stone, record.expires_at_ms)
    }

    fn bury(&mut self, id: &CommandId, stone: &Tombstone, expires_at_ms: i64) -> Result<(), StoreError> {
        let until = self
            .wall_ms
            .saturating_add(milliseconds(TOMBSTONE_LIFE))
            .max(expires_at_ms.saturating_add(milliseconds(TOMBSTONE_PAST_EXPIRY)));
        put(self.store, &keys::tombstone(id), &Tombstone { forget_at_ms: until, ..stone.clone() })?;
        self.store.put(&keys::forgetting(until, id), &[])?;
        if self.meta.next_forgetting_ms == 0 || until < self.meta.next_forgetting_ms {
            self.meta.next_forgetting_ms = until;
        }
        Ok(())
    }

    fn forget_old(&mut self) -> Result<(), StoreError> {
        if self.meta.next_forgetting_ms == 0 || self.wall_ms < self.meta.next_forgetting_ms {
            return Ok(());
        }
        let all = self.store.scan(&[keys::FORGETTING], &[], FORGOTTEN_AT_ONCE + 1)?;
        self.meta.next_forgetting_ms = 0;
        for (count, (key, _)) in all.iter().enumerate() {
            let (at_ms, id) = split_forgetting(key);
            if at_ms > self.wall_ms || count == FORGOTTEN_AT_ONCE {
                self.meta.next_forgetting_ms = at_ms.max(1);
                break;
            }
            // One that was buried anew meanwhile has a later entry of its own.
            if let Some(id) = id
                && self.view().tombstone(&id)?.is_some_and(|stone| stone.forget_at_ms <= at_ms)
            {
                self.store.delete(&keys::tombstone(&id))?;
            }
            self.store.delete(key)?;
        }
        Ok(())
    }
}

/// The rate bucket a time falls into.
pub fn bucket_of(wall_ms: i64) -> u64 {
    u64::try_from(wall_ms.max(0) / RATE_BUCKET_MS).unwrap_or(0)
}

fn split_forgetting(key: &[u8]) -> (i64, Option<CommandId>) {
    let rest = key.get(1..).unwrap_or_default();
    let (time, id) = rest.split_at_checked(8).unwrap_or_default();
    let at = time.try_into().map(u64::from_be_bytes).unwrap_or_default();
    (i64::try_from(at).unwrap_or(i64::MAX), CommandId::from_bytes(id))
}

fn milliseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Encodes a value into the store.
fn put(store: &mut dyn Store, key: &[u8], value: &impl Message) -> Result<(), StoreError> {
    store.put(key, &value.encode_to_vec())
}
