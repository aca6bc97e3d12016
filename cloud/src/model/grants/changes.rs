//! What callers may do to a grant.

use serde_json::json;

use super::reconcile::{Cause, reconcile};
use super::{Grant, doors, get, parts, settle};
use crate::model::issues::{self, Severity};
use crate::model::methods::{self, Method};
use crate::model::{ModelError, Work, credentials, events, identities, scope, spaces, sql, time};

/// A grant as asked for, with every reference still to be checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewGrant {
    pub(crate) user_identity_id: String,
    pub(crate) access_grant_key: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) reservation_key: Option<String>,
    pub(crate) customer_key: Option<String>,
    pub(crate) space_ids: Vec<String>,
    pub(crate) acs_entrance_ids: Vec<String>,
    pub(crate) modes: Vec<String>,
    pub(crate) starts_at: i64,
    pub(crate) ends_at: Option<i64>,
}

/// Records a grant and asks the lock systems for it.
pub(crate) fn create(work: &Work<'_>, new: &NewGrant) -> Result<Grant, ModelError> {
    identities::get(work, &new.user_identity_id)?;
    check_window(work.now_ms, new.starts_at, new.ends_at)?;
    spaces::check_entrances(work, &new.acs_entrance_ids)?;
    for id in &new.space_ids {
        spaces::get(work, id)?;
    }
    if let Some(key) = &new.access_grant_key {
        let query = "SELECT 1 FROM access_grant WHERE workspace_id = ?1 AND access_grant_key = ?2";
        if sql::exists(work.connection, query, (work.workspace_id, key))? {
            let message = format!("another access grant has the key {key}");
            return Err(ModelError::refused("access_grant_key_already_exists", message));
        }
    }
    let id = insert(work, new)?;
    check_reservation(work, new, &id)?;
    check_end(work, &id, new.ends_at)?;
    let grant = get(work, &id)?;
    events::emit(work, "access_grant.created", work.now_ms, &json!({"access_grant_id": id}))?;
    reconcile(work, &grant, &Cause::created())?;
    if issues::has_error(work, &id)? {
        let payload = json!({
            "access_grant_id": id,
            "error_message": "no door of the grant can be opened with a requested access method",
            "missing_device_ids": [],
        });
        events::emit(work, "access_grant.could_not_create_requested_access_methods", work.now_ms, &payload)?;
    }
    Ok(grant)
}

fn insert(work: &Work<'_>, new: &NewGrant) -> Result<String, ModelError> {
    let id = scope::new_id();
    sql::change(
        work.connection,
        "INSERT INTO access_grant (access_grant_id, workspace_id, user_identity_id, access_grant_key, name, reservation_key,
             customer_key, starts_at, ends_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            &id,
            work.workspace_id,
            &new.user_identity_id,
            &new.access_grant_key,
            &new.name,
            &new.reservation_key,
            &new.customer_key,
            new.starts_at,
            new.ends_at,
            work.now_ms,
        ),
    )?;
    let targets =
        new.space_ids.iter().map(|id| ("space", id)).chain(new.acs_entrance_ids.iter().map(|id| ("entrance", id)));
    for (kind, target) in targets {
        sql::change(
            work.connection,
            "INSERT OR IGNORE INTO access_grant_target (access_grant_id, kind, target_id) VALUES (?1, ?2, ?3)",
            (&id, kind, target),
        )?;
    }
    for (ordinal, mode) in (0_i64..).zip(&new.modes) {
        sql::change(
            work.connection,
            "INSERT INTO requested_method (access_grant_id, ordinal, mode, created_at) VALUES (?1, ?2, ?3, ?4)",
            (&id, ordinal, mode, work.now_ms),
        )?;
    }
    Ok(id)
}

/// Refuses windows that cannot be: over already, or ending before they start.
pub(crate) fn check_window(now_ms: i64, starts_at: i64, ends_at: Option<i64>) -> Result<(), ModelError> {
    match ends_at {
        Some(ends_at) if ends_at <= starts_at => {
            let message = format!("{} is not after starts_at {}", time::text(ends_at), time::text(starts_at));
            Err(ModelError::invalid("ends_at", message))
        }
        Some(ends_at) if ends_at <= now_ms => {
            Err(ModelError::invalid("ends_at", format!("{} lies in the past", time::text(ends_at))))
        }
        _ => Ok(()),
    }
}

fn check_reservation(work: &Work<'_>, new: &NewGrant, id: &str) -> Result<(), ModelError> {
    let Some(key) = &new.reservation_key else { return Ok(()) };
    if doors::live(work, id)?.iter().any(|door| door.for_reservations) {
        return Ok(());
    }
    let message = format!(
        "reservation_key {key}: none of the doors can belong to a reservation (can_belong_to_reservation); leave the key out"
    );
    Err(ModelError::refused("reservation_key_not_supported", message))
}

/// A key for a room lives on the card alone, and the lock has nobody to ask when it should end.
fn check_end(work: &Work<'_>, id: &str, ends_at: Option<i64>) -> Result<(), ModelError> {
    if ends_at.is_some() || !doors::live(work, id)?.iter().any(|door| door.for_reservations) {
        return Ok(());
    }
    let message = "a door of the grant can belong to a reservation: its keys need an end";
    Err(ModelError::invalid("ends_at", message))
}

/// Renames a grant; the lock systems do not know names of grants.
pub(crate) fn update_name(work: &Work<'_>, grant: &Grant, name: Option<&str>) -> Result<(), ModelError> {
    refuse_deleting(grant)?;
    sql::change(
        work.connection,
        "UPDATE access_grant SET name = ?2 WHERE access_grant_id = ?1",
        (&grant.access_grant_id, name),
    )?;
    Ok(())
}

/// Moves the window of a grant.
pub(crate) fn update_times(
    work: &Work<'_>,
    grant: &Grant,
    starts_at: i64,
    ends_at: Option<i64>,
) -> Result<(), ModelError> {
    refuse_deleting(grant)?;
    if (grant.starts_at, grant.ends_at) == (starts_at, ends_at) {
        return Ok(());
    }
    check_window(work.now_ms, starts_at, ends_at)?;
    let id = &grant.access_grant_id;
    check_end(work, id, ends_at)?;
    sql::change(
        work.connection,
        "UPDATE access_grant SET starts_at = ?2, ends_at = ?3 WHERE access_grant_id = ?1",
        (id, starts_at, ends_at),
    )?;
    let method_ids = sql::texts(
        work.connection,
        "SELECT access_method_id FROM access_method WHERE access_grant_id = ?1 AND NOT deleting ORDER BY position",
        [id],
    )?;
    let window =
        |starts_at, ends_at| json!({"starts_at": time::text(starts_at), "ends_at": time::optional_text(ends_at)});
    let cause = Cause::times(json!({
        "access_method_ids": method_ids,
        "from": window(grant.starts_at, grant.ends_at),
        "to": window(starts_at, ends_at),
    }));
    reconcile(work, &get(work, id)?, &cause)?;
    let payload = json!({
        "access_grant_id": id,
        "access_grant_key": grant.access_grant_key,
        "starts_at": time::text(starts_at),
        "ends_at": time::optional_text(ends_at),
    });
    events::emit(work, "access_grant.access_times_changed", work.now_ms, &payload)
}

/// Revokes a grant everywhere. It stays, marked, until every lock system confirmed. Asking again asks again for what
/// failed.
pub(crate) fn delete(work: &Work<'_>, grant: &Grant) -> Result<(), ModelError> {
    let id = &grant.access_grant_id;
    sql::change(work.connection, "UPDATE access_grant SET deleting = 1 WHERE access_grant_id = ?1", [id])?;
    let message = "The access is being revoked at the lock systems.";
    issues::raise(work, id, Severity::Warning, "being_deleted", message, &json!({}))?;
    for part in parts::of_grant(work, id)? {
        parts::revoke(work, &part)?;
    }
    settle::forget_if_empty(work, id, work.now_ms)
}

/// Takes one way in away. Its card goes too if nothing else is on it; the grant stays, without this method.
pub(crate) fn delete_method(work: &Work<'_>, method: &Method) -> Result<(), ModelError> {
    let id = &method.access_method_id;
    methods::mark_deleting(work, id)?;
    let grant = get(work, &method.access_grant_id)?;
    sql::change(
        work.connection,
        "DELETE FROM requested_method WHERE access_grant_id = ?1 AND mode = ?2",
        (&grant.access_grant_id, &method.mode),
    )?;
    let card = match &method.acs_credential_id {
        Some(credential_id) if !methods::any_live_of_credential(work, credential_id)? => Some(credential_id),
        _ => None,
    };
    if let Some(credential_id) = card {
        credentials::delete(work, &credentials::get(work, credential_id)?)?;
    } else {
        // The card (if any) serves another grant: nothing at the lock system is tied to this method alone.
        methods::purge(work, method, work.now_ms)?;
    }
    reconcile(work, &grant, &Cause::doors())?;
    Ok(())
}

fn refuse_deleting(grant: &Grant) -> Result<(), ModelError> {
    if grant.deleting {
        let message = format!("access_grant {} is being deleted; it cannot be changed any more", grant.access_grant_id);
        return Err(ModelError::refused("access_grant_being_deleted", message));
    }
    Ok(())
}
