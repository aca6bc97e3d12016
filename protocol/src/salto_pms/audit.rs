//! One line of a door's audit trail: the answer of `WF`, `WN` and `WR`.

use jiff::civil::{Date, DateTime, Time, date};

use super::limits::{EXTRA_FIELDS, NAME_CHARACTERS, ROOM_CHARACTERS};
use super::message::{Message, MessageWriter};
use super::stamp::two_digits;
use super::text::{FieldError, shown, text};

/// Which number of a date comes first; a setting of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DateOrder {
    /// `22/11`.
    #[default]
    DayMonth,
    /// `11/22`.
    MonthDay,
}

/// What happened at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incident {
    /// `0`.
    Opened,
    /// `2`.
    InvalidCard,
    /// `3`.
    Denied,
    /// `4`.
    Expired,
    /// `5`: the card has to leave before it may enter again.
    Antipassback,
    /// Anything else, as received.
    Other(String),
}

/// Whose card it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditCard {
    /// A guest of this room.
    Guest(String),
    /// A member of staff.
    Staff,
    /// Neither; the field is blank.
    Special,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Door or peripheral.
    pub door: String,
    /// Month and day; the server sends no year.
    pub month_day: Option<(i8, i8)>,
    /// Local time of the server, to the minute.
    pub time: Option<Time>,
    /// What happened.
    pub incident: Incident,
    /// `Some(true)`: at the inner reader.
    pub is_exit: Option<bool>,
    /// Whose card.
    pub card: AuditCard,
    /// Original, copy or means, as received: `#0`, `#D`, `@1`, `S3` and others.
    pub copy: String,
    /// Name of the member of staff.
    pub user: String,
    /// Fields behind the last known one.
    pub extra: Vec<String>,
}

impl AuditRecord {
    /// Reads a record; what cannot be read is `None` or kept as text.
    pub fn read(message: Message<'_>, order: DateOrder) -> Self {
        let pair = |index: usize, between: u8| match message.field(index) {
            [first @ .., middle, third, fourth] if *middle == between => {
                Some((two_digits(first)?, two_digits(&[*third, *fourth])?))
            }
            _ => None,
        };
        let month_day = pair(2, b'/').map(|(first, second)| match order {
            DateOrder::DayMonth => (second, first),
            DateOrder::MonthDay => (first, second),
        });
        let card = shown(message.field(6));
        Self {
            door: shown(message.field(1)),
            // 2000 had a 29 February.
            month_day: month_day.filter(|(month, day)| Date::new(2000, *month, *day).is_ok()),
            time: pair(3, b':').and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok()),
            incident: match message.field(4) {
                b"0" => Incident::Opened,
                b"2" => Incident::InvalidCard,
                b"3" => Incident::Denied,
                b"4" => Incident::Expired,
                b"5" => Incident::Antipassback,
                other => Incident::Other(shown(other)),
            },
            is_exit: match message.field(5) {
                b"I" => Some(false),
                b"O" => Some(true),
                _ => None,
            },
            card: match card.trim() {
                "" => AuditCard::Special,
                "STAFF" => AuditCard::Staff,
                room => AuditCard::Guest(room.to_owned()),
            },
            copy: shown(message.field(7)),
            user: shown(message.field(8)),
            extra: message.rest(9).take(EXTRA_FIELDS).map(shown).collect(),
        }
    }

    pub(super) fn write(&self, writer: &mut MessageWriter, order: DateOrder) -> Result<(), FieldError> {
        let (month, day) = self.month_day.ok_or(FieldError::Missing { field: "date" })?;
        let time = self.time.ok_or(FieldError::Missing { field: "time" })?;
        let (first, second) = match order {
            DateOrder::DayMonth => (day, month),
            DateOrder::MonthDay => (month, day),
        };
        writer.field(text("door", &self.door, NAME_CHARACTERS)?);
        writer.field(format!("{first:02}/{second:02}").as_bytes());
        writer.field(format!("{:02}:{:02}", time.hour(), time.minute()).as_bytes());
        writer.field(match &self.incident {
            Incident::Opened => b"0",
            Incident::InvalidCard => b"2",
            Incident::Denied => b"3",
            Incident::Expired => b"4",
            Incident::Antipassback => b"5",
            Incident::Other(other) => text("incident", other, NAME_CHARACTERS)?,
        });
        writer.field(self.is_exit.map_or(b"", |exit| if exit { b"O" } else { b"I" }));
        writer.field(match &self.card {
            AuditCard::Guest(room) => text("room", room, ROOM_CHARACTERS)?,
            AuditCard::Staff => b"STAFF   ",
            AuditCard::Special => b"        ",
        });
        writer.field(text("copy", &self.copy, NAME_CHARACTERS)?);
        writer.field(text("user", &self.user, NAME_CHARACTERS)?);
        Ok(())
    }

    /// The latest moment not after `now` that the record can mean. `now`: local time of the server.
    pub fn at(&self, now: DateTime) -> Option<DateTime> {
        let ((month, day), time) = (self.month_day?, self.time?);
        // Eight years back there is a 29 February, over a century without one too.
        (0..=8_i16)
            .filter_map(|back| now.year().checked_sub(back))
            .filter_map(|year| Date::new(year, month, day).ok())
            .map(|date| date.to_datetime(time))
            .find(|at| *at <= now && *at >= date(2000, 1, 1).at(0, 0, 0, 0))
    }
}
