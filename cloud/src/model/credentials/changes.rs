//! What callers may do to a credential.

use lockbridge_protocol::proto::tunnel as proto;
use proto::command::Body;
use serde_json::json;

use super::{Credential, get, of_user};
use crate::model::commands::{Mutation, Purpose, converge};
use crate::model::issues::{self, Severity};
use crate::model::systems::{self, System};
use crate::model::users::User;
use crate::model::{ModelError, Work, events, methods, scope, sql};

fn medium(mode: &str) -> proto::Medium {
    match mode {
        "card" => proto::Medium::Card,
        "mobile_key" => proto::Medium::MobileKey,
        _ => proto::Medium::Unspecified,
    }
}

fn insert(work: &Work<'_>, user: &User, mode: &str, made_by_grant: bool) -> Result<String, ModelError> {
    let id = scope::new_id();
    sql::change(
        work.connection,
        "INSERT INTO acs_credential (acs_credential_id, workspace_id, acs_system_id, acs_user_id, access_method,
                                     made_by_grant, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (&id, work.workspace_id, &user.acs_system_id, &user.acs_user_id, mode, made_by_grant, work.now_ms),
    )?;
    if mode == "card" {
        let message = "No card has been written yet.";
        issues::raise(work, &id, Severity::Warning, "waiting_to_be_issued", message, &json!({}))?;
    }
    Ok(id)
}

/// The holder's credential for a grant's method, made if there is none. The grant's own command carries it.
pub(crate) fn for_grant(work: &Work<'_>, user: &User, mode: &str) -> Result<String, ModelError> {
    match of_user(work, &user.acs_user_id, mode)? {
        Some(credential) => Ok(credential.acs_credential_id),
        None => insert(work, user, mode, true),
    }
}

/// Makes a credential for a holder at the API's wish. The holder may have one of each kind.
pub(crate) fn create(work: &Work<'_>, system: &System, user: &User, mode: &str) -> Result<Credential, ModelError> {
    refuse_second(work, user, mode)?;
    let id = insert(work, user, mode, false)?;
    let message = "The credential is being created at the lock system.";
    put(work, system, &id, &user.acs_user_id, mode, Mutation::new(&id, "creating", message))?;
    get(work, &id)
}

fn refuse_second(work: &Work<'_>, user: &User, mode: &str) -> Result<(), ModelError> {
    if let Some(other) = of_user(work, &user.acs_user_id, mode)? {
        let message = format!(
            "acs_user {} has the {mode} credential {} already, and the lock system allows one; encode that one again, or \
             delete it first",
            user.acs_user_id, other.acs_credential_id
        );
        return Err(ModelError::refused("credential_cannot_be_reissued", message));
    }
    Ok(())
}

fn put(
    work: &Work<'_>,
    system: &System,
    id: &str,
    acs_user_id: &str,
    mode: &str,
    mutation: Mutation<'_>,
) -> Result<(), ModelError> {
    sql::change(
        work.connection,
        "UPDATE acs_credential SET revision = revision + 1 WHERE acs_credential_id = ?1",
        [id],
    )?;
    let revision = get(work, id)?.revision;
    let body = Body::PutCredential(proto::PutCredential {
        credential_id: id.to_owned(),
        user_id: acs_user_id.to_owned(),
        medium: medium(mode).into(),
        revision: revision.unsigned_abs(),
    });
    converge(work, system, body, Purpose::Credential, (id, revision), &[mutation])?;
    Ok(())
}

/// The medium of a grant's method on the wire; `None` for one that needs none at the lock system.
pub(crate) fn wire_medium(mode: &str) -> Option<proto::Medium> {
    Some(medium(mode)).filter(|medium| *medium != proto::Medium::Unspecified)
}

/// Cancels a credential. Its methods go with it; the rows stay, marked, until the lock system confirmed.
pub(crate) fn delete(work: &Work<'_>, credential: &Credential) -> Result<(), ModelError> {
    let id = &credential.acs_credential_id;
    if credential.deleting && issues::is_pending(work, id)? {
        return Ok(()); // asked for already
    }
    let Some(acs_user_id) = &credential.acs_user_id else {
        return drop_unassigned(work, credential);
    };
    sql::change(work.connection, "UPDATE acs_credential SET deleting = 1 WHERE acs_credential_id = ?1", [id])?;
    let message = "The credential is being cancelled at the lock system.";
    issues::raise(work, id, Severity::Warning, "being_deleted", message, &json!({}))?;
    let method_ids = methods::mark_deleting_of_credential(work, id)?;
    let mut mutations = vec![Mutation::new(id, "deleting", message)];
    mutations.extend(method_ids.iter().map(|method| Mutation::new(method, "revoking_access", message)));
    let system = systems::get(work, &credential.acs_system_id)?;
    let body =
        Body::DeleteCredential(proto::DeleteCredential { credential_id: id.clone(), user_id: acs_user_id.clone() });
    converge(work, &system, body, Purpose::CredentialDeletion, (id, credential.revision), &mutations)?;
    Ok(())
}

fn drop_unassigned(work: &Work<'_>, credential: &Credential) -> Result<(), ModelError> {
    let id = &credential.acs_credential_id;
    sql::change(work.connection, "DELETE FROM acs_credential WHERE acs_credential_id = ?1", [id])?;
    issues::forget(work, id)?;
    let payload = json!({"acs_credential_id": id, "acs_system_id": credential.acs_system_id});
    events::emit(work, "acs_credential.deleted", work.now_ms, &payload)
}

/// Takes the credential from its holder: the lock system no longer honours the card.
pub(crate) fn unassign(work: &Work<'_>, credential: &Credential) -> Result<(), ModelError> {
    let id = &credential.acs_credential_id;
    let Some(acs_user_id) = &credential.acs_user_id else { return Ok(()) };
    if methods::any_live_of_credential(work, id)? {
        let message = format!("credential {id} serves an access grant; delete the access method or the grant instead");
        return Err(ModelError::refused("credential_in_use", message));
    }
    sql::change(
        work.connection,
        "UPDATE acs_credential SET acs_user_id = NULL, is_issued = 0, issued_at = NULL, card_number = NULL,
             valid_until = NULL, encoded_rights = 0, revision = revision + 1 WHERE acs_credential_id = ?1",
        [id],
    )?;
    let system = systems::get(work, &credential.acs_system_id)?;
    let message = "The credential is being taken from its user at the lock system.";
    let mutation = Mutation::new(id, "updating_user_assignment", message);
    let body =
        Body::DeleteCredential(proto::DeleteCredential { credential_id: id.clone(), user_id: acs_user_id.clone() });
    converge(work, &system, body, Purpose::Credential, (id, credential.revision + 1), &[mutation])?;
    Ok(())
}

/// Gives an unassigned credential to a holder.
pub(crate) fn assign(work: &Work<'_>, credential: &Credential, user: &User) -> Result<(), ModelError> {
    let id = &credential.acs_credential_id;
    if credential.acs_user_id.as_ref() == Some(&user.acs_user_id) {
        return Ok(());
    }
    if credential.acs_user_id.is_some() {
        let message = format!("credential {id} belongs to another acs_user; unassign it first");
        return Err(ModelError::refused("credential_in_use", message));
    }
    if user.acs_system_id != credential.acs_system_id {
        let message = format!("the acs_user is of acs_system {}, the credential of another", user.acs_system_id);
        return Err(ModelError::invalid("acs_user_id", message));
    }
    refuse_second(work, user, &credential.access_method)?;
    sql::change(
        work.connection,
        "UPDATE acs_credential SET acs_user_id = ?2 WHERE acs_credential_id = ?1",
        (id, &user.acs_user_id),
    )?;
    let system = systems::get(work, &credential.acs_system_id)?;
    let message = "The credential is being given to the user at the lock system.";
    let mutation = Mutation::new(id, "updating_user_assignment", message);
    put(work, &system, id, &user.acs_user_id, &credential.access_method, mutation)
}
