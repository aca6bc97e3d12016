//! Records about guests and rooms that a key system may listen to: `GI`, `GO`, `GC`, `RE`.

use std::fmt;

use jiff::civil::{Date, DateTime};

use super::id::{FieldId, RecordId};
use super::limits::{OTHER_FIELDS, RECORD_BYTES};
use super::record::{Record, RecordWriter, ValueError};
use super::value::{FieldList, read_date, read_moment, write_date, write_time};
use crate::line::CodePage;

/// What happened to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestRecordKind {
    /// `GI`.
    In,
    /// `GO`.
    Out,
    /// `GC`: with an old room, a move.
    Change,
}

/// A guest record. The same one can come twice: handle it so that nothing happens the second time.
#[derive(Clone, PartialEq, Eq)]
pub struct GuestRecord {
    /// What happened.
    pub kind: GuestRecordKind,
    /// `RN`.
    pub room: String,
    /// `RO`.
    pub old_room: String,
    /// `G#`; may be missing in a resync.
    pub reservation: String,
    /// `GS`: somebody else has the same room.
    pub is_shared: Option<bool>,
    /// `SF`: part of a resync. To be compared with what is known; nothing happened just now.
    pub is_resync: bool,
    /// `GA`.
    pub arrival: Option<Date>,
    /// `GD`.
    pub departure: Option<Date>,
    /// `GN`.
    pub name: String,
    /// `GF`.
    pub first_name: String,
    /// `GL`; not always an ISO code.
    pub language: String,
    /// `DA` and `TI`, local time of the hotel.
    pub sent_at: Option<DateTime>,
    /// Everything else, as received.
    pub other: Vec<(FieldId, String)>,
}

// Guests stay out of logs.
impl fmt::Debug for GuestRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("GuestRecord");
        shown.field("kind", &self.kind).field("is_resync", &self.is_resync).finish_non_exhaustive()
    }
}

impl GuestRecordKind {
    /// The record.
    pub const fn id(self) -> RecordId {
        match self {
            Self::In => RecordId::GUEST_IN,
            Self::Out => RecordId::GUEST_OUT,
            Self::Change => RecordId::GUEST_CHANGE,
        }
    }
}

impl GuestRecord {
    /// Without any field.
    pub fn new(kind: GuestRecordKind, room: &str) -> Self {
        Self {
            kind,
            room: room.to_owned(),
            old_room: String::new(),
            reservation: String::new(),
            is_shared: None,
            is_resync: false,
            arrival: None,
            departure: None,
            name: String::new(),
            first_name: String::new(),
            language: String::new(),
            sent_at: None,
            other: Vec::new(),
        }
    }

    /// `None`: not a guest record.
    pub fn read(record: Record<'_>, code_page: CodePage) -> Option<Self> {
        let kind = [GuestRecordKind::In, GuestRecordKind::Out, GuestRecordKind::Change]
            .into_iter()
            .find(|kind| kind.id() == record.id())?;
        let mut guest = Self::new(kind, "");
        for field in record.fields() {
            let text = code_page.decode(field.value);
            if !guest.take(field.id, field.value, &text) && guest.other.len() < OTHER_FIELDS {
                guest.other.push((field.id, text.into_owned()));
            }
        }
        guest.sent_at = read_moment(record.find(FieldId::DATE), record.find(FieldId::TIME));
        Some(guest)
    }

    fn take(&mut self, field: FieldId, value: &[u8], text: &str) -> bool {
        let place = match field {
            FieldId::ROOM => &mut self.room,
            FieldId::OLD_ROOM => &mut self.old_room,
            FieldId::RESERVATION => &mut self.reservation,
            FieldId::NAME => &mut self.name,
            FieldId::FIRST_NAME => &mut self.first_name,
            FieldId::LANGUAGE => &mut self.language,
            FieldId::RESYNC_FLAG => {
                self.is_resync = true;
                return true;
            }
            FieldId::SHARE => {
                self.is_shared = match text {
                    "Y" => Some(true),
                    "N" => Some(false),
                    _ => None,
                };
                return self.is_shared.is_some() || text.is_empty();
            }
            FieldId::ARRIVAL => {
                self.arrival = read_date(value);
                return self.arrival.is_some() || text.is_empty();
            }
            FieldId::DEPARTURE => {
                self.departure = read_date(value);
                return self.departure.is_some() || text.is_empty();
            }
            FieldId::DATE => return read_date(value).is_some(),
            FieldId::TIME => return super::value::read_time(value).is_some(),
            _ => return false,
        };
        text.clone_into(place);
        true
    }

    /// The body of the frame, for the PMS's end. `wanted`: only fields the peer described, and the room.
    pub fn write(&self, wanted: Option<&FieldList>, code_page: CodePage) -> Result<Vec<u8>, ValueError> {
        let record = self.kind.id();
        let date = |field: FieldId, date: Option<Date>| {
            let reason = "the year must lie between 1970 and 2069";
            date.map(|date| write_date(date).ok_or(ValueError::Form { record, field, reason }))
                .transpose()
                .map(Option::unwrap_or_default)
        };
        let (arrival, departure) = (date(FieldId::ARRIVAL, self.arrival)?, date(FieldId::DEPARTURE, self.departure)?);
        let sent_on = date(FieldId::DATE, self.sent_at.map(DateTime::date))?;
        let sent_at = self.sent_at.map(|at| write_time(at.time())).unwrap_or_default();
        let is_wanted = |field: FieldId| wanted.is_none_or(|list| list.contains(field));
        let mut writer = RecordWriter::new(record, code_page);
        writer.needed(FieldId::ROOM, &self.room, RECORD_BYTES)?;
        for (field, value) in [
            (FieldId::OLD_ROOM, self.old_room.as_str()),
            (FieldId::RESERVATION, &self.reservation),
            (FieldId::SHARE, self.is_shared.map_or("", |shared| if shared { "Y" } else { "N" })),
            (FieldId::ARRIVAL, &arrival),
            (FieldId::DEPARTURE, &departure),
            (FieldId::NAME, &self.name),
            (FieldId::FIRST_NAME, &self.first_name),
            (FieldId::LANGUAGE, &self.language),
            (FieldId::DATE, &sent_on),
            (FieldId::TIME, &sent_at),
        ] {
            if is_wanted(field) {
                writer.optional(field, value, RECORD_BYTES)?;
            }
        }
        // A flag: true by being there.
        if self.is_resync && is_wanted(FieldId::RESYNC_FLAG) {
            writer.field(FieldId::RESYNC_FLAG, "", 0)?;
        }
        for (field, value) in &self.other {
            if is_wanted(*field) {
                writer.field(*field, value, RECORD_BYTES)?;
            }
        }
        writer.finish()
    }
}

/// `RE`: equipment and status of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// `RN`.
    pub room: String,
    /// `RS`: 1 to 6.
    pub status: Option<u8>,
    /// Everything else, as received.
    pub other: Vec<(FieldId, String)>,
}

impl RoomRecord {
    /// `None`: not a room record.
    pub fn read(record: Record<'_>, code_page: CodePage) -> Option<Self> {
        if record.id() != RecordId::ROOM_EQUIPMENT {
            return None;
        }
        let text = |field| record.find(field).map(|value| code_page.decode(value).into_owned());
        let status =
            text(FieldId::ROOM_STATUS).and_then(|text| text.parse().ok()).filter(|status| (1..=6).contains(status));
        let other = record
            .fields()
            .filter(|field| field.id != FieldId::ROOM && (field.id != FieldId::ROOM_STATUS || status.is_none()))
            .take(OTHER_FIELDS)
            .map(|field| (field.id, code_page.decode(field.value).into_owned()))
            .collect();
        Some(Self { room: text(FieldId::ROOM).unwrap_or_default(), status, other })
    }
}
