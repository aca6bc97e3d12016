//! The front desk: the site's own property software asks for keys, through whatever wire, with or without the cloud.
//!
//! Every order becomes commands of the bridge's own, journaled like those of the cloud: a new card is a holder of its own (a
//! lock system may give each holder one card only), rights for the stay, and an encode behind them in the same lane. What is
//! known of a stay stands in its [`Holder`](crate::grant::Holder), so that a restart forgets nothing.
//!
//! ```text
//!  new key:       rights, encode ── written ──► earlier keys of the room end ──► done
//!  duplicate:     rights, encode ── written ──► done          │ certainly not written: the holder goes again
//!  end keys:      each holder of the stay is deleted          ▼ unknown: in doubt, nothing ends, nothing is repeated
//! ```
//!
//! Promises: an order is answered with what is known and durable; earlier keys end only when the new one is written; the same
//! order, sent again because its answer got lost, is not carried out twice. Never: knows a wire format, writes a second card
//! for one order, touches keys that the cloud granted.

mod order;
mod outcome;
mod stays;

use tokio::sync::mpsc;

pub(super) use outcome::Jobs;
pub(super) use stays::Stays;

/// A room as the property software names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeskRoom {
    /// Its name; leading zeros count.
    pub name: String,
    /// Its door by the lock system's id, if the configuration says so; else the door whose name or id is the room's.
    pub entrance: Option<String>,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq)]
pub enum DeskWish {
    /// A card.
    Key {
        /// Earlier keys of the room stay.
        duplicate: bool,
        /// The room, then further ones.
        rooms: Vec<DeskRoom>,
        /// Reservation number; may be empty.
        reservation: String,
        /// From when, ms since the epoch.
        starts_at_ms: i64,
        /// Until when, ms since the epoch; `None`: as long as the stay that is already there.
        ends_at_ms: Option<i64>,
        /// For people at the lock system's own screens.
        holder_name: String,
    },
    /// No keys any more.
    End {
        /// Which.
        room: DeskRoom,
        /// Only this reservation's; empty: all of the room.
        reservation: String,
    },
    /// Other dates or another room for all keys of a reservation.
    Change {
        /// The room from now on, then further ones.
        rooms: Vec<DeskRoom>,
        /// Whose keys.
        reservation: String,
        /// From when, ms since the epoch; `None`: as it is.
        starts_at_ms: Option<i64>,
        /// Until when, ms since the epoch; `None`: as it is.
        ends_at_ms: Option<i64>,
    },
    /// What card is it?
    Read,
}

// Guests and their rooms stay out of logs.
impl std::fmt::Debug for DeskWish {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Key { duplicate: false, .. } => "Key",
            Self::Key { duplicate: true, .. } => "DuplicateKey",
            Self::End { .. } => "End",
            Self::Change { .. } => "Change",
            Self::Read => "Read",
        })
    }
}

/// An order of the front desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeskOrderRequest {
    /// Name of the front desk in the configuration.
    pub desk: String,
    /// Where.
    pub lock_system: String,
    /// Encoder by the lock system's id; not looked at where no card is touched.
    pub encoder: String,
    /// What.
    pub wish: DeskWish,
    /// SHA-256 of what was asked, word for word.
    pub request: [u8; 32],
    /// Nobody can tell whether the answer to an equal request arrived: an equal one that was carried out lately is answered,
    /// not carried out again.
    pub may_be_repeated: bool,
}

/// What the property software is told. `Asking` may be followed by what came of it; all else is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskAnswer {
    /// Done, and durable.
    Done(Done),
    /// The card of a stay that this bridge made.
    Card {
        /// Room as the property software named it.
        room: String,
        /// Reservation number; may be empty.
        reservation: String,
        /// End of the stay, ms since the epoch.
        ends_at_ms: i64,
    },
    /// The encoder has another job.
    Busy,
    /// Certainly nothing was done.
    Refused {
        /// The model's code, or one of the reason codes.
        code: String,
        /// One sentence.
        message: String,
    },
    /// It is not known whether a card was written, or a change made; the lock system is being asked.
    Asking,
    /// It is not known, and nothing more is told here.
    InDoubt,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// As asked.
    AsAsked,
    /// An equal request was carried out before; nothing was done now.
    Before,
    /// There was nothing to end.
    Nothing,
    /// The lock system has it; cards follow when they are updated.
    CardsLag,
}

/// Where the answers to one order go: two at most are sent.
#[derive(Debug, Clone)]
pub struct DeskAnswers {
    ticket: u64,
    to: mpsc::Sender<(u64, DeskAnswer)>,
}

impl DeskAnswers {
    /// Answers come with `ticket`. `to` needs two places for every order that is open.
    pub fn new(ticket: u64, to: mpsc::Sender<(u64, DeskAnswer)>) -> Self {
        Self { ticket, to }
    }

    /// Who asked may have gone, and then nobody is told.
    pub(crate) fn tell(&self, answer: DeskAnswer) {
        drop(self.to.try_send((self.ticket, answer)));
    }
}

/// How commands of the front desk are marked in the journal.
pub(super) const OPERATOR: &str = "front desk ";
