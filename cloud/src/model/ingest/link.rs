//! Which lock systems there are, and what stands between them and us: the link, the lock server, its login.

use lockbridge_protocol::proto::tunnel::{HealthReport, LockSystemDescription, LockSystemHealth};
use serde_json::json;

use crate::model::issues::{self, Severity};
use crate::model::systems::{self, BRIDGE_DISCONNECTED, LOCK_SERVER_UNREACHABLE, LOGIN_REFUSED, System};
use crate::model::{ModelError, Work, events, scope, sql};

/// The bridge told which lock systems it is configured for.
pub(super) fn hello(
    work: &Work<'_>,
    bridge_id: &str,
    lock_systems: &[LockSystemDescription],
) -> Result<(), ModelError> {
    for described in lock_systems {
        let time_zone = Some(&described.time_zone).filter(|zone| !zone.is_empty());
        let name = if described.display_name.is_empty() { &described.lock_system } else { &described.display_name };
        let known = sql::change(
            work.connection,
            "UPDATE acs_system SET kind = ?3, name = ?4, time_zone = ?5 WHERE bridge_id = ?1 AND lock_system = ?2",
            (bridge_id, &described.lock_system, &described.kind, name, time_zone),
        )?;
        if known > 0 {
            continue;
        }
        let id = scope::new_id();
        sql::change(
            work.connection,
            "INSERT INTO acs_system (acs_system_id, workspace_id, connected_account_id, bridge_id, lock_system, kind, name,
                                     time_zone, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (
                &id,
                work.workspace_id,
                scope::new_id(),
                bridge_id,
                &described.lock_system,
                &described.kind,
                name,
                time_zone,
                work.now_ms,
            ),
        )?;
        let system = systems::get(work, &id)?;
        events::emit(work, "acs_system.added", work.now_ms, &payload(&system))?;
    }
    for system in systems::of_bridge(work, bridge_id)? {
        let message = "The time zone of the site is not known; windows cannot be written in local time.";
        let code = "setup_required";
        issues::set(
            work,
            system.time_zone.is_none(),
            &system.acs_system_id,
            Severity::Warning,
            code,
            message,
            &json!({}),
        )?;
    }
    Ok(())
}

/// The tunnel came up or was lost.
pub(super) fn changed(work: &Work<'_>, bridge_id: &str, up: bool) -> Result<(), ModelError> {
    for system in systems::of_bridge(work, bridge_id)? {
        judge(work, &system, || {
            let message =
                "The bridge of this system is not connected to the cloud. What it accepted goes on at the site.";
            let extra = json!({"is_bridge_error": true});
            issues::set(work, !up, &system.acs_system_id, Severity::Error, BRIDGE_DISCONNECTED, message, &extra)
        })?;
    }
    Ok(())
}

/// The bridge told how its lock servers are.
pub(super) fn health(work: &Work<'_>, bridge_id: &str, health: &HealthReport) -> Result<(), ModelError> {
    for system in systems::of_bridge(work, bridge_id)? {
        let Some(told) = health.lock_systems.iter().find(|told| told.lock_system == system.lock_system) else {
            continue;
        };
        sql::change(
            work.connection,
            "UPDATE acs_system SET inventory_at = coalesce(nullif(?2, 0), inventory_at) WHERE acs_system_id = ?1",
            (&system.acs_system_id, told.inventory_at_ms),
        )?;
        judge(work, &system, || lock_server(work, &system, told))?;
    }
    Ok(())
}

fn lock_server(work: &Work<'_>, system: &System, told: &LockSystemHealth) -> Result<(), ModelError> {
    let reason = told.reason.clone().unwrap_or_default();
    let extra = json!({"reason_code": reason.code, "is_bridge_error": false});
    let words = |default: &str| if reason.message.is_empty() { default.to_owned() } else { reason.message.clone() };
    let unreachable = words("The bridge is connected, but its lock server does not answer.");
    let refused = words("The lock server answers, but it refuses the login of the bridge.");
    let id = &system.acs_system_id;
    issues::set(work, !told.reachable, id, Severity::Error, LOCK_SERVER_UNREACHABLE, &unreachable, &extra)?;
    let login = told.reachable && !told.logged_in;
    issues::set(work, login, id, Severity::Error, LOGIN_REFUSED, &refused, &extra)
}

/// Runs `change` and tells when the system thereby became usable or unusable.
fn judge(work: &Work<'_>, system: &System, change: impl FnOnce() -> Result<(), ModelError>) -> Result<(), ModelError> {
    let connected_before = ever_connected(work, system)?;
    let usable_before = systems::obstacle(work, system)?.is_none();
    change()?;
    let usable = systems::obstacle(work, system)?.is_none();
    if usable && !(usable_before && connected_before) {
        return events::emit(work, "acs_system.connected", work.now_ms, &payload(system));
    }
    if !usable && usable_before {
        let mut payload = payload(system);
        if let Some(fields) = payload.as_object_mut() {
            let errors = issues::list(work, &system.acs_system_id, Severity::Error)?;
            let warnings = issues::list(work, &system.acs_system_id, Severity::Warning)?;
            fields.insert("acs_system_errors".to_owned(), errors.into());
            fields.insert("acs_system_warnings".to_owned(), warnings.into());
            fields.insert("connected_account_errors".to_owned(), json!([]));
            fields.insert("connected_account_warnings".to_owned(), json!([]));
        }
        return events::emit(work, "acs_system.disconnected", work.now_ms, &payload);
    }
    Ok(())
}

fn ever_connected(work: &Work<'_>, system: &System) -> Result<bool, ModelError> {
    let first = sql::change(
        work.connection,
        "UPDATE acs_system SET was_connected = 1 WHERE acs_system_id = ?1 AND NOT was_connected",
        [&system.acs_system_id],
    )?;
    Ok(first == 0)
}

fn payload(system: &System) -> serde_json::Value {
    json!({"acs_system_id": system.acs_system_id, "connected_account_id": system.connected_account_id})
}
