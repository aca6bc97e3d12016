//! Requests to bytes: every field checked, the first bad one named.

use jiff::civil::DateTime;

use super::{CardKey, KeyKind, MobileDelivery, MobileKey, Request, Stay};
use crate::salto_pms::limits::{
    CARDS, CODE_CHARACTERS, NAME_CHARACTERS, OPERATOR_CHARACTERS, ROOM_CHARACTERS, ROOMS, TEXT_CHARACTERS,
};
use crate::salto_pms::message::MessageWriter;
use crate::salto_pms::stamp::write_stamp;
use crate::salto_pms::text::{FieldError, name, phone, text};

impl Request {
    /// The body of the frame. Every field is checked; the error names the first that cannot be sent.
    pub fn write(&self) -> Result<Vec<u8>, FieldError> {
        let mut writer = MessageWriter::new(self.command());
        match self {
            Self::Card(card) => return write_card(self.command(), card),
            Self::Mobile(mobile) => write_mobile(&mut writer, mobile)?,
            Self::ModifyStay { room, new_room, end, code } => {
                writer.field(name("room", room, ROOM_CHARACTERS)?);
                writer.field(text("new room", new_room, ROOM_CHARACTERS)?);
                writer.field(&stamp("new end", *end)?);
                writer.field(text("authorisation code", code, CODE_CHARACTERS)?);
            }
            Self::CheckOut { room } => {
                writer.field(b"0");
                writer.field(name("room", room, ROOM_CHARACTERS)?);
            }
            Self::ReadCard { encoder, handling } | Self::ReadTrack { encoder, handling, .. } => {
                writer.field(name("encoder", encoder, NAME_CHARACTERS)?);
                writer.field(handling.code().as_bytes());
            }
            Self::WriteTrack { encoder, handling, text: track, .. } => {
                writer.field(name("encoder", encoder, NAME_CHARACTERS)?);
                writer.field(handling.code().as_bytes());
                writer.field(text("track text", track, TEXT_CHARACTERS)?);
            }
            Self::Audit { door, .. } => writer.field(name("door", door, NAME_CHARACTERS)?),
            Self::Information => {}
        }
        Ok(writer.finish())
    }
}

fn stamp(field: &'static str, at: Option<DateTime>) -> Result<Vec<u8>, FieldError> {
    at.map(|at| write_stamp(field, at)).transpose().map(|text| text.unwrap_or_default().into_bytes())
}

fn write_card(command: &'static str, card: &CardKey) -> Result<Vec<u8>, FieldError> {
    let command = match card.cards {
        None => command.to_owned(),
        Some(count @ 1..=CARDS) => format!("{command}{count}"),
        Some(_) => return Err(FieldError::Form { field: "number of cards", reason: "1 to 9 can be asked for" }),
    };
    let mut writer = MessageWriter::new(&command);
    writer.field(name("encoder", &card.encoder, NAME_CHARACTERS)?);
    writer.field(card.handling.code().as_bytes());
    write_stay(&mut writer, &card.stay, card.kind)?;
    for (field, track) in ["track 1", "track 2", "track 3"].into_iter().zip(&card.tracks) {
        writer.field(text(field, track, TEXT_CHARACTERS)?);
    }
    writer.field(card.serial.code().as_bytes());
    writer.field(text("authorisation code", &card.stay.code, CODE_CHARACTERS)?);
    Ok(writer.finish())
}

fn write_mobile(writer: &mut MessageWriter, mobile: &MobileKey) -> Result<(), FieldError> {
    if mobile.kind == KeyKind::OneShot {
        return Err(FieldError::Form { field: "kind of key", reason: "a mobile key cannot be one-shot" });
    }
    match &mobile.delivery {
        MobileDelivery::Returned { .. } if mobile.phone.is_empty() => writer.field(b""),
        _ => writer.field(phone("phone", &mobile.phone)?),
    }
    write_stay(writer, &mobile.stay, mobile.kind)?;
    writer.skip(3);
    match &mobile.delivery {
        MobileDelivery::Phone { text: message } => {
            writer.field(text("text on the phone", message, TEXT_CHARACTERS)?);
            writer.field(text("authorisation code", &mobile.stay.code, CODE_CHARACTERS)?);
        }
        MobileDelivery::Returned { .. } if !mobile.stay.code.is_empty() => {
            return Err(FieldError::Form { field: "authorisation code", reason: "a returned key has no field for it" });
        }
        MobileDelivery::Returned { installation } => writer.field(if *installation { b"1" } else { b"0" }),
    }
    Ok(())
}

/// Room to operator: the same nine fields for cards and phones.
fn write_stay(writer: &mut MessageWriter, stay: &Stay, kind: KeyKind) -> Result<(), FieldError> {
    if stay.more_rooms.len() >= ROOMS {
        return Err(FieldError::Form { field: "rooms", reason: "a key opens at most 4 rooms" });
    }
    if stay.end.is_none() && kind != KeyKind::OneShot {
        return Err(FieldError::Missing { field: "end" });
    }
    if let (Some(start), Some(end)) = (stay.start, stay.end)
        && end <= start
    {
        return Err(FieldError::Form { field: "end", reason: "the stay ends before it starts" });
    }
    if !stay.granted.intersection(stay.denied).is_empty() {
        return Err(FieldError::Form { field: "authorisations", reason: "one is both granted and denied" });
    }
    writer.field(name("room", &stay.room, ROOM_CHARACTERS)?);
    for room in &stay.more_rooms {
        writer.field(name("further room", room, ROOM_CHARACTERS)?);
    }
    writer.skip(ROOMS.saturating_sub(1).saturating_sub(stay.more_rooms.len()));
    writer.field(&stay.granted.write());
    writer.field(&stay.denied.write());
    writer.field(&stamp("start", stay.start)?);
    writer.field(&stamp("end", stay.end)?);
    writer.field(text("operator", &stay.operator, OPERATOR_CHARACTERS)?);
    Ok(())
}
