//! The share of one lock system in a grant: made, asked for, revoked.

use lockbridge_protocol::proto::tunnel as proto;
use prost::Message as _;
use proto::command::Body;
use serde_json::{Value, json};

use super::{Door, Grant};
use crate::model::commands::{Mutation, Purpose, converge};
use crate::model::issues::{self, Severity};
use crate::model::methods;
use crate::model::systems::{self, System};
use crate::model::users::{self, User};
use crate::model::{ModelError, Work, credentials, events, identities, scope, sql};

/// Room for doors in one signed command of 64 KiB, envelope and holder deducted.
const PUT_GRANT_BYTES: usize = 60 * 1024;

/// One part as stored.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) grant_part_id: String,
    pub(crate) access_grant_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) acs_user_id: String,
    pub(crate) revision: i64,
    pub(crate) synced_revision: i64,
    pub(crate) deleting: bool,
    digest: Option<Vec<u8>>,
}

const QUERY: &str = "SELECT grant_part_id, access_grant_id, acs_system_id, acs_user_id, revision, synced_revision, deleting, \
                     digest FROM grant_part";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Part> {
    Ok(Part {
        grant_part_id: row.get(0)?,
        access_grant_id: row.get(1)?,
        acs_system_id: row.get(2)?,
        acs_user_id: row.get(3)?,
        revision: row.get(4)?,
        synced_revision: row.get(5)?,
        deleting: row.get(6)?,
        digest: row.get(7)?,
    })
}

/// The part with that id, if it is still there.
pub(super) fn find(work: &Work<'_>, grant_part_id: &str) -> Result<Option<Part>, ModelError> {
    Ok(sql::one(work.connection, &format!("{QUERY} WHERE grant_part_id = ?1"), [grant_part_id], read)?)
}

/// Every part of a grant.
pub(crate) fn of_grant(work: &Work<'_>, access_grant_id: &str) -> Result<Vec<Part>, ModelError> {
    let query = format!("{QUERY} WHERE access_grant_id = ?1 ORDER BY acs_system_id");
    Ok(sql::all(work.connection, &query, [access_grant_id], read)?)
}

/// Every part of a holder.
pub(crate) fn of_user(work: &Work<'_>, acs_user_id: &str) -> Result<Vec<Part>, ModelError> {
    let query = format!("{QUERY} WHERE acs_user_id = ?1 ORDER BY access_grant_id");
    Ok(sql::all(work.connection, &query, [acs_user_id], read)?)
}

/// The grant's live part at a system, made or brought back if needed, with its holder.
pub(super) fn ensure(work: &Work<'_>, grant: &Grant, system: &System) -> Result<(Part, User), ModelError> {
    let query = format!("{QUERY} WHERE access_grant_id = ?1 AND acs_system_id = ?2");
    let known = sql::one(work.connection, &query, (&grant.access_grant_id, &system.acs_system_id), read)?;
    if let Some(part) = known.as_ref().filter(|part| !part.deleting) {
        return Ok((part.clone(), users::get(work, &part.acs_user_id)?));
    }
    let identity = identities::get(work, &grant.user_identity_id)?;
    let user = users::for_identity(work, system, &identity)?;
    let grant_part_id = known.map_or_else(scope::new_id, |part| part.grant_part_id);
    sql::change(
        work.connection,
        "INSERT INTO grant_part (grant_part_id, access_grant_id, acs_system_id, acs_user_id) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (access_grant_id, acs_system_id)
         DO UPDATE SET deleting = 0, digest = NULL, acs_user_id = excluded.acs_user_id",
        (&grant_part_id, &grant.access_grant_id, &system.acs_system_id, &user.acs_user_id),
    )?;
    let part = find(work, &grant_part_id)?.ok_or_else(|| ModelError::not_found("access_grant", &grant_part_id))?;
    Ok((part, user))
}

/// Adds the methods of the modes that a part lacks. Answers the live ones as commands carry them, and all their ids.
pub(super) fn ensure_methods(
    work: &Work<'_>,
    grant: &Grant,
    user: &User,
    modes: &[(i64, String)],
) -> Result<(Vec<proto::GrantMethod>, Vec<String>), ModelError> {
    let existing = methods::of_grant(work, &grant.access_grant_id)?;
    let here = |mode: &str| {
        existing.iter().any(|method| method.acs_user_id == user.acs_user_id && method.mode == mode && !method.deleting)
    };
    for (ordinal, mode) in modes.iter().filter(|(_, mode)| !here(mode)) {
        let credential_id = match credentials::wire_medium(mode) {
            Some(_) => Some(credentials::for_grant(work, user, mode)?),
            None => None,
        };
        let id = scope::new_id();
        sql::change(
            work.connection,
            "INSERT INTO access_method (access_method_id, workspace_id, access_grant_id, acs_system_id, acs_user_id,
                 acs_credential_id, ordinal, mode, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (
                &id,
                work.workspace_id,
                &grant.access_grant_id,
                &user.acs_system_id,
                &user.acs_user_id,
                credential_id,
                ordinal,
                mode,
                work.now_ms,
            ),
        )?;
        let method = methods::get(work, &id)?;
        events::emit(work, "access_method.created", work.now_ms, &methods::payload(work, &method)?)?;
    }
    let live: Vec<methods::Method> = methods::of_grant(work, &grant.access_grant_id)?
        .into_iter()
        .filter(|method| method.acs_user_id == user.acs_user_id && !method.deleting)
        .collect();
    let wire = live
        .iter()
        .filter_map(|method| {
            Some(proto::GrantMethod {
                access_method_id: method.access_method_id.clone(),
                credential_id: method.acs_credential_id.clone()?,
                medium: credentials::wire_medium(&method.mode)?.into(),
            })
        })
        .collect();
    Ok((wire, live.into_iter().map(|method| method.access_method_id).collect()))
}

/// Asks the lock system for the part as it should be now, unless it was asked for just that already.
pub(super) fn put(
    work: &Work<'_>,
    grant: &Grant,
    system: &System,
    (part, user): (&Part, &User),
    doors: &[&Door],
    (methods, method_ids): (Vec<proto::GrantMethod>, &[String]),
    (code, message, extra): (&'static str, &'static str, &Value),
) -> Result<bool, ModelError> {
    let mut wish = proto::PutGrant {
        grant_id: grant.access_grant_id.clone(),
        revision: 0,
        user: None,
        entrance_external_ids: doors.iter().map(|door| door.external_id.clone()).collect(),
        starts_at_ms: grant.starts_at,
        ends_at_ms: grant.ends_at.unwrap_or(0),
        methods,
        reservation_key: grant.reservation_key.clone().unwrap_or_default(),
    };
    let encoded = wish.encode_to_vec();
    if encoded.len() > PUT_GRANT_BYTES {
        let message = format!("{} doors of acs_system {} do not fit one grant", doors.len(), system.acs_system_id);
        return Err(ModelError::invalid("acs_entrance_ids", message));
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &encoded);
    if part.digest.as_deref() == Some(digest.as_ref()) {
        return Ok(false);
    }
    let revision = next_revision(work, &grant.access_grant_id)?;
    let rights = users::bump_rights(work, &user.acs_user_id)?;
    sql::change(
        work.connection,
        "UPDATE grant_part SET revision = ?2, rights_revision = ?3, digest = ?4 WHERE grant_part_id = ?1",
        (&part.grant_part_id, revision, rights, digest.as_ref()),
    )?;
    credentials::refresh(work, &user.acs_user_id)?;
    wish.revision = revision.unsigned_abs();
    wish.user = Some(user.wire());

    let first = part.synced_revision == 0;
    let grant_code = if first { "provisioning_access" } else { code };
    let method_code = if code == "updating_access_times" && !first { code } else { "provisioning_access" };
    let mut mutations = vec![Mutation::new(&grant.access_grant_id, grant_code, message).with(extra.clone())];
    for id in method_ids {
        issues::clear(work, id, Severity::Error, "failed_to_issue")?;
        mutations.push(Mutation::new(id, method_code, message).with(extra.clone()));
    }
    if user.synced_at.is_none() {
        let message = "The user is being created at the lock system together with the grant.";
        mutations.push(Mutation::new(&user.acs_user_id, "creating", message));
    }
    converge(work, system, Body::PutGrant(wish), Purpose::Grant, (&part.grant_part_id, revision), &mutations)?;
    Ok(true)
}

/// Revokes a part: cards that serve nothing else first, then the rights. Methods stay, marked, until confirmed.
pub(crate) fn revoke(work: &Work<'_>, part: &Part) -> Result<(), ModelError> {
    if part.deleting && issues::is_pending(work, &part.grant_part_id)? {
        return Ok(()); // asked for already
    }
    let method_ids = mark(work, part)?;
    for credential_id in credentials_of(work, part)? {
        let credential = credentials::get(work, &credential_id)?;
        if credential.made_by_grant && !methods::any_live_of_credential(work, &credential_id)? {
            credentials::delete(work, &credential)?;
        }
    }
    let message = "The access is being revoked at the lock system.";
    // The part itself carries one, to know a revocation that waits from one that failed.
    let mut mutations = vec![
        Mutation::new(&part.grant_part_id, "deleting", message),
        Mutation::new(&part.access_grant_id, "deleting", message),
    ];
    mutations.extend(method_ids.iter().map(|id| Mutation::new(id, "revoking_access", message)));
    let system = systems::get(work, &part.acs_system_id)?;
    let body = Body::DeleteGrant(proto::DeleteGrant {
        grant_id: part.access_grant_id.clone(),
        user_id: part.acs_user_id.clone(),
    });
    let revision = find(work, &part.grant_part_id)?.map_or(part.revision, |part| part.revision);
    converge(work, &system, body, Purpose::GrantDeletion, (&part.grant_part_id, revision), &mutations)?;
    Ok(())
}

/// Revokes every part of a holder. A grant with nothing left at any other system is deleted with it.
pub(crate) fn revoke_all_of_user(work: &Work<'_>, acs_user_id: &str) -> Result<(), ModelError> {
    for part in of_user(work, acs_user_id)?.iter().filter(|part| !part.deleting) {
        let others = of_grant(work, &part.access_grant_id)?;
        if others.iter().all(|other| other.deleting || other.grant_part_id == part.grant_part_id) {
            super::delete(work, &super::get(work, &part.access_grant_id)?)?;
        } else {
            revoke(work, part)?;
        }
    }
    Ok(())
}

/// The holder goes and takes every part along: marks them, without commands of their own.
pub(crate) fn drop_of_user(work: &Work<'_>, acs_user_id: &str) -> Result<(), ModelError> {
    for part in of_user(work, acs_user_id)? {
        mark(work, &part)?;
        let message = "The holder of this grant at one lock system was deleted.";
        let extra = json!({"acs_system_id": part.acs_system_id});
        issues::raise(work, &part.access_grant_id, Severity::Warning, "underprovisioned_access", message, &extra)?;
    }
    Ok(())
}

/// Marks a part as on its way out under a new revision; answers its methods.
fn mark(work: &Work<'_>, part: &Part) -> Result<Vec<String>, ModelError> {
    let revision = next_revision(work, &part.access_grant_id)?;
    let rights = users::bump_rights(work, &part.acs_user_id)?;
    sql::change(
        work.connection,
        "UPDATE grant_part SET deleting = 1, revision = ?2, rights_revision = ?3 WHERE grant_part_id = ?1",
        (&part.grant_part_id, revision, rights),
    )?;
    sql::change(
        work.connection,
        "UPDATE grant_door SET lost = 1 WHERE access_grant_id = ?1 AND acs_system_id = ?2",
        (&part.access_grant_id, &part.acs_system_id),
    )?;
    let ids = sql::texts(
        work.connection,
        "SELECT access_method_id FROM access_method WHERE access_grant_id = ?1 AND acs_system_id = ?2",
        (&part.access_grant_id, &part.acs_system_id),
    )?;
    for id in &ids {
        methods::mark_deleting(work, id)?;
    }
    Ok(ids)
}

fn credentials_of(work: &Work<'_>, part: &Part) -> Result<Vec<String>, ModelError> {
    Ok(sql::texts(
        work.connection,
        "SELECT DISTINCT acs_credential_id FROM access_method
         WHERE access_grant_id = ?1 AND acs_system_id = ?2 AND acs_credential_id IS NOT NULL",
        (&part.access_grant_id, &part.acs_system_id),
    )?)
}

fn next_revision(work: &Work<'_>, access_grant_id: &str) -> Result<i64, ModelError> {
    sql::one(
        work.connection,
        "UPDATE access_grant SET revision = revision + 1 WHERE access_grant_id = ?1 RETURNING revision",
        [access_grant_id],
        |row| row.get(0),
    )?
    .ok_or_else(|| ModelError::not_found("access_grant", access_grant_id))
}
