//! From the wish to what each lock system should hold.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Door, Grant, doors, parts};
use crate::model::issues::{self, Severity};
use crate::model::{ModelError, Work, sql, systems};

/// Why a grant is looked at again, in the words of its pending mutation.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    code: &'static str,
    message: &'static str,
    extra: Value,
}

impl Cause {
    /// It is new.
    pub(crate) fn created() -> Self {
        let message = "The access is being given at the lock system.";
        Self { code: "provisioning_access", message, extra: json!({}) }
    }

    /// Its doors changed.
    pub(crate) fn doors() -> Self {
        Self { code: "updating_spaces", message: "The doors are being changed at the lock system.", extra: json!({}) }
    }

    /// Its window changed.
    pub(crate) fn times(extra: Value) -> Self {
        let message = "The access times are being changed at the lock system.";
        Self { code: "updating_access_times", message, extra }
    }
}

/// Issues the difference between what the grant should be and what was last asked for. Answers whether any was.
pub(crate) fn reconcile(work: &Work<'_>, grant: &Grant, cause: &Cause) -> Result<bool, ModelError> {
    if grant.has_ended(work.now_ms) && !grant.deleting {
        return Ok(false);
    }
    let all = if grant.deleting { Vec::new() } else { doors::live(work, &grant.access_grant_id)? };
    let modes = requested_modes(work, &grant.access_grant_id)?;
    let (usable, unusable): (Vec<&Door>, Vec<&Door>) =
        all.iter().partition(|door| modes.iter().any(|(_, mode)| door.supports(mode)));
    let mut by_system: BTreeMap<&str, Vec<&Door>> = BTreeMap::new();
    for door in &usable {
        by_system.entry(&door.acs_system_id).or_default().push(door);
    }

    let mut changed = false;
    for part in parts::of_grant(work, &grant.access_grant_id)? {
        if !part.deleting && !by_system.contains_key(part.acs_system_id.as_str()) {
            parts::revoke(work, &part)?;
            changed = true;
        }
    }
    for (acs_system_id, wanted) in &by_system {
        let system = systems::get(work, acs_system_id)?;
        let (part, user) = parts::ensure(work, grant, &system)?;
        let here: Vec<(i64, String)> =
            modes.iter().filter(|(_, mode)| wanted.iter().any(|door| door.supports(mode))).cloned().collect();
        let (methods, ids) = parts::ensure_methods(work, grant, &user, &here)?;
        doors::replace(work, grant, acs_system_id, wanted)?;
        let words = (cause.code, cause.message, &cause.extra);
        changed |= parts::put(work, grant, &system, (&part, &user), wanted, (methods, &ids), words)?;
    }
    if changed {
        sql::change(
            work.connection,
            "UPDATE access_grant SET all_doors_told = 0 WHERE access_grant_id = ?1",
            [&grant.access_grant_id],
        )?;
    }
    if !grant.deleting {
        warn(work, grant, &modes, &all, &unusable)?;
    }
    Ok(changed)
}

fn requested_modes(work: &Work<'_>, access_grant_id: &str) -> Result<Vec<(i64, String)>, ModelError> {
    Ok(sql::all(
        work.connection,
        "SELECT ordinal, mode FROM requested_method WHERE access_grant_id = ?1 ORDER BY ordinal",
        [access_grant_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?)
}

fn warn(
    work: &Work<'_>,
    grant: &Grant,
    modes: &[(i64, String)],
    all: &[Door],
    unusable: &[&Door],
) -> Result<(), ModelError> {
    let id = &grant.access_grant_id;
    let impossible: Vec<&str> = modes
        .iter()
        .map(|(_, mode)| mode.as_str())
        .filter(|mode| !all.iter().any(|door| door.supports(mode)))
        .collect();
    let message = format!("No door of this grant can be opened with: {}.", impossible.join(", "));
    let code = "cannot_create_requested_access_methods";
    issues::set(work, !impossible.is_empty(), id, Severity::Error, code, &message, &json!({"missing_device_ids": []}))?;
    let failed: Vec<&str> = unusable.iter().map(|door| door.acs_entrance_id.as_str()).collect();
    let message = "Some doors can be opened with none of the requested access methods.";
    let extra = json!({"failed_devices": [], "acs_entrance_ids": failed});
    issues::set(work, !failed.is_empty(), id, Severity::Warning, "underprovisioned_access", message, &extra)
}

/// A space changed: every grant over it follows.
pub(crate) fn reconcile_over(work: &Work<'_>, space_id: &str) -> Result<(), ModelError> {
    let query = "SELECT access_grant_id FROM access_grant_target WHERE kind = 'space' AND target_id = ?1";
    follow(work, &sql::texts(work.connection, query, [space_id])?)
}

/// A door came, went or changed its abilities on site: every grant that means it follows.
pub(crate) fn reconcile_entrance(work: &Work<'_>, acs_entrance_id: &str) -> Result<(), ModelError> {
    let grants = sql::texts(
        work.connection,
        "SELECT access_grant_id FROM access_grant_target WHERE kind = 'entrance' AND target_id = ?1
         UNION SELECT t.access_grant_id FROM space_entrance s
         JOIN access_grant_target t ON t.kind = 'space' AND t.target_id = s.space_id WHERE s.acs_entrance_id = ?1",
        [acs_entrance_id],
    )?;
    follow(work, &grants)
}

fn follow(work: &Work<'_>, access_grant_ids: &[String]) -> Result<(), ModelError> {
    for id in access_grant_ids {
        if let Some(grant) = super::find(work, id)?.filter(|grant| !grant.deleting) {
            reconcile(work, &grant, &Cause::doors())?;
        }
    }
    Ok(())
}
