//! Key records: `KR`, `KD`, `KM`, `KZ` and the answer `KA`, in one shape because they share their fields.
//!
//! A request for several keys does not exist: the first is new, the others are duplicates, each after the answer to the one
//! before. So the key count is not written.

use std::fmt;

use jiff::civil::{Date, DateTime, Time};

use super::code::KeyType;
use super::id::{FieldId, RecordId};
use super::limits::{ANSWER_TEXT_CHARACTERS, MORE_ROOMS, OTHER_FIELDS, RECORD_BYTES};
use super::record::{Record, RecordWriter, ValueError};
use super::value::{
    FieldList, read_clock, read_date, read_moment, read_rooms, write_clock, write_date, write_rooms, write_time,
};
use crate::line::CodePage;

/// Which of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRecordKind {
    /// `KR`.
    Request,
    /// `KD`.
    Delete,
    /// `KM`.
    Change,
    /// `KZ` of the PMS: without a status.
    Read,
    /// `KZ` of the key system: with a status.
    ReadAnswer,
    /// `KA`.
    Answer,
}

/// One key record. Empty or `None`: the field is not there, or cannot be read and is in [`Self::unread`].
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Which.
    pub kind: KeyRecordKind,
    /// `KC`: number or name of the encoder. Compare with [`same_encoder`].
    pub encoder: String,
    /// `WS`: workstation; the answer repeats it.
    pub workstation: String,
    /// `RN`. Leading zeros count.
    pub room: String,
    /// `RO`: there means a move.
    pub old_room: String,
    /// `KT`.
    pub key_type: Option<KeyType>,
    /// `G#`.
    pub reservation: String,
    /// `GA`.
    pub arrival: Option<Date>,
    /// `GD`.
    pub departure: Option<Date>,
    /// `DT`.
    pub departure_time: Option<Time>,
    /// `GN`.
    pub guest_name: String,
    /// `GG`.
    pub group: String,
    /// `ID`: user of the PMS.
    pub user: String,
    /// `KO`: one character an area. Spaces count: the system's own default for that area.
    pub options: String,
    /// `SI`.
    pub more_rooms: Vec<String>,
    /// `UO`: further rooms before a move.
    pub old_more_rooms: Vec<String>,
    /// `$1`.
    pub track_one: String,
    /// `$2`: for the card in a request; the serial of the card in an answer.
    pub track_two: String,
    /// `$3`: data of a mobile key.
    pub key_data: String,
    /// `CT`: for the card in a request; for the clerk in an answer.
    pub text: String,
    /// `RT`: 4 asks for `$3`.
    pub returns: Option<u16>,
    /// `AS`; look it up with [`status`](super::code::status).
    pub status: String,
    /// `A0` to `A9` that are there.
    pub user_defined: Vec<(FieldId, String)>,
    /// `DA` and `TI`, local time of the hotel.
    pub sent_at: Option<DateTime>,
    /// Fields that are not known, or whose value cannot be read.
    pub unread: Vec<(FieldId, String)>,
}

// Guests, their rooms and what is on their cards stay out of logs.
impl fmt::Debug for KeyRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("KeyRecord");
        shown.field("kind", &self.kind).field("encoder", &self.encoder).field("workstation", &self.workstation);
        shown.field("key_type", &self.key_type).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Longest values of the specification, by field. Rooms may be longer with some PMSs, tracks differ between its own tables.
const LIMITS: &[(FieldId, usize)] = &[
    (FieldId::ENCODER, 8),
    (FieldId::WORKSTATION, 16),
    (FieldId::ROOM, 20),
    (FieldId::OLD_ROOM, 20),
    (FieldId::RESERVATION, 10),
    (FieldId::NAME, 200),
    (FieldId::GROUP, 10),
    (FieldId::USER, 16),
    (FieldId::OPTIONS, 40),
    (FieldId::SUITE, 200),
    (FieldId::OLD_SUITE, 200),
    (FieldId::TRACK_ONE, 80),
    (FieldId::TRACK_TWO, 80),
    (FieldId::KEY_DATA, 200),
    (FieldId::STATUS, 2),
];

fn limit(field: FieldId) -> usize {
    LIMITS.iter().find(|(each, _)| *each == field).map_or(RECORD_BYTES, |(_, limit)| *limit)
}

impl KeyRecordKind {
    /// `KZ` for both of its directions.
    pub const fn id(self) -> RecordId {
        match self {
            Self::Request => RecordId::KEY_REQUEST,
            Self::Delete => RecordId::KEY_DELETE,
            Self::Change => RecordId::KEY_CHANGE,
            Self::Read | Self::ReadAnswer => RecordId::KEY_READ,
            Self::Answer => RecordId::KEY_ANSWER,
        }
    }

    /// Fields without which the record means nothing.
    pub const fn needed(self) -> &'static [FieldId] {
        match self {
            Self::Request => &[FieldId::ENCODER, FieldId::KEY_TYPE, FieldId::ROOM, FieldId::WORKSTATION],
            Self::Delete => &[FieldId::ENCODER, FieldId::ROOM, FieldId::WORKSTATION],
            Self::Change => &[FieldId::RESERVATION, FieldId::ENCODER, FieldId::ROOM, FieldId::WORKSTATION],
            Self::Read => &[FieldId::ENCODER, FieldId::WORKSTATION],
            Self::ReadAnswer | Self::Answer => &[FieldId::STATUS, FieldId::ENCODER, FieldId::WORKSTATION],
        }
    }
}

impl KeyRecord {
    /// Without any field.
    pub fn new(kind: KeyRecordKind) -> Self {
        Self {
            kind,
            encoder: String::new(),
            workstation: String::new(),
            room: String::new(),
            old_room: String::new(),
            key_type: None,
            reservation: String::new(),
            arrival: None,
            departure: None,
            departure_time: None,
            guest_name: String::new(),
            group: String::new(),
            user: String::new(),
            options: String::new(),
            more_rooms: Vec::new(),
            old_more_rooms: Vec::new(),
            track_one: String::new(),
            track_two: String::new(),
            key_data: String::new(),
            text: String::new(),
            returns: None,
            status: String::new(),
            user_defined: Vec::new(),
            sent_at: None,
            unread: Vec::new(),
        }
    }

    /// An answer to this request: same encoder, workstation and reservation, word for word. The text is cut to what fits.
    pub fn answer(request: &Self, status: &str, text: &str) -> Self {
        let kind = if request.kind == KeyRecordKind::Read { KeyRecordKind::ReadAnswer } else { KeyRecordKind::Answer };
        Self {
            encoder: request.encoder.clone(),
            workstation: request.workstation.clone(),
            reservation: request.reservation.clone(),
            status: status.to_owned(),
            text: text.chars().take(ANSWER_TEXT_CHARACTERS).collect(),
            ..Self::new(kind)
        }
    }

    /// `None`: not a key record. Fails on nothing else; ask [`Self::missing`] what a sender forgot.
    pub fn read(record: Record<'_>, code_page: CodePage) -> Option<Self> {
        let kind = match record.id() {
            RecordId::KEY_REQUEST => KeyRecordKind::Request,
            RecordId::KEY_DELETE => KeyRecordKind::Delete,
            RecordId::KEY_CHANGE => KeyRecordKind::Change,
            RecordId::KEY_READ if record.find(FieldId::STATUS).is_some() => KeyRecordKind::ReadAnswer,
            RecordId::KEY_READ => KeyRecordKind::Read,
            RecordId::KEY_ANSWER => KeyRecordKind::Answer,
            _ => return None,
        };
        let mut key = Self::new(kind);
        for field in record.fields() {
            let text = code_page.decode(field.value);
            if !key.take(field.id, field.value, &text) && key.unread.len() < OTHER_FIELDS {
                key.unread.push((field.id, text.into_owned()));
            }
        }
        key.sent_at = read_moment(record.find(FieldId::DATE), record.find(FieldId::TIME));
        Some(key)
    }

    /// `false`: not known, or not readable.
    fn take(&mut self, field: FieldId, value: &[u8], text: &str) -> bool {
        let place = match field {
            FieldId::ENCODER => &mut self.encoder,
            FieldId::WORKSTATION => &mut self.workstation,
            FieldId::ROOM => &mut self.room,
            FieldId::OLD_ROOM => &mut self.old_room,
            FieldId::RESERVATION => &mut self.reservation,
            FieldId::NAME => &mut self.guest_name,
            FieldId::GROUP => &mut self.group,
            FieldId::USER => &mut self.user,
            FieldId::OPTIONS => &mut self.options,
            FieldId::TRACK_ONE => &mut self.track_one,
            FieldId::TRACK_TWO => &mut self.track_two,
            FieldId::KEY_DATA => &mut self.key_data,
            FieldId::TEXT => &mut self.text,
            FieldId::STATUS => &mut self.status,
            _ => return self.take_other(field, value, text),
        };
        text.clone_into(place);
        true
    }

    fn take_other(&mut self, field: FieldId, value: &[u8], text: &str) -> bool {
        // Without data a field says nothing, and nothing is wrong with it.
        let empty = value.is_empty();
        match field {
            FieldId::KEY_TYPE => {
                self.key_type = KeyType::from_code(text);
                empty || self.key_type.is_some()
            }
            FieldId::ARRIVAL => {
                self.arrival = read_date(value);
                empty || self.arrival.is_some()
            }
            FieldId::DEPARTURE => {
                self.departure = read_date(value);
                empty || self.departure.is_some()
            }
            FieldId::DEPARTURE_TIME => {
                self.departure_time = read_clock(value);
                empty || self.departure_time.is_some()
            }
            FieldId::RETURN => {
                self.returns = text.parse().ok();
                empty || self.returns.is_some()
            }
            FieldId::SUITE => {
                self.more_rooms = read_rooms(text);
                true
            }
            FieldId::OLD_SUITE => {
                self.old_more_rooms = read_rooms(text);
                true
            }
            FieldId::DATE => empty || read_date(value).is_some(),
            FieldId::TIME => empty || super::value::read_time(value).is_some(),
            // More than one at a time is never made; the number one asks for nothing special.
            FieldId::KEY_COUNT => matches!(text, "" | "1" | "01"),
            field if FieldId::USER_DEFINED.contains(&field) => {
                if self.user_defined.len() < FieldId::USER_DEFINED.len() {
                    self.user_defined.push((field, text.to_owned()));
                }
                true
            }
            _ => false,
        }
    }

    /// The fields that this kind of record needs and that are empty.
    pub fn missing(&self) -> impl Iterator<Item = FieldId> {
        self.kind.needed().iter().copied().filter(|field| match *field {
            FieldId::ENCODER => self.encoder.is_empty(),
            FieldId::KEY_TYPE => self.key_type.is_none(),
            FieldId::ROOM => self.room.is_empty(),
            FieldId::WORKSTATION => self.workstation.is_empty(),
            FieldId::RESERVATION => self.reservation.is_empty(),
            FieldId::STATUS => self.status.is_empty(),
            _ => false,
        })
    }

    /// The body of the frame. `wanted`: only fields the peer described; `None`: all. What the record needs is always written.
    pub fn write(&self, wanted: Option<&FieldList>, code_page: CodePage) -> Result<Vec<u8>, ValueError> {
        let record = self.kind.id();
        if let Some(field) = self.missing().next() {
            return Err(ValueError::Missing { record, field });
        }
        let date = |field: FieldId, date: Option<Date>| {
            let reason = "the year must lie between 1970 and 2069";
            date.map(|date| write_date(date).ok_or(ValueError::Form { record, field, reason }))
                .transpose()
                .map(Option::unwrap_or_default)
        };
        if let Some(room) = self.more_rooms.iter().chain(&self.old_more_rooms).find(|room| room.contains([';', ','])) {
            let character = if room.contains(';') { ';' } else { ',' };
            return Err(ValueError::Character { record, field: FieldId::SUITE, character });
        }
        if self.more_rooms.len() > MORE_ROOMS || self.old_more_rooms.len() > MORE_ROOMS {
            return Err(ValueError::Form { record, field: FieldId::SUITE, reason: "at most 32 further rooms fit" });
        }
        let (suite, old_suite) = (write_rooms(&self.more_rooms), write_rooms(&self.old_more_rooms));
        let (arrival, departure) = (date(FieldId::ARRIVAL, self.arrival)?, date(FieldId::DEPARTURE, self.departure)?);
        let departure_time = self.departure_time.map(write_clock).unwrap_or_default();
        let returns = self.returns.map(|returns| returns.to_string()).unwrap_or_default();
        let sent_on = date(FieldId::DATE, self.sent_at.map(DateTime::date))?;
        let sent_at = self.sent_at.map(|at| write_time(at.time())).unwrap_or_default();
        // Trailing blanks are the default and are not sent.
        let options = self.options.trim_end_matches(' ');
        let fields: [(FieldId, &str); 23] = [
            (FieldId::ENCODER, &self.encoder),
            (FieldId::WORKSTATION, &self.workstation),
            (FieldId::STATUS, &self.status),
            (FieldId::ROOM, &self.room),
            (FieldId::OLD_ROOM, &self.old_room),
            (FieldId::KEY_TYPE, self.key_type.map_or("", KeyType::code)),
            (FieldId::RESERVATION, &self.reservation),
            (FieldId::ARRIVAL, &arrival),
            (FieldId::DEPARTURE, &departure),
            (FieldId::DEPARTURE_TIME, &departure_time),
            (FieldId::NAME, &self.guest_name),
            (FieldId::GROUP, &self.group),
            (FieldId::USER, &self.user),
            (FieldId::OPTIONS, options),
            (FieldId::SUITE, &suite),
            (FieldId::OLD_SUITE, &old_suite),
            (FieldId::TRACK_ONE, &self.track_one),
            (FieldId::TRACK_TWO, &self.track_two),
            (FieldId::KEY_DATA, &self.key_data),
            (FieldId::RETURN, &returns),
            (FieldId::TEXT, &self.text),
            (FieldId::DATE, &sent_on),
            (FieldId::TIME, &sent_at),
        ];
        let needed = self.kind.needed();
        let is_wanted = |field| needed.contains(&field) || wanted.is_none_or(|list| list.contains(field));
        let mut writer = RecordWriter::new(record, code_page);
        for (field, value) in fields {
            if is_wanted(field) {
                writer.optional(field, value, limit(field))?;
            }
        }
        for (field, value) in &self.user_defined {
            if FieldId::USER_DEFINED.contains(field) && is_wanted(*field) {
                writer.optional(*field, value, RECORD_BYTES)?;
            }
        }
        writer.finish()
    }
}

/// Whether two values of `KC` name one encoder: as numbers if both are, because some key systems add zeros.
pub fn same_encoder(first: &str, second: &str) -> bool {
    let (first, second) = (first.trim(), second.trim());
    match (first.parse::<u32>(), second.parse::<u32>()) {
        (Ok(first), Ok(second)) => first == second,
        _ => first == second,
    }
}
