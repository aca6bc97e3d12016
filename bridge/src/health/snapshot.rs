//! One value that says how the bridge does: made for every probe, shown by the health server and by `lockbridge status`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::{Health, Hop, Lines, ReasonCode, Scope};
use crate::clock::Clock;
use crate::dispatch::{CommandSummary, DoubtSummary, EngineHandle, EngineRequest, EngineStatus};
use crate::history::History;
use crate::identity::Identity;
use crate::journal::{Journal, JournalStatistics};
use crate::limits::{SHOWN_DOUBTS, SHOWN_QUEUE};
use crate::link::LineStatus;
use crate::system::Description;
use crate::tunnel::TunnelStatus;

/// Longest wait for the engine's figures; beyond it the snapshot says that the engine is silent.
const ENGINE_ANSWER: Duration = Duration::from_secs(1);

/// What this bridge is, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BridgeStatus {
    /// Identity given at enrollment.
    pub bridge_id: String,
    /// Name of the workspace it belongs to.
    pub workspace_name: String,
    /// Version of this program.
    pub version: &'static str,
    /// When this process began, ms since the epoch.
    pub started_ms: i64,
}

/// Does it work?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All hops are well.
    Ready,
    /// Work goes on, something needs a look.
    Degraded,
    /// No lock system can be served now.
    Unready,
}

/// One reason, for people and machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonStatus {
    /// `cloud`, `bridge`, `lock_system:<name>` or `encoder:<system>/<name>`.
    pub scope: String,
    /// Stable code.
    pub code: &'static str,
    /// Stretch of the way, in the order in which one looks for a fault.
    pub hop: Hop,
    /// What it means.
    pub sentence: &'static str,
    /// This case.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
    /// Since when, ms since the epoch.
    pub since_ms: i64,
}

/// One lock system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockSystemStatus {
    /// Name in the configuration.
    pub name: String,
    /// `salto_space`, ...
    pub kind: &'static str,
    /// It answered the last probe and accepted us. `None`: it was not heard since the start, and nothing is known.
    pub reachable: Option<bool>,
}

/// The journal and the disk under it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StorageStatus {
    /// Free on the file system of the state directory, looked at every 10 s.
    pub disk_free_bytes: u64,
    /// Journal space prepared for any entry.
    pub ordinary_bytes: u64,
    /// Journal space prepared for revokes and outcomes only.
    pub reserve_bytes: u64,
    /// Counters of this process.
    #[serde(skip)]
    pub journal: JournalStatistics,
}

/// What waits, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The next commands, at most `limits::SHOWN_QUEUE`.
    pub queue: Vec<CommandSummary>,
    /// The oldest doubts, at most `limits::SHOWN_DOUBTS`.
    pub doubts: Vec<DoubtSummary>,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The answer in one word.
    pub state: State,
    /// Since when that is the answer, as far as somebody looked, ms since the epoch.
    pub since_ms: i64,
    /// When this was put together, ms since the epoch.
    pub now_ms: i64,
    /// Who.
    pub bridge: BridgeStatus,
    /// The cloud link.
    pub cloud: TunnelStatus,
    /// The lock systems.
    pub lock_systems: Vec<LockSystemStatus>,
    /// The byte lines; empty where there are none.
    pub lines: Vec<LineStatus>,
    /// The engine's figures; `None` when it did not answer in time.
    pub engine: Option<EngineStatus>,
    /// Journal and disk.
    pub storage: StorageStatus,
    /// Last second of the certificate in use, since the epoch; 0 without one.
    pub certificate_not_after: i64,
    /// Everything that holds, most local first.
    pub reasons: Vec<ReasonStatus>,
}

/// What snapshots are made of.
#[derive(Debug)]
pub struct Sources {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Reasons.
    pub health: Health,
    /// The link to the cloud.
    pub link: watch::Receiver<TunnelStatus>,
    /// Who this bridge is.
    pub bridge: BridgeStatus,
    /// The configured lock systems.
    pub systems: Vec<Description>,
    /// The byte lines.
    pub lines: Lines,
    /// What happened lately.
    pub history: History,
    /// What works once there is an identity.
    pub working: Option<Working>,
}

/// The parts that a daemon without an identity does not have.
#[derive(Debug)]
pub struct Working {
    /// Figures of the engine.
    pub engine: EngineHandle,
    /// Space and counters.
    pub journal: Arc<Journal>,
    /// Validity of the certificate.
    pub identity: Identity,
}

/// Where snapshots come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observer {
    parts: Arc<Sources>,
    /// The last answer, and since when it is given.
    standing: Arc<Mutex<Option<(State, i64)>>>,
}

impl Observer {
    /// Joins what a snapshot is made of.
    pub fn new(sources: Sources) -> Self {
        Self { parts: Arc::new(sources), standing: Arc::default() }
    }

    /// What happened lately.
    pub fn history(&self) -> &History {
        &self.parts.history
    }

    /// Wall time, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.parts.clock.wall_ms()
    }

    /// Follows the link to the cloud.
    pub(super) fn link(&self) -> watch::Receiver<TunnelStatus> {
        self.parts.link.clone()
    }

    /// What waits: the next commands and the oldest doubts. Empty when the engine is silent.
    pub async fn waiting(&self) -> Waiting {
        let both = async {
            let engine = self.engine()?;
            let queue = engine.ask(|done| EngineRequest::Queue(SHOWN_QUEUE, done)).await.ok()?;
            let mut doubts = engine.ask(EngineRequest::Doubts).await.ok()?;
            doubts.truncate(SHOWN_DOUBTS);
            Some(Waiting { queue, doubts })
        };
        tokio::time::timeout(ENGINE_ANSWER, both).await.ok().flatten().unwrap_or_default()
    }

    /// Asks every room that has something to say; bounded in time.
    pub async fn snapshot(&self) -> Snapshot {
        let parts = &self.parts;
        let engine = match self.engine() {
            Some(engine) => tokio::time::timeout(ENGINE_ANSWER, engine.ask(EngineRequest::Status)).await.ok(),
            None => None,
        };
        let engine = engine.and_then(Result::ok);
        let lock_systems: Vec<LockSystemStatus> = parts
            .systems
            .iter()
            .map(|system| LockSystemStatus {
                name: system.lock_system.clone(),
                kind: system.kind,
                reachable: self.reachable(&system.lock_system),
            })
            .collect();
        let reasons = self.reasons();
        let serves = lock_systems.iter().any(|system| system.reachable == Some(true));
        let state = match (&engine, serves, self.blocked()) {
            (None, _, _) | (_, false, _) | (_, _, true) => State::Unready,
            _ if reasons.is_empty() => State::Ready,
            _ => State::Degraded,
        };
        let cloud = parts.link.borrow().clone();
        let now_ms = self.now_ms();
        Snapshot {
            state,
            since_ms: self.since_ms(state, now_ms),
            now_ms,
            bridge: parts.bridge.clone(),
            cloud,
            lock_systems,
            lines: parts.lines.statuses(),
            engine,
            storage: self.storage(),
            certificate_not_after: parts.working.as_ref().map_or(0, |it| it.identity.certificate_times().not_after),
            reasons,
        }
    }

    /// Since when this is the answer; every probe and the history look often enough.
    fn since_ms(&self, state: State, now_ms: i64) -> i64 {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match *standing {
            Some((known, since_ms)) if known == state => since_ms,
            _ => {
                *standing = Some((state, now_ms));
                now_ms
            }
        }
    }

    fn storage(&self) -> StorageStatus {
        let Some(working) = &self.parts.working else { return StorageStatus::default() };
        let space = *working.journal.space().borrow();
        StorageStatus {
            disk_free_bytes: space.disk_free_bytes,
            ordinary_bytes: space.ordinary_bytes,
            reserve_bytes: space.reserve_bytes,
            journal: working.journal.statistics(),
        }
    }

    fn engine(&self) -> Option<&EngineHandle> {
        self.parts.working.as_ref().map(|working| &working.engine)
    }

    /// The registry that this is a view of.
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    fn reachable(&self, system: &str) -> Option<bool> {
        let scope = Scope::LockSystem(system.to_owned());
        let holds = |code: &ReasonCode| self.parts.health.holds(&scope, *code);
        // Without an engine nobody asks it.
        if self.engine().is_none() || holds(&ReasonCode::LockConnecting) {
            return None;
        }
        Some(![ReasonCode::LockServer, ReasonCode::LockLogin, ReasonCode::LockProtocol].iter().any(holds))
    }

    /// Reasons of this machine that stop work although a lock system answers (rule L1).
    fn blocked(&self) -> bool {
        [ReasonCode::Identity, ReasonCode::Disk, ReasonCode::Draining, ReasonCode::Quarantine]
            .iter()
            .any(|code| self.parts.health.holds(&Scope::Bridge, *code))
    }

    fn reasons(&self) -> Vec<ReasonStatus> {
        let mut reasons = self.parts.health.reasons();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.scope.clone()));
        reasons
            .into_iter()
            .map(|reason| ReasonStatus {
                scope: match &reason.scope {
                    Scope::Cloud => "cloud".to_owned(),
                    Scope::Bridge => "bridge".to_owned(),
                    Scope::LockSystem(name) => format!("lock_system:{name}"),
                    Scope::Encoder(system, name) => format!("encoder:{system}/{name}"),
                    Scope::FrontDesk(name) => format!("front_desk:{name}"),
                },
                code: reason.code.code(),
                hop: reason.code.hop(),
                sentence: reason.code.sentence(),
                message: reason.message,
                remedy: reason.code.remedy(),
                since_ms: reason.since_ms,
            })
            .collect()
    }
}
