//! What is on the card, as far as anybody said so.

use serde_json::{Value, json};

use super::{COLUMNS, Credential};
use crate::model::issues::{self, Severity};
use crate::model::{ModelError, Work, events, grants, methods, sql};

/// What the lock system told about a card it has just written or learnt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// Chip serial; empty when it did not say.
    pub(crate) card_number: String,
    /// End of validity on the card.
    pub(crate) valid_until: Option<i64>,
    /// The holder's rights number that the card now carries.
    pub(crate) rights: i64,
    /// At the site.
    pub(crate) occurred_at: i64,
}

/// The encoder said that the card is written (or the lock system that a card is the holder's).
pub(crate) fn written(work: &Work<'_>, credential: &Credential, written: &Written) -> Result<(), ModelError> {
    let id = &credential.acs_credential_id;
    sql::change(
        work.connection,
        "UPDATE acs_credential SET is_issued = 1, issued_at = coalesce(issued_at, ?2),
             card_number = coalesce(nullif(?3, ''), card_number), valid_until = ?4,
             encoded_rights = max(encoded_rights, ?5) WHERE acs_credential_id = ?1",
        (id, written.occurred_at, &written.card_number, written.valid_until, written.rights),
    )?;
    for code in ["waiting_to_be_issued", "unknown_issue_with_acs_credential"] {
        issues::clear(work, id, Severity::Warning, code)?;
    }
    let event = if credential.is_issued { "acs_credential.reissued" } else { "acs_credential.issued" };
    events::emit(work, event, written.occurred_at, &payload(credential))?;
    methods::card_written(work, id, written.occurred_at)?;
    if let Some(acs_user_id) = &credential.acs_user_id {
        grants::announce_doors_of_user(work, acs_user_id, written.occurred_at)?;
        refresh(work, acs_user_id)?;
    }
    Ok(())
}

/// Says on the holder's cards whether they carry what they should.
pub(crate) fn refresh(work: &Work<'_>, acs_user_id: &str) -> Result<(), ModelError> {
    let rows = sql::all(
        work.connection,
        "SELECT c.acs_credential_id, c.is_issued AND c.encoded_rights < u.rights_revision
         FROM acs_credential c JOIN acs_user u USING (acs_user_id)
         WHERE c.acs_user_id = ?1 AND c.access_method = 'card' AND NOT c.deleting",
        [acs_user_id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)),
    )?;
    for (id, stale) in rows {
        let message = "The rights changed after the card was written; encode the same card again.";
        issues::set(work, stale, &id, Severity::Warning, "needs_to_be_reissued", message, &json!({}))?;
    }
    Ok(())
}

/// The lock system no longer honours the credential: forgets it and its methods. What locks without a network have learnt
/// of it is not known; the holder keeps a warning until the card ends by itself.
pub(crate) fn removed(work: &Work<'_>, id: &str, occurred_at: i64, valid_until: Option<i64>) -> Result<(), ModelError> {
    let query = format!("SELECT {COLUMNS} FROM acs_credential WHERE acs_credential_id = ?1 AND workspace_id = ?2");
    let credential = sql::one(work.connection, &query, (id, work.workspace_id), Credential::read)?;
    let Some(credential) = credential.filter(|credential| credential.deleting) else { return Ok(()) };
    if credential.is_issued {
        warn_of_offline_locks(work, &credential, valid_until.or(credential.valid_until))?;
        events::emit(work, "acs_credential.invalidated", occurred_at, &payload(&credential))?;
    }
    methods::purge_of_credential(work, id, occurred_at)?;
    sql::change(work.connection, "DELETE FROM acs_credential WHERE acs_credential_id = ?1", [id])?;
    issues::forget(work, id)?;
    events::emit(work, "acs_credential.deleted", occurred_at, &payload(&credential))
}

fn warn_of_offline_locks(work: &Work<'_>, credential: &Credential, until: Option<i64>) -> Result<(), ModelError> {
    let Some(acs_user_id) = credential.acs_user_id.as_ref().filter(|_| credential.is_card()) else { return Ok(()) };
    let doors = sql::texts(
        work.connection,
        "SELECT DISTINCT d.acs_entrance_id FROM grant_part p
         JOIN grant_door d ON d.access_grant_id = p.access_grant_id AND d.acs_system_id = p.acs_system_id
         JOIN acs_entrance e ON e.acs_entrance_id = d.acs_entrance_id
         WHERE p.acs_user_id = ?1 AND d.granted_at IS NOT NULL AND NOT e.online ORDER BY 1",
        [acs_user_id],
    )?;
    if doors.is_empty() || until.is_some_and(|until| until <= work.now_ms) {
        return Ok(());
    }
    let extra = json!({"acs_entrance_ids": doors, "until": crate::model::time::optional_text(until)});
    let message = "The card is cancelled at the lock server; locks without a network may still open to it until they hear \
                   of it or the card ends.";
    let code = "revocation_pending_at_offline_locks";
    issues::raise_until(work, acs_user_id, Severity::Warning, code, message, &extra, until)?;
    Ok(())
}

fn payload(credential: &Credential) -> Value {
    json!({"acs_credential_id": credential.acs_credential_id, "acs_system_id": credential.acs_system_id})
}
