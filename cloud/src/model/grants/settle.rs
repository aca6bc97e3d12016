//! What the lock systems answered about a grant's parts.

use lockbridge_protocol::proto::tunnel::{CommandError, Evidence};
use serde_json::json;

use super::parts::{self, Part};
use super::{doors, find};
use crate::model::issues::{self, Severity};
use crate::model::{ModelError, Work, credentials, events, methods, sql, users};

/// The lock server holds revision `revision` of the part.
pub(crate) fn synced(
    work: &Work<'_>,
    grant_part_id: &str,
    revision: i64,
    evidence: &Evidence,
    occurred_at: i64,
) -> Result<(), ModelError> {
    let Some(part) = parts::find(work, grant_part_id)? else { return Ok(()) };
    sql::change(
        work.connection,
        "UPDATE acs_user SET synced_at = ?2, external_id = coalesce(external_id, nullif(?3, '')) WHERE acs_user_id = ?1",
        (&part.acs_user_id, occurred_at, &evidence.user_external_id),
    )?;
    if part.deleting || revision != part.revision {
        return Ok(()); // an older wish came true; the newer one is under way
    }
    sql::change(
        work.connection,
        "UPDATE grant_part SET synced_revision = ?2, synced_at = ?3 WHERE grant_part_id = ?1",
        (grant_part_id, revision, occurred_at),
    )?;
    issues::clear(work, &part.access_grant_id, Severity::Error, "failed_to_provision_access")?;
    issues::clear(work, &part.acs_user_id, Severity::Error, "failed_to_create_on_acs_system")?;
    note_missing(work, &part, evidence)?;
    doors::confirm_lost(work, &part.access_grant_id, &part.acs_system_id, occurred_at)?;
    for method in methods::of_grant(work, &part.access_grant_id)? {
        if method.acs_system_id != part.acs_system_id || method.deleting {
            continue;
        }
        if let Some(id) = &method.acs_credential_id {
            let query = "UPDATE acs_credential SET synced_at = ?2 WHERE acs_credential_id = ?1";
            sql::change(work.connection, query, (id, occurred_at))?;
            let message = "The start lay in the past and was moved to now.";
            let code = "schedule_modified";
            issues::set(work, evidence.schedule_modified, id, Severity::Warning, code, message, &json!({}))?;
        }
        if method.mode != "card" {
            // Provisioned is all that "issued" means for what is not written by an encoder; whether the phone has
            // fetched its key is not known here.
            methods::issue(work, &method, occurred_at)?;
        } else if method.is_encoding_required() && has_card(work, &method)? {
            methods::tell_encoding_required(work, &method, occurred_at)?;
        }
    }
    doors::announce(work, &part.access_grant_id, occurred_at)?;
    credentials::refresh(work, &part.acs_user_id)
}

fn has_card(work: &Work<'_>, method: &methods::Method) -> Result<bool, ModelError> {
    let query = "SELECT 1 FROM acs_credential WHERE acs_credential_id = ?1 AND is_issued";
    Ok(sql::exists(work.connection, query, [&method.acs_credential_id])?)
}

fn note_missing(work: &Work<'_>, part: &Part, evidence: &Evidence) -> Result<(), ModelError> {
    let mut missing = Vec::new();
    for external_id in &evidence.missing_entrance_external_ids {
        missing.extend(sql::texts(
            work.connection,
            "UPDATE grant_door SET missing = 1 WHERE access_grant_id = ?1 AND acs_entrance_id = (
                 SELECT acs_entrance_id FROM acs_entrance WHERE acs_system_id = ?2 AND external_id = ?3)
             RETURNING acs_entrance_id",
            (&part.access_grant_id, &part.acs_system_id, external_id),
        )?);
    }
    if missing.is_empty() {
        return Ok(()); // a warning of ours about abilities of doors stays as it is
    }
    let message = "The lock system did not give access to every door.";
    let extra = json!({"failed_devices": [], "acs_entrance_ids": missing});
    issues::raise(work, &part.access_grant_id, Severity::Warning, "underprovisioned_access", message, &extra)?;
    Ok(())
}

/// The part was not carried out, certainly without effect (or given up on).
pub(crate) fn failed(
    work: &Work<'_>,
    grant_part_id: &str,
    revision: i64,
    error: &CommandError,
    deletion: bool,
) -> Result<(), ModelError> {
    let Some(part) = parts::find(work, grant_part_id)?.filter(|part| part.revision == revision) else { return Ok(()) };
    let extra = json!({"reason_code": error.code, "acs_system_id": part.acs_system_id});
    let code = if deletion { "failed_to_revoke_access" } else { "failed_to_provision_access" };
    issues::raise(work, &part.access_grant_id, Severity::Error, code, &error.message, &extra)?;
    if deletion {
        return Ok(());
    }
    // Forgetting what was asked lets the next look at the grant ask again.
    sql::change(work.connection, "UPDATE grant_part SET digest = NULL WHERE grant_part_id = ?1", [grant_part_id])?;
    for method in methods::of_grant(work, &part.access_grant_id)? {
        if method.acs_system_id == part.acs_system_id && !method.deleting {
            let id = &method.access_method_id;
            if issues::raise(work, id, Severity::Error, "failed_to_issue", &error.message, &extra)? {
                events::emit(work, "access_method.failed_to_issue", work.now_ms, &methods::payload(work, &method)?)?;
            }
        }
    }
    let user = users::get(work, &part.acs_user_id)?;
    if user.synced_at.is_none() {
        let code = "failed_to_create_on_acs_system";
        issues::raise(work, &user.acs_user_id, Severity::Error, code, &error.message, &extra)?;
    }
    Ok(())
}

/// The lock system no longer holds the part.
pub(crate) fn removed(work: &Work<'_>, grant_part_id: &str, revision: i64, occurred_at: i64) -> Result<(), ModelError> {
    let Some(part) = parts::find(work, grant_part_id)? else { return Ok(()) };
    for method in methods::of_grant(work, &part.access_grant_id)? {
        if method.acs_system_id == part.acs_system_id && method.deleting {
            methods::purge(work, &method, occurred_at)?;
        }
    }
    if !part.deleting || part.revision != revision {
        return Ok(()); // it came back in the meantime
    }
    forget(work, &part, occurred_at)?;
    credentials::refresh(work, &part.acs_user_id)
}

/// The holder is gone from the lock system, and all of its parts with it.
pub(crate) fn removed_for_user(work: &Work<'_>, acs_user_id: &str, occurred_at: i64) -> Result<(), ModelError> {
    for part in parts::of_user(work, acs_user_id)? {
        for method in methods::of_grant(work, &part.access_grant_id)? {
            if method.acs_user_id == acs_user_id {
                methods::purge(work, &method, occurred_at)?;
            }
        }
        forget(work, &part, occurred_at)?;
    }
    Ok(())
}

fn forget(work: &Work<'_>, part: &Part, occurred_at: i64) -> Result<(), ModelError> {
    sql::change(
        work.connection,
        "DELETE FROM grant_door WHERE access_grant_id = ?1 AND acs_system_id = ?2 AND granted_at IS NULL",
        (&part.access_grant_id, &part.acs_system_id),
    )?;
    doors::confirm_lost(work, &part.access_grant_id, &part.acs_system_id, occurred_at)?;
    sql::change(work.connection, "DELETE FROM grant_part WHERE grant_part_id = ?1", [&part.grant_part_id])?;
    issues::forget(work, &part.grant_part_id)?;
    forget_if_empty(work, &part.access_grant_id, occurred_at)
}

/// A grant that is being deleted goes when nothing of it is left at any lock system.
pub(super) fn forget_if_empty(work: &Work<'_>, access_grant_id: &str, occurred_at: i64) -> Result<(), ModelError> {
    let Some(grant) = find(work, access_grant_id)?.filter(|grant| grant.deleting) else { return Ok(()) };
    if !parts::of_grant(work, access_grant_id)?.is_empty() {
        return Ok(());
    }
    for method in methods::of_grant(work, access_grant_id)? {
        methods::purge(work, &method, occurred_at)?;
    }
    for table in ["access_grant_target", "requested_method", "grant_door", "access_grant"] {
        let statement = format!("DELETE FROM {table} WHERE access_grant_id = ?1");
        sql::change(work.connection, &statement, [access_grant_id])?;
    }
    issues::forget(work, access_grant_id)?;
    let payload = json!({"access_grant_id": access_grant_id, "access_grant_key": grant.access_grant_key});
    events::emit(work, "access_grant.deleted", occurred_at, &payload)
}
