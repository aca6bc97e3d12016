//! The typed requests, and what their answers say.
//!
//! Answers are read generously: a request that was answered with parameters has been done, whatever the parameters are
//! (for encoder requests their fields are not public at all). What is missing is `None`, what is extra is noted.

mod database;
mod encoder;
mod general;
mod list;
mod online_door;

use super::entity::Entity;
use super::envelope::{Answer, EnvelopeError, Exception, Request};
use super::notes::Notes;
use super::value::FieldValue;
use super::xml::Element;

pub use database::{DeleteGroup, DeleteUser, Upsert, WriteGroup, WriteUser};
pub use encoder::{AssignNewKey, CancelKey, ReadKey, ReadKeyAnswer, UpdateCurrentKey, WrittenKey};
pub use general::{GetInfo, Info};
pub use list::{ReadAuditTrail, ReadDoors, ReadGroups, ReadUsers};
pub use online_door::{DoorCommand, DoorSelection, OnlineDoorAction, ReadOnlineStatus};

/// A request and the type of its answer.
pub trait Call {
    /// What the answer says.
    type Answer;

    /// `RequestName`.
    fn name(&self) -> &str;

    /// Children of `Params`.
    fn params(&self) -> Vec<Element>;

    /// Reads `Params` of the answer.
    fn read(&self, params: &Element, notes: &mut Notes) -> Self::Answer;

    /// The request document.
    fn to_document(&self) -> String {
        Request { name: self.name().to_owned(), params: self.params() }.to_document()
    }

    /// Reads the answer document.
    fn parse_answer(&self, document: &[u8], notes: &mut Notes) -> Result<Self::Answer, CallError> {
        let answer = Answer::parse(document)?;
        match answer.outcome {
            // A server that could not read the request leaves the name of its exception empty.
            _ if answer.name != self.name() && !(answer.name.is_empty() && answer.outcome.is_err()) => {
                Err(CallError::OtherRequest {
                    sent: self.name().to_owned(),
                    answered: answer.name.chars().take(80).collect(),
                })
            }
            Ok(params) => Ok(self.read(&params, notes)),
            Err(exception) => Err(CallError::Exception(exception)),
        }
    }
}

/// A request without the wanted answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server said no.
    #[error("the server answered with error {}", .0.code)]
    Exception(Exception),
    /// Not an answer of SHIP.
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] EnvelopeError),
    /// An answer to something else: the connection is out of step.
    #[error("the answer to `{sent}` is one to `{answered}`")]
    OtherRequest {
        /// Name of our request.
        sent: String,
        /// Name in the answer.
        answered: String,
    },
}

/// The value of a field of an answer.
fn field<T: FieldValue>(params: &Element, name: &str, notes: &mut Notes) -> Option<T> {
    let element = params.child(name)?;
    let value = T::read(element, notes);
    if value.is_none() {
        notes.add(&params.name, name, "cannot be read");
    }
    value
}

/// Notes every child that is not in `known`.
fn note_unknown(params: &Element, known: &[&str], notes: &mut Notes) {
    for child in &params.children {
        if !known.contains(&child.name.as_str()) {
            notes.add(&params.name, &child.name, "is not known");
        }
    }
}

/// The records of a list field; a missing list is an empty one.
fn records<T: Entity>(params: &Element, name: &str, notes: &mut Notes) -> Vec<T> {
    field(params, name, notes).unwrap_or_default()
}
