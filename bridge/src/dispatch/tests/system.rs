//! A lock system that follows a script, with everything that it does told to the place behind it. Its sleeps are the time
//! that it takes itself, on the paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockbridge_protocol::proto::tunnel::{
    AccessEvent, InventoryItem, ObservedEncoder, ObservedEntrance, ObservedGroup, inventory_item::Kind,
};
use tokio::sync::mpsc;

use super::place::{Script, Site};
use crate::system::{
    Description, Effect, EffectClass, Intake, KeyKind, KeyService, LockSystem, Operation, OperationError, Performed,
    Probe, Retry, UserObservation,
};

#[derive(Debug)]
pub(super) struct FakeSystem {
    description: Description,
    pub(super) site: Mutex<Site>,
}

fn failure(code: &'static str, effect: Effect, retry: Retry) -> OperationError {
    OperationError {
        code,
        message: format!("scripted {code}"),
        vendor_code: String::new(),
        vendor_text: String::new(),
        effect,
        retry,
    }
}

impl FakeSystem {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            description: Description {
                lock_system: "tower".into(),
                kind: "salto_space",
                display_name: "Tower".into(),
                time_zone: "Europe/Vienna".into(),
                keeps_people: true,
                keys: None,
            },
            site: Mutex::new(Site { reachable: true, ..Site::default() }),
        })
    }

    /// Makes keys for the rooms 101 and 102, with gym and spa on them, and keeps no people.
    pub(super) fn of_keys() -> Arc<Self> {
        Self::making_keys(false)
    }

    /// The same, for phones, too.
    pub(super) fn of_phones() -> Arc<Self> {
        Self::making_keys(true)
    }

    fn making_keys(mobile_keys: bool) -> Arc<Self> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let keys = KeyService {
            rooms: names(&["101", "102"]),
            areas: names(&["gym", "spa"]),
            rooms_on_key: 4,
            checks_out: true,
            changes_stays: true,
            early_keys: false,
            mobile_keys,
        };
        let description = Description {
            lock_system: "tower".into(),
            kind: "salto_pms",
            display_name: "Tower".into(),
            time_zone: "Europe/Vienna".into(),
            keeps_people: false,
            keys: Some(keys),
        };
        Arc::new(Self { description, site: Mutex::new(Site { reachable: true, ..Site::default() }) })
    }

    pub(super) fn site(&self) -> std::sync::MutexGuard<'_, Site> {
        self.site.lock().expect("no panic")
    }

    fn apply(&self, operation: &Operation) -> Performed {
        self.site().apply(operation, self.description.keeps_people)
    }
}

fn name_of(operation: &Operation) -> String {
    match operation {
        Operation::ApplyUser(target) => format!("apply {}", target.user_id),
        Operation::DeleteUser { user_id } => format!("delete {user_id}"),
        Operation::Encode { user_id, key, .. } => match key.kind {
            KeyKind::First | KeyKind::Update => format!("encode {user_id}"),
            kind => format!("{kind:?} {user_id} {}", key.rooms.join("+")),
        },
        Operation::SendKey { phone, key } => format!("send {:?} {} {}", key.kind, phone.0, key.rooms.join("+")),
        Operation::ReadCard { encoder } => format!("read {encoder}"),
        Operation::AssignCard { user_id, .. } => format!("assign {user_id}"),
        Operation::CancelKey { user_id } => format!("cancel {user_id}"),
        Operation::Unlock { entrance } => format!("unlock {entrance}"),
        Operation::CheckOut { room, .. } => format!("check out {room}"),
        Operation::ChangeStay { room, .. } => format!("change stay {room}"),
    }
}

impl LockSystem for FakeSystem {
    fn description(&self) -> &Description {
        &self.description
    }

    fn effect_class(&self, operation: &Operation) -> EffectClass {
        match operation {
            Operation::Encode { .. } | Operation::SendKey { .. } | Operation::Unlock { .. } => EffectClass::Blind,
            Operation::AssignCard { .. } => EffectClass::Queryable,
            _ => EffectClass::Repeatable,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<Probe, OperationError>> {
        Box::pin(async {
            let pause = self.site().probe_pause;
            tokio::time::sleep(pause).await;
            if self.site().reachable {
                Ok(Probe::default())
            } else {
                Err(failure("bridge_disconnected", Effect::None, Retry::Later))
            }
        })
    }

    fn scan(&self, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        Box::pin(async move {
            if !self.site().reachable {
                return Err(failure("bridge_disconnected", Effect::None, Retry::Later));
            }
            let door = |id: &str| InventoryItem {
                external_id: id.into(),
                kind: Some(Kind::Entrance(ObservedEntrance {
                    can_unlock_with_card: true,
                    ..ObservedEntrance::default()
                })),
                ..InventoryItem::default()
            };
            let group = InventoryItem {
                external_id: "pool".into(),
                kind: Some(Kind::Group(ObservedGroup { entrance_external_ids: vec!["gym".into(), "spa".into()] })),
                ..InventoryItem::default()
            };
            let encoder = InventoryItem {
                external_id: "desk".into(),
                kind: Some(Kind::Encoder(ObservedEncoder {})),
                ..InventoryItem::default()
            };
            let items = vec![door("101"), door("102"), door("gym"), door("spa"), group, encoder];
            intake.send(Intake::Observed(items)).await.ok();
            intake.send(Intake::ScanComplete).await.ok();
            Ok(())
        })
    }

    fn events(&self, cursor: String, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>> {
        Box::pin(async move {
            self.site().readings += 1;
            if self.site().has_events && cursor.is_empty() {
                for number in 1..=3 {
                    let event = AccessEvent { event_external_id: number.to_string(), ..AccessEvent::default() };
                    let read = Intake::Events { events: vec![event], cursor: number.to_string() };
                    if intake.send(read).await.is_err() {
                        return Ok(());
                    }
                }
            }
            intake.closed().await;
            Ok(())
        })
    }

    fn perform(&self, operation: Operation, deadline: Duration) -> BoxFuture<'_, Result<Performed, OperationError>> {
        Box::pin(async move {
            let at_encoder = matches!(operation, Operation::Encode { .. } | Operation::ReadCard { .. });
            let script = {
                let mut site = self.site();
                site.calls.push(name_of(&operation));
                site.at_once += 1;
                site.at_once_most = site.at_once_most.max(site.at_once);
                site.encoder_jobs += usize::from(at_encoder);
                site.encoder_jobs_most = site.encoder_jobs_most.max(site.encoder_jobs);
                site.script.pop_front()
            };
            let result = match script {
                None => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Ok(self.apply(&operation))
                }
                Some(Script::Slow(pause)) => {
                    tokio::time::sleep(pause).await;
                    Ok(self.apply(&operation))
                }
                Some(Script::Refuse(code, retry)) => Err(failure(code, Effect::None, retry)),
                Some(Script::SilentDone) => {
                    self.apply(&operation);
                    tokio::time::sleep(deadline).await;
                    Err(failure("encoder_communication_timeout", Effect::Unknown, Retry::Later))
                }
                Some(Script::SilentNothing) => {
                    tokio::time::sleep(deadline).await;
                    Err(failure("encoder_communication_timeout", Effect::Unknown, Retry::Later))
                }
            };
            let mut site = self.site();
            site.at_once -= 1;
            site.encoder_jobs -= usize::from(at_encoder);
            result
        })
    }

    fn observe_user(&self, user_id: &str) -> BoxFuture<'_, Result<UserObservation, OperationError>> {
        let user_id = user_id.to_owned();
        Box::pin(async move {
            let site = self.site();
            if site.blind {
                return Err(failure("encoder_communication_timeout", Effect::None, Retry::Later));
            }
            let user = site.users.get(&user_id);
            Ok(UserObservation {
                exists: user.is_some(),
                has_card: user.is_some_and(|user| user.card.is_some()),
                card_number: user.and_then(|user| user.card.clone()).unwrap_or_default(),
                key_period_ms: (0, 0),
                card_up_to_date: user.is_some_and(|user| user.up_to_date),
                suspended: false,
            })
        })
    }

    fn user_external_id(&self, user_id: &str) -> String {
        format!("LB-{user_id}")
    }
}
