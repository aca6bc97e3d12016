//! What the hub's end is told, what it asks for, and how it ends.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::limits::{COMMAND_BYTES, SILENCE, WELCOME_TIMEOUT};
use crate::proto::tunnel::{
    BridgeHeartbeat, HealthReport, Hello, LaneGap, LostCommands, NumberedReport, Quarantine, RefuseCode, Witness,
};
use crate::tunnel::frame::FrameError;
use crate::tunnel::session::{Close, KnownStore, Violation};

/// What the hub offers every bridge; goes into Welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// Milliseconds between application heartbeats; 0 means 60 s.
    pub heartbeat_interval_ms: u32,
    /// Spread of the first retry after a lost session (rule G4), in seconds.
    pub reconnect_window_s: u32,
    /// Reports a bridge may have in flight.
    pub report_window: u32,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self { heartbeat_interval_ms: 60_000, reconnect_window_s: 15, report_window: 512 }
    }
}

/// What the hub's database knows of the bridge whose Hello came, and the epoch it opened for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// New, durable, higher than every one before for this bridge.
    pub epoch: u64,
    /// Highest delivery ever numbered for this bridge.
    pub deliveries_sent_through: u64,
    /// Highest delivery the bridge ever acknowledged.
    pub deliveries_durable_through: u64,
    /// Every report up to here is durable at the cloud.
    pub reports_durable_through: u64,
    /// The journal the bridge last showed, if any.
    pub store: Option<KnownStore>,
    /// Highest epoch in which the bridge was heard: a later Hello of the same state knows at least this one.
    pub epoch_heard: u64,
    /// The bridge is in quarantine, and the cursors above were set to what its journal says.
    pub quarantine: Option<Quarantine>,
    /// Wall time, ms since the epoch.
    pub hub_time_ms: i64,
    /// Of the bridge.
    pub workspace_id: String,
    /// For people.
    pub workspace_name: String,
}

/// A session refused, with what the bridge is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefuseCode,
    /// One sentence for a person.
    pub message: String,
    /// When to come back, if that makes sense.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a time to come back.
    pub fn new(code: RefuseCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }
}

/// What happened at the hub.
#[derive(Debug)]
pub enum HubEvent<'a> {
    /// A binary message arrived.
    Message(&'a [u8]),
    /// A text message arrived.
    Text,
    /// The websocket refused a message of this many bytes before it was read.
    Oversized(usize),
    /// Anything else arrived: ping, pong.
    Alive,
    /// The deadline passed.
    Timer,
    /// Answer to [`HubAction::Hello`]: the database knows the bridge.
    Admit(Box<Admission>),
    /// The server will not have this session, now or any more.
    Refuse(Refusal),
    /// Every report up to here is durable.
    ReportsDurable(u64),
    /// The wall time that [`HubAction::HeartbeatDue`] asked for, ms since the epoch.
    Heartbeat(i64),
    /// The authority's counter-signature for the bridge.
    Witness(Witness),
    /// What stood under deliveries that the bridge lost.
    LostCommands(LostCommands),
    /// The bridge's quarantine as it holds now, and the wall time, ms since the epoch. Told when it is news.
    Quarantine(Option<Quarantine>, i64),
    /// The server stops: bridges are to come back after a time between these, in seconds.
    Drain {
        /// Earliest.
        from_s: u32,
        /// Latest.
        to_s: u32,
    },
    /// The connection is gone.
    Disconnected(String),
}

/// What the hub's server is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum HubAction {
    /// Send a binary message.
    Send(Bytes),
    /// Send a transport ping.
    Ping,
    /// Look the bridge up, open an epoch, then say [`HubEvent::Admit`] or [`HubEvent::Refuse`].
    Hello(Box<Hello>),
    /// The session is open; deliveries may be [wanted](super::HubSession::wanted) from now on.
    Opened,
    /// The bridge no longer has these reports and the hub never got them: record the loss. First and last.
    ReportsMissing(u64, u64),
    /// The bridge has durable decisions on every delivery up to here.
    CommandsDurable(u64),
    /// Store these, in order; then say [`HubEvent::ReportsDurable`].
    Reports(Vec<NumberedReport>),
    /// More may be sent, or it is told why not (empty when credit flows).
    Credit {
        /// What may be sent now: safety, interactive, convergent, background.
        room: [u64; 4],
        /// The bridge's reason for giving no more.
        reason: String,
    },
    /// Figures of the bridge.
    Heartbeat(BridgeHeartbeat),
    /// What holds at the bridge now; replaces the one before.
    Health(HealthReport),
    /// Resend what the lane misses, if it exists, as new deliveries.
    LaneGap(LaneGap),
    /// The bridge stops: no more deliveries, reports may follow.
    BridgeDraining,
    /// Say [`HubEvent::Heartbeat`] with the wall time of now.
    HeartbeatDue,
    /// Close the connection. Always the last action of a session.
    Close(Close, HubEnd),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HubEnd {
    /// The hub refused it.
    #[error("refused: {} ({})", .0.code.as_str_name(), .0.message)]
    Refused(Refusal),
    /// No Hello.
    #[error("the bridge sent no Hello within {} s", WELCOME_TIMEOUT.as_secs())]
    NoHello,
    /// Nothing arrived for 45 s.
    #[error("nothing arrived from the bridge for {} s", SILENCE.as_secs())]
    Silent,
    /// The bridge broke the protocol.
    #[error("the bridge broke the tunnel protocol: {0}")]
    Violation(#[from] Violation),
    /// A frame of the hub's own is larger than the tunnel carries.
    #[error("a frame of the hub cannot be sent: {0}")]
    Unsendable(FrameError),
    /// The connection went away.
    #[error("the connection to the bridge was lost: {0}")]
    Disconnected(String),
    /// The hub drained it.
    #[error("the hub drains")]
    Drained,
}

/// What the session could send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: not open, draining, or no credit for what is next. [`HubAction::Credit`] can change that.
    Nothing,
    /// Deliveries numbered in an earlier session, in order, before anything new.
    Resend {
        /// First.
        from: u64,
        /// Last.
        through: u64,
    },
    /// New commands, numbered from `from` on, at most `room` of each priority (safety, interactive, convergent, background).
    New {
        /// First number to give.
        from: u64,
        /// How many of each priority.
        room: [u64; 4],
    },
}

/// Why deliveries were not taken. The server's mistake, not the bridge's; the session goes on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeliverError {
    /// Sequences must go on without a gap.
    #[error("delivery {found} was offered where {expected} is due")]
    OutOfOrder {
        /// Due.
        expected: u64,
        /// Offered.
        found: u64,
    },
    /// Larger than the tunnel carries: it must not have been numbered.
    #[error("delivery {sequence} of {size} bytes; at most {COMMAND_BYTES} are allowed")]
    TooLarge {
        /// The delivery.
        sequence: u64,
        /// Its size.
        size: usize,
    },
}
