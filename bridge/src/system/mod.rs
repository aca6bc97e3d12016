//! Lock systems: one trait, one folder an adapter.
//!
//! An adapter owns the session with one lock server and the mapping between its words and ours. It promises that every
//! error says whether absence of effect is *certain*. It never writes the journal, never decides priorities or retries,
//! and never keeps a password longer than the call that needs it.
//!
//! Two kinds of systems, and one may be both. A system that *keeps people* holds a record of each with its rights, and a card
//! is a copy of that. A *key service* knows rooms and nobody: a key is made from what is asked at that moment, so that rights
//! stand in our own record until a card carries them.

pub mod fias;
mod key;
mod key_service;
pub mod salto_pms;
pub mod salto_space;
mod turn;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockbridge_protocol::proto::tunnel::{AccessEvent, CardOnEncoder, InventoryItem};
use tokio::sync::mpsc;

use crate::link::LineStatus;

pub use key::{KeyKind, KeySeen, KeyService, KeyTarget, PhoneNumber};

/// What a configured lock system is, for people and for the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name in the configuration, unique on this bridge; commands address it.
    pub lock_system: String,
    /// `salto_space`, ...
    pub kind: &'static str,
    /// For people.
    pub display_name: String,
    /// IANA zone of the site; validity is written in its local time (rule N5).
    pub time_zone: String,
    /// It holds a record of each person: [`Operation::ApplyUser`] and its like, and [`LockSystem::observe_user`].
    pub keeps_people: bool,
    /// It makes keys for rooms, without a record of the person.
    pub keys: Option<KeyService>,
}

/// How safe it is to repeat an operation (rule A4). A property of the device, fixed by the adapter in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectClass {
    /// R: absolute, safe to repeat.
    Repeatable,
    /// Q: not to be repeated blindly, but the lock system can be asked.
    Queryable,
    /// B: blind and not repeatable; a lost answer is doubt.
    Blind,
}

/// A stretch of time, `ends_at_ms` `None` when open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// Milliseconds since the epoch, UTC.
    pub starts_at_ms: i64,
    /// Milliseconds since the epoch, UTC; `None`: no end.
    pub ends_at_ms: Option<i64>,
}

/// One right of a holder at the lock system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Right {
    /// Entrance or group.
    pub target: RightTarget,
    /// When it holds; `None`: as long as the user is valid.
    pub window: Option<Window>,
}

/// What a right opens, by the lock system's own identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RightTarget {
    /// One door.
    Entrance(String),
    /// An access group (access level) of the lock system.
    Group(String),
}

/// The whole desired record of one holder: absolute, so that writing it twice changes nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct UserTarget {
    /// The cloud's user id; the adapter derives the external id from it.
    pub user_id: String,
    /// For people at the lock system's own screens.
    pub full_name: String,
    /// E.164; needed for mobile keys.
    pub phone_number: String,
    /// Validity of the person, hull of all rights; `None`: no right is left, the person is to be invalid now.
    pub window: Option<Window>,
    /// Every right; what is not listed is taken away.
    pub rights: Vec<Right>,
    /// Explicit block.
    pub suspended: bool,
    /// Whether a mobile key shall exist.
    pub mobile_key: bool,
}

// Names and phone numbers stay out of logs.
impl fmt::Debug for UserTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UserTarget")
            .field("user_id", &self.user_id)
            .field("window", &self.window)
            .field("rights", &self.rights)
            .field("suspended", &self.suspended)
            .field("mobile_key", &self.mobile_key)
            .finish_non_exhaustive()
    }
}

/// One act at a lock system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Make the holder's record what the target says.
    ApplyUser(UserTarget),
    /// Remove the holder and all that hangs on it.
    DeleteUser {
        /// The cloud's user id.
        user_id: String,
    },
    /// Write a card.
    Encode {
        /// Holder, by the cloud's id.
        user_id: String,
        /// Encoder, by the lock system's id.
        encoder: String,
        /// What the card is to open.
        key: KeyTarget,
    },
    /// Send a key for a room to a phone; no encoder takes part.
    SendKey {
        /// Whose phone.
        phone: PhoneNumber,
        /// What the key is to open.
        key: KeyTarget,
    },
    /// End the stay in a room: no further key of it can be made, and locks that are told end the keys that there are.
    CheckOut {
        /// Room, by the lock system's id.
        room: String,
        /// Which stay, as in the [target](KeyTarget::stay) of its keys.
        stay: String,
    },
    /// Give the stay in a room another end.
    ChangeStay {
        /// Room, by the lock system's id.
        room: String,
        /// Which stay, as in the [target](KeyTarget::stay) of its keys.
        stay: String,
        /// Milliseconds since the epoch, UTC.
        ends_at_ms: i64,
    },
    /// Read the card on an encoder.
    ReadCard {
        /// Encoder, by the lock system's id.
        encoder: String,
    },
    /// Tell the lock system the chip serial of a card that the holder will bring to an updating reader.
    AssignCard {
        /// Holder, by the cloud's id.
        user_id: String,
        /// Hexadecimal chip serial.
        card_number: String,
    },
    /// Make the lock system no longer honour the holder's card.
    CancelKey {
        /// Holder, by the cloud's id.
        user_id: String,
    },
    /// Open a door now, once.
    Unlock {
        /// Entrance, by the lock system's id.
        entrance: String,
    },
}

/// What the lock system said that shows the effect. Empty fields: it did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Performed {
    /// The lock system's id of the holder.
    pub user_external_id: String,
    /// Chip serial, hexadecimal.
    pub card_number: String,
    /// End of validity on the medium, ms since the epoch.
    pub key_valid_until_ms: Option<i64>,
    /// The holder has a card and it carries older rights than the server now holds.
    pub card_update_needed: bool,
    /// What a read found.
    pub card_on_encoder: Option<CardOnEncoder>,
    /// The same, if it is a key for a room.
    pub key_seen: Option<Box<KeySeen>>,
    /// One sentence for a person; no names, no secrets.
    pub detail: String,
}

/// Whether a failed operation may have had an effect (rule B4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Certainly none: refused before it began, or the device said no.
    None,
    /// Unknown: silence, a cut connection, an answer that cannot be read.
    Unknown,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Yes, later, as it is.
    Later,
    /// Not before data, card or configuration change.
    Never,
}

/// Why an operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OperationError {
    /// The model's code: `encoder_not_online`, `no_credential_on_encoder`, `bridge_disconnected`, ...
    pub code: &'static str,
    /// One sentence: what was attempted on what, and what happened.
    pub message: String,
    /// The vendor's code, as it came; empty when the vendor said nothing.
    pub vendor_code: String,
    /// The vendor's text, as it came, cut at 200 characters.
    pub vendor_text: String,
    /// May it have had an effect?
    pub effect: Effect,
    /// May it be tried again?
    pub retry: Retry,
}

/// What the lock system says of a holder: taken before a blind operation and again to resolve doubt.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, told by the server independently")]
pub struct UserObservation {
    /// The holder is known.
    pub exists: bool,
    /// A card exists for the holder.
    pub has_card: bool,
    /// Its chip serial, when told.
    pub card_number: String,
    /// Start and end of validity on the card as the server tells, ms since the epoch; 0 when not told.
    pub key_period_ms: (i64, i64),
    /// The server has nothing newer for the card.
    pub card_up_to_date: bool,
    /// Explicit block.
    pub suspended: bool,
}

/// What the last [`probe`](LockSystem::probe) found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// Product and protocol version in the server's words.
    pub version: String,
    /// Server clock minus ours in seconds, when it tells its time.
    pub clock_skew_s: Option<i64>,
    /// What is wrong with the line to hotel keys beside the server; the server itself answers. `None`: nothing, or no line.
    pub line_problem: Option<String>,
}

impl Probe {
    /// How the server's clock stands to ours, as the end of a sentence: "600 s behind this machine's".
    pub fn clock_words(skew_s: i64) -> String {
        let side = if skew_s < 0 { "behind" } else { "ahead of" };
        format!("{} s {side} this machine's", skew_s.unsigned_abs())
    }
}

/// What an inventory scan or the event intake hands on, in bounded pieces.
#[derive(Debug, Clone, PartialEq)]
pub enum Intake {
    /// Objects seen by the scan that runs; never a tombstone, absence is computed when the scan is complete.
    Observed(Vec<InventoryItem>),
    /// The scan saw everything: what it did not name is gone.
    ScanComplete,
    /// Door events in order, and the cursor that makes reading go on after them.
    Events {
        /// At most 100.
        events: Vec<AccessEvent>,
        /// Opaque to everybody but the adapter; stored with the events.
        cursor: String,
    },
}

/// One lock system on the site's network. Object safe; methods may run at the same time.
pub trait LockSystem: fmt::Debug + Send + Sync + 'static {
    /// What it is.
    fn description(&self) -> &Description;

    /// The class of an operation here.
    fn effect_class(&self, operation: &Operation) -> EffectClass;

    /// One cheap request: does the server answer, and does it accept our credentials?
    fn probe(&self) -> BoxFuture<'_, Result<Probe, OperationError>>;

    /// Reads all doors, groups, users and encoders once.
    fn scan(&self, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>>;

    /// Hands on door events from `cursor` (empty: from now) until the sender closes or the server fails.
    fn events(&self, cursor: String, intake: mpsc::Sender<Intake>) -> BoxFuture<'_, Result<(), OperationError>>;

    /// Does it. Dropping the future gives up waiting and promises nothing about the effect.
    fn perform(&self, operation: Operation, deadline: Duration) -> BoxFuture<'_, Result<Performed, OperationError>>;

    /// What the server says of a holder now. Asked only where people are kept.
    fn observe_user(&self, user_id: &str) -> BoxFuture<'_, Result<UserObservation, OperationError>>;

    /// The lock system's id for one of our users, as this adapter writes it; empty where no people are kept.
    fn user_external_id(&self, user_id: &str) -> String;

    /// What its byte line did so far, for health and metrics; `None` where there is none.
    fn line(&self) -> Option<LineStatus> {
        None
    }
}
