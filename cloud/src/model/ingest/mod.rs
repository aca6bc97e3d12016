//! From a bridge's news to resource states and events.
//!
//! Runs in the hub's transaction that also records the news. Bad content is never an error: it is logged and skipped,
//! because the bridge would only send it again. Handling a report twice changes nothing: the note of a command is gone
//! after its end, inventory is compared with what is stored, and access events are stored once by the lock system's own id.

mod access;
mod command;
mod desk;
mod inventory;
mod link;
mod lost;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::report::Body;
use lockbridge_protocol::proto::tunnel::{CommandState, HealthReport, LockSystemDescription, Report};
use lockbridge_protocol::signed::command::VerifiedCommand;
use rusqlite::{Connection, Transaction};

use super::{ModelError, Work, attempts, sql};
use crate::authority::{Authority, IssueError};
use crate::hub::Ingest;
use crate::store::{StoreError, bridges};

/// The resource model as the hub's listener.
///
/// News can cause commands (a door that vanished changes grants): after each call the hub finds them in the outbox of the
/// same bridge.
#[derive(Debug, Clone)]
pub struct ModelIngest {
    authority: Authority,
}

impl ModelIngest {
    /// News that calls for commands is answered with `authority`'s signature.
    pub fn new(authority: Authority) -> Self {
        Self { authority }
    }

    fn work(
        &self,
        connection: &Connection,
        now_ms: i64,
        bridge_id: &str,
        act: impl FnOnce(&Work<'_>) -> Result<(), ModelError>,
    ) -> Result<(), StoreError> {
        let Some(bridge) = bridges::find(connection, bridge_id)? else {
            tracing::warn!(bridge_id, "News from a bridge that is not known; ignored.");
            return Ok(());
        };
        let work = Work::new(connection, &self.authority, &bridge.workspace_id, now_ms);
        connection.execute_batch("SAVEPOINT news")?;
        match act(&work) {
            Ok(()) => {}
            Err(ModelError::Store(error) | ModelError::Issue(IssueError::Store(error))) => return Err(error),
            Err(other) => {
                tracing::warn!(bridge_id, error = %other, "News from a bridge could not be used; ignored.");
                connection.execute_batch("ROLLBACK TO news")?;
            }
        }
        connection.execute_batch("RELEASE news")?;
        Ok(())
    }
}

impl Ingest for ModelIngest {
    fn report(&self, tx: &Transaction<'_>, now_ms: i64, bridge_id: &str, report: &Report) -> Result<(), StoreError> {
        self.work(tx, now_ms, bridge_id, |work| match &report.body {
            Some(Body::CommandUpdate(update)) => command::update(work, bridge_id, update, report.occurred_at_ms),
            Some(Body::InventoryDelta(delta)) => inventory::delta(work, bridge_id, delta, report.occurred_at_ms),
            Some(Body::AccessEvents(events)) => access::events(work, bridge_id, events),
            Some(Body::EventGap(gap)) => access::gap(work, bridge_id, gap, report),
            // Kept by the hub as evidence; no resource shows it.
            Some(Body::AuditCheckpoint(_) | Body::ReportsLost(_)) | None => Ok(()),
        })
    }

    fn link(&self, tx: &Transaction<'_>, now_ms: i64, bridge_id: &str, up: bool) -> Result<(), StoreError> {
        self.work(tx, now_ms, bridge_id, |work| link::changed(work, bridge_id, up))
    }

    fn health(
        &self,
        tx: &Transaction<'_>,
        now_ms: i64,
        bridge_id: &str,
        health: &HealthReport,
    ) -> Result<(), StoreError> {
        self.work(tx, now_ms, bridge_id, |work| {
            link::health(work, bridge_id, health)?;
            attempts::progress(work, bridge_id, &health.encoder_jobs)
        })
    }

    fn hello(
        &self,
        tx: &Transaction<'_>,
        now_ms: i64,
        bridge_id: &str,
        lock_systems: &[LockSystemDescription],
    ) -> Result<(), StoreError> {
        self.work(tx, now_ms, bridge_id, |work| link::hello(work, bridge_id, lock_systems))
    }

    fn lost(
        &self,
        tx: &Transaction<'_>,
        now_ms: i64,
        command: &VerifiedCommand,
        known: CommandState,
    ) -> Result<Option<CommandId>, StoreError> {
        let mut successor = None;
        self.work(tx, now_ms, &command.command.bridge_id, |work| {
            successor = lost::lost(work, command, known)?;
            Ok(())
        })?;
        Ok(successor)
    }
}

/// The id of a bridge's lock system by its configured name.
fn system_id(work: &Work<'_>, bridge_id: &str, lock_system: &str) -> Result<Option<String>, ModelError> {
    let query = "SELECT acs_system_id FROM acs_system WHERE bridge_id = ?1 AND lock_system = ?2";
    let found = sql::one(work.connection, query, (bridge_id, lock_system), |row| row.get(0))?;
    if found.is_none() {
        tracing::warn!(bridge_id, lock_system, "News about a lock system that was never announced; ignored.");
    }
    Ok(found)
}
