//! Wiring: configuration to running daemon, and the ordered stop. The only place that knows all rooms.
//!
//! Order of start: state directory, state key, identity (or waiting for one), journal and working set, addresses, engine,
//! tunnel. Readiness does not wait for the cloud: ready means running and buffering, or waiting for an identity. Order of stop (rule M1): no new work, the engine drains,
//! the tunnel says what is left to say, the journal closes. A deadline ends it; crash-only recovery does the rest.
//! Never: decides anything about commands.

mod doors;
mod error;
pub mod space;
mod store;
mod transport;
mod waiting;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::proto::journal::IdentityInUse;
use lockbridge_protocol::proto::journal::Machine;
use lockbridge_protocol::proto::tunnel::QuarantineReason;
use lockbridge_protocol::proto::tunnel::Signed;
use lockbridge_protocol::signed::report::SigningFailed;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use error::AppError;

use crate::clock::{self, Clock, SystemClock};
use crate::config::{Config, LockSystemConfig, LockSystemKind};
use crate::control::{self, EngineDesk};
use crate::dispatch::{self, Credentials, EngineHandle, EngineParts, EngineRequest};
use crate::front_desk::{self, FrontDesk};
use crate::health::{self, BridgeStatus, Health, Lines, Observer, ReasonCode, Scope, Sources, Working};
use crate::history::{self, History};
use crate::identity::{self, Identity};
use crate::journal::StateLock;
use crate::limits;
use crate::net::{Dialer, TlsTime};
use crate::seal::Sealer;
use crate::supervise::{self, Notifier};
use crate::system::fias::Fias;
use crate::system::salto_pms;
use crate::system::salto_space::SaltoSpace;
use crate::system::{Description, LockSystem};
use crate::telemetry;
use crate::tunnel::{ReportSigner, Site, Tunnel, TunnelParts};
use doors::Doors;
use transport::BridgeTransport;
use waiting::Waiting;

/// From the drained engine to the closed session: the last outcomes may leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// How the daemon runs under a supervisor of tests and demos.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Print one JSON line when ready.
    pub announce: bool,
    /// Stop when standard input closes.
    pub exit_with_stdin: bool,
}

/// Runs the daemon until a signal, or until the disk fails.
pub async fn run(config: Config, options: RunOptions) -> Result<(), AppError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let started_ms = clock.wall_ms();
    let health = Health::new(Arc::clone(&clock));
    let notifier = Notifier::from_environment();
    let mut signals = Signals::listen(options.exit_with_stdin).map_err(AppError::Runtime)?;

    let Taken { lock, sealer, identity } = blocking(&config, &health, |config, _| take(config)).await?;
    let systems = lock_systems(&config, &clock)?;
    let descriptions: Vec<Description> = systems.iter().map(|(_, system)| system.description().clone()).collect();
    let mut lines = Lines::default();
    for (_, system) in &systems {
        let system = Arc::clone(system);
        lines.add(move || system.line());
    }

    let waiting =
        Waiting { config: &config, sealer: &sealer, notifier: &notifier, health: &health, clock: &clock, started_ms };
    let mut early: Option<Doors> = None;
    let identity = if let Some(identity) = identity {
        identity
    } else {
        let doors = early.insert(Doors::open(&config)?);
        tell_ready(&notifier, options, doors)?;
        let Some(identity) = waiting.for_identity(doors, &mut signals).await? else {
            notifier.stopping();
            return Ok(());
        };
        identity
    };
    let mut lock = Some(lock);
    let mut opening = async || {
        // A failed opening gives the directory back.
        let lock =
            lock.take().map_or_else(|| StateLock::acquire(&config.state_directory), Ok).map_err(AppError::Lock)?;
        let (shown, sealing) = (identity.clone(), sealer.clone());
        let opening = move |config: &Config, health: &Health| open(lock, &shown, &sealing, config, health);
        blocking(&config, &health, opening).await
    };
    let Opening { machine, store } = match opening().await {
        Err(error) if error.is_full_disk() => {
            let doors = if let Some(doors) = &early {
                doors
            } else {
                let doors = early.insert(Doors::open(&config)?);
                tell_ready(&notifier, options, doors)?;
                doors
            };
            let Some(opening) = waiting.for_space(doors, error, &mut signals, opening).await? else {
                notifier.stopping();
                return Ok(());
            };
            opening
        }
        other => other?,
    };
    let was_ready = early.is_some();
    let doors = early.map_or_else(|| Doors::open(&config), Ok)?;
    let listener = doors.health()?;

    let history = History::default();
    let engine_stop = CancellationToken::new();
    let (inventory_sender, inventory_at) = watch::channel(BTreeMap::new());
    let (engine, engine_run) = dispatch::build(
        EngineParts {
            clock: Arc::clone(&clock),
            health: health.clone(),
            history: history.clone(),
            sealer,
            log: store.journal.clone(),
            state: Box::new(store.state),
            identity: dispatch::Identity {
                store_id: store.opened.store_id.0,
                boot_counter: store.opened.boot_counter,
                kernel_boot_id: clock::kernel_boot_id(),
                machine,
                audience: identity.audience().clone(),
                authority: identity.authority_keys().clone(),
            },
            credentials: Arc::new(AuditSigner(identity.clone())),
            damaged: store.damaged,
            systems,
            policy_file: config.policy_file.clone(),
            disk_reserve_bytes: config.disk_reserve_bytes,
            inventory_at: inventory_sender,
        },
        engine_stop.clone(),
    );
    let mut engine_task = tokio::spawn(engine_run);

    let draining = CancellationToken::new();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let dialer = Dialer::new(config.proxy.clone());
    let time = TlsTime::new(Arc::clone(&clock));
    let transport = BridgeTransport::new(dialer.clone(), identity.clone(), time.clone());
    let tunnel = Tunnel::new(TunnelParts {
        transport: transport.clone(),
        engine: engine.clone(),
        signer: Arc::new(AuditSigner(identity.clone())),
        health: health.clone(),
        clock: Arc::clone(&clock),
        site: Site {
            bridge_id: identity.bridge_id().to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            lock_systems: descriptions.clone(),
            boot_nonce: boot_nonce()?,
        },
        inventory_at,
        draining: draining.clone(),
        stop: stop.clone(),
        random: rand::random::<u64>,
    });
    let link = tunnel.status();
    tasks.spawn(tunnel.run());
    tasks.spawn(transport.prove_sessions(link.clone(), Arc::clone(&clock), stop.clone()));
    let (copied, suspicion) = watch::channel(None);
    let (id, clocks, reasons) = (identity.clone(), Arc::clone(&clock), health.clone());
    tasks.spawn(identity::renewal::run(id, dialer, time, clocks, reasons, copied, stop.clone()));
    tasks.spawn(pass_on_suspicion(suspicion, engine.clone(), stop.clone()));

    for desk in config.front_desks.clone() {
        let desk = FrontDesk::new(desk, engine.clone(), Arc::clone(&clock), health.clone());
        let statistics = desk.statistics();
        lines.add(move || Some(statistics.status()));
        tasks.spawn(front_desk::run(desk, stop.clone()));
    }
    tasks.spawn(forget_rebuild(health.clone(), stop.clone()));
    tasks.spawn(telemetry::changes::run(health.clone(), Arc::clone(&clock), stop.clone()));

    let bridge = BridgeStatus {
        bridge_id: identity.bridge_id().to_owned(),
        workspace_name: identity.workspace_name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        started_ms,
    };
    let observer = Observer::new(Sources {
        clock: Arc::clone(&clock),
        health: health.clone(),
        link,
        bridge,
        systems: descriptions,
        lines,
        history: history.clone(),
        working: Some(Working {
            engine: engine.clone(),
            journal: Arc::clone(&store.journal),
            identity: identity.clone(),
        }),
    });
    tasks.spawn(health::watch(observer.clone(), Arc::clone(&clock), stop.clone()));
    let (journal, last_sequence) = (Arc::clone(&store.journal), store.opened.last_sequence);
    tasks.spawn_blocking(move || history::seed(&history, &journal, last_sequence, started_ms));
    let desk = EngineDesk::new(engine.clone(), observer.clone(), identity.clone());
    tasks.spawn(supervise::feed(notifier.clone(), health.clone(), stop.clone()));
    tasks.spawn(supervise::follow(notifier.clone(), observer.clone(), stop.clone()));
    tasks.spawn(control::serve(Arc::clone(&doors.control), desk, health.clone(), stop.clone()));
    let server_stop = stop.clone();
    let server = std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || health::server::serve(listener, observer, &server_stop))
        .map_err(AppError::Runtime)?;

    info!(bridge_id = identity.bridge_id(), health_address = %doors.health_address, "The bridge runs.");
    if !was_ready {
        tell_ready(&notifier, options, &doors)?;
    }

    let failed = tokio::select! {
        ended = &mut engine_task => Some(ended),
        () = signals.stop_or_reload(&engine) => None,
    };
    if let Some(ended) = failed {
        error!(?ended, "The engine ended by itself; the process ends so that recovery reads the disk.");
        stop.cancel();
        return Err(AppError::JournalFailed);
    }

    info!("Stopping: no new work; what executes is finished.");
    notifier.stopping();
    health.raise(Scope::Bridge, ReasonCode::Draining, "The bridge was told to stop.");
    draining.cancel();
    let drained = tokio::select! {
        drained = tokio::time::timeout(limits::DRAIN, engine.ask(EngineRequest::Drain)) => drained.is_ok(),
        () = signals.stop() => false,
    };
    if drained {
        let told = tokio::time::timeout(FAREWELL, everything_told(&engine));
        if told.await.is_err() {
            info!("Some reports stay for the next start.");
        }
    } else {
        warn!("Work in hand did not end in time; recovery settles it at the next start.");
    }
    engine_stop.cancel();
    let ended = engine_task.await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    if server.join().is_err() {
        warn!("The health thread panicked.");
    }
    match ended {
        Ok(Ok(())) => {
            info!("Stopped.");
            Ok(())
        }
        ended => {
            error!(?ended, "The engine did not end well.");
            Err(AppError::JournalFailed)
        }
    }
}

struct Taken {
    lock: StateLock,
    sealer: Sealer,
    identity: Option<Identity>,
}

/// The state directory, its key, and who this bridge is. Blocks on the disk.
fn take(config: &Config) -> Result<Taken, AppError> {
    let lock = StateLock::acquire(&config.state_directory).map_err(AppError::Lock)?;
    let sealer = identity::open_sealer(&config.state_directory, config.state_key.as_ref())?;
    let identity = Identity::load(&config.state_directory, &sealer)?;
    Ok(Taken { lock, sealer, identity })
}

struct Opening {
    machine: Machine,
    store: store::Opening,
}

/// All else that blocks on the disk.
fn open(
    lock: StateLock,
    identity: &Identity,
    sealer: &Sealer,
    config: &Config,
    health: &Health,
) -> Result<Opening, AppError> {
    // Only auditors miss it; a full disk must not keep the daemon from starting.
    if let Err(error) = identity.publish_audit_key() {
        warn!(error = %crate::net::chain_text(&error), "The public audit key was not laid out for auditors.");
    }
    let store = store::open(lock, config, health)?;
    let machine = identity::machine::look(&config.machine_id_file, sealer);
    Ok(Opening { machine, store })
}

/// Runs a step that blocks on the disk beside the runtime.
async fn blocking<T: Send + 'static>(
    config: &Config,
    health: &Health,
    step: impl FnOnce(&Config, &Health) -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    let (config, health) = (config.clone(), health.clone());
    let done = tokio::task::spawn_blocking(move || step(&config, &health)).await;
    done.map_err(|error| AppError::Runtime(std::io::Error::other(error)))?
}

/// Tells who started this process that it runs: as soon as there is somebody to ask, with an identity or without.
fn tell_ready(notifier: &Notifier, options: RunOptions, doors: &Doors) -> Result<(), AppError> {
    notifier.ready();
    if options.announce {
        announce(doors.health_address).map_err(AppError::Runtime)?;
    }
    Ok(())
}

type Systems = Vec<(LockSystemConfig, Arc<dyn LockSystem>)>;

fn lock_systems(config: &Config, clock: &Arc<dyn Clock>) -> Result<Systems, AppError> {
    config.lock_systems.iter().map(|system| Ok((system.clone(), lock_system(system, clock)?))).collect()
}

/// The adapter of a configured lock system; makes no connection.
pub fn lock_system(system: &LockSystemConfig, clock: &Arc<dyn Clock>) -> Result<Arc<dyn LockSystem>, AppError> {
    match &system.kind {
        LockSystemKind::SaltoSpace(_) => {
            let built = SaltoSpace::new(system.clone(), Arc::clone(clock));
            Ok(Arc::new(built.map_err(|error| AppError::LockSystem {
                name: system.name.clone(),
                problem: crate::net::chain_text(&error),
            })?))
        }
        LockSystemKind::Fias(fias) => Ok(Arc::new(Fias::new(system, fias.clone()))),
        LockSystemKind::SaltoPms(pms) => {
            let site = salto_pms::Site {
                lock_system: system.name.clone(),
                display_name: system.display_name.clone(),
                time_zone_name: system.time_zone_name.clone(),
                time_zone: system.time_zone.clone(),
                call_timeout: system.call_timeout,
            };
            Ok(Arc::new(salto_pms::SaltoPms::new(site, pms.clone())))
        }
    }
}

/// That the working set was rebuilt is news for an hour.
async fn forget_rebuild(health: Health, stop: CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(limits::STATE_REBUILT_NOTICE) => health.clear(Scope::Bridge, ReasonCode::StateRebuilt),
        () = stop.cancelled() => {}
    }
}

/// Tells the engine when renewal finds that this identity was copied.
async fn pass_on_suspicion(
    mut suspicion: watch::Receiver<Option<String>>,
    engine: EngineHandle,
    stop: CancellationToken,
) {
    while let Some(Ok(())) = stop.run_until_cancelled(suspicion.changed()).await {
        let Some(message) = suspicion.borrow_and_update().clone() else { continue };
        let request = EngineRequest::Suspect { reason: QuarantineReason::GenerationStale, message };
        if engine.send(request).await.is_err() {
            return; // the engine stopped, and so does the process
        }
    }
}

/// Waits until the hub has every report, or the session is gone for good; bounded by the caller.
async fn everything_told(engine: &EngineHandle) {
    // The feed ends with the engine; then nothing is left to tell either.
    let mut feed = engine.feed();
    let _ended = feed.wait_for(|feed| feed.outbox == 0).await;
}

#[derive(Debug)]
struct AuditSigner(Identity);

impl ReportSigner for AuditSigner {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        self.0.sign_report(report)
    }
}

impl Credentials for AuditSigner {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        self.0.sign_report(report)
    }

    fn in_use(&self) -> IdentityInUse {
        self.0.in_use()
    }
}

fn boot_nonce() -> Result<[u8; 16], AppError> {
    let mut nonce = [0; 16];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| AppError::Runtime(std::io::Error::other("the system has no random bytes")))?;
    Ok(nonce)
}

fn announce(health: std::net::SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({ "ready": true, "health": health.to_string(), "process": std::process::id() }))?;
    out.flush()
}

/// What tells the daemon to stop or to read its policy anew.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Cancelled when standard input closes, if that was asked for.
    input: CancellationToken,
}

impl Signals {
    fn listen(with_stdin: bool) -> std::io::Result<Self> {
        let input = CancellationToken::new();
        if with_stdin {
            let closed = input.clone();
            // A thread, because a read of standard input cannot be cancelled; it ends with the process.
            std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
                let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                closed.cancel();
                read
            })?;
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            input,
        })
    }

    /// Returns when told to stop; on SIGHUP the policy file is read anew.
    async fn stop_or_reload(&mut self, engine: &EngineHandle) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = self.input.cancelled() => return,
                _ = self.hangup.recv() => match engine.ask(EngineRequest::ReloadPolicy).await {
                    Ok(Ok(())) => info!("The policy file was read anew."),
                    Ok(Err(error)) => error!(%error, "The policy file does not hold."),
                    Err(error) => error!(%error, "The policy file was not read."),
                },
            }
        }
    }

    /// Returns when told to stop, while there is no policy to read yet.
    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = self.input.cancelled() => {}
        }
    }

    /// Returns when told to stop once more.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
