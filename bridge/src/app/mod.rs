//! Wiring: configuration to running daemon, and the ordered stop. The only place that knows all rooms.
//!
//! Order of start: state directory, state key, identity, journal and working set, addresses, engine, tunnel. Readiness
//! does not wait for the cloud: ready means running and buffering. Order of stop (rule M1): no new work, the engine drains,
//! the tunnel says what is left to say, the journal closes. A deadline ends it; crash-only recovery does the rest.
//! Never: decides anything about commands.

mod error;
mod store;
mod transport;

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
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use error::AppError;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LockSystemConfig, LockSystemKind};
use crate::control;
use crate::dispatch::{self, Credentials, EngineHandle, EngineParts, EngineRequest};
use crate::health::{self, BridgeStatus, Health, Observer, ReasonCode, Scope};
use crate::identity::{self, Identity};
use crate::journal::StateLock;
use crate::limits;
use crate::net::{Dialer, TlsTime};
use crate::system::salto_space::SaltoSpace;
use crate::system::{Description, LockSystem};
use crate::telemetry;
use crate::tunnel::{ReportSigner, Site, Tunnel, TunnelParts};
use transport::BridgeTransport;

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
    let mut signals = Signals::listen(options.exit_with_stdin).map_err(AppError::Runtime)?;

    let opening = {
        let (config, health) = (config.clone(), health.clone());
        tokio::task::spawn_blocking(move || open(&config, &health))
            .await
            .map_err(|error| AppError::Runtime(std::io::Error::other(error)))??
    };
    let Opening { sealer, identity, machine, store } = opening;
    let systems = lock_systems(&config, &clock)?;
    let descriptions: Vec<Description> = systems.iter().map(|(_, system)| system.description().clone()).collect();

    let listener = health::server::bind(config.health_address)
        .map_err(|source| AppError::Address { address: config.health_address, source })?;
    let health_address = listener.local_addr().map_err(AppError::Runtime)?;
    let control_listener = control::bind(&config.control_socket)
        .map_err(|source| AppError::ControlSocket { path: config.control_socket.clone(), source })?;

    let engine_stop = CancellationToken::new();
    let (inventory_sender, inventory_at) = watch::channel(BTreeMap::new());
    let (engine, engine_run) = dispatch::build(
        EngineParts {
            clock: Arc::clone(&clock),
            health: health.clone(),
            sealer,
            log: store.journal.clone(),
            state: Box::new(store.state),
            identity: dispatch::Identity {
                store_id: store.opened.store_id.0,
                boot_counter: store.opened.boot_counter,
                kernel_boot_id: kernel_boot_id(),
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

    tasks.spawn(forget_rebuild(health.clone(), stop.clone()));
    tasks.spawn(telemetry::changes::run(health.clone(), Arc::clone(&clock), stop.clone()));

    let bridge = BridgeStatus {
        bridge_id: identity.bridge_id().to_owned(),
        workspace_name: identity.workspace_name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        started_ms,
    };
    let observer = Observer::new(health.clone(), engine.clone(), link, bridge, descriptions);
    tasks.spawn(control::serve(control_listener, engine.clone(), observer.clone(), stop.clone()));
    let server_stop = stop.clone();
    let server = std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || health::server::serve(listener, observer, &server_stop))
        .map_err(AppError::Runtime)?;

    info!(bridge_id = identity.bridge_id(), %health_address, "The bridge runs.");
    if options.announce {
        announce(health_address).map_err(AppError::Runtime)?;
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

struct Opening {
    sealer: crate::seal::Sealer,
    identity: Identity,
    machine: Machine,
    store: store::Opening,
}

/// Everything that blocks on the disk.
fn open(config: &Config, health: &Health) -> Result<Opening, AppError> {
    let lock = StateLock::acquire(&config.state_directory).map_err(AppError::Lock)?;
    let sealer = identity::open_sealer(&config.state_directory, config.state_key.as_ref())?;
    let identity = Identity::load(&config.state_directory, &sealer)?.ok_or(AppError::NotEnrolled)?;
    // Only auditors miss it; a full disk must not keep the daemon from starting.
    if let Err(error) = identity.publish_audit_key() {
        warn!(error = %crate::net::chain_text(&error), "The public audit key was not laid out for auditors.");
    }
    let store = store::open(lock, config, health)?;
    let machine = identity::machine::look(&config.machine_id_file, &sealer);
    Ok(Opening { sealer, identity, machine, store })
}

type Systems = Vec<(LockSystemConfig, Arc<dyn LockSystem>)>;

fn lock_systems(config: &Config, clock: &Arc<dyn Clock>) -> Result<Systems, AppError> {
    let build = |system: &LockSystemConfig| -> Result<_, AppError> {
        let adapter: Arc<dyn LockSystem> = match &system.kind {
            LockSystemKind::SaltoSpace(_) => {
                let built = SaltoSpace::new(system.clone(), Arc::clone(clock));
                Arc::new(built.map_err(|error| AppError::LockSystem {
                    name: system.name.clone(),
                    problem: crate::net::chain_text(&error),
                })?)
            }
        };
        Ok((system.clone(), adapter))
    };
    config.lock_systems.iter().map(build).collect()
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

/// Empty when the kernel does not tell: then every start counts as a new boot.
fn kernel_boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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
    with_stdin: bool,
}

impl Signals {
    fn listen(with_stdin: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            with_stdin,
        })
    }

    /// Returns when told to stop; on SIGHUP the policy file is read anew.
    async fn stop_or_reload(&mut self, engine: &EngineHandle) {
        let stdin = stdin_closed(self.with_stdin);
        tokio::pin!(stdin);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = &mut stdin => return,
                _ = self.hangup.recv() => match engine.ask(EngineRequest::ReloadPolicy).await {
                    Ok(Ok(())) => info!("The policy file was read anew."),
                    Ok(Err(error)) => error!(%error, "The policy file does not hold."),
                    Err(error) => error!(%error, "The policy file was not read."),
                },
            }
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

async fn stdin_closed(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let mut input = tokio::io::stdin();
    let mut ignored = [0_u8; 64];
    while matches!(input.read(&mut ignored).await, Ok(1..)) {}
}
