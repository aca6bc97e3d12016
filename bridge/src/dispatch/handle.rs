//! How other rooms speak to the engine: a bounded queue of requests, and one watched value for the tunnel.

use std::sync::Arc;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{
    Delivery, KeyOperation, LostCommands, Quarantine, QuarantineReason, Report, Witness,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use super::desk::EncoderJob;
use super::front_desk::{DeskAnswers, DeskOrderRequest};
use crate::system::{Intake, OperationError, Probe};

/// The engine stopped, or refuses what was asked on site.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The daemon is stopping or failed; its log says why.
    #[error("the engine has stopped")]
    Stopped,
    /// Not possible now, with the model's code and a sentence.
    #[error("{message}")]
    Refused {
        /// The model's code, or one of the reason codes.
        code: String,
        /// What, where, and the next step.
        message: String,
    },
}

/// What a session needs of the journal to resume (rule G10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// 16 random bytes made with the journal.
    pub store_id: [u8; 16],
    /// Starts of this journal.
    pub boot_counter: u64,
    /// Highest durable journal sequence.
    pub journal_sequence: u64,
    /// Every delivery up to here has a durable decision.
    pub commands_durable_through: u64,
    /// Lowest report still in the outbox, or one past the last.
    pub reports_first_kept: u64,
    /// Highest report ever made.
    pub reports_last: u64,
    /// Highest session epoch ever opened.
    pub highest_epoch_seen: u64,
    /// Durable quarantine; `None`: none.
    pub quarantine: Option<Quarantine>,
    /// Highest incident that was left.
    pub quarantine_left: u64,
}

/// What the tunnel shows the hub, as of the last durable commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TunnelFeed {
    /// Every delivery up to here has a durable decision.
    pub commands_durable_through: u64,
    /// Highest durable report.
    pub reports_last: u64,
    /// Credit totals of this session by priority (safety, interactive, convergent, background).
    pub credits: [u64; 4],
    /// Why totals do not grow; empty when they do.
    pub credit_reason: &'static str,
    /// Lanes that miss a sequence.
    pub lane_gaps: Vec<LaneGapNotice>,
    /// For the heartbeat.
    pub journal_sequence: u64,
    /// For the heartbeat.
    pub queued: u32,
    /// For the heartbeat.
    pub executing: u32,
    /// For the heartbeat.
    pub in_doubt: u32,
    /// For the heartbeat.
    pub outbox: u32,
    /// Durable quarantine; `None`: none.
    pub quarantine: Option<Quarantine>,
    /// Highest incident that was left.
    pub quarantine_left: u64,
    /// Deliveries that the journal lost, first and last, once the cloud can answer for them.
    pub lost: Vec<(u64, u64)>,
    /// Who is at an encoder and who waits for it.
    pub encoder_jobs: Vec<EncoderJob>,
}

/// A lane that misses a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneGapNotice {
    /// Lock system.
    pub lock_system: String,
    /// Lane.
    pub lane: String,
    /// First missing.
    pub expected: u64,
    /// First held.
    pub have: u64,
}

/// One command in the queue, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSummary {
    /// Text form of the id.
    pub command_id: String,
    /// `put_grant`, ...
    pub kind: String,
    /// Where.
    pub lock_system: String,
    /// Ordered queue it stands in.
    pub lane: String,
    /// `queued`, `executing`, `in_doubt`, ...
    pub state: String,
    /// 0..=3 as in P0..P3.
    pub priority: u8,
    /// Attempts begun.
    pub attempt: u32,
    /// When it was received, ms since the epoch.
    pub received_ms: i64,
    /// When it ends of itself, ms since the epoch.
    pub expires_ms: i64,
    /// Why it waits; empty when it is simply not its turn.
    pub waits_for: String,
    /// Its place at an encoder; `None`: it needs none, or its encoder is no longer concerned.
    pub encoder_job: Option<EncoderJob>,
    /// Last error code; empty when none.
    pub last_error: String,
}

/// One doubt, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtSummary {
    /// The command.
    pub command: CommandSummary,
    /// Lock system or encoder that was asked.
    pub device: String,
    /// Since when, ms since the epoch.
    pub since_ms: i64,
    /// What is known, in one sentence.
    pub evidence: String,
    /// What to look at, in one sentence.
    pub advice: String,
}

/// A person's answer to a doubt (rule B7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtVerdict {
    /// The card came out written.
    Done,
    /// No card was written.
    NotDone,
    /// Nobody knows: give up, with a compensation that makes the maybe-card worthless (rule B9).
    Unsure,
}

/// Encode a known grant's card on site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct EncodeLocally {
    /// Which grant; it must have reached the lock server.
    pub grant_id: String,
    /// Lock system; may be empty when the bridge has one.
    pub lock_system: String,
    /// Encoder, by the lock system's id; may be empty when the system has one.
    pub encoder: String,
    /// Id that the command is to have, drawn by whoever asks so that the job can be followed; empty: any.
    #[serde(default)]
    pub command_id: String,
    /// `None`: decided from what the lock server says of the holder.
    #[serde(skip)]
    pub operation: Option<KeyOperation>,
}

/// Figures for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    /// Highest durable journal sequence.
    pub journal_sequence: u64,
    /// Commands that wait.
    pub queued: u64,
    /// Commands with a durable intent and no outcome.
    pub executing: u64,
    /// Commands in doubt.
    pub in_doubt: u64,
    /// Reports the cloud has not acknowledged.
    pub outbox: u64,
    /// Ended since the journal began.
    pub ended: u64,
    /// Commands not ended, by priority P0..P3.
    pub live: [u64; 4],
    /// How many more may come, by priority P0..P3.
    pub room: [u64; 4],
    /// Why the cloud is given no more credit than for safety commands: `disk_low`, `inbox_full`, ...; empty: it is.
    pub held_back: &'static str,
    /// Since when the oldest doubt is open, ms since the epoch; 0: none.
    pub oldest_doubt_ms: i64,
    /// The local brake (rule I9).
    pub brake: bool,
    /// Quarantine (rule H9), while it holds.
    pub quarantine: Option<QuarantineStatus>,
}

/// A quarantine, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QuarantineStatus {
    /// `state_rolled_back`, `state_replaced`, `duplicate_session`, `generation_stale`, `machine_changed`.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// Since when, ms since the epoch; restarts do not change it.
    pub since_ms: i64,
    /// The cloud's operator has released it.
    pub released_at_cloud: bool,
    /// Somebody at the site has released it.
    pub released_at_site: bool,
}

/// What came of releasing a quarantine at the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftAnswer {
    /// It is over; otherwise the cloud's operator has still to release it.
    pub left: bool,
}

/// What the engine is asked. Each variant is one decision of the engine, answered through its sender where one is due.
#[derive(Debug)]
pub enum EngineRequest {
    /// A session is about to open: what Hello needs.
    Resume(oneshot::Sender<Resume>),
    /// Welcome arrived; answered when the epoch is durable. `reports_durable_through` is the hub's cursor.
    SessionOpened {
        /// Of the Welcome.
        epoch: u64,
        /// The hub's cursor up.
        reports_durable_through: u64,
        /// The hub holds this bridge in quarantine.
        quarantine: Option<Quarantine>,
        /// Answered when durable, the quarantine too.
        done: oneshot::Sender<()>,
    },
    /// The hub says, during a session, what its quarantine of this bridge is.
    Quarantined(Quarantine),
    /// Something that only a copy or an old state explains was met outside of the engine.
    Suspect {
        /// What.
        reason: QuarantineReason,
        /// One sentence for a person.
        message: String,
    },
    /// Somebody at the site releases the quarantine; answered when durable.
    LiftQuarantine {
        /// "uid 0".
        who: String,
        /// Answered when durable.
        done: oneshot::Sender<Result<LiftAnswer, ControlError>>,
    },
    /// The session ended: queued interactive commands of the cloud end with it (rule C8).
    SessionLost,
    /// Commands from the hub, in wire order.
    Deliver(Vec<Delivery>),
    /// The hub has these reports.
    ReportsDurable(u64),
    /// The authority's counter-signature.
    Witness(Witness),
    /// What stood under deliveries that the journal lost.
    LostCommands(LostCommands),
    /// From inventory scan or event intake of a lock system.
    Intake {
        /// Which.
        lock_system: String,
        /// What.
        intake: Intake,
    },
    /// An inventory scan gave up; what it saw so far stands, and nothing is taken for gone.
    ScanFailed {
        /// Which.
        lock_system: String,
        /// Why.
        error: OperationError,
    },
    /// Result of a probe; the engine stops starting effects at an unreachable system.
    Probed {
        /// Which.
        lock_system: String,
        /// What came of it.
        result: Result<Probe, OperationError>,
    },
    /// Where event reading goes on; empty at first.
    EventCursor {
        /// Which lock system.
        lock_system: String,
        /// The cursor.
        answer: oneshot::Sender<String>,
    },
    /// Figures.
    Status(oneshot::Sender<EngineStatus>),
    /// Commands not ended, next first, at most the number given.
    Queue(usize, oneshot::Sender<Vec<CommandSummary>>),
    /// Commands in doubt.
    Doubts(oneshot::Sender<Vec<DoubtSummary>>),
    /// A person resolves a doubt; answered when durable.
    Resolve {
        /// Which.
        command_id: CommandId,
        /// How.
        verdict: DoubtVerdict,
        /// "uid 1000".
        who: String,
        /// Answered when durable.
        done: oneshot::Sender<Result<(), ControlError>>,
    },
    /// A person encodes on site; answered with the ended command's report, or the refusal.
    EncodeLocally {
        /// What.
        request: EncodeLocally,
        /// "uid 1000".
        who: String,
        /// Answered at the end of the command.
        done: oneshot::Sender<Result<Report, ControlError>>,
    },
    /// Who is at an encoder and who waits for it.
    EncoderJobs(oneshot::Sender<Vec<EncoderJob>>),
    /// Somebody on site takes back a command that has not begun; answered when durable.
    Cancel {
        /// Which.
        command_id: CommandId,
        /// "uid 1000".
        who: String,
        /// Answered with the refusal when it is too late.
        done: oneshot::Sender<Result<(), ControlError>>,
    },
    /// The front desk's property software asks for something; answered as far as it is known.
    FrontDesk {
        /// What.
        order: Box<DeskOrderRequest>,
        /// Told at most twice: in doubt, and what came of it.
        answers: DeskAnswers,
    },
    /// The brake (rule I9); answered when durable.
    Brake {
        /// On or off.
        on: bool,
        /// "uid 1000".
        who: String,
        /// Answered when durable.
        done: oneshot::Sender<()>,
    },
    /// Take the policy file anew.
    ReloadPolicy(oneshot::Sender<Result<(), ControlError>>),
    /// Stop accepting, cancel queued interactive commands, finish what executes; answered when nothing executes.
    Drain(oneshot::Sender<()>),
}

/// Reads durable reports back out of the outbox.
pub trait OutboxReader: std::fmt::Debug + Send + Sync + 'static {
    /// Encoded [`Report`]s from sequence `from` on, in order, at most `count` and about `bytes`.
    fn read(&self, from: u64, count: usize, bytes: usize) -> Vec<(u64, Vec<u8>)>;
}

/// The way in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    requests: mpsc::Sender<EngineRequest>,
    feed: watch::Receiver<TunnelFeed>,
    outbox: Arc<dyn OutboxReader>,
}

impl EngineHandle {
    /// Joins the three ends; made by the engine's builder.
    pub fn new(
        requests: mpsc::Sender<EngineRequest>,
        feed: watch::Receiver<TunnelFeed>,
        outbox: Arc<dyn OutboxReader>,
    ) -> Self {
        Self { requests, feed, outbox }
    }

    /// Queues a request; waits while the queue is full.
    pub async fn send(&self, request: EngineRequest) -> Result<(), ControlError> {
        self.requests.send(request).await.map_err(|_| ControlError::Stopped)
    }

    /// Queues a request and waits for its answer.
    pub async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> EngineRequest) -> Result<T, ControlError> {
        let (sender, receiver) = oneshot::channel();
        self.send(request(sender)).await?;
        receiver.await.map_err(|_| ControlError::Stopped)
    }

    /// What the tunnel shows the hub; wakes on every durable change.
    pub fn feed(&self) -> watch::Receiver<TunnelFeed> {
        self.feed.clone()
    }

    /// The durable outbox.
    pub fn outbox(&self) -> Arc<dyn OutboxReader> {
        Arc::clone(&self.outbox)
    }
}
