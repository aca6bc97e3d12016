//! Access groups of the lock system: found on site, never made or edited by us; we only add and remove members.

use rusqlite::Row;

use super::users::{self, User};
use super::{ModelError, Scope, Work, sql};

/// One access group (at SALTO Space: access level).
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) acs_access_group_id: String,
    pub(crate) workspace_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) display_name: String,
    pub(crate) created_at: i64,
}

/// Columns in the order [`Group::read`] expects.
pub(crate) const COLUMNS: &str = "acs_access_group_id, workspace_id, acs_system_id, display_name, created_at";

impl Group {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            acs_access_group_id: row.get(0)?,
            workspace_id: row.get(1)?,
            acs_system_id: row.get(2)?,
            display_name: row.get(3)?,
            created_at: row.get(4)?,
        })
    }
}

/// The group with that id, as long as the site has it.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Group, ModelError> {
    let query = format!(
        "SELECT {COLUMNS} FROM acs_access_group
         WHERE acs_access_group_id = ?1 AND workspace_id = ?2 AND removed_at IS NULL"
    );
    sql::one(scope.connection, &query, (id, scope.workspace_id), Group::read)?
        .ok_or_else(|| ModelError::not_found("acs_access_group", id))
}

/// Makes the user a member of further groups; all must be of the user's system.
pub(crate) fn add_members(work: &Work<'_>, user: &User, group_ids: &[String]) -> Result<(), ModelError> {
    let mut added = 0;
    for id in group_ids {
        let group = get(work, id)?;
        if group.acs_system_id != user.acs_system_id {
            let message = format!(
                "access group {id} is of acs_system {}, the user of acs_system {}",
                group.acs_system_id, user.acs_system_id
            );
            return Err(ModelError::invalid("acs_access_group_id", message));
        }
        added += sql::change(
            work.connection,
            "INSERT OR IGNORE INTO acs_user_group (acs_user_id, acs_access_group_id) VALUES (?1, ?2)",
            (&user.acs_user_id, id),
        )?;
    }
    if added > 0 { users::put_groups(work, user) } else { Ok(()) }
}

/// Ends a membership; being no member is not an error.
pub(crate) fn remove_member(work: &Work<'_>, user: &User, group: &Group) -> Result<(), ModelError> {
    let removed = sql::change(
        work.connection,
        "DELETE FROM acs_user_group WHERE acs_user_id = ?1 AND acs_access_group_id = ?2",
        (&user.acs_user_id, &group.acs_access_group_id),
    )?;
    if removed > 0 { users::put_groups(work, user) } else { Ok(()) }
}

/// Ends every membership.
pub(crate) fn remove_all(work: &Work<'_>, user: &User) -> Result<(), ModelError> {
    let removed =
        sql::change(work.connection, "DELETE FROM acs_user_group WHERE acs_user_id = ?1", [&user.acs_user_id])?;
    if removed > 0 { users::put_groups(work, user) } else { Ok(()) }
}
