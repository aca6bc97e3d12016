//! `GetInfo`: is there a server, and what time does it have?

use jiff::civil::DateTime;

use super::{Call, field, note_unknown};
use crate::ship::Notes;
use crate::ship::xml::Element;

/// Asks for protocol and clock. Has no parameters and no effect: the liveness probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetInfo;

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// `SHIP`.
    pub protocol: String,
    /// `1.0` in the known sample.
    pub version: String,
    /// Its local time.
    pub time: Option<DateTime>,
    /// Three letters.
    pub language: String,
}

impl Call for GetInfo {
    type Answer = Info;

    fn name(&self) -> &'static str {
        "GetInfo"
    }

    fn params(&self) -> Vec<Element> {
        Vec::new()
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Info {
        note_unknown(params, &["ProtocolID", "ProtocolVersion", "DateTime", "DefaultLanguage"], notes);
        Info {
            protocol: field(params, "ProtocolID", notes).unwrap_or_default(),
            version: field(params, "ProtocolVersion", notes).unwrap_or_default(),
            time: field(params, "DateTime", notes),
            language: field(params, "DefaultLanguage", notes).unwrap_or_default(),
        }
    }
}
