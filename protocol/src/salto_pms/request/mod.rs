//! Every command of the protocol as a type, written strictly and read tolerantly.
//!
//! Owns the meaning and the place of each field. Never: sends, or decides whether a request may be sent.

use std::fmt;

use jiff::civil::DateTime;

use super::authorisation::Authorisations;

mod read;
mod write;

pub use read::{Received, RequestError};

/// What a key is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A new stay: earlier keys of the room end.
    CheckIn,
    /// One more key of the stay that is.
    Copy,
    /// Opens once. Cards only.
    OneShot,
}

/// When the answer of an encoder comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handling {
    /// After the card was taken away.
    Eject,
    /// As soon as the card is written or read.
    Retain,
    /// As [`Self::Eject`], through the back of a motorised encoder.
    RearEject,
}

/// Which serial numbers the answer shall carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ReturnSerial {
    /// Field left empty.
    #[default]
    Unsaid,
    /// None.
    No,
    /// Of the last card.
    Last,
    /// Of every card.
    All,
}

/// What a key shall open, and when.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Stay {
    /// Main room.
    pub room: String,
    /// Up to three more.
    pub more_rooms: Vec<String>,
    /// Common doors given.
    pub granted: Authorisations,
    /// Common doors withheld.
    pub denied: Authorisations,
    /// Local time of the server; `None`: now.
    pub start: Option<DateTime>,
    /// Local time of the server. Needed unless the key opens once.
    pub end: Option<DateTime>,
    /// Name of the clerk.
    pub operator: String,
    /// Authorisation code; may be empty.
    pub code: String,
}

// Who stays where is not for logs, and the code is a secret.
impl fmt::Debug for Stay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stay").field("start", &self.start).field("end", &self.end).finish_non_exhaustive()
    }
}

/// `CN`, `CC`, `CA`: writes cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardKey {
    /// New, copy, or for one opening.
    pub kind: KeyKind,
    /// How many cards, 1 to 9; `None`: the command without a digit, which means one. Several single requests are better:
    /// whether one answer comes for all or one for each is not known.
    pub cards: Option<u8>,
    /// Name or number.
    pub encoder: String,
    /// When the answer comes.
    pub handling: Handling,
    /// What it opens.
    pub stay: Stay,
    /// Tracks 1 to 3, or printing; may be empty.
    pub tracks: [String; 3],
    /// Serial numbers wanted.
    pub serial: ReturnSerial,
}

/// `CNM`, `CCM`: sends a key to a phone. `CNMB`, `CCMB`: returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct MobileKey {
    /// New or copy.
    pub kind: KeyKind,
    /// International form with `+`. May be empty for a key that is returned.
    pub phone: String,
    /// What it opens. The code is sent with [`MobileDelivery::Phone`] only; the other form has no field for it.
    pub stay: Stay,
    /// Where the key goes.
    pub delivery: MobileDelivery,
}

impl fmt::Debug for MobileKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("MobileKey");
        shown.field("kind", &self.kind).field("stay", &self.stay).finish_non_exhaustive()
    }
}

/// Where a mobile key goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MobileDelivery {
    /// To the vendor's app on the phone, with a text that it shows.
    Phone {
        /// May be empty.
        text: String,
    },
    /// Back in the answer, for the host's own app.
    Returned {
        /// With the installation's identifier.
        installation: bool,
    },
}

/// Place in the audit trail of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditStep {
    /// `WF`.
    First,
    /// `WN`.
    Next,
    /// `WR`.
    Repeat,
}

/// Track of a card, 1 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// 1.
    One,
    /// 2.
    Two,
    /// 3.
    Three,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Write cards.
    Card(CardKey),
    /// Make a mobile key.
    Mobile(MobileKey),
    /// `MC`: change a stay. Fails if the room is checked out.
    ModifyStay {
        /// Room as it is.
        room: String,
        /// Room as it shall be; empty: stays.
        new_room: String,
        /// New end; `None`: stays.
        end: Option<DateTime>,
        /// Authorisation code; may be empty.
        code: String,
    },
    /// `CO`.
    CheckOut {
        /// Which room.
        room: String,
    },
    /// `LT`.
    ReadCard {
        /// Name or number.
        encoder: String,
        /// When the answer comes.
        handling: Handling,
    },
    /// `L1` to `L3`.
    ReadTrack {
        /// Which.
        track: Track,
        /// Name or number.
        encoder: String,
        /// When the answer comes.
        handling: Handling,
    },
    /// `P1` to `P3`.
    WriteTrack {
        /// Which.
        track: Track,
        /// Name or number.
        encoder: String,
        /// When the answer comes.
        handling: Handling,
        /// What to write.
        text: String,
    },
    /// `WF`, `WN`, `WR`.
    Audit {
        /// Where in the trail.
        step: AuditStep,
        /// Door or peripheral.
        door: String,
    },
    /// `INFO`; no field of it is known.
    Information,
}

impl Handling {
    /// The field.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Eject => "E",
            Self::Retain => "R",
            Self::RearEject => "T",
        }
    }

    fn read(field: &[u8]) -> Option<Self> {
        [Self::Eject, Self::Retain, Self::RearEject].into_iter().find(|each| each.code().as_bytes() == field)
    }
}

impl ReturnSerial {
    const fn code(self) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::No => "0",
            Self::Last => "1",
            Self::All => "2",
        }
    }

    fn read(field: &[u8]) -> Option<Self> {
        [Self::Unsaid, Self::No, Self::Last, Self::All].into_iter().find(|each| each.code().as_bytes() == field)
    }
}

impl Request {
    /// Field 0 without the number of cards, which answers need not echo.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Card(CardKey { kind: KeyKind::CheckIn, .. }) => "CN",
            Self::Card(CardKey { kind: KeyKind::Copy, .. }) => "CC",
            Self::Card(CardKey { kind: KeyKind::OneShot, .. }) => "CA",
            Self::Mobile(MobileKey { kind, delivery, .. }) => match (kind, delivery) {
                (KeyKind::Copy, MobileDelivery::Phone { .. }) => "CCM",
                (KeyKind::Copy, MobileDelivery::Returned { .. }) => "CCMB",
                (_, MobileDelivery::Phone { .. }) => "CNM",
                (_, MobileDelivery::Returned { .. }) => "CNMB",
            },
            Self::ModifyStay { .. } => "MC",
            Self::CheckOut { .. } => "CO",
            Self::ReadCard { .. } => "LT",
            Self::ReadTrack { track, .. } => match track {
                Track::One => "L1",
                Track::Two => "L2",
                Track::Three => "L3",
            },
            Self::WriteTrack { track, .. } => match track {
                Track::One => "P1",
                Track::Two => "P2",
                Track::Three => "P3",
            },
            Self::Audit { step, .. } => match step {
                AuditStep::First => "WF",
                AuditStep::Next => "WN",
                AuditStep::Repeat => "WR",
            },
            Self::Information => "INFO",
        }
    }

    /// The encoder that a person stands at, for requests that need one.
    pub fn encoder(&self) -> Option<&str> {
        match self {
            Self::Card(CardKey { encoder, .. })
            | Self::ReadCard { encoder, .. }
            | Self::ReadTrack { encoder, .. }
            | Self::WriteTrack { encoder, .. } => Some(encoder),
            _ => None,
        }
    }
}
