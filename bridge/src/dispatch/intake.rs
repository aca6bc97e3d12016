//! What lock systems tell by themselves: reachability, inventory, door events.

use std::collections::BTreeSet;

use lockbridge_protocol::proto::journal::{Fact, Reported, entry};
use lockbridge_protocol::proto::tunnel::{
    AccessEvent, AccessEvents, EventGap, Evidence, InventoryDelta, InventoryItem, Report, inventory_item::Kind,
    report::Body as ReportBody,
};
use prost::Message;

use super::engine::{Engine, EngineError};
use super::log::Room;
use crate::health::{ReasonCode, Scope};
use crate::journal::Reserve;
use crate::limits::{INVENTORY_ITEMS, OUTBOX_EVENT_BATCHES, OUTBOX_REPORTS};
use crate::state::fold::{SEALED_FACT, SEALED_REPORT};
use crate::system::{Intake, KeySeen, OperationError, Probe};

/// A delta is sent when it has grown to this; the rest of [`REPORT_BYTES`](lockbridge_protocol::limits::REPORT_BYTES) is
/// room for the envelope.
const DELTA_BYTES: usize = 48 * 1024;
/// A lock server's clock that differs by more is told (its dates decide what is written on cards).
const CLOCK_SKEW_S: u64 = 120;

/// The scan that runs at a lock system.
#[derive(Debug, Default)]
pub(super) struct Scan {
    seen: BTreeSet<(&'static str, String)>,
    changed: Vec<InventoryItem>,
    changed_bytes: usize,
    reported: bool,
    groups_changed: BTreeSet<String>,
}

/// The kinds of facts that are inventory.
const KINDS: [&str; 4] = ["entrance", "group", "user", "encoder"];

fn kind_of(item: &InventoryItem) -> Option<&'static str> {
    Some(match item.kind.as_ref()? {
        Kind::Entrance(_) => "entrance",
        Kind::Group(_) => "group",
        Kind::User(_) => "user",
        Kind::Encoder(_) => "encoder",
    })
}

/// A tombstone keeps the kind of what is gone.
fn tombstone(kind: &str, id: String) -> InventoryItem {
    let kind = match kind {
        "entrance" => Kind::Entrance(lockbridge_protocol::proto::tunnel::ObservedEntrance::default()),
        "group" => Kind::Group(lockbridge_protocol::proto::tunnel::ObservedGroup::default()),
        "user" => Kind::User(lockbridge_protocol::proto::tunnel::ObservedUser::default()),
        _ => Kind::Encoder(lockbridge_protocol::proto::tunnel::ObservedEncoder::default()),
    };
    InventoryItem { external_id: id, removed: true, kind: Some(kind), ..InventoryItem::default() }
}

impl Engine {
    /// Doors, groups and encoders as last stored.
    pub(super) fn load_catalogs(&mut self) -> Result<(), EngineError> {
        let names: Vec<String> = self.systems.keys().cloned().collect();
        for name in names {
            let mut items = Vec::new();
            for kind in ["entrance", "group", "encoder"] {
                for (_, sealed) in self.view().facts(kind, &name)? {
                    items.extend(self.open_item(&sealed));
                }
            }
            if let Some(system) = self.systems.get_mut(&name) {
                for item in &items {
                    system.catalog.observe(item);
                }
                system.inventoried = !system.catalog.entrances.is_empty();
            }
        }
        Ok(())
    }

    fn open_item(&self, sealed: &[u8]) -> Option<InventoryItem> {
        InventoryItem::decode(self.sealer.open(SEALED_FACT, sealed).ok()?.as_slice()).ok()
    }

    pub(super) async fn intake(&mut self, lock_system: &str, intake: Intake) -> Result<(), EngineError> {
        if !self.systems.contains_key(lock_system) {
            return Ok(());
        }
        match intake {
            Intake::Observed(items) => self.inventory_seen(lock_system, items).await,
            Intake::ScanComplete => self.scan_complete(lock_system).await,
            Intake::Events { events, cursor } => self.events(lock_system, events, cursor).await,
        }
    }

    async fn inventory_seen(&mut self, lock_system: &str, items: Vec<InventoryItem>) -> Result<(), EngineError> {
        for item in items {
            let Some(kind) = kind_of(&item) else { continue };
            let known = self.view().fact(kind, lock_system, &item.external_id)?;
            let same = known.and_then(|sealed| self.open_item(&sealed)).is_some_and(|known| known == item);
            let Some(system) = self.systems.get_mut(lock_system) else { continue };
            if system.scan.seen.len() >= INVENTORY_ITEMS {
                continue;
            }
            system.scan.seen.insert((kind, item.external_id.clone()));
            if same {
                continue;
            }
            self.note_change(lock_system, item);
            let full = self.systems.get(lock_system).is_some_and(|system| system.scan.changed_bytes >= DELTA_BYTES);
            if full {
                self.report_inventory(lock_system, false).await?;
            }
        }
        Ok(())
    }

    fn note_change(&mut self, lock_system: &str, item: InventoryItem) {
        let Some(system) = self.systems.get_mut(lock_system) else { return };
        system.catalog.observe(&item);
        if let Some(Kind::Group(_)) = item.kind {
            system.scan.groups_changed.insert(item.external_id.clone());
        }
        system.scan.changed_bytes += item.encoded_len() + 8;
        system.scan.changed.push(item);
    }

    async fn scan_complete(&mut self, lock_system: &str) -> Result<(), EngineError> {
        let mut gone = Vec::new();
        for kind in KINDS {
            let known = self.view().facts(kind, lock_system)?;
            let Some(system) = self.systems.get(lock_system) else { return Ok(()) };
            gone.extend(
                known
                    .into_iter()
                    .filter(|(id, _)| !system.scan.seen.contains(&(kind, id.clone())))
                    .map(|(id, _)| tombstone(kind, id)),
            );
        }
        for item in gone {
            self.note_change(lock_system, item);
            let full = self.systems.get(lock_system).is_some_and(|system| system.scan.changed_bytes >= DELTA_BYTES);
            if full {
                self.report_inventory(lock_system, false).await?;
            }
        }
        let Some(system) = self.systems.get(lock_system) else { return Ok(()) };
        if system.scan.reported || !system.scan.changed.is_empty() {
            self.report_inventory(lock_system, true).await?;
        }
        let Some(system) = self.systems.get_mut(lock_system) else { return Ok(()) };
        system.inventoried = true;
        let now_ms = self.clock.wall_ms();
        self.inventory_at.send_modify(|times| {
            times.insert(lock_system.to_owned(), now_ms);
        });
        let scan = std::mem::take(&mut system.scan);
        for waiter in system.scan_waiters.drain(..) {
            drop(waiter.send(Ok(())));
        }
        self.rewrite_after(lock_system, &scan.groups_changed).await
    }

    /// A group whose doors changed may now open more than was granted through it: those holders are written anew.
    async fn rewrite_after(&mut self, lock_system: &str, groups: &BTreeSet<String>) -> Result<(), EngineError> {
        if groups.is_empty() {
            return Ok(());
        }
        for (user_id, sealed) in self.view().facts("holder", lock_system)? {
            let Some(holder) = self.open_holder(&sealed) else { continue };
            let through =
                holder.written_groups.iter().any(|group| groups.contains(group) && !holder.memberships.contains(group));
            if through && let Some(body) = self.rewrite(lock_system, &user_id)? {
                let lane = format!("user:{user_id}");
                self.give_locally(body, lock_system, &lane, "inventory").await?;
            }
        }
        Ok(())
    }

    pub(super) fn scan_failed(&mut self, lock_system: &str, error: &OperationError) {
        self.note_reachability(lock_system, error);
        let Some(system) = self.systems.get_mut(lock_system) else { return };
        // What was taken into the catalog but not reported is found again by the next scan: the stored facts are the base.
        system.scan = Scan::default();
        for waiter in system.scan_waiters.drain(..) {
            drop(waiter.send(Err(error.clone())));
        }
    }

    async fn report_inventory(&mut self, lock_system: &str, scan_complete: bool) -> Result<(), EngineError> {
        let Some(system) = self.systems.get_mut(lock_system) else { return Ok(()) };
        let items = std::mem::take(&mut system.scan.changed);
        system.scan.changed_bytes = 0;
        system.scan.reported = true;
        if self.is_outbox_full() || self.log.room(self.disk_reserve_bytes) >= Room::SafetyOnly {
            // Nothing is stored either, so that a later scan finds the same changes.
            return Ok(());
        }
        let mut facts = Vec::with_capacity(items.len());
        for item in &items {
            let sealed =
                if item.removed { Vec::new() } else { self.sealer.seal(SEALED_FACT, &item.encode_to_vec())? };
            facts.push(Fact {
                kind: kind_of(item).unwrap_or_default().to_owned(),
                lock_system: lock_system.to_owned(),
                id: item.external_id.clone(),
                sealed,
                replan_at_ms: 0,
            });
        }
        let delta = InventoryDelta { lock_system: lock_system.to_owned(), items, scan_complete };
        let report = self.report(ReportBody::InventoryDelta(delta));
        self.reported("inventory", lock_system, &report, String::new(), facts).await
    }

    async fn events(&mut self, lock_system: &str, events: Vec<AccessEvent>, cursor: String) -> Result<(), EngineError> {
        // The lock server keeps its log: what is not taken now is read again from the stored cursor. Until then nothing
        // that follows may be taken, or the cursor would pass over it.
        let full = self.is_outbox_full() || self.log.room(self.disk_reserve_bytes) >= Room::SafetyOnly;
        let Some(system) = self.systems.get_mut(lock_system) else { return Ok(()) };
        if full || system.events_refused {
            system.events_refused = true;
            system.reread_events.notify_one();
            return Ok(());
        }
        if events.is_empty() && self.view().event_cursor(lock_system)? == cursor {
            return Ok(());
        }
        if self.meta.event_batches >= OUTBOX_EVENT_BATCHES && !events.is_empty() {
            self.drop_oldest_events().await?;
        }
        if events.is_empty() {
            let moved = Reported {
                lock_system: lock_system.to_owned(),
                kind: "cursor".into(),
                event_cursor: cursor,
                ..Reported::default()
            };
            self.append(entry::Body::Reported(moved), Reserve::Safety).await?;
            return Ok(());
        }
        let body = AccessEvents { lock_system: lock_system.to_owned(), events };
        let report = self.report(ReportBody::AccessEvents(body));
        self.reported("events", lock_system, &report, cursor, Vec::new()).await
    }

    /// The oldest batch of door events gives way to a record of the gap, under the same report number (rule D5).
    async fn drop_oldest_events(&mut self) -> Result<(), EngineError> {
        let Some((sequence, record)) = self.view().oldest_event_report()? else { return Ok(()) };
        let old = self.sealer.open(SEALED_REPORT, &record.sealed).ok();
        let old = old.and_then(|plain| Report::decode(plain.as_slice()).ok());
        let Some(ReportBody::AccessEvents(dropped)) = old.and_then(|report| report.body) else { return Ok(()) };
        let times = || dropped.events.iter().map(|event| event.occurred_at_ms);
        let gap = EventGap {
            lock_system: dropped.lock_system.clone(),
            count: u64::try_from(dropped.events.len()).unwrap_or(u64::MAX),
            from_ms: times().min().unwrap_or_default(),
            to_ms: times().max().unwrap_or_default(),
        };
        let report = Report { sequence, ..self.report(ReportBody::EventGap(gap)) };
        self.reported("event_gap", &dropped.lock_system, &report, String::new(), Vec::new()).await
    }

    pub(super) async fn reported(
        &mut self,
        kind: &str,
        lock_system: &str,
        report: &Report,
        event_cursor: String,
        facts: Vec<Fact>,
    ) -> Result<(), EngineError> {
        let (report_sequence, sealed_report) = self.seal(report)?;
        let reported = Reported {
            report_sequence,
            kind: kind.to_owned(),
            lock_system: lock_system.to_owned(),
            sealed_report,
            event_cursor,
            facts,
            signed_checkpoint: Vec::new(),
        };
        self.append(entry::Body::Reported(reported), Reserve::Safety).await?;
        Ok(())
    }

    /// Outcomes always fit: what is refused here keeps their place free.
    fn is_outbox_full(&self) -> bool {
        let waiting = self.meta.reports_last.saturating_sub(self.meta.reports_acknowledged);
        let live = u64::try_from(self.queue.len()).unwrap_or(u64::MAX);
        waiting.saturating_add(live.saturating_mul(2)) >= OUTBOX_REPORTS
    }

    /// A probe came back.
    pub(super) fn probed(&mut self, lock_system: &str, result: Result<Probe, OperationError>) {
        match result {
            Ok(probe) => {
                let Some(system) = self.systems.get_mut(lock_system) else { return };
                system.reachable = Some(true);
                system.unreachable.clear();
                let skew = probe.clock_skew_s.filter(|skew| skew.unsigned_abs() > CLOCK_SKEW_S);
                let skewed = skew.map(|skew| {
                    (ReasonCode::LockClock, format!("the clock of `{lock_system}` is {}", Probe::clock_words(skew)))
                });
                // Of the two only the line stops work at once; the clock is told when that is mended.
                let reason = probe.line_problem.map(|problem| (ReasonCode::LockLine, problem)).or(skewed);
                self.health.replace(&Scope::LockSystem(lock_system.to_owned()), reason);
            }
            Err(error) => {
                let Some(system) = self.systems.get_mut(lock_system) else { return };
                system.reachable = Some(false);
                system.unreachable.clone_from(&error.message);
                let code = match error.code {
                    "bridge_disconnected" => ReasonCode::LockServer,
                    "account_disconnected" | "acs_system_disconnected" => ReasonCode::LockLogin,
                    "setup_required" => ReasonCode::LockLicence,
                    _ => ReasonCode::LockProtocol,
                };
                self.health.replace(&Scope::LockSystem(lock_system.to_owned()), Some((code, error.message)));
            }
        }
    }

    /// An operation that could not reach the lock system stops further starts until a probe succeeds.
    pub(super) fn note_reachability(&mut self, lock_system: &str, error: &OperationError) {
        if !matches!(error.code, "bridge_disconnected" | "account_disconnected" | "acs_system_disconnected") {
            return;
        }
        if let Some(system) = self.systems.get_mut(lock_system) {
            system.reachable = Some(false);
            system.unreachable.clone_from(&error.message);
            system.probe_now.notify_one();
        }
    }

    /// An encoder that did not answer is told of until it does: a card written or read, or the word that none lies there.
    pub(super) fn note_encoder<T>(&self, lock_system: &str, encoder: &str, result: &Result<T, OperationError>) {
        let scope = Scope::Encoder(lock_system.to_owned(), encoder.to_owned());
        match result {
            Err(error) if matches!(error.code, "encoder_not_online" | "encoder_communication_timeout") => {
                let message = format!("the last job on {encoder} ended with {}", error.code);
                self.health.raise(scope, ReasonCode::Encoder, message);
            }
            Ok(_) => self.health.clear(scope, ReasonCode::Encoder),
            Err(error) if error.code == "no_credential_on_encoder" => self.health.clear(scope, ReasonCode::Encoder),
            // Says nothing about the encoder.
            Err(_) => {}
        }
    }

    /// Says whose card a scan found, when it is one of ours.
    pub(super) fn name_ours(
        &self,
        lock_system: &str,
        evidence: &mut Evidence,
        seen: Option<&KeySeen>,
    ) -> Result<(), EngineError> {
        if let (Some(card), Some(seen)) = (evidence.card_on_encoder.as_mut(), seen)
            && let Some(room) = seen.rooms.first()
            && let Some(key) = self.room(lock_system, room)?.key_with_mark(&seen.mark)
        {
            card.credential_id.clone_from(&key.credential_id);
            card.user_id.clone_from(&key.user_id);
            return Ok(());
        }
        let Some(card) = evidence.card_on_encoder.as_mut().filter(|card| !card.card_number.is_empty()) else {
            return Ok(());
        };
        for (user_id, sealed) in self.view().facts("holder", lock_system)? {
            let Some(holder) = self.open_holder(&sealed) else { continue };
            let found = holder
                .credentials
                .iter()
                .find(|credential| credential.card_number.eq_ignore_ascii_case(&card.card_number));
            if let Some(credential) = found {
                card.credential_id.clone_from(&credential.credential_id);
                card.user_id = user_id;
                break;
            }
        }
        Ok(())
    }
}
