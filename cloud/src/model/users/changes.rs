//! What callers may do to a holder: each is a row change and a command.

use lockbridge_protocol::proto::tunnel as proto;
use proto::command::Body;
use serde_json::json;

use super::{User, get, own_change};
use crate::model::commands::{Mutation, Purpose, converge};
use crate::model::issues::{self, Severity};
use crate::model::systems::{self, System};
use crate::model::{ModelError, Work, grants, scope, sql, time};

/// Everything a caller may say of a holder, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) full_name: String,
    pub(crate) email_address: Option<String>,
    pub(crate) phone_number: Option<String>,
    pub(crate) user_identity_id: Option<String>,
    pub(crate) starts_at: Option<i64>,
    pub(crate) ends_at: Option<i64>,
}

impl From<&User> for Profile {
    fn from(user: &User) -> Self {
        Self {
            full_name: user.full_name.clone(),
            email_address: user.email_address.clone(),
            phone_number: user.phone_number.clone(),
            user_identity_id: user.user_identity_id.clone(),
            starts_at: user.starts_at,
            ends_at: user.ends_at,
        }
    }
}

/// Records a holder and tells the lock system.
pub(crate) fn create(work: &Work<'_>, system: &System, profile: &Profile) -> Result<User, ModelError> {
    let id = scope::new_id();
    sql::change(
        work.connection,
        "INSERT INTO acs_user (acs_user_id, workspace_id, acs_system_id, user_identity_id, is_managed, full_name,
             email_address, phone_number, starts_at, ends_at, created_at) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            &id,
            work.workspace_id,
            &system.acs_system_id,
            &profile.user_identity_id,
            &profile.full_name,
            &profile.email_address,
            &profile.phone_number,
            profile.starts_at,
            profile.ends_at,
            work.now_ms,
        ),
    )?;
    put(work, system, &id, &[Mutation::new(&id, "creating", "The user is being created at the lock system.")])?;
    get(work, &id)
}

/// Replaces what is said of a holder.
pub(crate) fn update(work: &Work<'_>, user: &User, profile: &Profile) -> Result<(), ModelError> {
    if Profile::from(user) == *profile {
        return Ok(());
    }
    sql::change(
        work.connection,
        "UPDATE acs_user SET full_name = ?2, email_address = ?3, phone_number = ?4, user_identity_id = ?5, starts_at = ?6,
             ends_at = ?7 WHERE acs_user_id = ?1",
        (
            &user.acs_user_id,
            &profile.full_name,
            &profile.email_address,
            &profile.phone_number,
            &profile.user_identity_id,
            profile.starts_at,
            profile.ends_at,
        ),
    )?;
    let mut mutations = Vec::new();
    if (user.starts_at, user.ends_at) != (profile.starts_at, profile.ends_at) {
        own_change(work, &user.acs_user_id)?;
        let window = |starts_at, ends_at| json!({"starts_at": time::optional_text(starts_at), "ends_at": time::optional_text(ends_at)});
        let extra = json!({
            "from": {"access_schedule": window(user.starts_at, user.ends_at)},
            "to": {"access_schedule": window(profile.starts_at, profile.ends_at)},
        });
        let message = "The access schedule is being changed at the lock system.";
        mutations.push(Mutation::new(&user.acs_user_id, "updating_access_schedule", message).with(extra));
    }
    if (&user.full_name, &user.email_address, &user.phone_number)
        != (&profile.full_name, &profile.email_address, &profile.phone_number)
    {
        let message = "The user is being changed at the lock system.";
        mutations.push(Mutation::new(&user.acs_user_id, "updating_user_information", message));
    }
    if mutations.is_empty() {
        return Ok(()); // only the link to a person changed: not the lock system's business
    }
    let system = systems::get(work, &user.acs_system_id)?;
    put(work, &system, &user.acs_user_id, &mutations)
}

/// Tells the lock system of a holder that so far is only a row.
pub(crate) fn announce(work: &Work<'_>, system: &System, user: &User) -> Result<(), ModelError> {
    let id = &user.acs_user_id;
    put(work, system, id, &[Mutation::new(id, "creating", "The user is being created at the lock system.")])
}

fn put(work: &Work<'_>, system: &System, id: &str, mutations: &[Mutation<'_>]) -> Result<(), ModelError> {
    sql::change(work.connection, "UPDATE acs_user SET revision = revision + 1 WHERE acs_user_id = ?1", [id])?;
    let user = get(work, id)?;
    let body = Body::PutUser(proto::PutUser { user: Some(user.wire()), revision: user.revision.unsigned_abs() });
    converge(work, system, body, Purpose::User, (id, user.revision), mutations)?;
    Ok(())
}

/// Blocks or unblocks a holder.
pub(crate) fn suspend(work: &Work<'_>, user: &User, suspended: bool) -> Result<(), ModelError> {
    let id = &user.acs_user_id;
    sql::change(work.connection, "UPDATE acs_user SET is_suspended = ?2 WHERE acs_user_id = ?1", (id, suspended))?;
    let extra = json!({"from": {"is_suspended": user.is_suspended}, "to": {"is_suspended": suspended}});
    let message = "The suspension is being changed at the lock system.";
    let mutation = Mutation::new(id, "updating_suspension_state", message).with(extra);
    let system = systems::get(work, &user.acs_system_id)?;
    let body = Body::SuspendUser(proto::SuspendUser { user_id: id.clone(), suspended });
    converge(work, &system, body, Purpose::User, (id, user.revision), &[mutation])?;
    Ok(())
}

/// Tells the lock system the whole set of groups of the holder, as the membership rows have it.
pub(crate) fn put_groups(work: &Work<'_>, user: &User) -> Result<(), ModelError> {
    let id = &user.acs_user_id;
    own_change(work, id)?;
    let revision: Option<i64> = sql::one(
        work.connection,
        "UPDATE acs_user SET membership_revision = membership_revision + 1 WHERE acs_user_id = ?1
         RETURNING membership_revision",
        [id],
        |row| row.get(0),
    )?;
    let revision = revision.ok_or_else(|| ModelError::not_found("acs_user", id))?;
    let group_external_ids = sql::texts(
        work.connection,
        "SELECT g.external_id FROM acs_user_group m JOIN acs_access_group g USING (acs_access_group_id)
         WHERE m.acs_user_id = ?1 AND g.removed_at IS NULL ORDER BY g.external_id",
        [id],
    )?;
    let system = systems::get(work, &user.acs_system_id)?;
    let membership =
        proto::SetGroupMembership { user_id: id.clone(), group_external_ids, revision: revision.unsigned_abs() };
    let message = "The access groups are being changed at the lock system.";
    let mutation = Mutation::new(id, "updating_group_membership", message);
    converge(work, &system, Body::SetGroupMembership(membership), Purpose::User, (id, revision), &[mutation])?;
    Ok(())
}

/// Removes a holder with all that hangs on it. The rows stay, marked, until the lock system confirmed.
pub(crate) fn delete(work: &Work<'_>, user: &User) -> Result<(), ModelError> {
    let id = &user.acs_user_id;
    if user.deleting && issues::is_pending(work, id)? {
        return Ok(()); // asked for already
    }
    sql::change(work.connection, "UPDATE acs_user SET deleting = 1 WHERE acs_user_id = ?1", [id])?;
    sql::change(work.connection, "UPDATE acs_credential SET deleting = 1 WHERE acs_user_id = ?1", [id])?;
    grants::drop_parts_of_user(work, id)?;
    let message = "The user is being deleted at the lock system.";
    issues::raise(work, id, Severity::Warning, "being_deleted", message, &json!({}))?;
    let system = systems::get(work, &user.acs_system_id)?;
    let body = Body::DeleteUser(proto::DeleteUser { user_id: id.clone() });
    let mutation = Mutation::new(id, "deleting", message);
    converge(work, &system, body, Purpose::UserDeletion, (id, user.revision), &[mutation])?;
    Ok(())
}
