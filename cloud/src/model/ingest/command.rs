//! The ends of commands.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandError, CommandState, CommandUpdate, Evidence};

use super::super::commands::{self, Issued, Purpose};
use crate::model::attempts;
use crate::model::credentials::{self, Written};
use crate::model::issues::{self, Severity};
use crate::model::{ModelError, Work, events, grants, sql, users};
use serde_json::json;

/// One `CommandUpdate`.
pub(super) fn update(
    work: &Work<'_>,
    bridge_id: &str,
    update: &CommandUpdate,
    occurred_at: i64,
) -> Result<(), ModelError> {
    if let Some(origin) = &update.local {
        return match &origin.desk {
            Some(order) => super::desk::told(work, bridge_id, update, origin, order, occurred_at),
            None => local(work, update, occurred_at),
        };
    }
    let Some(command_id) = CommandId::from_bytes(&update.command_id) else { return Ok(()) };
    let Some(issued) = commands::find(work, command_id)? else { return Ok(()) };
    match update.state() {
        CommandState::Unspecified | CommandState::Executing => Ok(()),
        CommandState::InDoubt => in_doubt(work, &issued),
        state => {
            let mutations = commands::settle(work, command_id)?;
            end(work, &issued, state, update, &mutations, occurred_at)
        }
    }
}

fn in_doubt(work: &Work<'_>, issued: &Issued) -> Result<(), ModelError> {
    if issued.purpose != Purpose::Attempt {
        return Ok(()); // a convergent command in doubt is still under way: its mutations stay
    }
    attempts::doubt(work, &attempts::get(work, &issued.resource_id)?)
}

fn end(
    work: &Work<'_>,
    issued: &Issued,
    state: CommandState,
    update: &CommandUpdate,
    mutations: &[(String, String)],
    occurred_at: i64,
) -> Result<(), ModelError> {
    let evidence = update.evidence.clone().unwrap_or_default();
    match state {
        CommandState::Succeeded => succeeded(work, issued, &evidence, mutations, occurred_at),
        // Something newer of ours took its place; that one reports for itself.
        CommandState::Superseded | CommandState::Cancelled if issued.purpose != Purpose::Attempt => Ok(()),
        _ => not_done(work, issued, &error(state, update), state, mutations, occurred_at),
    }
}

fn succeeded(
    work: &Work<'_>,
    issued: &Issued,
    evidence: &Evidence,
    mutations: &[(String, String)],
    occurred_at: i64,
) -> Result<(), ModelError> {
    let id = &issued.resource_id;
    let valid_until = Some(evidence.key_valid_until_ms).filter(|until| *until > 0);
    match issued.purpose {
        Purpose::User => user_synced(work, id, evidence, mutations, occurred_at),
        Purpose::UserDeletion => user_gone(work, id, valid_until, occurred_at),
        Purpose::Grant => grants::synced(work, id, issued.revision, evidence, occurred_at),
        Purpose::GrantDeletion => grants::removed(work, id, issued.revision, occurred_at),
        Purpose::Credential => {
            let query = "UPDATE acs_credential SET synced_at = ?2 WHERE acs_credential_id = ?1 AND revision = ?3";
            sql::change(work.connection, query, (id, occurred_at, issued.revision))?;
            issues::clear(work, id, Severity::Error, "failed_to_create_on_acs_system")?;
            Ok(())
        }
        Purpose::CredentialDeletion => credentials::removed(work, id, occurred_at, valid_until),
        Purpose::Attempt => attempts::succeed(work, &attempts::get(work, id)?, evidence, occurred_at),
    }
}

fn user_synced(
    work: &Work<'_>,
    id: &str,
    evidence: &Evidence,
    mutations: &[(String, String)],
    occurred_at: i64,
) -> Result<(), ModelError> {
    sql::change(
        work.connection,
        "UPDATE acs_user SET synced_at = ?2, external_id = coalesce(external_id, nullif(?3, '')) WHERE acs_user_id = ?1",
        (id, occurred_at, &evidence.user_external_id),
    )?;
    for code in ["failed_to_create_on_acs_system", "failed_to_update_on_acs_system"] {
        issues::clear(work, id, Severity::Error, code)?;
    }
    if mutations.iter().any(|(_, code)| code == "creating") {
        let user = users::get(work, id)?;
        let payload = json!({"acs_user_id": id, "acs_system_id": user.acs_system_id});
        events::emit(work, "acs_user.created", occurred_at, &payload)?;
    }
    credentials::refresh(work, id)
}

fn user_gone(work: &Work<'_>, id: &str, valid_until: Option<i64>, occurred_at: i64) -> Result<(), ModelError> {
    let user = users::get(work, id)?;
    let credential_ids =
        sql::texts(work.connection, "SELECT acs_credential_id FROM acs_credential WHERE acs_user_id = ?1", [id])?;
    for credential_id in credential_ids {
        credentials::removed(work, &credential_id, occurred_at, valid_until)?;
    }
    grants::removed_for_user(work, id, occurred_at)?;
    sql::change(work.connection, "DELETE FROM acs_user_group WHERE acs_user_id = ?1", [id])?;
    sql::change(work.connection, "DELETE FROM acs_user WHERE acs_user_id = ?1", [id])?;
    issues::forget(work, id)?;
    let payload = json!({"acs_user_id": id, "acs_system_id": user.acs_system_id});
    events::emit(work, "acs_user.deleted", occurred_at, &payload)
}

pub(super) fn not_done(
    work: &Work<'_>,
    issued: &Issued,
    error: &CommandError,
    state: CommandState,
    mutations: &[(String, String)],
    occurred_at: i64,
) -> Result<(), ModelError> {
    let id = &issued.resource_id;
    let extra = json!({"reason_code": error.code});
    match issued.purpose {
        Purpose::Attempt => {
            let attempt = attempts::get(work, id)?;
            if state == CommandState::Abandoned {
                // Nobody will ever know: the warning stays until another card is written.
                return attempts::abandon(work, &attempt, error, occurred_at);
            }
            attempts::fail(work, &attempt, error, occurred_at)
        }
        Purpose::Grant => grants::failed(work, id, issued.revision, error, false),
        Purpose::GrantDeletion => grants::failed(work, id, issued.revision, error, true),
        Purpose::User => {
            let created = mutations.iter().any(|(_, code)| code == "creating");
            let code = if created { "failed_to_create_on_acs_system" } else { "failed_to_update_on_acs_system" };
            issues::raise(work, id, Severity::Error, code, &error.message, &extra)?;
            Ok(())
        }
        Purpose::UserDeletion | Purpose::CredentialDeletion => {
            issues::raise(work, id, Severity::Error, "failed_to_delete_on_acs_system", &error.message, &extra)?;
            Ok(())
        }
        Purpose::Credential => {
            issues::raise(work, id, Severity::Error, "failed_to_create_on_acs_system", &error.message, &extra)?;
            Ok(())
        }
    }
}

/// What to tell of an end that brought no error of its own.
fn error(state: CommandState, update: &CommandUpdate) -> CommandError {
    if let Some(error) = &update.error
        && !error.code.is_empty()
    {
        let message = if error.message.is_empty() {
            format!("The bridge reported {}.", error.code)
        } else {
            error.message.clone()
        };
        return CommandError { message, ..error.clone() };
    }
    let (code, message) = match state {
        CommandState::Expired => ("action_attempt_expired", "The command was too old when the bridge could start it."),
        CommandState::Rejected => ("rejected", "The bridge did not accept the command."),
        CommandState::Superseded => ("superseded", "A newer command took its place."),
        CommandState::Cancelled => ("cancelled", "The command was cancelled before it began."),
        CommandState::Abandoned => ("abandoned", "How the command ended could not be found out, and it was given up."),
        _ => ("uncategorized_error", "The lock system did not carry out the command and gave no reason."),
    };
    CommandError { code: code.to_owned(), message: message.to_owned(), ..CommandError::default() }
}

/// A card written on site while nobody asked here: the cloud learns it from the report.
fn local(work: &Work<'_>, update: &CommandUpdate, occurred_at: i64) -> Result<(), ModelError> {
    let encode = update.local.as_ref().and_then(|local| local.encode_credential.as_ref());
    let (Some(encode), Some(evidence), CommandState::Succeeded) = (encode, &update.evidence, update.state()) else {
        return Ok(());
    };
    let source = CommandId::from_bytes(&update.command_id).map(|id| format!("local:{id}"));
    if !first_time(work, source.as_deref(), occurred_at)? {
        return Ok(());
    }
    let credential = credentials::get(work, &encode.credential_id)?;
    let Some(acs_user_id) = &credential.acs_user_id else { return Ok(()) };
    let written = Written {
        card_number: evidence.card_number.clone(),
        valid_until: Some(evidence.key_valid_until_ms).filter(|until| *until > 0),
        // Reports come in the order of the site: what is synced here by now was at the server then.
        rights: users::rights_at_server(work, acs_user_id)?,
        occurred_at,
    };
    credentials::written(work, &credential, &written)
}

/// A local command has no note here to lose, so its report leaves a mark instead.
fn first_time(work: &Work<'_>, source: Option<&str>, occurred_at: i64) -> Result<bool, ModelError> {
    let Some(source) = source else { return Ok(false) };
    if sql::exists(work.connection, "SELECT 1 FROM event WHERE source = ?1", [source])? {
        return Ok(false);
    }
    let payload = json!({"event_description": "A card was encoded at the site without the cloud."});
    events::emit_once(work, "lockbridge.local_encode", occurred_at, &payload, Some(source))?;
    Ok(true)
}
