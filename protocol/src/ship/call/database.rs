//! Writing users and access levels. Each answer repeats the key, which tells nothing new.

use super::Call;
use crate::ship::Notes;
use crate::ship::entity::{Entity, Group, User};
use crate::ship::value::FieldValue;
use crate::ship::xml::Element;

/// What to do when the object exists, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upsert {
    /// It must not exist.
    Insert,
    /// It must exist; only the fields that are present change.
    Update,
    /// Either.
    InsertOrUpdate,
}

/// Writes a user. Fields that only the server writes are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteUser {
    /// How.
    pub upsert: Upsert,
    /// What.
    pub user: User,
}

impl Call for WriteUser {
    type Answer = ();

    fn name(&self) -> &'static str {
        match self.upsert {
            Upsert::Insert => "SaltoDBUser.Insert",
            Upsert::Update => "SaltoDBUser.Update",
            Upsert::InsertOrUpdate => "SaltoDBUser.InsertOrUpdate",
        }
    }

    fn params(&self) -> Vec<Element> {
        vec![self.user.clone().without_read_only().to_element()]
    }

    fn read(&self, _params: &Element, _notes: &mut Notes) {}
}

/// Removes a user, with key and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteUser {
    /// `ExtUserID`.
    pub user_id: String,
}

impl Call for DeleteUser {
    type Answer = ();

    fn name(&self) -> &'static str {
        "SaltoDBUser.Delete"
    }

    fn params(&self) -> Vec<Element> {
        vec![self.user_id.write("ExtUserID")]
    }

    fn read(&self, _params: &Element, _notes: &mut Notes) {}
}

/// Writes an access level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteGroup {
    /// How. [`Upsert::InsertOrUpdate`] follows the naming pattern and was not seen for access levels.
    pub upsert: Upsert,
    /// What.
    pub group: Group,
}

impl Call for WriteGroup {
    type Answer = ();

    fn name(&self) -> &'static str {
        match self.upsert {
            Upsert::Insert => "SaltoDBGroup.Insert",
            Upsert::Update => "SaltoDBGroup.Update",
            Upsert::InsertOrUpdate => "SaltoDBGroup.InsertOrUpdate",
        }
    }

    fn params(&self) -> Vec<Element> {
        vec![self.group.to_element()]
    }

    fn read(&self, _params: &Element, _notes: &mut Notes) {}
}

/// Removes an access level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroup {
    /// `ExtGroupID`.
    pub group_id: String,
}

impl Call for DeleteGroup {
    type Answer = ();

    fn name(&self) -> &'static str {
        "SaltoDBGroup.Delete"
    }

    fn params(&self) -> Vec<Element> {
        vec![self.group_id.write("ExtGroupID")]
    }

    fn read(&self, _params: &Element, _notes: &mut Notes) {}
}
