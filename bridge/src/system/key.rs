//! Keys that a lock system makes for a room, without a record of the person: what can be on one, and what is asked for.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Window;

/// What the keys of a lock system can hold, where rights live on the card and nowhere else.
///
/// A *stay* is the time for which a room is given to a party. A new key begins one and ends the keys of the stay before; a
/// copy is one more key of the stay that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an ability of its own")]
pub struct KeyService {
    /// Doors that a stay is about, by the lock system's own ids.
    pub rooms: BTreeSet<String>,
    /// Further doors that a key for a room can open.
    pub areas: BTreeSet<String>,
    /// Rooms that fit on one key.
    pub rooms_on_key: usize,
    /// Rooms can be checked out.
    pub checks_out: bool,
    /// The end of a stay can be changed without a card.
    pub changes_stays: bool,
    /// A key for the next stay may be made while the present one lasts.
    pub early_keys: bool,
    /// Keys are sent to phones, too, without an encoder.
    pub mobile_keys: bool,
}

/// An international telephone number. It stays out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(pub String);

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PhoneNumber(..)")
    }
}

/// Why a card is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// The first card of a person whom the lock server knows.
    First,
    /// The same card of such a person again.
    Update,
    /// The first key of a stay: keys of earlier stays in the room end.
    New,
    /// One more key of the stay that is, or the same one with newer content.
    Copy,
}

/// What a card is to open, whole. A lock system that keeps people takes it from its own records and ignores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTarget {
    /// Why it is written.
    pub kind: KeyKind,
    /// Rooms, the main one first.
    pub rooms: Vec<String>,
    /// Further doors.
    pub areas: Vec<String>,
    /// When; `None` only where the lock system keeps people.
    pub window: Option<Window>,
    /// The stay that it belongs to, by the reservation's key or the grant's id. Empty where the lock system keeps people.
    #[serde(default)]
    pub stay: String,
    /// Names this request on the card, where the card can hold that: what is read later tells which request wrote it.
    pub mark: String,
}

/// A key for a room as read from a card. Empty or `None`: not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySeen {
    /// The [mark](KeyTarget::mark) of the request that wrote it.
    pub mark: String,
    /// Rooms, the main one first.
    pub rooms: Vec<String>,
    /// End of validity, ms since the epoch.
    pub ends_at_ms: Option<i64>,
    /// Written by a new key, not by a copy.
    pub is_original: Option<bool>,
    /// The stay that it belongs to is the present one of its main room.
    pub is_current: Option<bool>,
}
