//! Physical effects: what cannot be taken back by a second request.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What was done to a card, a key or a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// A new key was written on a card (`AssignNewKey`).
    CardWritten,
    /// The present key was written again (`UpdateCurrentKey`).
    CardUpdated,
    /// A write began and did not finish.
    CardPartlyWritten,
    /// A key was updated by an online reader.
    CardUpdatedAtReader,
    /// A cancelled key was erased by an online reader.
    CardErasedAtReader,
    /// A key went to the denylist or was dropped with its user.
    KeyCancelled,
    /// A door was opened by a request.
    DoorOpened,
    /// A door was opened by a card that was presented.
    DoorOpenedByCard,
    /// A door was forced open, forced closed, or set free.
    DoorForcedOpen,
    DoorForcedClosed,
    DoorSetFree,
}

/// A line of the effect log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// 1, 2, 3… over the whole life of the data directory.
    pub number: u64,
    /// What was done.
    pub kind: EffectKind,
    /// `ExtUserID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Chip serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// `ExtDoorID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// Encoder name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// By the site's clock, UTC.
    pub at: Timestamp,
}

/// An effect before it has a number and a time.
#[derive(Debug, Clone, Default)]
pub struct EffectOf<'a> {
    /// `ExtUserID`.
    pub user: Option<&'a str>,
    /// Chip serial.
    pub serial: Option<&'a str>,
    /// `ExtDoorID`.
    pub door: Option<&'a str>,
    /// Encoder name.
    pub encoder: Option<&'a str>,
}
