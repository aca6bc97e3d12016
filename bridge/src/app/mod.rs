//! Wiring: configuration to running daemon, and the ordered stop. The only place that knows all rooms.
//!
//! Order of start: state directory, state key, identity (or waiting for one), journal and working set, addresses, engine,
//! tunnel. Readiness does not wait for the cloud: ready means running and buffering, or waiting for an identity. Order of stop (rule M1): no new work, the engine drains,
//! the tunnel says what is left to say, the journal closes. A deadline ends it; crash-only recovery does the rest.
//! Never: decides anything about commands.

mod doors;
mod errands;
mod error;
mod opening;
mod signals;
mod signer;
pub mod space;
mod store;
mod systems;
mod transport;
mod waiting;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::doors::Doors;
use self::errands::{everything_told, forget_rebuild, pass_on_suspicion};
use self::opening::{Opening, Taken, blocking, open, take};
use self::signals::Signals;
use self::signer::AuditSigner;
use self::systems::lock_systems;
use self::transport::BridgeTransport;
use self::waiting::Waiting;
use crate::clock::{self, Clock, SystemClock};
use crate::config::Config;
use crate::control::{self, EngineDesk};
use crate::dispatch::{self, EngineParts, EngineRequest};
use crate::front_desk::{self, FrontDesk};
use crate::health::{self, BridgeStatus, Health, Lines, Observer, ReasonCode, Scope, Sources, Working};
use crate::history::{self, History};
use crate::identity;
use crate::journal::StateLock;
use crate::limits;
use crate::net::{Dialer, TlsTime};
use crate::supervise::{self, Notifier};
use crate::system::Description;
use crate::telemetry;
use crate::tunnel::{Site, Tunnel, TunnelParts};

pub use error::AppError;
pub use systems::lock_system;

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

/// Tells who started this process that it runs: as soon as there is somebody to ask, with an identity or without.
fn tell_ready(notifier: &Notifier, options: RunOptions, doors: &Doors) -> Result<(), AppError> {
    notifier.ready();
    if options.announce {
        announce(doors.health_address).map_err(AppError::Runtime)?;
    }
    Ok(())
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
