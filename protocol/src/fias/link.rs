//! Records about the link itself: `LS`, `LA`, `LE`, `LD`, `LR`, `LC`, and the ones with nothing but a moment.

use jiff::civil::DateTime;

use super::id::{FieldId, RecordId};
use super::limits::RECORD_BYTES;
use super::record::{Record, RecordWriter, ValueError};
use super::value::{FieldList, write_date, write_time};
use crate::line::CodePage;

/// `RT` of a link description: tell me your timeout for key answers.
pub const ASK_KEY_TIMEOUT: u16 = 128;

/// `LD`: who the key system is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkDescription {
    /// `V#`: at most ten characters.
    pub version: String,
    /// `IF`: interface family. Door locks are `DL`; others are sent by key systems too.
    pub family: String,
    /// `RT`: sum of what the PMS shall tell about itself.
    pub returns: Option<u16>,
    /// `RL`: longest record of messages.
    pub record_length: Option<u16>,
    /// `CG`; see [`cryptogram`](super::cryptogram).
    pub cryptogram: String,
}

impl LinkDescription {
    /// Reads `LD`; what cannot be read is empty.
    pub fn read(record: Record<'_>) -> Self {
        let text =
            |field| record.find(field).map(|value| CodePage::Latin1.decode(value).into_owned()).unwrap_or_default();
        Self {
            version: text(FieldId::VERSION),
            family: text(FieldId::FAMILY),
            returns: text(FieldId::RETURN).parse().ok(),
            record_length: text(FieldId::RECORD_LENGTH).parse().ok(),
            cryptogram: text(FieldId::CRYPTOGRAM),
        }
    }

    /// The body of the frame.
    pub fn write(&self, local: DateTime) -> Result<Vec<u8>, ValueError> {
        let mut writer = with_moment(RecordId::LINK_DESCRIPTION, local)?;
        writer.needed(FieldId::VERSION, &self.version, 10)?;
        writer.needed(FieldId::FAMILY, &self.family, 2)?;
        writer.optional(FieldId::RETURN, &self.returns.map(|returns| returns.to_string()).unwrap_or_default(), 5)?;
        let length = self.record_length.map(|length| length.to_string()).unwrap_or_default();
        writer.optional(FieldId::RECORD_LENGTH, &length, 5)?;
        writer.optional(FieldId::CRYPTOGRAM, &self.cryptogram, RECORD_BYTES)?;
        writer.finish()
    }
}

/// `LR`: which fields of a record type the key system uses, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// Which type.
    pub record: RecordId,
    /// Which fields.
    pub fields: FieldList,
}

impl LinkRecord {
    /// `None`: it names no record. One specimen of the specification forgets the tag of the name; that is read too.
    pub fn read(record: Record<'_>) -> Option<Self> {
        let fields = FieldList::read(record.find(FieldId::FIELD_LIST).unwrap_or_default());
        let named = record.find(FieldId::RECORD);
        let forgotten = record.fields().next().filter(|field| field.value.is_empty()).map(|field| field.id.0);
        let id = match named {
            Some([first, second]) => Some([*first, *second]),
            Some(_) => None,
            None => forgotten,
        };
        id.map(|id| Self { record: RecordId(id), fields })
    }

    /// The body of the frame: the one record whose fields have a fixed order.
    pub fn write(&self) -> Result<Vec<u8>, ValueError> {
        let mut writer = RecordWriter::new(RecordId::LINK_RECORD, CodePage::Latin1);
        writer.needed(FieldId::RECORD, &self.record.to_string(), 2)?;
        writer.needed(FieldId::FIELD_LIST, &self.fields.write(), RECORD_BYTES)?;
        writer.finish()
    }
}

/// `LC`: what the PMS tells about itself when asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkConfiguration {
    /// Seconds the PMS waits for a key answer: the second number of `A0`.
    pub key_timeout_seconds: Option<u16>,
    /// `PH`.
    pub hotel: String,
    /// `A1`: version of the PMS.
    pub version: String,
}

impl LinkConfiguration {
    /// Reads `LC`; what cannot be read is empty.
    pub fn read(record: Record<'_>) -> Self {
        let text =
            |field| record.find(field).map(|value| CodePage::Latin1.decode(value).into_owned()).unwrap_or_default();
        let timeouts = text(FieldId::TIMEOUTS);
        Self {
            key_timeout_seconds: timeouts.split_once(';').and_then(|(_, key)| key.trim().parse().ok()),
            hotel: text(FieldId::HOTEL),
            version: text(FieldId(*b"A1")),
        }
    }

    /// The body of the frame. The other timeout, of payments, is written as nothing.
    pub fn write(&self) -> Result<Vec<u8>, ValueError> {
        let mut writer = RecordWriter::new(RecordId::LINK_CONFIGURATION, CodePage::Latin1);
        let timeouts = self.key_timeout_seconds.map(|seconds| format!(";{seconds}")).unwrap_or_default();
        writer.optional(FieldId::TIMEOUTS, &timeouts, RECORD_BYTES)?;
        writer.optional(FieldId(*b"A1"), &self.version, RECORD_BYTES)?;
        writer.optional(FieldId::HOTEL, &self.hotel, 20)?;
        writer.finish()
    }
}

/// A record with nothing but date and time: `LS`, `LA`, `LE`, `DR`, `DS`, `DE`, `NS`, `NE`.
pub fn moment_record(id: RecordId, local: DateTime) -> Result<Vec<u8>, ValueError> {
    with_moment(id, local)?.finish()
}

fn with_moment(id: RecordId, local: DateTime) -> Result<RecordWriter, ValueError> {
    let mut writer = RecordWriter::new(id, CodePage::Latin1);
    let reason = "the year must lie between 1970 and 2069";
    let date = write_date(local.date()).ok_or(ValueError::Form { record: id, field: FieldId::DATE, reason })?;
    writer.field(FieldId::DATE, &date, 6)?;
    writer.field(FieldId::TIME, &write_time(local.time()), 6)?;
    Ok(writer)
}
