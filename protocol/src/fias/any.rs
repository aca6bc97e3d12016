//! Every record as a type.

use jiff::civil::DateTime;

use super::guest::{GuestRecord, RoomRecord};
use super::id::{FieldId, RecordId};
use super::key::KeyRecord;
use super::limits::OTHER_FIELDS;
use super::link::{LinkConfiguration, LinkDescription, LinkRecord};
use super::record::Record;
use super::value::read_moment;
use crate::line::CodePage;

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyRecord {
    /// `LS`, `LA`, `LE`, `DR`, `DS`, `DE`, `NS`, `NE`.
    Moment {
        /// Which.
        id: RecordId,
        /// Local time of the hotel, if it can be read.
        at: Option<DateTime>,
    },
    /// `LD`.
    Description(LinkDescription),
    /// `LR`.
    Fields(LinkRecord),
    /// `LC`.
    Configuration(LinkConfiguration),
    /// `KR`, `KD`, `KM`, `KZ`, `KA`.
    Key(Box<KeyRecord>),
    /// `GI`, `GO`, `GC`.
    Guest(Box<GuestRecord>),
    /// `RE`.
    Room(RoomRecord),
    /// Any other, as received.
    Other {
        /// Which.
        id: RecordId,
        /// In order.
        fields: Vec<(FieldId, String)>,
    },
}

impl AnyRecord {
    /// Reads everything that [`Record::read`] lets pass.
    pub fn read(record: Record<'_>, code_page: CodePage) -> Self {
        let id = record.id();
        match id {
            RecordId::LINK_START
            | RecordId::LINK_ALIVE
            | RecordId::LINK_END
            | RecordId::RESYNC_REQUEST
            | RecordId::RESYNC_START
            | RecordId::RESYNC_END
            | RecordId::NIGHT_START
            | RecordId::NIGHT_END => {
                let at = read_moment(record.find(FieldId::DATE), record.find(FieldId::TIME));
                return Self::Moment { id, at };
            }
            RecordId::LINK_DESCRIPTION => return Self::Description(LinkDescription::read(record)),
            RecordId::LINK_CONFIGURATION => return Self::Configuration(LinkConfiguration::read(record)),
            _ => {}
        }
        if id == RecordId::LINK_RECORD
            && let Some(fields) = LinkRecord::read(record)
        {
            return Self::Fields(fields);
        }
        if let Some(key) = KeyRecord::read(record, code_page) {
            return Self::Key(Box::new(key));
        }
        if let Some(guest) = GuestRecord::read(record, code_page) {
            return Self::Guest(Box::new(guest));
        }
        if let Some(room) = RoomRecord::read(record, code_page) {
            return Self::Room(room);
        }
        let fields = record.fields().take(OTHER_FIELDS);
        Self::Other { id, fields: fields.map(|field| (field.id, code_page.decode(field.value).into_owned())).collect() }
    }
}
