//! Putting the engine together.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lockbridge_protocol::proto::tunnel::Report;
use prost::Message;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::audit::Credentials;
use super::engine::{Engine, EngineError, Identity, State, System};
use super::log::Log;
use super::queue::Queue;
use super::watch::{Watched, watch as watch_system};
use super::{EngineHandle, OutboxReader, TunnelFeed};
use crate::clock::Clock;
use crate::config::LockSystemConfig;
use crate::grant::Catalog;
use crate::health::{Health, ReasonCode, Scope};
use crate::history::History;
use crate::limits::ENGINE_QUEUE;
use crate::seal::Sealer;
use crate::state::fold::{Meta, Pairs, SEALED_REPORT, View};
use crate::system::LockSystem;

/// All that the engine needs.
#[derive(Debug)]
pub struct EngineParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where reasons are told.
    pub health: Health,
    /// Where durable steps are told.
    pub history: History,
    /// Seals what holds names.
    pub sealer: Sealer,
    /// The journal.
    pub log: Arc<dyn Log>,
    /// Its fold, caught up with the journal.
    pub state: Box<dyn State>,
    /// Who this bridge is.
    pub identity: Identity,
    /// Its keys.
    pub credentials: Arc<dyn Credentials>,
    /// Entries that this opening of the journal could not read, first and last.
    pub damaged: Vec<(u64, u64)>,
    /// The site's lock systems.
    pub systems: Vec<(LockSystemConfig, Arc<dyn LockSystem>)>,
    /// Local policy file.
    pub policy_file: PathBuf,
    /// Free space below which only safety commands are accepted.
    pub disk_reserve_bytes: u64,
    /// Told the time of each complete inventory scan by lock system, ms since the epoch.
    pub inventory_at: watch::Sender<BTreeMap<String, i64>>,
}

/// Builds the engine: its handle, and the future that runs it until the token is cancelled or the disk fails. The future
/// must be driven; it owns the tasks that watch the lock systems.
pub fn build(
    parts: EngineParts,
    shutdown: CancellationToken,
) -> (EngineHandle, impl Future<Output = Result<(), EngineError>> + Send) {
    let (sender, requests) = mpsc::channel(ENGINE_QUEUE);
    let (feed, shown) = watch::channel(TunnelFeed::default());
    let outbox = Arc::new(StoredOutbox {
        reader: Mutex::new(Some(parts.state.reader())),
        sealer: parts.sealer.clone(),
        feed: shown.clone(),
    });
    let handle = EngineHandle::new(sender.clone(), shown, Arc::clone(&outbox) as Arc<dyn OutboxReader>);
    let mut systems = BTreeMap::new();
    let mut watched = Vec::new();
    for (config, adapter) in parts.systems {
        let (probe_now, scan_now) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let reread_events = Arc::new(Notify::new());
        watched.push(Watched {
            config: config.clone(),
            adapter: Arc::clone(&adapter),
            probe_now: Arc::clone(&probe_now),
            scan_now: Arc::clone(&scan_now),
            reread_events: Arc::clone(&reread_events),
        });
        let name = config.name.clone();
        // The first probe takes it away, or puts what it found in its place.
        let asked = format!("`{name}` is asked");
        parts.health.raise(Scope::LockSystem(name.clone()), ReasonCode::LockConnecting, asked);
        let system = System {
            config,
            adapter,
            catalog: Catalog::default(),
            reachable: None,
            unreachable: "not heard since the start".to_owned(),
            leases: std::collections::BTreeSet::new(),
            freed: BTreeMap::new(),
            rooms_held: std::collections::BTreeSet::new(),
            running: 0,
            probe_now,
            scan_now,
            reread_events,
            events_refused: false,
            scan_waiters: Vec::new(),
            scan: super::intake::Scan::default(),
            inventoried: false,
        };
        systems.insert(name, system);
    }
    let durable = *parts.log.durable().borrow();
    let engine = Engine {
        pulse: parts.health.pulse("engine"),
        clock: parts.clock,
        health: parts.health,
        history: parts.history,
        sealer: parts.sealer,
        log: parts.log,
        state: parts.state,
        identity: parts.identity,
        credentials: parts.credentials,
        identity_noted: None,
        systems,
        policy_file: parts.policy_file,
        policy: None,
        disk_reserve_bytes: parts.disk_reserve_bytes,
        inventory_at: parts.inventory_at,
        meta: Meta::default(),
        last_sequence: durable.through,
        durable,
        held: VecDeque::new(),
        queue: Queue::default(),
        running: HashMap::new(),
        questions: HashMap::new(),
        effects: JoinSet::new(),
        desk: HashMap::new(),
        stays: super::front_desk::Stays::default(),
        jobs: super::front_desk::Jobs::default(),
        session: super::session::Credits::default(),
        loss: super::loss::Loss::found(&parts.damaged),
        feed,
        draining: false,
        drained: Vec::new(),
        unreported: 0,
        reported_at: std::time::Duration::ZERO,
        clock_seen: (0, std::time::Duration::ZERO),
        shutdown: shutdown.clone(),
    };
    let run = async move {
        let mut tasks = JoinSet::new();
        let stop = shutdown.child_token();
        for system in &watched {
            watch_system(&mut tasks, system, &sender, &stop);
        }
        drop(sender);
        let (result, state) = engine.run(requests).await;
        stop.cancel();
        tasks.shutdown().await;
        // The working set closes cleanly only when nobody can read it any more.
        outbox.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if result.is_ok() && tokio::task::spawn_blocking(move || state.close()).await.is_err() {
            tracing::warn!("Closing the working set panicked; the next start rebuilds it.");
        }
        result
    };
    (handle, run)
}

/// The outbox, read from the folded state.
struct StoredOutbox {
    reader: Mutex<Option<Arc<dyn Pairs + Send + Sync>>>,
    sealer: Sealer,
    feed: watch::Receiver<TunnelFeed>,
}

impl std::fmt::Debug for StoredOutbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StoredOutbox(..)")
    }
}

impl OutboxReader for StoredOutbox {
    fn read(&self, from: u64, count: usize, bytes: usize) -> Vec<(u64, Vec<u8>)> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(reader) = reader else { return Vec::new() };
        // The state runs ahead of the disk; what is not durable yet is nobody's business.
        let durable = self.feed.borrow().reports_last;
        let mut found = Vec::new();
        let mut size = 0_usize;
        for (sequence, record) in View::new(&*reader).reports(from, count).unwrap_or_default() {
            let plain = self.sealer.open(SEALED_REPORT, &record.sealed).ok();
            let Some(plain) = plain.filter(|plain| sequence <= durable && Report::decode(plain.as_slice()).is_ok())
            else {
                break;
            };
            size = size.saturating_add(plain.len());
            if size > bytes && !found.is_empty() {
                break;
            }
            found.push((sequence, plain));
        }
        found
    }
}
