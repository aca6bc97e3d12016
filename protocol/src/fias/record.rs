//! A record: a type and fields with names, `RI|FFvalue|FFvalue|`.

use super::id::{FieldId, RecordId};
use super::limits::RECORD_BYTES;
use crate::line::CodePage;

/// Between fields, and behind the last one. There is no way to send it inside a value.
const SEPARATOR: u8 = b'|';

/// The body of a frame, read as a record without copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    id: RecordId,
    segments: &'a [u8],
}

/// A frame that holds no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {bytes} bytes does not begin with the two letters of a record")]
pub struct NoRecord {
    /// Size of the frame's body.
    pub bytes: usize,
}

/// One field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub id: FieldId,
    /// In the code page of the site. Leading zeros and spaces count.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads any frame that begins with a letter and a letter or digit. Whatever follows never fails a record.
    pub fn read(body: &'a [u8]) -> Result<Self, NoRecord> {
        match body {
            [first, second, segments @ ..] if first.is_ascii_alphabetic() && second.is_ascii_alphanumeric() => {
                Ok(Self { id: RecordId([*first, *second]), segments })
            }
            _ => Err(NoRecord { bytes: body.len() }),
        }
    }

    /// Which record it is.
    pub fn id(self) -> RecordId {
        self.id
    }

    /// In order. A segment too short for a name is left out; one whose name got lost looks like an unknown field.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        self.segments.split(|byte| *byte == SEPARATOR).filter_map(|segment| match segment {
            [first, second, value @ ..] => Some(Field { id: FieldId([*first, *second]), value }),
            _ => None,
        })
    }

    /// The first field of this name. `Some` and empty: there, without data.
    pub fn find(self, id: FieldId) -> Option<&'a [u8]> {
        self.fields().find(|field| field.id == id).map(|field| field.value)
    }
}

/// A value that cannot be sent, or that must be there and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Must not be empty.
    #[error("{record} needs {field}")]
    Missing {
        /// The record.
        record: RecordId,
        /// The field.
        field: FieldId,
    },
    /// The separator and control characters have no way through.
    #[error("{field} of {record} holds {character:?}, which cannot be sent")]
    Character {
        /// The record.
        record: RecordId,
        /// The field.
        field: FieldId,
        /// The first one.
        character: char,
    },
    /// The site's code page has no such character.
    #[error("{field} of {record} holds {character:?}, which the code page {code_page} does not have")]
    CodePage {
        /// The record.
        record: RecordId,
        /// The field.
        field: FieldId,
        /// The first one.
        character: char,
        /// Setting of the site.
        code_page: &'static str,
    },
    /// Longer than the peer takes.
    #[error("{field} of {record} is {characters} characters long, at most {limit} fit")]
    TooLong {
        /// The record.
        record: RecordId,
        /// The field.
        field: FieldId,
        /// Its length.
        characters: usize,
        /// What fits.
        limit: usize,
    },
    /// Has a form of its own.
    #[error("{field} of {record} is not valid: {reason}")]
    Form {
        /// The record.
        record: RecordId,
        /// The field.
        field: FieldId,
        /// What it has to be.
        reason: &'static str,
    },
    /// All fields together.
    #[error("{record} is {bytes} bytes long, at most {RECORD_BYTES} can be sent")]
    RecordTooLong {
        /// The record.
        record: RecordId,
        /// Its length.
        bytes: usize,
    },
}

/// Writes one record, field by field.
#[derive(Debug)]
pub struct RecordWriter {
    id: RecordId,
    code_page: CodePage,
    body: Vec<u8>,
}

impl RecordWriter {
    /// Without fields yet.
    pub fn new(id: RecordId, code_page: CodePage) -> Self {
        Self { id, code_page, body: [&id.0[..], &[SEPARATOR]].concat() }
    }

    /// A field, also without data: some are true by being there. `limit`: characters of the value.
    pub fn field(&mut self, field: FieldId, value: &str, limit: usize) -> Result<(), ValueError> {
        let record = self.id;
        if let Some(character) = value.chars().find(|character| *character == '|' || character.is_control()) {
            return Err(ValueError::Character { record, field, character });
        }
        let characters = value.chars().count();
        if characters > limit {
            return Err(ValueError::TooLong { record, field, characters, limit });
        }
        self.body.extend_from_slice(&field.0);
        if let Err(missing) = self.code_page.encode(value, &mut self.body) {
            let (character, code_page) = (missing.character, self.code_page.name());
            return Err(ValueError::CodePage { record, field, character, code_page });
        }
        self.body.push(SEPARATOR);
        Ok(())
    }

    /// A field unless its value is empty.
    pub fn optional(&mut self, field: FieldId, value: &str, limit: usize) -> Result<(), ValueError> {
        if value.is_empty() { Ok(()) } else { self.field(field, value, limit) }
    }

    /// A field that must not be empty.
    pub fn needed(&mut self, field: FieldId, value: &str, limit: usize) -> Result<(), ValueError> {
        if value.is_empty() {
            return Err(ValueError::Missing { record: self.id, field });
        }
        self.field(field, value, limit)
    }

    /// The body of the frame.
    pub fn finish(self) -> Result<Vec<u8>, ValueError> {
        if self.body.len() > RECORD_BYTES {
            return Err(ValueError::RecordTooLong { record: self.id, bytes: self.body.len() });
        }
        Ok(self.body)
    }
}
