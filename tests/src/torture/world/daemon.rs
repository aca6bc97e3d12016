//! The real core in this process: journal, fold and engine on a disk of the world, with its pump to the hub.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::tz::TimeZone;
use lockbridge::clock::Clock;
use lockbridge::config::{CancelKey, LockSystemConfig, LockSystemKind, RightsMode, SaltoSpaceConfig, ShipTransport};
use lockbridge::dispatch::{
    Credentials, EngineError, EngineHandle, EngineParts, EngineRequest, EngineStatus, Identity, State, TunnelFeed,
    build,
};
use lockbridge::health::Health;
use lockbridge::history::History;
use lockbridge::journal::{Journal, JournalOptions, Opened};
use lockbridge::seal::Sealer;
use lockbridge::state::fold::JournalFold;
use lockbridge::state::{Origin, WorkingSet, WorkingSetOptions};
use lockbridge::system::LockSystem;
use lockbridge_protocol::proto::journal::{IdentityInUse, Machine};
use lockbridge_protocol::proto::tunnel::{Delivery, Signed};
use lockbridge_protocol::signed::report::{self, SigningFailed};
use rand::RngExt as _;
use rand::rngs::StdRng;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::authority::{LOCK_SYSTEM, audience, keys};
use super::hub::HubMark;
use super::live::{Live, What};
use super::log::{WorldLog, spin};
use super::state::{MemoryState, SledState};

/// Longest wait of the world's own clock for an answer of the engine.
const ANSWER: Duration = Duration::from_secs(120);
/// Reports read at once.
const REPORTS: usize = 64;
/// Small segments and checkpoints, so that a short session rolls, retires and compacts.
const SEGMENT_BYTES: u64 = 32 * 1024;
const ENTRY_BYTES: usize = 12 * 1024;
const CHECKPOINT_BYTES: u64 = 24 * 1024;
const AUDIT_BYTES: u64 = 256 * 1024;

/// Sizes of the journal in this world, on `live`'s disk.
pub(crate) fn journal_options(live: &Live) -> JournalOptions {
    JournalOptions {
        segment_bytes: SEGMENT_BYTES,
        reserve_bytes: SEGMENT_BYTES,
        queue_bytes: 64 * 1024,
        entry_bytes: ENTRY_BYTES,
        look_interval: Duration::from_secs(10),
        disk: Arc::new(live.disk.clone()),
        ..JournalOptions::default()
    }
}

/// Sizes of the working set in this world.
pub(crate) fn set_options() -> WorkingSetOptions {
    WorkingSetOptions {
        checkpoint_bytes: CHECKPOINT_BYTES,
        audit_retention_bytes: AUDIT_BYTES,
        ..WorkingSetOptions::default()
    }
}

/// What holds the fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folding {
    /// The working set on sled, in the state directory.
    Sled,
    /// The same fold in memory.
    Memory,
}

/// Journal and fold, open; the engine does not run yet.
pub(crate) struct Opening {
    pub(crate) journal: Journal,
    pub(crate) opened: Opened,
    pub(crate) state: Box<dyn State>,
    /// Of the working set.
    pub(crate) origin: Option<Origin>,
    /// Entries that the fold misses.
    pub(crate) lost: Vec<(u64, u64)>,
}

/// Opens both in `directory`.
pub(crate) fn open(live: &Live, directory: &Path, folding: Folding) -> anyhow::Result<Opening> {
    let (journal, opened) = Journal::open(directory, journal_options(live)).context("open the journal")?;
    let (state, origin, lost): (Box<dyn State>, _, _) = match folding {
        Folding::Memory => (Box::new(MemoryState::fold(&journal)?), None, Vec::new()),
        Folding::Sled => {
            let set = WorkingSet::open(directory, &journal, JournalFold, set_options());
            let (set, found) = set.context("open the working set")?;
            (Box::new(SledState(set)), Some(found.origin), found.lost)
        }
    };
    Ok(Opening { journal, opened, state, origin, lost })
}

/// Signs for the audit as the daemon does; drawn anew with each start, for nobody here verifies it.
#[derive(Debug)]
struct AuditKey(EcdsaKeyPair);

impl AuditKey {
    fn draw() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .and_then(|pkcs8| Ok(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)?));
        key.map(Self).map_err(|_| anyhow!("no audit key could be drawn"))
    }
}

impl Credentials for AuditKey {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        report::sign(&self.0, &SystemRandom::new(), report)
    }

    fn in_use(&self) -> IdentityInUse {
        let audit_public_key = self.0.public_key().as_ref().to_vec();
        IdentityInUse { audit_public_key, ..IdentityInUse::default() }
    }
}

/// The running core.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) live: Arc<Live>,
    pub(crate) handle: EngineHandle,
    task: JoinHandle<Result<(), EngineError>>,
    spindle: JoinHandle<()>,
    pump: JoinHandle<()>,
    log: Arc<WorldLog>,
}

impl Daemon {
    /// Runs the engine on what was opened, and waits until it has recovered. With `pauses` the disk takes its time.
    pub(crate) async fn start(
        live: Arc<Live>,
        opening: Opening,
        system: Arc<dyn LockSystem>,
        policy: &Path,
        pauses: Option<StdRng>,
    ) -> anyhow::Result<Self> {
        let Opening { journal, opened, state, .. } = opening;
        if pauses.is_some() {
            live.disk.close_gate();
        }
        let log = WorldLog::new(journal, Arc::clone(&live));
        let clock: Arc<dyn Clock> = live.clock.clone();
        let (handle, run) = build(
            EngineParts {
                clock: Arc::clone(&clock),
                health: Health::new(clock),
                history: History::default(),
                sealer: Sealer::new(&Zeroizing::new([9; 32])),
                log: log.clone(),
                state,
                identity: Identity {
                    store_id: opened.store_id.0,
                    boot_counter: opened.boot_counter,
                    kernel_boot_id: "a boot of its own".into(),
                    audience: audience(),
                    authority: keys()?,
                    machine: Machine::default(),
                },
                credentials: Arc::new(AuditKey::draw()?),
                damaged: Vec::new(),
                systems: vec![(system_config(), system)],
                policy_file: policy.to_owned(),
                disk_reserve_bytes: 0,
                inventory_at: watch::Sender::default(),
            },
            CancellationToken::new(),
        );
        let task = tokio::spawn(run);
        let spindle = tokio::spawn(spin(Arc::clone(&log), pauses));
        let pump = tokio::spawn(pump(Arc::clone(&live), handle.clone()));
        let daemon = Self { live, handle, task, spindle, pump, log };
        daemon.status().await.context("the engine did not recover")?;
        Ok(daemon)
    }

    /// Figures of the engine.
    pub(crate) async fn status(&self) -> anyhow::Result<EngineStatus> {
        self.ask(EngineRequest::Status).await
    }

    /// Asks the engine; an answer that does not come is an error.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> EngineRequest,
    ) -> anyhow::Result<T> {
        let answer = timeout(ANSWER, self.handle.ask(request)).await;
        answer.map_err(|_| anyhow!("no answer from the engine"))?.map_err(|error| anyhow!("the engine: {error}"))
    }

    async fn tell(&self, request: EngineRequest) -> anyhow::Result<()> {
        timeout(ANSWER, self.handle.send(request)).await.context("the engine takes nothing")??;
        Ok(())
    }

    /// The hub opens a session, hears how far the bridge is, and sends again what was not acknowledged.
    pub(crate) async fn connect(&self) -> anyhow::Result<()> {
        let resume = self.ask(EngineRequest::Resume).await?;
        let live = &self.live;
        let (acknowledged, cursor) = {
            let world = live.world();
            (world.hub.acknowledged, world.hub.cursor())
        };
        if resume.commands_durable_through < acknowledged {
            let through = resume.commands_durable_through;
            live.problem(format!("acknowledged through {acknowledged}, after it only {through}"));
        }
        if resume.reports_last < cursor {
            live.problem(format!("told report {cursor}, after it only {} were made", resume.reports_last));
        }
        if resume.reports_first_kept > cursor + 1 {
            let kept = resume.reports_first_kept;
            live.problem(format!("the hub has reports through {cursor}, the oldest kept is {kept}"));
        }
        live.happen(What::Hub(HubMark::Opened));
        live.happen(What::Hub(HubMark::Acknowledged(resume.commands_durable_through)));
        let (epoch, resends) = {
            let world = live.world();
            (world.hub.epoch, world.hub.resends())
        };
        self.ask(|done| EngineRequest::SessionOpened {
            epoch,
            reports_durable_through: cursor,
            quarantine: None,
            done,
        })
        .await?;
        live.connected.store(true, Ordering::SeqCst);
        self.deliver(resends).await?;
        self.send_new().await?;
        take(live, &self.handle, &self.handle.feed().borrow().clone());
        Ok(())
    }

    /// The session is lost.
    pub(crate) async fn disconnect(&self) -> anyhow::Result<()> {
        self.live.connected.store(false, Ordering::SeqCst);
        self.tell(EngineRequest::SessionLost).await
    }

    /// Numbers and sends what was signed and not sent yet.
    pub(crate) async fn send_new(&self) -> anyhow::Result<()> {
        while self.live.is_connected() && self.live.world().hub.has_unnumbered() {
            self.live.happen(What::Hub(HubMark::Numbered));
            let newest = self.live.world().hub.newest();
            self.deliver(newest.into_iter().collect()).await?;
        }
        Ok(())
    }

    /// Sends again what was not acknowledged, under the same numbers.
    pub(crate) async fn resend(&self) -> anyhow::Result<()> {
        let resends = self.live.world().hub.resends();
        self.deliver(resends).await
    }

    async fn deliver(&self, deliveries: Vec<Delivery>) -> anyhow::Result<()> {
        if deliveries.is_empty() { Ok(()) } else { self.tell(EngineRequest::Deliver(deliveries)).await }
    }

    /// Says which reports the hub has.
    pub(crate) async fn acknowledge_reports(&self) -> anyhow::Result<()> {
        let cursor = self.live.world().hub.cursor();
        self.tell(EngineRequest::ReportsDurable(cursor)).await
    }

    /// The process is gone, as by `kill -9`: nothing is finished.
    pub(crate) async fn kill(self) {
        // The journal's threads end only when they are let through.
        self.live.disk.open_gate();
        for task in [self.spindle, self.pump] {
            task.abort();
            drop(task.await);
        }
        self.task.abort();
        drop(self.task.await);
        drop(self.handle);
        let open = Arc::clone(&self.log.open);
        drop(self.log);
        // A thread that waited for the disk may hold the journal a moment longer.
        let begun = std::time::Instant::now();
        while Arc::strong_count(&open) > 1 && begun.elapsed() < ANSWER {
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }
}

/// Takes for the hub whatever the bridge shows it.
async fn pump(live: Arc<Live>, handle: EngineHandle) {
    let mut feed = handle.feed();
    loop {
        let shown = feed.borrow_and_update().clone();
        take(&live, &handle, &shown);
        if feed.changed().await.is_err() {
            return;
        }
    }
}

fn take(live: &Live, handle: &EngineHandle, shown: &TunnelFeed) {
    if !live.is_connected() {
        return;
    }
    if shown.commands_durable_through > live.world().hub.acknowledged {
        live.happen(What::Hub(HubMark::Acknowledged(shown.commands_durable_through)));
    }
    loop {
        let cursor = live.world().hub.cursor();
        let reports = handle.outbox().read(cursor + 1, REPORTS, usize::MAX);
        if reports.is_empty() {
            return;
        }
        for (number, (sequence, bytes)) in (cursor + 1..).zip(reports) {
            if number != sequence {
                live.problem(format!("report {number} is missing, {sequence} came"));
            }
            live.happen(What::Hub(HubMark::Told(sequence, bytes.into())));
        }
    }
}

/// A drawn moment of at most `most`.
pub(crate) fn pause(random: &mut StdRng, most: Duration) -> Duration {
    Duration::from_micros(random.random_range(0..=u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
}

fn system_config() -> LockSystemConfig {
    LockSystemConfig {
        name: LOCK_SYSTEM.into(),
        display_name: "Tower".into(),
        time_zone_name: "UTC".into(),
        time_zone: TimeZone::UTC,
        connections: 4,
        call_timeout: Duration::from_secs(15),
        encode_timeout: Duration::from_secs(30),
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

/// A policy that allows everything, as often as anybody likes.
pub(crate) const POLICY: &str = "version = 1\n[systems.\"*\"]\nallow = [\"*\"]\nencodes_per_hour = 100000\n\
    encodes_per_day = 1000000\nencodes_per_room_per_day = 100000\ngrants_per_hour = 1000000\n";
