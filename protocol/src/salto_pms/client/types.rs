//! What goes into and comes out of the machine.

use std::time::Duration;

use crate::line::{Checksum, Control, FrameError, UNCHECKED, write_frame};
use crate::salto_pms::answer::Expectation;
use crate::salto_pms::limits::MESSAGE_BYTES;
use crate::salto_pms::message::SEPARATOR;
use crate::salto_pms::request::Request;
use crate::salto_pms::text::FieldError;

/// How a line is used. The defaults are the careful ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Ask with ENQ before a message. Some clients do not; without it a busy server is met only by its refusal.
    pub enquire_first: bool,
    /// ENQs in a row before a request is given up as not begun, and while the fate of a message is being found out.
    pub enquiries: u32,
    /// Between two ENQs, and before the first one after a refusal.
    pub pause: Duration,
    /// For the ACK or NAK of an ENQ or of a message.
    pub reply_timeout: Duration,
    /// Times a message is sent again after a refusal that was confirmed. 0: never.
    pub resends: u32,
    /// NAKs sent for damaged answers of one exchange; a server may then repeat its last answer. 0: never.
    pub answer_refusals: u32,
    /// Bytes of one frame never lie further apart.
    pub silence: Duration,
    /// How long a line is held after an unknown end.
    pub hold: Duration,
    /// An old answer can still arrive on a new connection: true for serial lines and for converters to them, false for TCP.
    pub answers_survive_reconnect: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enquire_first: true,
            enquiries: 3,
            pause: Duration::from_millis(200),
            reply_timeout: Duration::from_secs(5),
            resends: 2,
            answer_refusals: 2,
            silence: Duration::from_secs(1),
            hold: Duration::from_secs(60),
            answers_survive_reconnect: true,
        }
    }
}

/// One request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub(super) body: Vec<u8>,
    pub(super) expectation: Expectation,
    pub(super) answer_timeout: Duration,
}

impl Exchange {
    /// Checks every field of the request. `answer_timeout`: see [`Self::answer_timeout`].
    pub fn new(request: &Request, answer_timeout: Duration) -> Result<Self, FieldError> {
        Ok(Self { body: request.write()?, expectation: Expectation::of(request), answer_timeout })
    }

    /// How long an answer may take: a person with a card at an encoder needs longer than a database.
    pub fn answer_timeout(request: &Request) -> Duration {
        if request.encoder().is_some() { Duration::from_secs(60) } else { Duration::from_secs(15) }
    }

    /// A checksum that happens to be [`UNCHECKED`] would tell the server not to check, and whatever noise makes of the request
    /// would be carried out: of every 256 requests one, and every check-out of some rooms. An empty field at the end means
    /// nothing (servers get them from some clients and not from others), and gives the request another checksum.
    pub(super) fn frame(&self, checksum: Checksum) -> Result<Vec<u8>, FrameError> {
        let mut out = Vec::new();
        if checksum == Checksum::CheckedUnlessMarked && checksum.trailer(&self.body) == Some(UNCHECKED) {
            let body = [&self.body[..], &[SEPARATOR]].concat();
            write_frame(&body, checksum, MESSAGE_BYTES, &mut out)?;
        } else {
            write_frame(&self.body, checksum, MESSAGE_BYTES, &mut out)?;
        }
        Ok(out)
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The line is not up.
    #[error("the line to the lock system is down; nothing was sent")]
    Down,
    /// Another exchange is under way.
    #[error("the line to the lock system is busy with another request; nothing was sent")]
    Busy,
    /// A late answer to an earlier request could still come.
    #[error("the line to the lock system still waits for a late answer to an earlier request; nothing was sent")]
    Held {
        /// When the hold ends.
        until: Duration,
    },
    /// Does not fit into a frame.
    #[error("the request cannot be sent: {0}")]
    Frame(#[from] FrameError),
}

/// What the owner has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'client> {
    /// Send this one byte.
    Control(Control),
    /// Send this frame, whole. If that fails: [`Client::link_lost`](super::Client::link_lost).
    Message(&'client [u8]),
    /// The exchange has ended.
    Done(Verdict<'client>),
    /// A frame that arrived while the line is held, evidence for the request in doubt.
    Late(&'client [u8]),
    /// A frame that belongs to no request.
    Unsolicited(&'client [u8]),
}

/// What is known about a request when its exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'client> {
    /// This answer, which may be an error or an unknown code.
    Answered(&'client [u8]),
    /// An enquiry without a request was answered: the server is there and idle.
    Ready,
    /// The server never took it up. Certain.
    NotBegun(NotBegun),
    /// It may have been carried out, in whole or in part.
    Unknown(Doubt),
}

/// Why a request was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// The server answers no ENQ.
    #[error("the lock system does not answer")]
    Silent,
    /// The server answers every ENQ with "not ready".
    #[error("the lock system is not ready")]
    NotReady,
    /// The server refused the message every time, and confirmed that it is idle.
    #[error("the lock system refused the message {times} times as damaged")]
    Refused {
        /// How often it was sent.
        times: u32,
    },
    /// The link went before the message was out.
    #[error("the line to the lock system was lost before the request was out")]
    LinkLost,
    /// The owner changed its mind in time.
    #[error("cancelled before the request was sent")]
    Cancelled,
}

/// Why nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The time for an answer is over.
    #[error("no answer of the lock system came in time")]
    NoAnswer,
    /// The server is idle again and no answer was read.
    #[error("the lock system is idle again, but its answer was not received")]
    AnswerLost,
    /// Noise on the line can make a server repeat an earlier answer, so an answer counts only behind an acknowledgement.
    #[error("an answer came, but without an acknowledgement before it: it may belong to an earlier request")]
    Unacknowledged,
    /// The link went while the request was out.
    #[error("the line to the lock system was lost after the request was sent")]
    LinkLost,
}

/// Counts since the client was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientStatistics {
    /// ENQs sent.
    pub enquiries: u64,
    /// Messages sent, repeats included.
    pub messages: u64,
    /// Messages sent again after a confirmed refusal.
    pub resends: u64,
    /// NAKs received.
    pub refusals: u64,
    /// NAKs sent for damaged answers.
    pub damaged_answers: u64,
    /// Late answers.
    pub late: u64,
    /// Frames that belong to no request.
    pub unsolicited: u64,
    /// Own bytes that came back.
    pub echoes: u64,
}
