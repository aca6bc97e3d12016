//! The engine under test, on the runtime's paused clock: started, given commands, waited for, killed and started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::Machine;
use lockbridge_protocol::proto::tunnel::{
    Command, CommandState, CommandUpdate, Delivery, Report, command::Body, report::Body as ReportBody,
};
use lockbridge_protocol::signed::command::AuthorityKeys;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::START;
use super::audit::TestKeys;
use super::authority::{Authority, audience, signing_key};
use super::memory::{MemoryState, TestLog};
use super::system::FakeSystem;
use crate::clock::Clock;
use crate::config::{CancelKey, LockSystemConfig, LockSystemKind, RightsMode, SaltoSpaceConfig, ShipTransport};
use crate::dispatch::{
    Credentials, EngineError, EngineHandle, EngineParts, EngineRequest, Identity, Log, State, build,
};
use crate::health::Health;
use crate::history::History;
use crate::seal::Sealer;
use crate::system::LockSystem;

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
    pub(super) keys: Arc<TestKeys>,
    task: JoinHandle<Result<(), EngineError>>,
    stop: CancellationToken,
    pub(super) authority: Authority,
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
        let keys = Arc::new(TestKeys::default());
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

    /// Waits until the command's last told state is `state`; steps of the paused clock, not of time.
    pub(super) async fn until(&self, id: CommandId, state: CommandState) -> CommandUpdate {
        for _ in 0..40_000 {
            if let Some(update) = self.last(id).filter(|update| update.state() == state) {
                return update;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id} never became {state:?}: {:?}, calls {:?}", self.states(id), self.system.site().calls);
    }

    /// Lets the paused clock go on by `duration`, and everything happen that is due meanwhile.
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
