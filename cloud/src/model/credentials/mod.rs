//! Credentials: the one card and the one mobile key a holder may have at a lock system.
//!
//! A group-based system keeps rights on the holder, so the card is the holder's, not the grant's: all grants of a person
//! at a system share one card credential, and a second one is never made behind the caller's back.

mod changes;
mod document;
mod issuance;

use rusqlite::Row;

pub(crate) use changes::{assign, create, delete, for_grant, unassign, wire_medium};
pub(crate) use document::document;
pub(crate) use issuance::{Written, refresh, removed, written};

use super::{ModelError, Scope, sql};

/// A card or a mobile key of one holder.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) acs_credential_id: String,
    pub(crate) workspace_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) acs_user_id: Option<String>,
    pub(crate) access_method: String,
    pub(crate) made_by_grant: bool,
    pub(crate) is_issued: bool,
    pub(crate) issued_at: Option<i64>,
    pub(crate) card_number: Option<String>,
    pub(crate) valid_until: Option<i64>,
    pub(crate) encoded_rights: i64,
    pub(crate) revision: i64,
    pub(crate) synced_at: Option<i64>,
    pub(crate) deleting: bool,
    pub(crate) created_at: i64,
}

/// Columns in the order [`Credential::read`] expects.
pub(crate) const COLUMNS: &str = "acs_credential_id, workspace_id, acs_system_id, acs_user_id, access_method, made_by_grant, is_issued, issued_at, \
     card_number, valid_until, encoded_rights, revision, synced_at, deleting, created_at";

impl Credential {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            acs_credential_id: row.get(0)?,
            workspace_id: row.get(1)?,
            acs_system_id: row.get(2)?,
            acs_user_id: row.get(3)?,
            access_method: row.get(4)?,
            made_by_grant: row.get(5)?,
            is_issued: row.get(6)?,
            issued_at: row.get(7)?,
            card_number: row.get(8)?,
            valid_until: row.get(9)?,
            encoded_rights: row.get(10)?,
            revision: row.get(11)?,
            synced_at: row.get(12)?,
            deleting: row.get(13)?,
            created_at: row.get(14)?,
        })
    }

    /// Cards are written at an encoder; nothing else is.
    pub(crate) fn is_card(&self) -> bool {
        self.access_method == "card"
    }
}

/// The credential with that id.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Credential, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM acs_credential WHERE acs_credential_id = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (id, scope.workspace_id), Credential::read)?
        .ok_or_else(|| ModelError::not_found("acs_credential", id))
}

/// The holder's credential of that kind that is not being deleted.
pub(crate) fn of_user(scope: &Scope<'_>, acs_user_id: &str, mode: &str) -> Result<Option<Credential>, ModelError> {
    let query = format!(
        "SELECT {COLUMNS} FROM acs_credential
         WHERE acs_user_id = ?1 AND access_method = ?2 AND NOT deleting ORDER BY position LIMIT 1"
    );
    Ok(sql::one(scope.connection, &query, (acs_user_id, mode), Credential::read)?)
}
