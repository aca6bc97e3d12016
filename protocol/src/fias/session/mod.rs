//! How a link comes up, stays up and ends, for either role, above TCP or the serial protocol.
//!
//! * [`pms`]: the PMS asks `LS`, learns who is there and which fields are wanted, and then may send key requests.
//! * [`key_system`]: the key system introduces itself whenever it is asked, and proves from time to time that the PMS is there.
//!
//! Both are pure: records and the time go in, [`LinkAction`]s come out. Neither reads data records; a [`Disposition`] says whether
//! one may be acted on. Neither claims that the link is alive before the peer said so.

pub mod key_system;
pub mod pms;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::civil::DateTime;

use super::cryptogram::CryptogramError;
use super::record::ValueError;

/// What ends where a link is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// The connection is closed, and made anew.
    Tcp,
    /// The line stays; the link starts anew on it.
    Serial,
}

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic, from any start.
    pub now: Duration,
    /// Local time of the hotel, for the records.
    pub local: DateTime,
    /// Random bytes, used for nothing but the initialisation vector of a cryptogram.
    pub random: [u8; 16],
}

/// What the owner has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkAction {
    /// Send this record.
    Send(Vec<u8>),
    /// The link is alive: data may flow.
    Alive,
    /// The link is not alive any more: what is open is unknown.
    NotAlive,
    /// Close the connection.
    Close(CloseReason),
}

/// Why a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer ended it in good order.
    #[error("the other side ended the link")]
    EndedByPeer,
    /// This side ended it in good order.
    #[error("the link was ended")]
    Ended,
    /// The peer does not take part.
    #[error("the other side does not answer the start of the link")]
    NoAnswer,
    /// The peer does not have the site's key. Closed until a person enters the key again.
    #[error("the other side is not trusted: {0}")]
    Untrusted(#[from] CryptogramError),
    /// An own record could not be written.
    #[error("the link's own settings cannot be sent; correct them")]
    Settings,
}

/// What to do with a record that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Belongs to the link; done with.
    Link,
    /// Act on it.
    Data,
    /// It came while the link was not alive. Count it and do nothing.
    Dropped,
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For the record that came in.
    pub disposition: Disposition,
    /// In this order.
    pub actions: Vec<LinkAction>,
}

impl Outcome {
    fn link(actions: Vec<LinkAction>) -> Self {
        Self { disposition: Disposition::Link, actions }
    }
}

/// The record, or the end of a link whose settings cannot be sent.
fn send(record: Result<Vec<u8>, ValueError>) -> LinkAction {
    record.map_or(LinkAction::Close(CloseReason::Settings), LinkAction::Send)
}
