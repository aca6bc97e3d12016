//! Holders at a lock system.
//!
//! One `acs_user` per person and system. What its card should carry is numbered: every change of a grant, of groups or of
//! the schedule raises the user's `rights_revision`, and a card is current when it carries the newest number.

mod changes;
mod matching;
mod rights;

use lockbridge_protocol::proto::tunnel as proto;
use rusqlite::Row;

pub(crate) use changes::{Profile, announce, create, delete, put_groups, suspend, update};
pub(crate) use matching::{for_identity, of_identity};
pub(crate) use rights::{at_server as rights_at_server, bump as bump_rights, own_change};

use super::{ModelError, Scope, sql};

/// One holder.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a row: each is a column and they are independent")]
#[expect(clippy::struct_field_names, reason = "the fields carry the names of the API")]
pub(crate) struct User {
    pub(crate) acs_user_id: String,
    pub(crate) workspace_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) external_id: Option<String>,
    pub(crate) user_identity_id: Option<String>,
    pub(crate) is_managed: bool,
    pub(crate) full_name: String,
    pub(crate) email_address: Option<String>,
    pub(crate) phone_number: Option<String>,
    pub(crate) starts_at: Option<i64>,
    pub(crate) ends_at: Option<i64>,
    pub(crate) is_suspended: bool,
    pub(crate) deleting: bool,
    pub(crate) revision: i64,
    pub(crate) rights_revision: i64,
    pub(crate) card_at_server: bool,
    pub(crate) created_at: i64,
    pub(crate) synced_at: Option<i64>,
}

/// Columns in the order [`User::read`] expects.
pub(crate) const COLUMNS: &str = "acs_user_id, workspace_id, acs_system_id, external_id, user_identity_id, is_managed, full_name, email_address, \
     phone_number, starts_at, ends_at, is_suspended, deleting, revision, rights_revision, card_at_server, created_at, \
     synced_at";

impl User {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            acs_user_id: row.get(0)?,
            workspace_id: row.get(1)?,
            acs_system_id: row.get(2)?,
            external_id: row.get(3)?,
            user_identity_id: row.get(4)?,
            is_managed: row.get(5)?,
            full_name: row.get(6)?,
            email_address: row.get(7)?,
            phone_number: row.get(8)?,
            starts_at: row.get(9)?,
            ends_at: row.get(10)?,
            is_suspended: row.get(11)?,
            deleting: row.get(12)?,
            revision: row.get(13)?,
            rights_revision: row.get(14)?,
            card_at_server: row.get(15)?,
            created_at: row.get(16)?,
            synced_at: row.get(17)?,
        })
    }

    /// The holder as commands carry it.
    pub(crate) fn wire(&self) -> proto::User {
        proto::User {
            user_id: self.acs_user_id.clone(),
            full_name: self.full_name.clone(),
            email_address: self.email_address.clone().unwrap_or_default(),
            phone_number: self.phone_number.clone().unwrap_or_default(),
            starts_at_ms: self.starts_at.unwrap_or(0),
            ends_at_ms: self.ends_at.unwrap_or(0),
        }
    }
}

/// The user with that id, ours or found on site.
pub(crate) fn any(scope: &Scope<'_>, id: &str) -> Result<User, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM acs_user WHERE acs_user_id = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (id, scope.workspace_id), User::read)?
        .ok_or_else(|| ModelError::not_found("acs_user", id))
}

/// The user of ours with that id; one found on site is not ours to read here or to change.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<User, ModelError> {
    let user = any(scope, id)?;
    if user.is_managed { Ok(user) } else { Err(ModelError::not_found("acs_user", id)) }
}

/// Like [`get`], and it is not being deleted.
pub(crate) fn live(scope: &Scope<'_>, id: &str) -> Result<User, ModelError> {
    let user = get(scope, id)?;
    if user.deleting {
        let message = format!("acs_user {id} is being deleted; nothing about it can be changed any more");
        return Err(ModelError::refused("acs_user_being_deleted", message));
    }
    Ok(user)
}
