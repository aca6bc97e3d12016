//! Who signs: turns a wish of the resource model into a signed command in its bridge's outbox.
//!
//! Owns the signing key. Promises: a command, its place in its lane and its outbox row exist together or not at all
//! (one transaction, the caller's), and every field the bridge acts on is under the signature. Never: sends anything; the
//! hub relays what it cannot make.

mod key;
mod lane;
#[cfg(test)]
mod tests;
mod witness;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::limits;
use lockbridge_protocol::proto::tunnel::{Command, Mode, Signed, command};
use lockbridge_protocol::signed;
use lockbridge_protocol::signed::command::{CommandError, INTERACTIVE_LIFE_MS};
use prost::Message;
use rusqlite::Connection;
use thiserror::Error;
use uuid::Uuid;

pub use key::{Authority, KeyError};
pub use lane::lane_of;

use crate::store::{StoreError, bridges, commands};

/// What the resource model wishes of a bridge. Mode, priority and identifiers follow from it.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Addressee.
    pub bridge_id: String,
    /// Name of the lock system on that bridge.
    pub lock_system: String,
    /// Ordered queue of the resource, see [`lane_of`].
    pub lane: String,
    /// What to do.
    pub body: command::Body,
    /// Not to be started before; 0 for at once.
    pub not_before_ms: i64,
    /// Not to be started after. Interactive commands: at most [`INTERACTIVE_LIFE_MS`] from now or `not_before_ms`.
    pub expires_at_ms: i64,
    /// Interactive commands: longest time from receipt to start; 0 for the default. Ignored for others.
    pub max_start_delay_ms: u32,
    /// Supersede everything older in the lane, queued or still to come. Only for safety commands.
    pub cancels_below: bool,
}

/// The command was not issued; nothing was stored.
#[derive(Debug, Error)]
pub enum IssueError {
    /// No such bridge.
    #[error("there is no bridge {0}")]
    UnknownBridge(String),
    /// The bridge will never connect again.
    #[error("bridge {0} is revoked; enroll it anew")]
    RevokedBridge(String),
    /// The command would be dead on arrival, or lives too long.
    #[error("a {kind} command cannot expire at {expires_at_ms}: {reason}")]
    Expiry {
        /// Name of the body.
        kind: &'static str,
        /// What was asked.
        expires_at_ms: i64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A bridge would refuse it: an empty id, an impossible window, `cancels_below` on something that is no safety command.
    #[error("a {kind} command that no bridge accepts: {source}")]
    Invalid {
        /// Name of the body.
        kind: &'static str,
        /// Which field, and why.
        source: CommandError,
    },
    /// The signed command does not fit a frame's share.
    #[error("a {kind} command of {bytes} bytes exceeds {}", limits::COMMAND_BYTES)]
    TooLarge {
        /// Name of the body.
        kind: &'static str,
        /// Signed size.
        bytes: usize,
    },
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for IssueError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Authority {
    /// Signs a command and puts it into its bridge's outbox, in the caller's transaction. After the commit the caller
    /// wakes the hub for that bridge.
    ///
    /// # Errors
    /// See [`IssueError`]; then the caller must roll back.
    pub fn issue(&self, transaction: &Connection, now_ms: i64, new: NewCommand) -> Result<CommandId, IssueError> {
        let kind = signed::command::kind_of(&new.body);
        let priority = signed::command::priority_of(&new.body);
        let mode = signed::command::mode_of(&new.body);
        let bridge = bridges::find(transaction, &new.bridge_id)?;
        let bridge = bridge.ok_or_else(|| IssueError::UnknownBridge(new.bridge_id.clone()))?;
        if bridge.revoked_at_ms.is_some() {
            return Err(IssueError::RevokedBridge(new.bridge_id));
        }
        check_expiry(kind, mode, now_ms, &new)?;

        let command_id = CommandId(Uuid::now_v7().into_bytes());
        let sequence = commands::next_lane_sequence(transaction, &bridge.bridge_id, &new.lock_system, &new.lane)?;
        let command = Command {
            version: 1,
            command_id: command_id.as_bytes().to_vec(),
            authority_key_id: self.key_id().to_owned(),
            workspace_id: bridge.workspace_id,
            site_id: bridge.site_id,
            bridge_id: bridge.bridge_id,
            lock_system: new.lock_system,
            lane: new.lane,
            lane_sequence: sequence,
            mode: mode.into(),
            // An interactive command's life is counted from here on, by both sides.
            not_before_ms: if mode == Mode::Interactive && new.not_before_ms == 0 { now_ms } else { new.not_before_ms },
            expires_at_ms: new.expires_at_ms,
            max_start_delay_ms: if mode == Mode::Interactive { start_delay(new.max_start_delay_ms) } else { 0 },
            cancels_below: if new.cancels_below { sequence } else { 0 },
            minimum_policy_version: 0,
            body: Some(new.body),
            desk: None,
        };
        let signed = signed::command::sign(self.key(), &command);
        check_size(kind, &signed)?;
        // What the bridge will do with these bytes, done here while the caller can still be told.
        let parsed = signed::command::parse(&signed.payload).map_err(|source| IssueError::Invalid { kind, source })?;
        commands::insert(
            transaction,
            now_ms,
            &commands::NewRow {
                command_id,
                bridge_id: &command.bridge_id,
                lock_system: &command.lock_system,
                lane: &command.lane,
                lane_sequence: sequence,
                kind,
                priority,
                mode,
                not_before_ms: command.not_before_ms,
                expires_at_ms: command.expires_at_ms,
                hash: parsed.hash,
                signed: &signed,
            },
        )?;
        Ok(command_id)
    }
}

fn check_expiry(kind: &'static str, mode: Mode, now_ms: i64, new: &NewCommand) -> Result<(), IssueError> {
    let start_ms = now_ms.max(new.not_before_ms);
    let reason = if new.expires_at_ms <= start_ms {
        "that is before it may start"
    } else if mode == Mode::Interactive && new.expires_at_ms.saturating_sub(start_ms) > INTERACTIVE_LIFE_MS {
        "a person waits at most 120 seconds"
    } else {
        return Ok(());
    };
    Err(IssueError::Expiry { kind, expires_at_ms: new.expires_at_ms, reason })
}

fn start_delay(asked_ms: u32) -> u32 {
    let milliseconds = |duration: std::time::Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    match asked_ms {
        0 => milliseconds(limits::START_DELAY_DEFAULT),
        asked => asked.min(milliseconds(limits::START_DELAY_MAXIMUM)),
    }
}

fn check_size(kind: &'static str, signed: &Signed) -> Result<(), IssueError> {
    let bytes = signed.encoded_len();
    if bytes > limits::COMMAND_BYTES { Err(IssueError::TooLarge { kind, bytes }) } else { Ok(()) }
}
