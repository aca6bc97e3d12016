//! Where the hub meets the resource model.

use std::fmt;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, HealthReport, LockSystemDescription, Report};
use lockbridge_protocol::signed::command::VerifiedCommand;
use rusqlite::Transaction;

use crate::store::StoreError;

/// What the resource model makes of news from a bridge.
///
/// Every call runs in the transaction that also records the news itself, so a report is acknowledged to the bridge only
/// together with its consequences. An error undoes both and ends the session: the bridge will send it again. Bad content
/// is therefore never an error; note it and go on.
pub trait Ingest: fmt::Debug + Send + Sync + 'static {
    /// A report that was verified against the bridge's audit key; each exactly once, in the bridge's order.
    fn report(&self, tx: &Transaction<'_>, now_ms: i64, bridge_id: &str, report: &Report) -> Result<(), StoreError>;

    /// The link came up or went down; only real changes are told.
    fn link(&self, tx: &Transaction<'_>, now_ms: i64, bridge_id: &str, up: bool) -> Result<(), StoreError>;

    /// What holds now at the site; replaces what was told before.
    fn health(
        &self,
        tx: &Transaction<'_>,
        now_ms: i64,
        bridge_id: &str,
        health: &HealthReport,
    ) -> Result<(), StoreError>;

    /// The lock systems of the bridge's configuration, at the start of a session.
    fn hello(
        &self,
        tx: &Transaction<'_>,
        now_ms: i64,
        bridge_id: &str,
        lock_systems: &[LockSystemDescription],
    ) -> Result<(), StoreError>;

    /// The bridge acknowledged this command and lost it with a part of its journal; it never comes again. `known` is the
    /// last state that was reported, [`CommandState::Unspecified`] when none was. The command that asks for the same anew,
    /// if any. Told once for each command.
    fn lost(
        &self,
        tx: &Transaction<'_>,
        now_ms: i64,
        command: &VerifiedCommand,
        known: CommandState,
    ) -> Result<Option<CommandId>, StoreError>;
}
