//! What a peer did that the protocol forbids: message for the log of both ends, and the websocket close that follows.

use thiserror::Error;

use crate::limits::FRAME_BYTES;
use crate::proto::tunnel::Priority;
use crate::tunnel::frame::FrameError;

/// The end of a websocket connection, as told to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Code of RFC 6455, section 7.4.
    pub code: u16,
    /// For the log of the peer; within the 123 bytes that a close frame holds.
    pub reason: String,
}

impl Close {
    /// Cuts `reason` to what a close frame holds.
    pub fn new(code: u16, reason: &str) -> Self {
        let end = reason.floor_char_boundary(123);
        Self { code, reason: reason.get(..end).unwrap_or_default().to_owned() }
    }

    /// 1001: one end goes away, with a reason that is nobody's fault.
    pub fn going_away(reason: &str) -> Self {
        Self::new(1001, reason)
    }
}

/// A breach of the tunnel protocol. The session ends; a breach is never silently repaired.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// Bytes that are no frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A text message; the tunnel is binary.
    #[error("a text message; tunnel frames are binary messages")]
    Text,
    /// Valid, but not at this point of the session.
    #[error("{frame} is not allowed {when}")]
    Unexpected {
        /// Frame body.
        frame: &'static str,
        /// Point of the session.
        when: &'static str,
    },
    /// Welcome answers another Hello.
    #[error("Welcome echoes another boot nonce")]
    BootNonce,
    /// Welcome picks a version that was not offered.
    #[error("Welcome chooses tunnel version {chosen}; offered were {minimum} to {maximum}")]
    Version {
        /// Chosen.
        chosen: u32,
        /// Lowest offered.
        minimum: u32,
        /// Highest offered.
        maximum: u32,
    },
    /// Welcome carries an epoch that was already used (rule G8).
    #[error("Welcome carries epoch {epoch}; the highest seen is already {seen}")]
    EpochNotHigher {
        /// Offered.
        epoch: u64,
        /// Highest seen.
        seen: u64,
    },
    /// A sequence was left out, or sent twice in one session.
    #[error("{what} {found} came where {expected} was due")]
    OutOfOrder {
        /// Delivery or report.
        what: &'static str,
        /// Due.
        expected: u64,
        /// Came.
        found: u64,
    },
    /// More commands of a priority than credit allows.
    #[error("delivery {sequence} passes the credit of {granted} for priority {}", .priority.as_str_name())]
    Credit {
        /// Of the command.
        priority: Priority,
        /// The delivery.
        sequence: u64,
        /// Total granted in this session.
        granted: u64,
    },
    /// More unacknowledged reports than the window allows.
    #[error("report {sequence} passes the window of {window} unacknowledged reports")]
    Window {
        /// The report.
        sequence: u64,
        /// Allowed in flight.
        window: u64,
    },
    /// Acknowledges what was never sent.
    #[error("{what} are acknowledged through {through}; the last one is {last}")]
    AcknowledgedUnsent {
        /// Deliveries or reports.
        what: &'static str,
        /// Acknowledged.
        through: u64,
        /// Last that exists.
        last: u64,
    },
}

impl Violation {
    /// A message that was refused for its size before it was read whole.
    pub(super) fn oversized(frame: &'static str, size: usize) -> Self {
        Self::Frame(FrameError::TooLarge { frame, size, limit: FRAME_BYTES })
    }

    /// How the connection is closed for it: 1009 for size, 1003 for text, 1007 for bytes that are no frame, else 1002.
    pub fn close(&self) -> Close {
        let code = match self {
            Self::Frame(FrameError::TooLarge { .. } | FrameError::ItemTooLarge { .. }) => 1009,
            Self::Frame(FrameError::Malformed { .. }) => 1007,
            Self::Text => 1003,
            _ => 1002,
        };
        Close::new(code, &self.to_string())
    }
}
