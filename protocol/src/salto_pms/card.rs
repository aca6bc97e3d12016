//! What a card on an encoder is: the answer of `LT`.

use jiff::civil::DateTime;

use super::authorisation::Authorisations;
use super::limits::{EXTRA_FIELDS, ROOMS};
use super::message::{Message, MessageWriter};
use super::stamp::{read_stamp, write_stamp};
use super::text::{FieldError, shown};

/// A card that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardRead {
    /// `LM`.
    Staff,
    /// `LR`: a spare guest card.
    Spare,
    /// `LC`: a guest card that is no longer valid.
    Ended,
    /// `LD`: not one of this site, or not readable.
    NotIdentified,
    /// A guest card. A room that is named like a class above cannot be told from it.
    Guest(Box<GuestCard>),
}

/// A guest card. Empty or `None`: the server did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestCard {
    /// Main room.
    pub room: String,
    /// Up to three more.
    pub more_rooms: Vec<String>,
    /// Whether the card is valid for the main room now.
    pub checked_in: Option<bool>,
    /// Original or which copy.
    pub copy: Option<CopyNumber>,
    /// Common doors.
    pub granted: Authorisations,
    /// Local time of the server.
    pub start: Option<DateTime>,
    /// Local time of the server.
    pub end: Option<DateTime>,
    /// Name of the clerk.
    pub operator: String,
    /// Fields that could not be read, as `index: text`, and fields behind the last known one.
    pub unread: Vec<String>,
}

/// Which of the keys of a stay a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyNumber {
    /// Made by a check-in.
    Original,
    /// The first copy.
    First,
    /// The second copy.
    Second,
    /// The third or a later copy.
    Later,
    /// Opens once.
    OneShot,
}

/// Field 7 of the answer.
const COPIES: [(CopyNumber, &str); 5] = [
    (CopyNumber::Original, "0"),
    (CopyNumber::First, "1"),
    (CopyNumber::Second, "2"),
    (CopyNumber::Later, "I"),
    (CopyNumber::OneShot, "A"),
];

impl CardRead {
    /// Reads fields 2 and on.
    pub fn read(message: Message<'_>) -> Self {
        match message.field(2) {
            b"LM" => Self::Staff,
            b"LR" => Self::Spare,
            b"LC" => Self::Ended,
            b"LD" => Self::NotIdentified,
            _ => Self::Guest(Box::new(GuestCard::read(message))),
        }
    }

    pub(super) fn write(&self, writer: &mut MessageWriter) -> Result<(), FieldError> {
        match self {
            Self::Staff => writer.field(b"LM"),
            Self::Spare => writer.field(b"LR"),
            Self::Ended => writer.field(b"LC"),
            Self::NotIdentified => writer.field(b"LD"),
            Self::Guest(guest) => return guest.write(writer),
        }
        Ok(())
    }
}

impl GuestCard {
    fn read(message: Message<'_>) -> Self {
        let mut unread = Vec::new();
        let mut not_read = |index: usize| unread.push(format!("{index}: {}", shown(message.field(index))));
        let checked_in = match message.field(6) {
            b"CI" => Some(true),
            b"CO" => Some(false),
            field => {
                if !field.is_empty() {
                    not_read(6);
                }
                None
            }
        };
        let copy = COPIES.iter().find(|(_, code)| code.as_bytes() == message.field(7)).map(|(copy, _)| *copy);
        if copy.is_none() && !message.field(7).is_empty() {
            not_read(7);
        }
        let (granted, unknown) = Authorisations::read(message.field(8));
        if !unknown.is_empty() {
            not_read(8);
        }
        let mut stamp = |index: usize| {
            let at = read_stamp(message.field(index));
            if at.is_none() && !message.field(index).is_empty() {
                not_read(index);
            }
            at
        };
        let (start, end) = (stamp(9), stamp(10));
        unread.extend(message.rest(12).take(EXTRA_FIELDS).map(shown));
        let more_rooms = (3..6).map(|index| shown(message.field(index))).filter(|room| !room.is_empty()).collect();
        let (room, operator) = (shown(message.field(2)), shown(message.field(11)));
        Self { room, more_rooms, checked_in, copy, granted, start, end, operator, unread }
    }

    fn write(&self, writer: &mut MessageWriter) -> Result<(), FieldError> {
        use super::text::text;
        let limit = super::limits::ROOM_CHARACTERS;
        writer.field(text("room", &self.room, limit)?);
        for room in self.more_rooms.iter().take(ROOMS.saturating_sub(1)) {
            writer.field(text("further room", room, limit)?);
        }
        writer.skip(ROOMS.saturating_sub(1).saturating_sub(self.more_rooms.len()));
        writer.field(self.checked_in.map_or(b"", |valid| if valid { b"CI" } else { b"CO" }));
        let copy = COPIES.iter().find(|(copy, _)| Some(*copy) == self.copy).map_or("", |(_, code)| code);
        writer.field(copy.as_bytes());
        writer.field(&self.granted.write());
        for (field, at) in [("start", self.start), ("end", self.end)] {
            let stamp = at.map(|at| write_stamp(field, at)).transpose()?;
            writer.field(stamp.unwrap_or_default().as_bytes());
        }
        writer.field(text("operator", &self.operator, super::limits::OPERATOR_CHARACTERS)?);
        Ok(())
    }
}
