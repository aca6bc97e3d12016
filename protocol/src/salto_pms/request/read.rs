//! Bytes to requests, for the end that serves them.

use jiff::civil::DateTime;

use super::{AuditStep, CardKey, Handling, KeyKind, MobileDelivery, MobileKey, Request, ReturnSerial, Stay, Track};
use crate::salto_pms::authorisation::Authorisations;
use crate::salto_pms::limits::{EXTRA_FIELDS, ROOMS};
use crate::salto_pms::message::Message;
use crate::salto_pms::stamp::read_stamp;
use crate::salto_pms::text::shown;

/// Characters of an unknown command that are worth showing.
const COMMAND_SHOWN: usize = 8;

/// A request as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it asks.
    pub request: Request,
    /// Fields behind the last known one, at most [`EXTRA_FIELDS`].
    pub extra: Vec<String>,
}

/// A request that a server would answer with `ES`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such command.
    #[error("the command {command:?} is not known")]
    Command {
        /// As received, cut to a few characters.
        command: String,
    },
    /// A field has no meaning.
    #[error("field {index} ({field}) of {command} cannot be read")]
    Field {
        /// The command.
        command: &'static str,
        /// From 0, the command.
        index: usize,
        /// Its name.
        field: &'static str,
    },
}

/// Reads fields of one request by position.
struct Fields<'a> {
    message: Message<'a>,
    command: &'static str,
}

impl Fields<'_> {
    fn text(&self, index: usize) -> String {
        shown(self.message.field(index))
    }

    fn needed(&self, index: usize, field: &'static str) -> Result<String, RequestError> {
        let value = self.text(index);
        if value.is_empty() { Err(self.error(index, field)) } else { Ok(value) }
    }

    fn error(&self, index: usize, field: &'static str) -> RequestError {
        RequestError::Field { command: self.command, index, field }
    }

    fn handling(&self, index: usize) -> Result<Handling, RequestError> {
        Handling::read(self.message.field(index)).ok_or_else(|| self.error(index, "card handling"))
    }

    fn stamp(&self, index: usize, field: &'static str) -> Result<Option<DateTime>, RequestError> {
        match self.message.field(index) {
            b"" => Ok(None),
            digits => read_stamp(digits).map(Some).ok_or_else(|| self.error(index, field)),
        }
    }

    fn authorisations(&self, index: usize) -> Result<Authorisations, RequestError> {
        match Authorisations::read(self.message.field(index)) {
            (set, unknown) if unknown.is_empty() => Ok(set),
            _ => Err(self.error(index, "authorisations")),
        }
    }

    /// The nine fields from `index` on, and the code at `code`.
    fn stay(&self, index: usize, code: Option<usize>) -> Result<Stay, RequestError> {
        let at = |offset: usize| index.saturating_add(offset);
        Ok(Stay {
            room: self.needed(index, "room")?,
            more_rooms: (1..ROOMS).map(|offset| self.text(at(offset))).filter(|room| !room.is_empty()).collect(),
            granted: self.authorisations(at(4))?,
            denied: self.authorisations(at(5))?,
            start: self.stamp(at(6), "start")?,
            end: self.stamp(at(7), "end")?,
            operator: self.text(at(8)),
            code: code.map(|index| self.text(index)).unwrap_or_default(),
        })
    }

    fn received(&self, request: Request, known: usize) -> Received {
        let extra = self.message.rest(known).take(EXTRA_FIELDS).map(shown).collect();
        Received { request, extra }
    }
}

impl Received {
    /// Reads what a client sent.
    pub fn read(message: Message<'_>) -> Result<Self, RequestError> {
        let (letters, digit) = match message.command() {
            [letters @ .., digit @ b'1'..=b'9'] if matches!(letters, b"CN" | b"CC" | b"CA") => {
                (letters, digit.checked_sub(b'0'))
            }
            letters => (letters, None),
        };
        let with = |command: &'static str| Fields { message, command };
        match letters {
            b"CN" => card(&with("CN"), KeyKind::CheckIn, digit),
            b"CC" => card(&with("CC"), KeyKind::Copy, digit),
            b"CA" => card(&with("CA"), KeyKind::OneShot, digit),
            b"CNM" => to_phone(&with("CNM"), KeyKind::CheckIn),
            b"CCM" => to_phone(&with("CCM"), KeyKind::Copy),
            b"CNMB" => returned(&with("CNMB"), KeyKind::CheckIn),
            b"CCMB" => returned(&with("CCMB"), KeyKind::Copy),
            b"MC" => {
                let fields = with("MC");
                let request = Request::ModifyStay {
                    room: fields.needed(1, "room")?,
                    new_room: fields.text(2),
                    end: fields.stamp(3, "new end")?,
                    code: fields.text(4),
                };
                Ok(fields.received(request, 5))
            }
            b"CO" => {
                let fields = with("CO");
                let request = Request::CheckOut { room: fields.needed(2, "room")? };
                Ok(fields.received(request, 3))
            }
            b"LT" => {
                let fields = with("LT");
                let request =
                    Request::ReadCard { encoder: fields.needed(1, "encoder")?, handling: fields.handling(2)? };
                Ok(fields.received(request, 3))
            }
            b"L1" => read_track(&with("L1"), Track::One),
            b"L2" => read_track(&with("L2"), Track::Two),
            b"L3" => read_track(&with("L3"), Track::Three),
            b"P1" => write_track(&with("P1"), Track::One),
            b"P2" => write_track(&with("P2"), Track::Two),
            b"P3" => write_track(&with("P3"), Track::Three),
            b"WF" => audit(&with("WF"), AuditStep::First),
            b"WN" => audit(&with("WN"), AuditStep::Next),
            b"WR" => audit(&with("WR"), AuditStep::Repeat),
            b"INFO" => Ok(with("INFO").received(Request::Information, 1)),
            unknown => {
                let start = unknown.get(..COMMAND_SHOWN).unwrap_or(unknown);
                Err(RequestError::Command { command: shown(start) })
            }
        }
    }
}

fn card(fields: &Fields<'_>, kind: KeyKind, cards: Option<u8>) -> Result<Received, RequestError> {
    let card = CardKey {
        kind,
        cards,
        encoder: fields.needed(1, "encoder")?,
        handling: fields.handling(2)?,
        stay: fields.stay(3, Some(16))?,
        tracks: [fields.text(12), fields.text(13), fields.text(14)],
        serial: ReturnSerial::read(fields.message.field(15)).ok_or_else(|| fields.error(15, "return serial"))?,
    };
    Ok(fields.received(Request::Card(card), 17))
}

fn to_phone(fields: &Fields<'_>, kind: KeyKind) -> Result<Received, RequestError> {
    let mobile = MobileKey {
        kind,
        phone: fields.needed(1, "phone")?,
        stay: fields.stay(2, Some(15))?,
        delivery: MobileDelivery::Phone { text: fields.text(14) },
    };
    Ok(fields.received(Request::Mobile(mobile), 16))
}

fn returned(fields: &Fields<'_>, kind: KeyKind) -> Result<Received, RequestError> {
    let installation = match fields.message.field(14) {
        b"1" => true,
        b"0" | b"" => false,
        _ => return Err(fields.error(14, "return installation")),
    };
    let mobile = MobileKey {
        kind,
        phone: fields.text(1),
        stay: fields.stay(2, None)?,
        delivery: MobileDelivery::Returned { installation },
    };
    Ok(fields.received(Request::Mobile(mobile), 15))
}

fn read_track(fields: &Fields<'_>, track: Track) -> Result<Received, RequestError> {
    let request = Request::ReadTrack { track, encoder: fields.needed(1, "encoder")?, handling: fields.handling(2)? };
    Ok(fields.received(request, 3))
}

fn write_track(fields: &Fields<'_>, track: Track) -> Result<Received, RequestError> {
    let request = Request::WriteTrack {
        track,
        encoder: fields.needed(1, "encoder")?,
        handling: fields.handling(2)?,
        text: fields.text(3),
    };
    Ok(fields.received(request, 4))
}

fn audit(fields: &Fields<'_>, step: AuditStep) -> Result<Received, RequestError> {
    Ok(fields.received(Request::Audit { step, door: fields.needed(1, "door")? }, 2))
}
