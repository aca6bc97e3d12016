//! The engine with a log and a store in memory, a lock system that follows a script, and the runtime's paused clock.

mod audit;
mod desk;
mod front_desk;
mod full;
mod keys;
mod life;
mod loss;
mod order;
mod phones;
mod prefix;
mod quarantine;
mod site;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::journal::ChainHash;
use lockbridge_protocol::proto::journal::Machine;
use lockbridge_protocol::proto::tunnel::{
    AccessEvent, CancelCommand, CardOnEncoder, Command, CommandState, CommandUpdate, DeleteGrant, Delivery,
    EncodeCredential, GrantMethod, InventoryItem, KeyOperation, Medium, ObservedEncoder, ObservedEntrance,
    ObservedGroup, PutGrant, Report, UnlockEntrance, User, command::Body, inventory_item::Kind,
    report::Body as ReportBody,
};
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys, VERSION, mode_of, sign};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::*;
use crate::clock::Clock;
use crate::config::{CancelKey, LockSystemConfig, LockSystemKind, RightsMode, SaltoSpaceConfig, ShipTransport};
use crate::health::Health;
use crate::history::History;
use crate::journal::{AppendError, Durable, Reserve};
use crate::seal::Sealer;
use crate::state::MemoryStore;
use crate::state::fold::{JournalFold, Pairs};
use crate::state::store::{Fold, Pair, Store, StoreError};
use crate::system::{
    Description, Effect, EffectClass, Intake, KeyKind, KeySeen, KeyService, KeyTarget, LockSystem, Operation,
    OperationError, Performed, Probe, Retry, UserObservation, UserTarget,
};

pub(super) const START: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;

/// Both clocks follow the runtime's.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn wall(&self) -> Timestamp {
        let passed = i64::try_from(self.0.elapsed().as_millis()).expect("short tests");
        Timestamp::from_millisecond(START + passed).expect("a time")
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1000) + self.0.elapsed()
    }
}

/// A log in memory. Durable at once, or when told.
#[derive(Debug)]
pub(super) struct TestLog {
    pub(super) entries: Mutex<Vec<Vec<u8>>>,
    durable: watch::Sender<Durable>,
    held: Mutex<bool>,
    room: Mutex<Room>,
    /// Not one entry more fits, reserve included.
    used_up: AtomicBool,
    /// Entries are neither taken nor refused.
    stuck: AtomicBool,
}

impl TestLog {
    fn with(entries: Vec<Vec<u8>>) -> Arc<Self> {
        let through = entries.len() as u64;
        let durable = watch::Sender::new(Durable { through, chain_head: ChainHash([7; 32]), failed: false });
        Arc::new(Self {
            entries: Mutex::new(entries),
            durable,
            held: Mutex::new(false),
            room: Mutex::new(Room::Plenty),
            used_up: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        })
    }

    pub(super) fn hold(&self) {
        *self.held.lock().expect("no panic") = true;
    }

    pub(super) fn release(&self) {
        *self.held.lock().expect("no panic") = false;
        let through = self.entries.lock().expect("no panic").len() as u64;
        self.durable.send_modify(|durable| durable.through = through);
    }

    /// The disk fills up, or is emptied.
    pub(super) fn set_room(&self, room: Room) {
        *self.room.lock().expect("no panic") = room;
    }

    pub(super) fn set_used_up(&self, used_up: bool) {
        self.used_up.store(used_up, Ordering::SeqCst);
    }

    pub(super) fn get_stuck(&self) {
        self.stuck.store(true, Ordering::SeqCst);
    }

    pub(super) fn fail(&self) {
        self.durable.send_modify(|durable| durable.failed = true);
    }
}

impl Log for TestLog {
    fn append(&self, payload: Vec<u8>, reserve: Reserve) -> BoxFuture<'_, Result<u64, AppendError>> {
        Box::pin(async move {
            if self.stuck.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let full = self.room(0) >= Room::Full && reserve == Reserve::Ordinary;
            if full || self.used_up.load(Ordering::SeqCst) {
                return Err(AppendError::Full);
            }
            let mut entries = self.entries.lock().expect("no panic");
            entries.push(payload);
            let through = entries.len() as u64;
            if !*self.held.lock().expect("no panic") {
                self.durable.send_modify(|durable| durable.through = through);
            }
            Ok(through)
        })
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    fn room(&self, _: u64) -> Room {
        *self.room.lock().expect("no panic")
    }
}

/// The fold in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryState(Arc<Mutex<MemoryStore>>);

impl Pairs for MemoryState {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.lock().expect("no panic").get(key)
    }

    fn pairs(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.lock().expect("no panic").scan(prefix, from, limit)
    }
}

impl State for MemoryState {
    fn apply(&mut self, sequence: u64, payload: &[u8]) -> Result<(), StoreError> {
        JournalFold.apply(&mut *self.0.lock().expect("no panic"), sequence, payload)
    }

    fn reader(&self) -> Arc<dyn Pairs + Send + Sync> {
        Arc::new(self.clone())
    }

    fn close(self: Box<Self>) {}
}

/// What the lock system does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// Refuses, certainly without effect.
    Refuse(&'static str, Retry),
    /// Has the effect, and the answer is lost.
    SilentDone,
    /// Has no effect, and no answer comes.
    SilentNothing,
    /// Waits this long first.
    Slow(Duration),
}

#[derive(Debug, Default, Clone)]
pub(super) struct FakeUser {
    pub(super) target: Option<UserTarget>,
    pub(super) card: Option<String>,
    pub(super) up_to_date: bool,
}

#[derive(Debug, Default)]
pub(super) struct Site {
    pub(super) script: VecDeque<Script>,
    pub(super) users: BTreeMap<String, FakeUser>,
    /// Physical writes by holder.
    pub(super) encodes: BTreeMap<String, u32>,
    pub(super) unlocks: u32,
    /// Names of operations in the order they arrived.
    pub(super) calls: Vec<String>,
    pub(super) reachable: bool,
    /// Before a probe is answered.
    pub(super) probe_pause: Duration,
    /// Readings of the event log that were begun, and whether there is something in it.
    pub(super) readings: u32,
    pub(super) has_events: bool,
    /// Answers to observations are lost.
    pub(super) blind: bool,
    pub(super) at_once: usize,
    pub(super) at_once_most: usize,
    /// Keys for rooms, as written.
    pub(super) keys: Vec<KeyTarget>,
    /// Keys that came to phones, by number.
    pub(super) sent: BTreeMap<String, u32>,
    /// What lies on the encoder.
    pub(super) key_seen: Option<KeySeen>,
    pub(super) encoder_jobs: usize,
    pub(super) encoder_jobs_most: usize,
}

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
    fn new() -> Arc<Self> {
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
        let mut site = self.site();
        match operation {
            Operation::ApplyUser(target) => {
                let user = site.users.entry(target.user_id.clone()).or_default();
                let changed = user.target.as_ref() != Some(target);
                user.target = Some(target.clone());
                user.up_to_date &= !changed;
                let card_update_needed = user.card.is_some() && !user.up_to_date;
                Performed { card_update_needed, ..Performed::default() }
            }
            Operation::DeleteUser { user_id } => {
                site.users.remove(user_id);
                Performed::default()
            }
            Operation::Encode { key, .. } if !self.description.keeps_people => {
                site.keys.push(key.clone());
                let key_valid_until_ms = key.window.and_then(|window| window.ends_at_ms);
                Performed { key_valid_until_ms, ..Performed::default() }
            }
            Operation::SendKey { phone, key } => {
                site.keys.push(key.clone());
                *site.sent.entry(phone.0.clone()).or_default() += 1;
                Performed::default()
            }
            Operation::Encode { user_id, .. } => {
                *site.encodes.entry(user_id.clone()).or_default() += 1;
                let user = site.users.entry(user_id.clone()).or_default();
                let number = user.card.clone().unwrap_or_else(|| format!("04{user_id}"));
                user.card = Some(number.clone());
                user.up_to_date = true;
                Performed { card_number: number, ..Performed::default() }
            }
            Operation::CancelKey { user_id } => {
                site.users.entry(user_id.clone()).or_default().card = None;
                Performed::default()
            }
            Operation::Unlock { .. } => {
                site.unlocks += 1;
                Performed::default()
            }
            Operation::CheckOut { .. } | Operation::ChangeStay { .. } => Performed::default(),
            Operation::ReadCard { .. } => Performed {
                card_on_encoder: Some(CardOnEncoder::default()),
                key_seen: site.key_seen.clone().map(Box::new),
                ..Performed::default()
            },
            Operation::AssignCard { user_id, card_number } => {
                site.users.entry(user_id.clone()).or_default().card = Some(card_number.clone());
                Performed { card_number: card_number.clone(), ..Performed::default() }
            }
        }
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

fn system_config() -> LockSystemConfig {
    LockSystemConfig {
        name: "tower".into(),
        display_name: "Tower".into(),
        time_zone_name: "UTC".into(),
        time_zone: TimeZone::UTC,
        connections: 2,
        call_timeout: Duration::from_secs(15),
        encode_timeout: Duration::from_secs(30),
        card_removal: Duration::from_secs(3),
        probe_interval: Duration::from_secs(15),
        inventory_interval: Duration::from_secs(900),
        kind: LockSystemKind::SaltoSpace(SaltoSpaceConfig {
            transport: ShipTransport::Stp { host: "192.0.2.1".into(), port: 7000 },
            stp_version: *b"00",
            page_size: 100,
            encoders: vec![],
            access_levels: vec![],
            rights: RightsMode::LevelsAndDoors,
            cancel_key: CancelKey::BanUser,
            audit_interval: Duration::from_secs(5),
            event_stream: None,
            mobile_keys: false,
            pms: None,
        }),
    }
}

/// A bridge that can be killed and started again on what its log holds.
pub(super) struct Bench {
    pub(super) log: Arc<TestLog>,
    pub(super) system: Arc<FakeSystem>,
    pub(super) handle: EngineHandle,
    pub(super) health: Health,
    pub(super) history: History,
    pub(super) policy: tempfile::NamedTempFile,
    pub(super) state: MemoryState,
    keys: Arc<audit::TestKeys>,
    task: JoinHandle<Result<(), EngineError>>,
    stop: CancellationToken,
    authority: Authority,
}

/// Signs and numbers commands, like the cloud.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    /// When the story began; wall time counts from here, over restarts too.
    base: Instant,
    commands: u64,
    deliveries: u64,
    lanes: BTreeMap<String, u64>,
    pub(super) sent: Vec<(CommandId, Delivery)>,
}

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn audience() -> Audience {
    let id = |last: u8| uuid::Uuid::from_bytes([last; 16]).to_string();
    Audience { workspace_id: id(1), site_id: id(2), bridge_id: id(3) }
}

impl Authority {
    fn new() -> Self {
        Self { base: Instant::now(), commands: 0, deliveries: 0, lanes: BTreeMap::new(), sent: Vec::new() }
    }

    fn now_ms(&self) -> i64 {
        START + i64::try_from(self.base.elapsed().as_millis()).expect("short tests")
    }

    fn lane_of(body: &Body) -> String {
        match body {
            Body::UnlockEntrance(unlock) => format!("entrance:{}", unlock.entrance_external_id),
            Body::CancelCommand(_) => "user:u1".into(),
            Body::RefreshInventory(_) | Body::RunDiagnostics(_) => "system".into(),
            Body::ScanCredential(scan) => format!("encoder:{}", scan.encoder_external_id),
            other => format!("user:{}", work::user_of(other).unwrap_or("u1")),
        }
    }

    /// The next command of its lane, as a delivery.
    pub(super) fn command(&mut self, body: Body, change: impl FnOnce(&mut Command)) -> (CommandId, Delivery) {
        let lane = Self::lane_of(&body);
        let now_ms = self.now_ms();
        let sequence = self.lanes.entry(lane.clone()).or_default();
        *sequence += 1;
        self.deliveries += 1;
        let mut id = [0x40; 16];
        self.commands += 1;
        id[..8].copy_from_slice(&self.commands.to_be_bytes());
        let interactive = mode_of(&body) == lockbridge_protocol::proto::tunnel::Mode::Interactive;
        let mut command = Command {
            version: VERSION,
            command_id: id.to_vec(),
            authority_key_id: lockbridge_protocol::signed::key_id(signing_key().verifying_key().as_bytes()),
            workspace_id: audience().workspace_id,
            site_id: audience().site_id,
            bridge_id: audience().bridge_id,
            lock_system: "tower".into(),
            lane,
            lane_sequence: *sequence,
            mode: mode_of(&body) as i32,
            not_before_ms: now_ms,
            expires_at_ms: now_ms + if interactive { 120_000 } else { 24 * HOUR },
            body: Some(body),
            ..Command::default()
        };
        change(&mut command);
        let id = CommandId::from_bytes(&command.command_id).expect("16 bytes");
        let delivery = Delivery { delivery_sequence: self.deliveries, command: Some(sign(&signing_key(), &command)) };
        self.sent.push((id, delivery.clone()));
        (id, delivery)
    }
}

pub(super) fn grant(user: &str, doors: &[&str]) -> Body {
    Body::PutGrant(PutGrant {
        grant_id: format!("grant-{user}"),
        revision: 1,
        user: Some(User { user_id: user.into(), full_name: format!("Guest {user}"), ..User::default() }),
        entrance_external_ids: doors.iter().map(|door| (*door).to_owned()).collect(),
        starts_at_ms: START,
        ends_at_ms: START + 48 * HOUR,
        methods: vec![GrantMethod {
            access_method_id: format!("method-{user}"),
            credential_id: format!("credential-{user}"),
            medium: Medium::Card as i32,
        }],
        reservation_key: String::new(),
    })
}

pub(super) fn encode(user: &str) -> Body {
    Body::EncodeCredential(EncodeCredential {
        credential_id: format!("credential-{user}"),
        user_id: user.into(),
        encoder_external_id: "desk".into(),
        operation: KeyOperation::AssignNew as i32,
    })
}

pub(super) fn delete_grant(user: &str) -> Body {
    Body::DeleteGrant(DeleteGrant { grant_id: format!("grant-{user}"), user_id: user.into() })
}

pub(super) fn unlock(door: &str) -> Body {
    Body::UnlockEntrance(UnlockEntrance { entrance_external_id: door.into() })
}

pub(super) fn cancel(target: CommandId) -> Body {
    Body::CancelCommand(CancelCommand { command_id: target.0.to_vec() })
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::start(TestLog::with(vec![]), FakeSystem::new(), Authority::new())
    }

    /// A bridge on what a log holds, with the disk's word for it.
    pub(super) fn start(log: Arc<TestLog>, system: Arc<FakeSystem>, authority: Authority) -> Self {
        Self::start_on(Machine::default(), log, system, authority)
    }

    /// The same on a machine that shows itself.
    pub(super) fn start_on(machine: Machine, log: Arc<TestLog>, system: Arc<FakeSystem>, authority: Authority) -> Self {
        Self::start_without(&[], machine, log, system, authority)
    }

    /// The same, with entries (first and last) that cannot be read.
    fn start_without(
        damaged: &[(u64, u64)],
        machine: Machine,
        log: Arc<TestLog>,
        system: Arc<FakeSystem>,
        authority: Authority,
    ) -> Self {
        let policy = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(policy.path(), "version = 1\n[systems.\"*\"]\nallow = [\"*\"]\n").expect("writes");
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock(authority.base));
        let health = Health::new(Arc::clone(&clock));
        let history = History::default();
        let mut state = MemoryState::default();
        for (index, entry) in log.entries.lock().expect("no panic").iter().enumerate() {
            let sequence = index as u64 + 1;
            if !damaged.iter().any(|(first, last)| (first..=last).contains(&&sequence)) {
                state.apply(sequence, entry).expect("folds");
            }
        }
        let stop = CancellationToken::new();
        let keys = Arc::new(audit::TestKeys::default());
        let (handle, run) = build(
            EngineParts {
                clock,
                health: health.clone(),
                history: history.clone(),
                sealer: Sealer::new(&Zeroizing::new([9; 32])),
                log: Arc::clone(&log) as Arc<dyn Log>,
                state: Box::new(state.clone()),
                identity: Identity {
                    store_id: [1; 16],
                    boot_counter: 1,
                    kernel_boot_id: "boot".into(),
                    machine,
                    audience: audience(),
                    authority: AuthorityKeys::new([signing_key().verifying_key().as_bytes().as_slice()])
                        .expect("a key"),
                },
                credentials: Arc::clone(&keys) as Arc<dyn Credentials>,
                damaged: damaged.to_vec(),
                systems: vec![(system_config(), Arc::clone(&system) as Arc<dyn LockSystem>)],
                policy_file: policy.path().to_owned(),
                disk_reserve_bytes: 0,
                inventory_at: watch::Sender::new(BTreeMap::new()),
            },
            stop.clone(),
        );
        let task = tokio::spawn(run);
        Self { log, system, handle, health, history, policy, state, keys, task, stop, authority }
    }

    /// Signs and delivers.
    pub(super) async fn give(&mut self, body: Body) -> CommandId {
        self.give_with(body, |_| {}).await
    }

    pub(super) async fn give_with(&mut self, body: Body, change: impl FnOnce(&mut Command)) -> CommandId {
        let (id, delivery) = self.authority.command(body, change);
        self.deliver(vec![delivery]).await;
        id
    }

    pub(super) fn sign(&mut self, body: Body) -> (CommandId, Delivery) {
        self.authority.command(body, |_| {})
    }

    pub(super) fn authority(&self) -> Authority {
        self.authority.clone()
    }

    pub(super) async fn deliver(&self, deliveries: Vec<Delivery>) {
        self.handle.send(EngineRequest::Deliver(deliveries)).await.expect("the engine runs");
    }

    /// Every durable update, in order.
    pub(super) fn updates(&self) -> Vec<CommandUpdate> {
        self.reports()
            .into_iter()
            .filter_map(|report| match report.body {
                Some(ReportBody::CommandUpdate(update)) => Some(update),
                _ => None,
            })
            .collect()
    }

    pub(super) fn reports(&self) -> Vec<Report> {
        let read = self.handle.outbox().read(1, 10_000, usize::MAX);
        read.into_iter().map(|(_, bytes)| Report::decode(bytes.as_slice()).expect("a report")).collect()
    }

    pub(super) fn states(&self, id: CommandId) -> Vec<CommandState> {
        self.updates().iter().filter(|update| update.command_id == id.0).map(CommandUpdate::state).collect()
    }

    pub(super) fn last(&self, id: CommandId) -> Option<CommandUpdate> {
        self.updates().into_iter().rfind(|update| update.command_id == id.0)
    }

    /// Waits until the command's last told state is `state`.
    pub(super) async fn until(&self, id: CommandId, state: CommandState) -> CommandUpdate {
        for _ in 0..40_000 {
            if let Some(update) = self.last(id).filter(|update| update.state() == state) {
                return update;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id} never became {state:?}: {:?}, calls {:?}", self.states(id), self.system.site().calls);
    }

    pub(super) async fn wait(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// As `kill -9` does it: nothing is finished; then a new process on the same log and site.
    pub(super) async fn kill_and_restart(self) -> Self {
        self.task.abort();
        drop(self.task.await);
        let entries = self.log.entries.lock().expect("no panic").clone();
        Self::start(TestLog::with(entries), self.system, self.authority)
    }

    /// Killed, and started on an older copy of its journal: the first `count` entries. The lock system knows all.
    pub(super) async fn restore(self, count: usize) -> Self {
        self.task.abort();
        drop(self.task.await);
        let entries = self.log.entries.lock().expect("no panic")[..count].to_vec();
        Self::start(TestLog::with(entries), self.system, self.authority)
    }

    /// Killed, and started on a journal of which some entries (first and last) cannot be read.
    pub(super) async fn restart_without(self, damaged: &[(u64, u64)]) -> Self {
        self.task.abort();
        drop(self.task.await);
        let entries = self.log.entries.lock().expect("no panic").clone();
        Self::start_without(damaged, Machine::default(), TestLog::with(entries), self.system, self.authority)
    }

    /// Killed, and started on the same journal on another machine.
    pub(super) async fn move_to(self, machine: Machine) -> Self {
        self.task.abort();
        drop(self.task.await);
        let entries = self.log.entries.lock().expect("no panic").clone();
        Self::start_on(machine, TestLog::with(entries), self.system, self.authority)
    }

    /// Ends in order and gives the entries back.
    pub(super) async fn stop(self) -> Vec<Vec<u8>> {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("ends well");
        self.log.entries.lock().expect("no panic").clone()
    }

    pub(super) async fn ended(self) -> Result<(), EngineError> {
        self.task.await.expect("no panic")
    }
}
