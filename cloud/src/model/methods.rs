//! Access methods: the ways in that a grant gives, and whether each is in somebody's hand yet.

use rusqlite::Row;
use serde_json::{Value, json};

use super::issues::{self, Severity};
use super::{ModelError, Scope, Work, events, sql};

/// One way in, with what decides its state: the grant's share at its lock system and the card.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a row: each is a column and they are independent")]
pub(crate) struct Method {
    pub(crate) access_method_id: String,
    pub(crate) workspace_id: String,
    pub(crate) access_grant_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) acs_user_id: String,
    pub(crate) acs_credential_id: Option<String>,
    pub(crate) mode: String,
    pub(crate) is_issued: bool,
    pub(crate) issued_at: Option<i64>,
    pub(crate) deleting: bool,
    pub(crate) created_at: i64,
    /// The lock server holds the grant as it is wished now.
    pub(crate) at_server: bool,
    /// The card carries the grant as it is wished now.
    pub(crate) on_card: bool,
}

/// The query of a method; conditions are appended to it.
pub(crate) const QUERY: &str = "SELECT m.access_method_id, m.workspace_id, m.access_grant_id, m.acs_system_id, m.acs_user_id, m.acs_credential_id, \
            m.mode, m.is_issued, m.issued_at, m.deleting, m.created_at, \
            coalesce(p.synced_revision = p.revision AND NOT p.deleting, 0), \
            coalesce(c.is_issued AND c.encoded_rights >= p.rights_revision, 0), m.position \
     FROM access_method m \
     LEFT JOIN grant_part p ON p.access_grant_id = m.access_grant_id AND p.acs_system_id = m.acs_system_id \
     LEFT JOIN acs_credential c ON c.acs_credential_id = m.acs_credential_id";

impl Method {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            access_method_id: row.get(0)?,
            workspace_id: row.get(1)?,
            access_grant_id: row.get(2)?,
            acs_system_id: row.get(3)?,
            acs_user_id: row.get(4)?,
            acs_credential_id: row.get(5)?,
            mode: row.get(6)?,
            is_issued: row.get(7)?,
            issued_at: row.get(8)?,
            deleting: row.get(9)?,
            created_at: row.get(10)?,
            at_server: row.get(11)?,
            on_card: row.get(12)?,
        })
    }

    /// An encoder pass is needed, the first or another.
    pub(crate) fn is_encoding_required(&self) -> bool {
        self.mode == "card" && !self.deleting && !(self.is_issued && self.on_card)
    }

    /// Encode may be offered now: the lock server has the rights, the card has not.
    pub(crate) fn is_ready_for_encoding(&self) -> bool {
        self.is_encoding_required() && self.at_server
    }
}

/// The method with that id.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Method, ModelError> {
    let query = format!("{QUERY} WHERE m.access_method_id = ?1 AND m.workspace_id = ?2");
    sql::one(scope.connection, &query, (id, scope.workspace_id), Method::read)?
        .ok_or_else(|| ModelError::not_found("access_method", id))
}

/// Every method of a grant, also those being deleted.
pub(crate) fn of_grant(scope: &Scope<'_>, access_grant_id: &str) -> Result<Vec<Method>, ModelError> {
    let query = format!("{QUERY} WHERE m.access_grant_id = ?1 ORDER BY m.position");
    Ok(sql::all(scope.connection, &query, [access_grant_id], Method::read)?)
}

fn of_credential(scope: &Scope<'_>, acs_credential_id: &str) -> Result<Vec<Method>, ModelError> {
    let query = format!("{QUERY} WHERE m.acs_credential_id = ?1 ORDER BY m.position");
    Ok(sql::all(scope.connection, &query, [acs_credential_id], Method::read)?)
}

/// Whether a method that is to stay uses the credential.
pub(crate) fn any_live_of_credential(scope: &Scope<'_>, acs_credential_id: &str) -> Result<bool, ModelError> {
    let query = "SELECT 1 FROM access_method WHERE acs_credential_id = ?1 AND NOT deleting";
    Ok(sql::exists(scope.connection, query, [acs_credential_id])?)
}

/// Marks a method as on its way out.
pub(crate) fn mark_deleting(work: &Work<'_>, id: &str) -> Result<(), ModelError> {
    sql::change(work.connection, "UPDATE access_method SET deleting = 1 WHERE access_method_id = ?1", [id])?;
    let message = "The access is being revoked at the lock system.";
    issues::raise(work, id, Severity::Warning, "being_deleted", message, &json!({}))?;
    Ok(())
}

/// Marks every method of a credential as on its way out; answers their ids.
pub(crate) fn mark_deleting_of_credential(work: &Work<'_>, id: &str) -> Result<Vec<String>, ModelError> {
    let ids: Vec<String> = of_credential(work, id)?.into_iter().map(|method| method.access_method_id).collect();
    for id in &ids {
        mark_deleting(work, id)?;
    }
    Ok(ids)
}

/// A card was written: methods whose rights it carries are issued, again or for the first time.
pub(crate) fn card_written(work: &Work<'_>, acs_credential_id: &str, occurred_at: i64) -> Result<(), ModelError> {
    for method in of_credential(work, acs_credential_id)? {
        if method.on_card && !method.deleting {
            issue(work, &method, occurred_at)?;
        }
    }
    Ok(())
}

/// The method is in somebody's hand, with the rights it should have.
pub(crate) fn issue(work: &Work<'_>, method: &Method, occurred_at: i64) -> Result<(), ModelError> {
    let id = &method.access_method_id;
    let stale = sql::exists(
        work.connection,
        "SELECT 1 FROM access_method WHERE access_method_id = ?1 AND encoding_told",
        [id],
    )?;
    sql::change(
        work.connection,
        "UPDATE access_method SET is_issued = 1, issued_at = coalesce(issued_at, ?2), encoding_told = 0
         WHERE access_method_id = ?1",
        (id, occurred_at),
    )?;
    issues::clear(work, id, Severity::Error, "failed_to_issue")?;
    match (method.is_issued, stale) {
        (false, _) => events::emit(work, "access_method.issued", occurred_at, &payload(work, method)?),
        (true, true) => events::emit(work, "access_method.reissued", occurred_at, &payload(work, method)?),
        (true, false) => Ok(()),
    }
}

/// The lock server has rights that the existing card lacks: says once that an encoder pass is due.
pub(crate) fn tell_encoding_required(work: &Work<'_>, method: &Method, occurred_at: i64) -> Result<(), ModelError> {
    let told = sql::change(
        work.connection,
        "UPDATE access_method SET encoding_told = 1 WHERE access_method_id = ?1 AND NOT encoding_told",
        [&method.access_method_id],
    )?;
    if told == 0 {
        return Ok(());
    }
    events::emit(work, "access_method.card_encoding_required", occurred_at, &payload(work, method)?)
}

/// Forgets the methods of a credential that is gone.
pub(crate) fn purge_of_credential(work: &Work<'_>, id: &str, occurred_at: i64) -> Result<(), ModelError> {
    for method in of_credential(work, id)? {
        purge(work, &method, occurred_at)?;
    }
    Ok(())
}

/// The lock system confirmed the revocation: forgets the method.
pub(crate) fn purge(work: &Work<'_>, method: &Method, occurred_at: i64) -> Result<(), ModelError> {
    let payload = payload(work, method)?;
    sql::change(work.connection, "DELETE FROM access_method WHERE access_method_id = ?1", [&method.access_method_id])?;
    issues::forget(work, &method.access_method_id)?;
    events::emit(work, "access_method.revoked", occurred_at, &payload)?;
    events::emit(work, "access_method.deleted", occurred_at, &payload)
}

/// What events about a method carry.
pub(crate) fn payload(scope: &Scope<'_>, method: &Method) -> Result<Value, ModelError> {
    let keys = sql::texts(
        scope.connection,
        "SELECT access_grant_key FROM access_grant WHERE access_grant_id = ?1 AND access_grant_key IS NOT NULL",
        [&method.access_grant_id],
    )?;
    Ok(json!({
        "access_method_id": method.access_method_id,
        "access_grant_ids": [method.access_grant_id],
        "access_grant_keys": keys,
    }))
}
