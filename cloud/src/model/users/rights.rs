//! The numbering of what a card should carry.

use crate::model::{ModelError, Scope, Work, credentials, sql};

/// Something a card of this user carries changes: answers the new number.
pub(crate) fn bump(work: &Work<'_>, acs_user_id: &str) -> Result<i64, ModelError> {
    let revision = sql::one(
        work.connection,
        "UPDATE acs_user SET rights_revision = rights_revision + 1 WHERE acs_user_id = ?1 RETURNING rights_revision",
        [acs_user_id],
        |row| row.get(0),
    )?
    .ok_or_else(|| ModelError::not_found("acs_user", acs_user_id))?;
    credentials::refresh(work, acs_user_id)?;
    Ok(revision)
}

/// Like [`bump`], for a change of the user itself (groups, schedule) rather than of a grant.
pub(crate) fn own_change(work: &Work<'_>, acs_user_id: &str) -> Result<(), ModelError> {
    let revision = bump(work, acs_user_id)?;
    sql::change(
        work.connection,
        "UPDATE acs_user SET own_rights = ?2 WHERE acs_user_id = ?1",
        (acs_user_id, revision),
    )?;
    Ok(())
}

/// The newest number such that everything up to it is known to be at the lock server: what a card written now carries.
pub(crate) fn at_server(scope: &Scope<'_>, acs_user_id: &str) -> Result<i64, ModelError> {
    let revision = sql::one(
        scope.connection,
        "SELECT min(newest) FROM (
             SELECT rights_revision AS newest FROM acs_user WHERE acs_user_id = ?1
             UNION ALL SELECT rights_revision - 1 FROM grant_part
                 WHERE acs_user_id = ?1 AND (deleting OR synced_revision < revision)
             UNION ALL SELECT own_rights - 1 FROM acs_user WHERE acs_user_id = ?1 AND EXISTS (
                 SELECT 1 FROM pending_mutation WHERE resource_id = ?1
                 AND code IN ('updating_group_membership', 'updating_access_schedule')))",
        [acs_user_id],
        |row| row.get::<_, Option<i64>>(0),
    )?;
    Ok(revision.flatten().unwrap_or(0))
}
