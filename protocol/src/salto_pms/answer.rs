//! Answers, and which request one can belong to.
//!
//! Nothing in an answer names the request: only the command comes back, and for most commands the encoder, phone or door. So
//! at most one request is open on a line, and an answer is compared with what is open:
//!
//! | field 0 | verdict |
//! |---|---|
//! | the command asked, and field 1 not *another* encoder, phone or door | [`Fit::Success`] |
//! | an error code of the table | [`Fit::Refusal`]; field 1 of errors is not reliable and is not compared |
//! | another command that is known | [`Fit::Foreign`] |
//! | anything else | [`Fit::Unknown`]: an answer of a newer server, which proves nothing |

use super::audit::{AuditRecord, DateOrder};
use super::card::CardRead;
use super::error_code::{AUDIT_END, AUDIT_ERROR, ErrorCode, lookup};
use super::limits::{EXTRA_FIELDS, NAME_CHARACTERS, TEXT_CHARACTERS};
use super::message::{Message, MessageWriter};
use super::request::Request;
use super::text::{FieldError, shown, text};

/// Commands whose success answer bears their own name.
const COMMANDS: &[&str] = &[
    "CN", "CC", "CA", "CNM", "CCM", "CNMB", "CCMB", "MC", "CO", "LT", "L1", "L2", "L3", "P1", "P2", "P3", "WF", "WN",
    "WR", "INFO",
];

/// What the answer to an open request has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    command: &'static str,
    /// Encoder, phone or door; empty: nothing to compare.
    about: String,
}

/// How an answer fits the open request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Done.
    Success,
    /// Not done, for the reason in the answer.
    Refusal,
    /// A code that nobody knows.
    Unknown,
    /// The answer of another request.
    Foreign,
}

impl Expectation {
    /// For this request.
    pub fn of(request: &Request) -> Self {
        let about = match request {
            Request::Mobile(mobile) => mobile.phone.clone(),
            Request::Audit { door, .. } => door.clone(),
            request => request.encoder().unwrap_or_default().to_owned(),
        };
        Self { command: request.command(), about }
    }

    /// Compares. See the table of this module.
    pub fn fit(&self, answer: Message<'_>) -> Fit {
        let code = answer.command();
        if [AUDIT_END, AUDIT_ERROR].iter().any(|end| end.as_bytes() == code) {
            return if self.command.starts_with('W') { Fit::Refusal } else { Fit::Foreign };
        }
        if lookup(code).is_some() {
            return Fit::Refusal;
        }
        let code = without_count(code);
        let writes_cards = matches!(self.command, "CN" | "CC" | "CA");
        if code == self.command.as_bytes() || (writes_cards && code == b"CN") {
            return if self.about_another(answer.field(1)) { Fit::Foreign } else { Fit::Success };
        }
        if COMMANDS.iter().any(|command| command.as_bytes() == code) { Fit::Foreign } else { Fit::Unknown }
    }

    /// The success answer may be the request itself, word for word.
    pub fn answer_can_equal_request(&self) -> bool {
        matches!(self.command, "MC" | "CO")
    }

    /// Both are named and differ: as numbers if both are, else without regard to case and to spaces around.
    fn about_another(&self, named: &[u8]) -> bool {
        let named = shown(named);
        let (asked, named) = (self.about.trim(), named.trim());
        if asked.is_empty() || named.is_empty() {
            return false;
        }
        match (asked.parse::<u64>(), named.parse::<u64>()) {
            (Ok(asked), Ok(named)) => asked != named,
            _ => !asked.eq_ignore_ascii_case(named),
        }
    }
}

/// `CN2` to `CN`: whether the number of cards comes back is not known.
fn without_count(code: &[u8]) -> &[u8] {
    match code {
        [letters @ .., b'1'..=b'9'] if matches!(letters, b"CN" | b"CC" | b"CA") => letters,
        code => code,
    }
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done; `LT`, the audit trail and tracks have forms of their own.
    Done {
        /// Field 1: encoder, phone or room.
        about: String,
        /// Fields behind it: serial numbers, or key and installation of a returned mobile key.
        more: Vec<String>,
    },
    /// `LT`.
    Card {
        /// Encoder.
        about: String,
        /// What lies on it.
        card: CardRead,
    },
    /// `L1` to `L3`.
    Track {
        /// Encoder.
        about: String,
        /// Text of the track.
        text: String,
    },
    /// `WF`, `WN`, `WR`.
    Audit(Box<AuditRecord>),
    /// `WO`.
    AuditEnd,
    /// An error.
    Refused(Refusal),
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As received.
    pub code: String,
    /// The row of the table; `None`: nobody knows the code.
    pub known: Option<ErrorCode>,
    /// Field 1: encoder or phone, if the server fills it.
    pub about: String,
    /// Last field of `EG`; empty for others.
    pub text: String,
}

impl Refusal {
    /// Neither the database nor a card was changed.
    pub fn is_certainly_without_effect(&self) -> bool {
        self.known.is_some_and(|row| row.certainly_no_effect)
    }
}

impl Answer {
    /// Reads an answer that fits the request ([`Expectation::fit`] said so).
    pub fn read(request: &Request, answer: Message<'_>, order: DateOrder) -> Self {
        let code = answer.command();
        let about = shown(answer.field(1));
        if code == AUDIT_END.as_bytes() {
            return Self::AuditEnd;
        }
        if Expectation::of(request).fit(answer) != Fit::Success {
            let text = answer.rest(2).last().map(shown).unwrap_or_default();
            return Self::Refused(Refusal { code: shown(code), known: lookup(code), about, text });
        }
        match request {
            Request::ReadCard { .. } => Self::Card { about, card: CardRead::read(answer) },
            Request::ReadTrack { .. } => Self::Track { about, text: shown(answer.field(2)) },
            Request::Audit { .. } => Self::Audit(Box::new(AuditRecord::read(answer, order))),
            _ => Self::Done { about, more: answer.rest(2).take(EXTRA_FIELDS).map(shown).collect() },
        }
    }

    /// The body of the frame with which a server answers `request`.
    pub fn write(&self, request: &Request, order: DateOrder) -> Result<Vec<u8>, FieldError> {
        let command = match self {
            Self::Refused(refusal) => &refusal.code,
            Self::AuditEnd => AUDIT_END,
            _ => request.command(),
        };
        text("code", command, NAME_CHARACTERS)?;
        let mut writer = MessageWriter::new(command);
        match self {
            Self::Done { about, more } => {
                writer.field(text("about", about, NAME_CHARACTERS)?);
                for field in more.iter().take(EXTRA_FIELDS) {
                    writer.field(text("further field", field, super::limits::MESSAGE_BYTES)?);
                }
            }
            Self::Card { about, card } => {
                writer.field(text("about", about, NAME_CHARACTERS)?);
                card.write(&mut writer)?;
            }
            Self::Track { about, text: track } => {
                writer.field(text("about", about, NAME_CHARACTERS)?);
                writer.field(text("track text", track, TEXT_CHARACTERS)?);
            }
            Self::Audit(record) => record.write(&mut writer, order)?,
            Self::AuditEnd => {
                if let Request::Audit { door, .. } = request {
                    writer.field(text("door", door, NAME_CHARACTERS)?);
                }
            }
            Self::Refused(refusal) => {
                writer.field(text("about", &refusal.about, NAME_CHARACTERS)?);
                writer.field(text("text", &refusal.text, TEXT_CHARACTERS)?);
            }
        }
        Ok(writer.finish())
    }
}
