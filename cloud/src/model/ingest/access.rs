//! Doors opened and refused, and cards brought up to date by readers on the wall.

use lockbridge_protocol::proto::tunnel::{AccessEvent, AccessEventKind, AccessEvents, EventGap, Report};
use serde_json::{Value, json};

use super::system_id;
use crate::model::credentials::{self, Written};
use crate::model::{ModelError, Work, events as model_events, sql, users};

/// The lock system's access events.
pub(super) fn events(work: &Work<'_>, bridge_id: &str, told: &AccessEvents) -> Result<(), ModelError> {
    let Some(system) = system_id(work, bridge_id, &told.lock_system)? else { return Ok(()) };
    for event in &told.events {
        match event.kind() {
            AccessEventKind::Unlocked => emit(work, &system, event, "lock.unlocked")?,
            AccessEventKind::Denied => emit(work, &system, event, "lock.access_denied")?,
            AccessEventKind::KeyUpdated => {
                if let Some(id) = user_id(work, &system, event)? {
                    card_updated(work, &id, event.occurred_at_ms)?;
                }
            }
            AccessEventKind::KeyDeleted | AccessEventKind::Unspecified => {}
        }
    }
    Ok(())
}

fn emit(work: &Work<'_>, acs_system_id: &str, event: &AccessEvent, event_type: &str) -> Result<(), ModelError> {
    let entrance = sql::one(
        work.connection,
        "SELECT acs_entrance_id FROM acs_entrance WHERE acs_system_id = ?1 AND external_id = ?2",
        (acs_system_id, &event.entrance_external_id),
        |row| row.get::<_, String>(0),
    )?;
    let mut payload = json!({
        "acs_system_id": acs_system_id,
        "acs_entrance_id": entrance,
        "acs_user_id": user_id(work, acs_system_id, event)?,
    });
    if let Some(fields) = payload.as_object_mut() {
        if event_type == "lock.unlocked" {
            fields.insert("method".to_owned(), json!(method(&event.method)));
        } else {
            let reason = json!({"reason_code": reason(&event.denied_reason), "message": event.denied_reason});
            fields.insert("reason".to_owned(), reason);
        }
        fields.retain(|_, value| !value.is_null());
        if !event.operation_text.is_empty() {
            fields.insert("event_description".to_owned(), json!(event.operation_text));
        }
    }
    let source = (!event.event_external_id.is_empty()).then(|| format!("{acs_system_id}/{}", event.event_external_id));
    model_events::emit_once(work, event_type, event.occurred_at_ms, &payload, source.as_deref())
}

/// The model's ways to open a door; it has none for mobile keys.
fn method(told: &str) -> &str {
    match told {
        "keycode" | "manual" | "automatic" | "remote" | "card" => told,
        _ => "unknown",
    }
}

/// The model's reasons, the nearest to the lock system's own (kept in `message`).
fn reason(told: &str) -> &str {
    match told {
        "unknown_code" | "expired_code" | "blocklisted_code" | "too_many_attempts" | "blocked_by_privacy_mode" => told,
        "privacy" | "privacy_mode" => "blocked_by_privacy_mode",
        _ => "credential_error",
    }
}

fn user_id(work: &Work<'_>, acs_system_id: &str, event: &AccessEvent) -> Result<Option<String>, ModelError> {
    Ok(sql::one(
        work.connection,
        "SELECT acs_user_id FROM acs_user WHERE acs_system_id = ?1 AND
             ((?2 <> '' AND acs_user_id = ?2) OR (?3 <> '' AND external_id = ?3)) LIMIT 1",
        (acs_system_id, &event.user_id, &event.user_external_id),
        |row| row.get(0),
    )?)
}

/// A reader brought the holder's card up to date at `occurred_at`. It counts only when everything wished was at the lock
/// server before that: otherwise what the card got is not known.
pub(super) fn card_updated(work: &Work<'_>, acs_user_id: &str, occurred_at: i64) -> Result<(), ModelError> {
    let Some(credential) = credentials::of_user(work, acs_user_id, "card")?.filter(|credential| credential.is_issued)
    else {
        return Ok(());
    };
    let user = users::get(work, acs_user_id)?;
    let rights = users::rights_at_server(work, acs_user_id)?;
    let synced_at = sql::one(
        work.connection,
        "SELECT max(coalesce((SELECT synced_at FROM acs_user WHERE acs_user_id = ?1), 0),
                    coalesce((SELECT max(synced_at) FROM grant_part WHERE acs_user_id = ?1), 0))",
        [acs_user_id],
        |row| row.get::<_, i64>(0),
    )?
    .unwrap_or(0);
    if rights < user.rights_revision || credential.encoded_rights >= rights || occurred_at <= synced_at {
        return Ok(());
    }
    let written = Written { card_number: String::new(), valid_until: credential.valid_until, rights, occurred_at };
    credentials::written(work, &credential, &written)
}

/// Events were dropped at the site's bound: said, not hidden.
pub(super) fn gap(work: &Work<'_>, bridge_id: &str, gap: &EventGap, report: &Report) -> Result<(), ModelError> {
    let Some(system) = system_id(work, bridge_id, &gap.lock_system)? else { return Ok(()) };
    let instant = |milliseconds: i64| crate::model::time::text(milliseconds);
    let payload: Value = json!({
        "acs_system_id": system,
        "event_description": format!(
            "{} access events between {} and {} were dropped at the site, which could not keep more.",
            gap.count, instant(gap.from_ms), instant(gap.to_ms)
        ),
    });
    let source = format!("{system}/gap/{}", report.sequence);
    model_events::emit_once(work, "lockbridge.access_events_lost", report.occurred_at_ms, &payload, Some(&source))
}
