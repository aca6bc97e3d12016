//! What the bridge's end is told, what it asks for, and how it ends.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::limits::{SILENCE, WELCOME_TIMEOUT};
use crate::proto::tunnel::{
    BridgeHeartbeat, Delivery, HealthReport, LaneGap, LostCommands, NumberedReport, Quarantine, RefuseCode, Witness,
};
use crate::tunnel::frame::FrameError;
use crate::tunnel::session::{Close, Violation};

/// What happened at the bridge.
#[derive(Debug)]
pub enum BridgeEvent<'a> {
    /// A binary message arrived.
    Message(&'a [u8]),
    /// A text message arrived.
    Text,
    /// The websocket refused a message of this many bytes before it was read.
    Oversized(usize),
    /// Anything else arrived: ping, pong, bytes of an unfinished message.
    Alive,
    /// The deadline passed.
    Timer,
    /// The engine made the epoch durable; credit may follow.
    EpochDurable,
    /// Every delivery up to here has a durable decision.
    CommandsDurable(u64),
    /// Credit totals of this session (safety, interactive, convergent, background), and why they do not grow.
    Credit([u64; 4], &'a str),
    /// Every report up to here is durable in the outbox.
    ReportsMade(u64),
    /// Signed reports, as [`BridgeSession::reports_wanted`](super::BridgeSession::reports_wanted) asked for.
    Reports(Vec<NumberedReport>),
    /// The figures that [`BridgeAction::HeartbeatDue`] asked for.
    Heartbeat(BridgeHeartbeat),
    /// What holds now; sent if it changed, and with every heartbeat.
    Health(HealthReport),
    /// A lane misses a sequence.
    LaneGap(LaneGap),
    /// This process stops: take no more deliveries.
    Drain,
    /// All is said; close.
    Finish,
    /// The connection is gone: closed by the peer, or broken.
    Disconnected(String),
}

/// What the bridge's actor is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum BridgeAction {
    /// Send a binary message.
    Send(Bytes),
    /// Send a transport ping.
    Ping,
    /// Make the epoch durable, then say [`BridgeEvent::EpochDurable`].
    Welcomed(Welcomed),
    /// Hand these to the engine, in order.
    Deliver(Vec<Delivery>),
    /// The cloud holds every report up to here.
    ReportsDurable(u64),
    /// Keep the authority's counter-signature.
    Witness(Witness),
    /// What stood under deliveries that were told as lost.
    LostCommands(LostCommands),
    /// The hub holds this bridge in quarantine, as it says now.
    Quarantine(Quarantine),
    /// The hub's wall time, in ms since the epoch, as just received.
    HubTime(i64),
    /// Say [`BridgeEvent::Heartbeat`] with the figures of now.
    HeartbeatDue,
    /// Close the connection. Always the last action of a session.
    Close(Close, BridgeEnd),
}

/// The Welcome, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcomed {
    /// Of this session; higher than all before.
    pub epoch: u64,
    /// The hub's cursor up.
    pub reports_durable_through: u64,
    /// Spread of the first retry after this session, in seconds.
    pub reconnect_window_s: u32,
    /// The workspace, for people.
    pub workspace_name: String,
    /// The hub holds this bridge in quarantine. Then its cursor up may lie past what this journal made.
    pub quarantine: Option<Quarantine>,
}

/// Reports to read, sign and pass to [`BridgeEvent::Reports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportsWanted {
    /// First sequence.
    pub from: u64,
    /// How many at most; never 0.
    pub count: usize,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BridgeEnd {
    /// The hub will not have this bridge, now or at all.
    #[error("the hub refuses the session: {} ({message})", .code.as_str_name())]
    Refused {
        /// Why.
        code: RefuseCode,
        /// The hub's sentence.
        message: String,
        /// Versions the hub speaks, lowest and highest, for a version refusal.
        versions: (u32, u32),
        /// When to come back, if the hub says.
        retry_after: Option<Duration>,
    },
    /// The hub stops, and asks to come back between these two times.
    #[error("the hub drains")]
    Drained {
        /// Earliest.
        from: Duration,
        /// Latest.
        to: Duration,
    },
    /// Nothing arrived for 45 s.
    #[error("nothing arrived from the hub for {} s", SILENCE.as_secs())]
    Silent,
    /// No answer to Hello.
    #[error("the hub did not answer Hello within {} s", WELCOME_TIMEOUT.as_secs())]
    NoWelcome,
    /// The hub broke the protocol.
    #[error("the hub broke the tunnel protocol: {0}")]
    Violation(#[from] Violation),
    /// The hub's report cursor cannot be right.
    #[error(
        "the cloud holds reports through {theirs}, this bridge keeps {first_kept} to {last}: one of the two was restored from an older copy"
    )]
    CursorMismatch {
        /// The hub's cursor.
        theirs: u64,
        /// Lowest report kept here.
        first_kept: u64,
        /// Highest report made here.
        last: u64,
    },
    /// A frame of our own is larger than the tunnel carries.
    #[error("a frame of this bridge cannot be sent: {0}")]
    Unsendable(FrameError),
    /// The connection went away.
    #[error("the connection to the hub was lost: {0}")]
    Disconnected(String),
    /// This process stops.
    #[error("the bridge stops")]
    Finished,
}
