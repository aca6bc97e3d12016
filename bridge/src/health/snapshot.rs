//! One value that says how the bridge does: made for every probe, shown by the health server and by `lockbridge status`.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::{Health, ReasonCode, Scope};
use crate::dispatch::{EngineHandle, EngineRequest, EngineStatus};
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
    /// It answered the last probe and accepted us.
    pub reachable: bool,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The answer in one word.
    pub state: State,
    /// Who.
    pub bridge: BridgeStatus,
    /// The cloud link.
    pub cloud: TunnelStatus,
    /// The lock systems.
    pub lock_systems: Vec<LockSystemStatus>,
    /// The engine's figures; `None` when it did not answer in time.
    pub engine: Option<EngineStatus>,
    /// Everything that holds, most local first.
    pub reasons: Vec<ReasonStatus>,
}

/// Where snapshots come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observer {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    health: Health,
    /// `None` while there is no identity yet, and so no work.
    engine: Option<EngineHandle>,
    link: watch::Receiver<TunnelStatus>,
    bridge: BridgeStatus,
    systems: Vec<Description>,
}

impl Observer {
    /// Joins what a snapshot is made of.
    pub fn new(
        health: Health,
        engine: EngineHandle,
        link: watch::Receiver<TunnelStatus>,
        bridge: BridgeStatus,
        systems: Vec<Description>,
    ) -> Self {
        Self { parts: Arc::new(Parts { health, engine: Some(engine), link, bridge, systems }) }
    }

    /// For a daemon that waits for its identity: there is no engine, no link, and no lock system is asked yet.
    pub fn waiting(health: Health, bridge: BridgeStatus) -> Self {
        let (_, link) = watch::channel(TunnelStatus::default());
        Self { parts: Arc::new(Parts { health, engine: None, link, bridge, systems: Vec::new() }) }
    }

    /// Asks every room that has something to say; bounded in time.
    pub async fn snapshot(&self) -> Snapshot {
        let parts = &self.parts;
        let engine = match &parts.engine {
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
        let serves = lock_systems.iter().any(|system| system.reachable);
        let state = match (&engine, serves, self.blocked()) {
            (None, _, _) | (_, false, _) | (_, _, true) => State::Unready,
            _ if reasons.is_empty() => State::Ready,
            _ => State::Degraded,
        };
        let cloud = parts.link.borrow().clone();
        Snapshot { state, bridge: parts.bridge.clone(), cloud, lock_systems, engine, reasons }
    }

    /// The registry that this is a view of.
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    fn reachable(&self, system: &str) -> bool {
        let scope = Scope::LockSystem(system.to_owned());
        [ReasonCode::LockServer, ReasonCode::LockLogin, ReasonCode::LockProtocol]
            .iter()
            .all(|code| !self.parts.health.holds(&scope, *code))
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
                },
                code: reason.code.code(),
                sentence: reason.code.sentence(),
                message: reason.message,
                remedy: reason.code.remedy(),
                since_ms: reason.since_ms,
            })
            .collect()
    }
}
