//! From a wish to a signed command, with a note of what its answer will mean.
//!
//! Each command leaves a row in `issued_command` (what it was for) and its pending mutations (what a reader sees until the
//! answer comes). A newer command for the same resource and mutation takes the place of the older one's note, so that a
//! late answer to the older one settles nothing.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::CancelCommand;
use lockbridge_protocol::proto::tunnel::command::Body;
use serde_json::{Value, json};

use super::systems::System;
use super::{ModelError, Work, sql};
use crate::authority::{NewCommand, lane_of};

/// Convergent commands wait for a bridge that is away: a season for wishes.
const CONVERGENT_LIFE_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// Interactive commands: a person stands at the desk.
pub(crate) const INTERACTIVE_LIFE_MS: i64 = 60_000;
/// Interactive commands: from receipt at the bridge to the first act.
const INTERACTIVE_START_DELAY_MS: u32 = 30_000;

/// What the answer to a command will settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A holder's record, suspension or group membership; the resource is the `acs_user`.
    User,
    /// Removal of a holder.
    UserDeletion,
    /// One [`grant part`](super::grants) at the lock system.
    Grant,
    /// Removal of a grant part.
    GrantDeletion,
    /// A credential made for the API.
    Credential,
    /// Removal of a credential.
    CredentialDeletion,
    /// An action attempt.
    Attempt,
}

impl Purpose {
    const ALL: [(Self, &'static str); 7] = [
        (Self::User, "user"),
        (Self::UserDeletion, "user_deletion"),
        (Self::Grant, "grant"),
        (Self::GrantDeletion, "grant_deletion"),
        (Self::Credential, "credential"),
        (Self::CredentialDeletion, "credential_deletion"),
        (Self::Attempt, "attempt"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(purpose, _)| *purpose == self).map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(purpose, _)| *purpose)
    }
}

/// Something a reader sees as not yet done on one resource.
#[derive(Debug, Clone)]
pub(crate) struct Mutation<'a> {
    /// Which resource shows it.
    pub(crate) resource_id: &'a str,
    /// `creating`, `updating_access_times`, ...
    pub(crate) code: &'static str,
    /// One sentence for a person.
    pub(crate) message: &'static str,
    /// Further fields of the mutation, e.g. `from` and `to`.
    pub(crate) extra: Value,
}

impl<'a> Mutation<'a> {
    pub(crate) fn new(resource_id: &'a str, code: &'static str, message: &'static str) -> Self {
        Self { resource_id, code, message, extra: json!({}) }
    }

    pub(crate) fn with(self, extra: Value) -> Self {
        Self { extra, ..self }
    }
}

/// A command found again by its id.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) purpose: Purpose,
    pub(crate) resource_id: String,
    /// Of the resource at the time of issue.
    pub(crate) revision: i64,
}

/// Issues a convergent command and notes what it is for.
pub(crate) fn converge(
    work: &Work<'_>,
    system: &System,
    body: Body,
    purpose: Purpose,
    (resource_id, revision): (&str, i64),
    mutations: &[Mutation<'_>],
) -> Result<CommandId, ModelError> {
    let expires_at_ms = work.now_ms.saturating_add(CONVERGENT_LIFE_MS);
    let command_id = issue(work, system, body, expires_at_ms, 0)?;
    note(work, command_id, system, purpose, resource_id, revision)?;
    for mutation in mutations {
        sql::change(
            work.connection,
            "INSERT OR REPLACE INTO pending_mutation (resource_id, code, acs_system_id, command_id, message, extra, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                mutation.resource_id,
                mutation.code,
                &system.acs_system_id,
                command_id.as_bytes(),
                mutation.message,
                mutation.extra.to_string(),
                work.now_ms,
            ),
        )?;
    }
    Ok(command_id)
}

/// Asks anew for what a lost command asked for: as a command of its own behind all others of its lane, which takes over
/// what waits for the answer.
pub(crate) fn again(work: &Work<'_>, system: &System, lost: CommandId, body: Body) -> Result<CommandId, ModelError> {
    let expires_at_ms = work.now_ms.saturating_add(CONVERGENT_LIFE_MS);
    let command_id = issue(work, system, body, expires_at_ms, 0)?;
    for table in ["issued_command", "pending_mutation"] {
        let statement = format!("UPDATE {table} SET command_id = ?2 WHERE command_id = ?1");
        sql::change(work.connection, &statement, (lost.as_bytes(), command_id.as_bytes()))?;
    }
    Ok(command_id)
}

/// Issues a command somebody waits for; the resource is the action attempt.
pub(crate) fn interact(
    work: &Work<'_>,
    system: &System,
    body: Body,
    action_attempt_id: &str,
) -> Result<CommandId, ModelError> {
    let expires_at_ms = work.now_ms.saturating_add(INTERACTIVE_LIFE_MS);
    let command_id = issue(work, system, body, expires_at_ms, INTERACTIVE_START_DELAY_MS)?;
    note(work, command_id, system, Purpose::Attempt, action_attempt_id, 0)?;
    Ok(command_id)
}

/// Asks to take back the command of an action attempt, in the lane of its target. Asked twice, the second finds it gone.
pub(crate) fn cancel(work: &Work<'_>, system: &System, action_attempt_id: &str) -> Result<(), ModelError> {
    let target = sql::one(
        work.connection,
        "SELECT command_id, lane FROM commands JOIN issued_command USING (command_id)
         WHERE purpose = ?1 AND resource_id = ?2",
        (Purpose::Attempt.name(), action_attempt_id),
        |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)),
    )?;
    if let Some((command_id, lane)) = target {
        let body = Body::CancelCommand(CancelCommand { command_id });
        issue_in(work, system, lane, body, work.now_ms.saturating_add(INTERACTIVE_LIFE_MS), 0)?;
    }
    Ok(())
}

fn issue(
    work: &Work<'_>,
    system: &System,
    body: Body,
    expires_at_ms: i64,
    max_start_delay_ms: u32,
) -> Result<CommandId, ModelError> {
    let lane = lane_of(&body).unwrap_or_else(|| "system".to_owned());
    issue_in(work, system, lane, body, expires_at_ms, max_start_delay_ms)
}

fn issue_in(
    work: &Work<'_>,
    system: &System,
    lane: String,
    body: Body,
    expires_at_ms: i64,
    max_start_delay_ms: u32,
) -> Result<CommandId, ModelError> {
    // Only the removal of the holder makes everything older about the holder moot.
    let cancels_below = matches!(body, Body::DeleteUser(_));
    Ok(work.issue(NewCommand {
        bridge_id: system.bridge_id.clone(),
        lock_system: system.lock_system.clone(),
        lane,
        body,
        not_before_ms: 0,
        expires_at_ms,
        max_start_delay_ms,
        cancels_below,
    })?)
}

fn note(
    work: &Work<'_>,
    command_id: CommandId,
    system: &System,
    purpose: Purpose,
    resource_id: &str,
    revision: i64,
) -> Result<(), ModelError> {
    sql::change(
        work.connection,
        "INSERT INTO issued_command (command_id, acs_system_id, purpose, resource_id, revision) VALUES (?1, ?2, ?3, ?4, ?5)",
        (command_id.as_bytes(), &system.acs_system_id, purpose.name(), resource_id, revision),
    )?;
    Ok(())
}

/// What an open command was for; `None` once its end is known, or for a command not of this model.
pub(crate) fn find(work: &Work<'_>, command_id: CommandId) -> Result<Option<Issued>, ModelError> {
    let row = sql::one(
        work.connection,
        "SELECT purpose, resource_id, revision FROM issued_command WHERE command_id = ?1",
        [command_id.as_bytes()],
        |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)),
    )?;
    Ok(row.and_then(|(purpose, resource_id, revision)| {
        let purpose = Purpose::parse(&purpose)?;
        Some(Issued { purpose, resource_id, revision })
    }))
}

/// The end is known: forgets the note; answers which mutations it still stood for, as (resource, code).
pub(crate) fn settle(work: &Work<'_>, command_id: CommandId) -> Result<Vec<(String, String)>, ModelError> {
    let id = command_id.as_bytes();
    sql::change(work.connection, "DELETE FROM issued_command WHERE command_id = ?1", [id])?;
    let settled = sql::all(
        work.connection,
        "DELETE FROM pending_mutation WHERE command_id = ?1 RETURNING resource_id, code",
        [id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(settled)
}
