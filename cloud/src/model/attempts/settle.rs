//! Ending an attempt, once.

use lockbridge_protocol::proto::tunnel::{CardOnEncoder, CommandError, Evidence};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Action, Attempt, COLUMNS, get};
use crate::model::credentials::{self, Written};
use crate::model::issues::{self, Severity};
use crate::model::{ModelError, Work, events, sql, time};

/// Error types of attempts; codes of the bridge outside of it become `uncategorized_error` (the message keeps them).
const ERROR_TYPES: [&str; 11] = [
    "no_credential_on_encoder",
    "encoder_not_online",
    "encoder_communication_timeout",
    "bridge_disconnected",
    "encoding_interrupted",
    "incompatible_card_format",
    "credential_cannot_be_reissued",
    "credential_deleted",
    "action_attempt_expired",
    "credential_not_found",
    "journal_lost",
];

/// Ends an attempt before any command was signed.
pub(crate) fn deny(work: &Work<'_>, id: &str, kind: &str, message: &str) -> Result<Attempt, ModelError> {
    close(work, id, "error", &Value::Null, Some((kind, message)))?;
    let attempt = get(work, id)?;
    tell_unlock(work, &attempt, "failed", work.now_ms)?;
    Ok(attempt)
}

/// The bridge reports success. The credential learns it even when nobody waits any more.
pub(crate) fn succeed(
    work: &Work<'_>,
    attempt: &Attempt,
    evidence: &Evidence,
    occurred_at: i64,
) -> Result<(), ModelError> {
    let result = match attempt.action() {
        Some(Action::Encode | Action::ScanToAssign | Action::AssignCard) => {
            card_result(work, attempt, evidence, occurred_at)?
        }
        Some(Action::Scan) => scan_result(work, attempt, evidence)?,
        Some(Action::Unlock) | None => json!({}),
    };
    if !attempt.is_over(work.now_ms) {
        close(work, &attempt.action_attempt_id, "success", &result, None)?;
        tell_unlock(work, attempt, "succeeded", occurred_at)?;
    }
    Ok(())
}

fn card_result(work: &Work<'_>, attempt: &Attempt, evidence: &Evidence, occurred_at: i64) -> Result<Value, ModelError> {
    let Some(id) = &attempt.acs_credential_id else { return Ok(json!({})) };
    let credential = match credentials::get(work, id) {
        Err(ModelError::NotFound { .. }) => return Ok(json!({})), // deleted meanwhile: nothing is left to update
        found => found?,
    };
    let written = Written {
        card_number: evidence.card_number.clone(),
        valid_until: Some(evidence.key_valid_until_ms).filter(|until| *until > 0),
        // Assigning a serial writes nothing on the card: what it carries is known only after an encoder or reader pass.
        rights: if attempt.action() == Some(Action::Encode) {
            attempt.rights_revision
        } else {
            credential.encoded_rights
        },
        occurred_at,
    };
    credentials::written(work, &credential, &written)?;
    credentials::document(work, &credentials::get(work, id)?)
}

fn scan_result(work: &Work<'_>, attempt: &Attempt, evidence: &Evidence) -> Result<Value, ModelError> {
    let Some(card) = evidence.card_on_encoder.as_ref().filter(|card| !card.blank) else {
        return Ok(json!({"acs_credential_on_encoder": null, "acs_credential_on_seam": null, "warnings": []}));
    };
    let known = find_scanned(work, attempt, card)?;
    let mut warnings = Vec::new();
    if known.is_none() {
        let message = "The card is of no credential that is known here.";
        warnings.push(json!({"warning_code": "acs_credential_on_seam_not_found", "warning_message": message}));
    } else if !card.up_to_date {
        let message = "The lock server has something newer for this card; encode it again.";
        warnings.push(json!({"warning_code": "acs_credential_on_encoder_out_of_sync", "warning_message": message}));
    }
    let on_seam = known.map(|credential| credentials::document(work, &credential)).transpose()?;
    let instant = |milliseconds: i64| time::optional_text(Some(milliseconds).filter(|milliseconds| *milliseconds > 0));
    Ok(json!({
        "acs_credential_on_encoder": {
            "created_at": null,
            "is_issued": true,
            "starts_at": instant(card.starts_at_ms),
            "ends_at": instant(card.ends_at_ms),
            "card_number": Some(&card.card_number).filter(|number| !number.is_empty()),
        },
        "acs_credential_on_seam": on_seam,
        "warnings": warnings,
    }))
}

fn find_scanned(
    work: &Work<'_>,
    attempt: &Attempt,
    card: &CardOnEncoder,
) -> Result<Option<credentials::Credential>, ModelError> {
    let query = format!(
        "SELECT {} FROM acs_credential WHERE acs_system_id = ?1 AND access_method = 'card' AND (
             acs_credential_id = ?2 OR (?3 <> '' AND card_number = ?3) OR (?4 <> '' AND acs_user_id = ?4 AND is_issued))
         ORDER BY acs_credential_id = ?2 DESC, deleting, position LIMIT 1",
        credentials::COLUMNS
    );
    let parameters = (&attempt.acs_system_id, &card.credential_id, &card.card_number, &card.user_id);
    Ok(sql::one(work.connection, &query, parameters, credentials::Credential::read)?)
}

/// The bridge gave up finding out how the act ended. The credential keeps its warning until another card is written.
pub(crate) fn abandon(
    work: &Work<'_>,
    attempt: &Attempt,
    error: &CommandError,
    occurred_at: i64,
) -> Result<(), ModelError> {
    doubt(work, attempt)?;
    end_without_success(work, attempt, error, occurred_at)
}

/// The bridge reports an end without effect.
pub(crate) fn fail(
    work: &Work<'_>,
    attempt: &Attempt,
    error: &CommandError,
    occurred_at: i64,
) -> Result<(), ModelError> {
    if attempt.in_doubt
        && let Some(id) = &attempt.acs_credential_id
    {
        issues::clear(work, id, Severity::Warning, "unknown_issue_with_acs_credential")?;
    }
    end_without_success(work, attempt, error, occurred_at)
}

fn end_without_success(
    work: &Work<'_>,
    attempt: &Attempt,
    error: &CommandError,
    occurred_at: i64,
) -> Result<(), ModelError> {
    if attempt.is_over(work.now_ms) {
        return Ok(());
    }
    let known = ERROR_TYPES.contains(&error.code.as_str());
    let kind = if known { error.code.as_str() } else { "uncategorized_error" };
    let message = match (known, error.message.is_empty()) {
        (_, true) => format!("The lock system reported {}.", error.code),
        (true, false) => error.message.clone(),
        (false, false) => format!("{} ({})", error.message, error.code),
    };
    close(work, &attempt.action_attempt_id, "error", &Value::Null, Some((kind, &message)))?;
    tell_unlock(work, attempt, "failed", occurred_at)
}

/// The bridge cannot know how the act ended. The attempt stays pending until it is resolved or its deadline passes.
pub(crate) fn doubt(work: &Work<'_>, attempt: &Attempt) -> Result<(), ModelError> {
    sql::change(
        work.connection,
        "UPDATE action_attempt SET in_doubt = 1 WHERE action_attempt_id = ?1 AND status = 'pending'",
        [&attempt.action_attempt_id],
    )?;
    if let Some(id) = &attempt.acs_credential_id {
        let message = "An encode began and nothing proves how it ended: a card may or may not have been written.";
        let code = "unknown_issue_with_acs_credential";
        issues::raise(work, id, Severity::Warning, code, message, &json!({}))?;
    }
    Ok(())
}

fn close(
    work: &Work<'_>,
    id: &str,
    status: &str,
    result: &Value,
    error: Option<(&str, &str)>,
) -> Result<(), ModelError> {
    let (kind, message) = error.unzip();
    let result = (!result.is_null()).then(|| result.to_string());
    sql::change(
        work.connection,
        "UPDATE action_attempt SET status = ?2, result = ?3, error_type = ?4, error_message = ?5
         WHERE action_attempt_id = ?1 AND status = 'pending'",
        (id, status, result, kind, message),
    )?;
    Ok(())
}

fn tell_unlock(work: &Work<'_>, attempt: &Attempt, how: &str, occurred_at: i64) -> Result<(), ModelError> {
    if attempt.action() != Some(Action::Unlock) {
        return Ok(());
    }
    let status = if how == "succeeded" { "success" } else { "error" };
    let payload = json!({
        "action_attempt_id": attempt.action_attempt_id,
        "action_type": attempt.action_type,
        "status": status,
        "acs_system_id": attempt.acs_system_id,
    });
    events::emit(work, &format!("action_attempt.unlock_door.{how}"), occurred_at, &payload)
}

/// Writes down the end of attempts whose deadline has passed; answers how many. Readers see the same end before.
///
/// # Errors
/// When the database refuses; nothing is lost then, the next sweep finds the same rows.
pub fn sweep(transaction: &Connection, now_ms: i64) -> Result<usize, ModelError> {
    let query =
        format!("SELECT {COLUMNS} FROM action_attempt WHERE status = 'pending' AND deadline_at <= ?1 LIMIT 1000");
    let due = sql::all(transaction, &query, [now_ms], Attempt::read)?;
    for attempt in &due {
        let (kind, message) = attempt.at_deadline();
        sql::change(
            transaction,
            "UPDATE action_attempt SET status = 'error', error_type = ?2, error_message = ?3 WHERE action_attempt_id = ?1",
            (&attempt.action_attempt_id, kind, message),
        )?;
    }
    Ok(due.len())
}
