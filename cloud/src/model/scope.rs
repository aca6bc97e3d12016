//! The hands of one request or report: connection, workspace, time, and for writers the authority.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Deref;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::command;
use rusqlite::Connection;

/// What the resource model wishes of a bridge. Mode, priority and identifiers follow from it.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Addressee.
    pub bridge_id: String,
    /// Name of the lock system on that bridge.
    pub lock_system: String,
    /// Ordered queue of the resource.
    pub lane: String,
    /// What to do.
    pub body: command::Body,
    /// Not to be started before; 0 for at once.
    pub not_before_ms: i64,
    /// Not to be started after.
    pub expires_at_ms: i64,
    /// Interactive commands: longest time from receipt to start; 0 for the default. Ignored for others.
    pub max_start_delay_ms: u32,
    /// Supersede everything older in the lane, queued or still to come. Only for safety commands.
    pub cancels_below: bool,
}

/// A command could not be numbered, signed or stored.
#[derive(Debug, thiserror::Error)]
#[error("the command could not be signed: {0}")]
pub struct IssueError(pub String);

/// Signs commands and puts them into the outbox, in the caller's transaction.
pub trait CommandIssuer: Send + Sync {
    /// Numbers, signs and stores `command`.
    ///
    /// # Errors
    /// The caller must let its transaction roll back.
    fn issue(&self, transaction: &Connection, now_ms: i64, command: NewCommand) -> Result<CommandId, IssueError>;
}

/// One reading: everything is asked of one connection at one time for one workspace.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Where to read.
    pub connection: &'a Connection,
    /// Whose resources.
    pub workspace_id: &'a str,
    /// Milliseconds since the epoch, UTC.
    pub now_ms: i64,
}

/// One change: a [`Scope`] inside a transaction, with the authority at hand.
pub struct Work<'a> {
    scope: Scope<'a>,
    issuer: &'a dyn CommandIssuer,
    woken: RefCell<BTreeSet<String>>,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Work").field("workspace_id", &self.scope.workspace_id).finish_non_exhaustive()
    }
}

impl<'a> Work<'a> {
    /// A change for `workspace_id` at `now_ms` inside `transaction`.
    pub fn new(
        transaction: &'a Connection,
        issuer: &'a dyn CommandIssuer,
        workspace_id: &'a str,
        now_ms: i64,
    ) -> Self {
        let scope = Scope { connection: transaction, workspace_id, now_ms };
        Self { scope, issuer, woken: RefCell::default() }
    }

    /// Signs `command` and remembers to wake its bridge after the commit.
    pub(crate) fn issue(&self, command: NewCommand) -> Result<CommandId, IssueError> {
        self.woken.borrow_mut().insert(command.bridge_id.clone());
        self.issuer.issue(self.scope.connection, self.scope.now_ms, command)
    }

    /// Bridges that got commands: wake them once the transaction is committed.
    pub fn into_woken(self) -> BTreeSet<String> {
        self.woken.into_inner()
    }
}

impl<'a> Deref for Work<'a> {
    type Target = Scope<'a>;

    fn deref(&self) -> &Scope<'a> {
        &self.scope
    }
}

/// A fresh resource id.
pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
