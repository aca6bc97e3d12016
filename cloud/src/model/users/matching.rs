//! Which user at a system is this person: the linked one, else one with the same email or phone, else a new one.

use super::{COLUMNS, User};
use crate::model::identities::Identity;
use crate::model::systems::System;
use crate::model::{ModelError, Scope, Work, scope, sql};

/// The live user linked to the person at that system.
pub(crate) fn of_identity(
    scope: &Scope<'_>,
    system: &System,
    user_identity_id: &str,
) -> Result<Option<User>, ModelError> {
    let query = format!(
        "SELECT {COLUMNS} FROM acs_user
         WHERE user_identity_id = ?1 AND acs_system_id = ?2 AND is_managed AND NOT deleting ORDER BY position LIMIT 1"
    );
    Ok(sql::one(scope.connection, &query, (user_identity_id, &system.acs_system_id), User::read)?)
}

/// The person's user at the system, made if needed. A new one is only a row: the command that follows (`PutGrant`,
/// `PutCredential`) tells the lock system. Users found on site and users linked to somebody else are never taken.
pub(crate) fn for_identity(work: &Work<'_>, system: &System, identity: &Identity) -> Result<User, ModelError> {
    if let Some(user) = of_identity(work, system, &identity.user_identity_id)? {
        return Ok(user);
    }
    for (field, value) in [("email_address", &identity.email_address), ("phone_number", &identity.phone_number)] {
        let Some(value) = value else { continue };
        let query = format!(
            "SELECT {COLUMNS} FROM acs_user WHERE acs_system_id = ?1 AND {field} = ?2 AND is_managed AND NOT deleting
             AND user_identity_id IS NULL ORDER BY position LIMIT 1"
        );
        if let Some(user) = sql::one(work.connection, &query, (&system.acs_system_id, value), User::read)? {
            sql::change(
                work.connection,
                "UPDATE acs_user SET user_identity_id = ?2 WHERE acs_user_id = ?1",
                (&user.acs_user_id, &identity.user_identity_id),
            )?;
            return Ok(user);
        }
    }
    let id = scope::new_id();
    sql::change(
        work.connection,
        "INSERT INTO acs_user (acs_user_id, workspace_id, acs_system_id, user_identity_id, is_managed, full_name,
                               email_address, phone_number, created_at) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8)",
        (
            &id,
            work.workspace_id,
            &system.acs_system_id,
            &identity.user_identity_id,
            identity.display_name(),
            &identity.email_address,
            &identity.phone_number,
            work.now_ms,
        ),
    )?;
    super::get(work, &id)
}
