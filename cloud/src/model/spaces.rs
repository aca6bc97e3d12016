//! Spaces: named sets of entrances. Grants over a space are live: they follow its doors.

use rusqlite::Row;
use serde_json::json;

use super::{ModelError, Scope, Work, events, grants, sql};

/// A named set of doors.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "the fields carry the names of the API")]
pub(crate) struct Space {
    pub(crate) space_id: String,
    pub(crate) workspace_id: String,
    pub(crate) space_key: Option<String>,
    pub(crate) name: String,
    pub(crate) customer_key: Option<String>,
    pub(crate) created_at: i64,
}

/// Columns in the order [`Space::read`] expects.
pub(crate) const COLUMNS: &str = "space_id, workspace_id, space_key, name, customer_key, created_at";

impl Space {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            space_id: row.get(0)?,
            workspace_id: row.get(1)?,
            space_key: row.get(2)?,
            name: row.get(3)?,
            customer_key: row.get(4)?,
            created_at: row.get(5)?,
        })
    }
}

/// The space with that id.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Space, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM space WHERE space_id = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (id, scope.workspace_id), Space::read)?
        .ok_or_else(|| ModelError::not_found("space", id))
}

/// The space with that caller's key.
pub(crate) fn by_key(scope: &Scope<'_>, key: &str) -> Result<Space, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM space WHERE space_key = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (key, scope.workspace_id), Space::read)?
        .ok_or_else(|| ModelError::not_found("space", key))
}

/// Refuses a `space_key` another space has.
pub(crate) fn check_key(scope: &Scope<'_>, key: Option<&str>, except: &str) -> Result<(), ModelError> {
    let Some(key) = key else { return Ok(()) };
    let query = "SELECT 1 FROM space WHERE workspace_id = ?1 AND space_key = ?2 AND space_id <> ?3";
    if sql::exists(scope.connection, query, (scope.workspace_id, key, except))? {
        return Err(ModelError::refused("space_key_already_exists", format!("another space has the key {key}")));
    }
    Ok(())
}

/// Refuses ids that are not entrances of this workspace.
pub(crate) fn check_entrances(scope: &Scope<'_>, entrance_ids: &[String]) -> Result<(), ModelError> {
    for id in entrance_ids {
        let query =
            "SELECT 1 FROM acs_entrance WHERE acs_entrance_id = ?1 AND workspace_id = ?2 AND removed_at IS NULL";
        if !sql::exists(scope.connection, query, (id, scope.workspace_id))? {
            return Err(ModelError::not_found("acs_entrance", id));
        }
    }
    Ok(())
}

/// Adds doors; grants over the space follow.
pub(crate) fn add_entrances(work: &Work<'_>, space_id: &str, entrance_ids: &[String]) -> Result<(), ModelError> {
    check_entrances(work, entrance_ids)?;
    let mut changed = 0;
    for id in entrance_ids {
        changed += sql::change(
            work.connection,
            "INSERT OR IGNORE INTO space_entrance (space_id, acs_entrance_id) VALUES (?1, ?2)",
            (space_id, id),
        )?;
    }
    if changed > 0 { follow(work, space_id) } else { Ok(()) }
}

/// Takes doors away; grants over the space follow.
pub(crate) fn remove_entrances(work: &Work<'_>, space_id: &str, entrance_ids: &[String]) -> Result<(), ModelError> {
    let mut changed = 0;
    for id in entrance_ids {
        changed += sql::change(
            work.connection,
            "DELETE FROM space_entrance WHERE space_id = ?1 AND acs_entrance_id = ?2",
            (space_id, id),
        )?;
    }
    if changed > 0 { follow(work, space_id) } else { Ok(()) }
}

/// Replaces the whole set of doors; grants over the space follow, once.
pub(crate) fn replace_entrances(work: &Work<'_>, space_id: &str, entrance_ids: &[String]) -> Result<(), ModelError> {
    check_entrances(work, entrance_ids)?;
    sql::change(work.connection, "DELETE FROM space_entrance WHERE space_id = ?1", [space_id])?;
    for id in entrance_ids {
        sql::change(
            work.connection,
            "INSERT OR IGNORE INTO space_entrance (space_id, acs_entrance_id) VALUES (?1, ?2)",
            (space_id, id),
        )?;
    }
    follow(work, space_id)
}

/// Removes the space; its grants lose its doors.
pub(crate) fn delete(work: &Work<'_>, space_id: &str) -> Result<(), ModelError> {
    sql::change(work.connection, "DELETE FROM space_entrance WHERE space_id = ?1", [space_id])?;
    follow(work, space_id)?;
    sql::change(
        work.connection,
        "DELETE FROM access_grant_target WHERE kind = 'space' AND target_id = ?1",
        [space_id],
    )?;
    sql::change(work.connection, "DELETE FROM space WHERE space_id = ?1", [space_id])?;
    events::emit(work, "space.deleted", work.now_ms, &json!({"space_id": space_id}))
}

fn follow(work: &Work<'_>, space_id: &str) -> Result<(), ModelError> {
    events::emit(work, "space.device_membership_changed", work.now_ms, &json!({"space_id": space_id}))?;
    grants::reconcile_over(work, space_id)
}
