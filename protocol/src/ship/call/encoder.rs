//! Encoders: reading and writing cards. These answer only when a card was presented, or the encoder gave up waiting.

use super::{Call, field};
use crate::ship::Notes;
use crate::ship::value::{FieldValue, chip_serial};
use crate::ship::xml::Element;

/// Reads the card on an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadKey {
    /// Name of the encoder, exactly as in Space.
    pub encoder: String,
}

/// What is on an encoder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadKeyAnswer {
    /// Chip serial, upper-case hexadecimal; `None` when the server did not tell one.
    pub rom_code: Option<String>,
    /// Holder, should the server tell it; whether any does is not known.
    pub user_id: Option<String>,
}

impl Call for ReadKey {
    type Answer = ReadKeyAnswer;

    fn name(&self) -> &'static str {
        "Encoder.ReadKey"
    }

    fn params(&self) -> Vec<Element> {
        vec![self.encoder.write("EncoderID"), true.write("ReturnROMCode")]
    }

    /// The name of the serial's element is not certain, its place is: the first child.
    fn read(&self, params: &Element, notes: &mut Notes) -> ReadKeyAnswer {
        let element = params.child("ROMCode").or_else(|| params.children.first());
        let rom_code = element.and_then(|element| chip_serial(&element.text));
        if rom_code.is_none() {
            notes.add(&params.name, element.map_or("ROMCode", |element| &element.name), "is not a chip serial");
        }
        let user_id = field(params, "ExtUserID", notes).filter(|user_id: &String| !user_id.is_empty());
        ReadKeyAnswer { rom_code, user_id }
    }
}

/// What writing a card answered; which fields servers send is not known, so the user should be read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenKey {
    /// Chip serial, upper-case hexadecimal, should the server tell it.
    pub rom_code: Option<String>,
}

fn key_params(user_id: &String, encoder: &String) -> Vec<Element> {
    vec![user_id.write("ExtUserID"), encoder.write("EncoderID")]
}

fn written(params: &Element, notes: &mut Notes) -> WrittenKey {
    WrittenKey { rom_code: field(params, "ROMCode", notes).and_then(|text: String| chip_serial(&text)) }
}

/// Writes a first card, or one after the present card was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignNewKey {
    /// `ExtUserID`.
    pub user_id: String,
    /// Name of the encoder.
    pub encoder: String,
}

impl Call for AssignNewKey {
    type Answer = WrittenKey;

    fn name(&self) -> &'static str {
        "Encoder.SaltoDBUser.AssignNewKey"
    }

    fn params(&self) -> Vec<Element> {
        key_params(&self.user_id, &self.encoder)
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> WrittenKey {
        written(params, notes)
    }
}

/// Writes the user's present card again with the rights the server now holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateCurrentKey {
    /// `ExtUserID`.
    pub user_id: String,
    /// Name of the encoder.
    pub encoder: String,
}

impl Call for UpdateCurrentKey {
    type Answer = WrittenKey;

    fn name(&self) -> &'static str {
        "Encoder.SaltoDBUser.UpdateCurrentKey"
    }

    fn params(&self) -> Vec<Element> {
        key_params(&self.user_id, &self.encoder)
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> WrittenKey {
        written(params, notes)
    }
}

/// Cancels a user's key. The name of this request is not public, so it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// Name of the request, from the vendor's specification.
    pub request: String,
    /// `ExtUserID`.
    pub user_id: String,
}

impl Call for CancelKey {
    type Answer = ();

    fn name(&self) -> &str {
        &self.request
    }

    fn params(&self) -> Vec<Element> {
        vec![self.user_id.write("ExtUserID")]
    }

    fn read(&self, _params: &Element, _notes: &mut Notes) {}
}
