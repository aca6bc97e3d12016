//! The hands of one request or report: connection, workspace, time, and for writers the authority.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Deref;

use lockbridge_protocol::ids::CommandId;
use rusqlite::Connection;

use crate::authority::{Authority, IssueError, NewCommand};

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
    authority: &'a Authority,
    woken: RefCell<BTreeSet<String>>,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Work").field("workspace_id", &self.scope.workspace_id).finish_non_exhaustive()
    }
}

impl<'a> Work<'a> {
    /// A change for `workspace_id` at `now_ms` inside `transaction`.
    pub fn new(transaction: &'a Connection, authority: &'a Authority, workspace_id: &'a str, now_ms: i64) -> Self {
        let scope = Scope { connection: transaction, workspace_id, now_ms };
        Self { scope, authority, woken: RefCell::default() }
    }

    /// Signs `command` and remembers to wake its bridge after the commit.
    pub(crate) fn issue(&self, command: NewCommand) -> Result<CommandId, IssueError> {
        self.woken.borrow_mut().insert(command.bridge_id.clone());
        self.authority.issue(self.scope.connection, self.scope.now_ms, command)
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
