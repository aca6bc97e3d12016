//! Lock systems as the cloud sees them: who serves them, and whether work can reach them now.

use rusqlite::Row;

use super::issues::{self, Severity};
use super::{ModelError, Scope, sql};
use crate::store::quarantines;

/// The tunnel to the bridge is down.
pub(crate) const BRIDGE_DISCONNECTED: &str = "bridge_disconnected";
/// The bridge is there, but its lock server does not answer. An extension: only one vendor has a public name for it.
pub(crate) const LOCK_SERVER_UNREACHABLE: &str = "lock_server_unreachable";
/// The lock server answers and refuses our login.
pub(crate) const LOGIN_REFUSED: &str = "acs_system_disconnected";

/// One lock system behind one bridge.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "the fields carry the names of the API")]
pub struct System {
    pub(crate) acs_system_id: String,
    pub(crate) workspace_id: String,
    pub(crate) connected_account_id: String,
    pub(crate) bridge_id: String,
    pub(crate) lock_system: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) time_zone: Option<String>,
    pub(crate) created_at: i64,
}

/// Columns in the order [`System::read`] expects.
pub(crate) const COLUMNS: &str = "acs_system_id, workspace_id, connected_account_id, bridge_id, lock_system, kind, name, \
                                  time_zone, created_at";

impl System {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            acs_system_id: row.get(0)?,
            workspace_id: row.get(1)?,
            connected_account_id: row.get(2)?,
            bridge_id: row.get(3)?,
            lock_system: row.get(4)?,
            kind: row.get(5)?,
            name: row.get(6)?,
            time_zone: row.get(7)?,
            created_at: row.get(8)?,
        })
    }

    /// The API's `external_type`.
    pub(crate) fn external_type(&self) -> String {
        match self.kind.as_str() {
            "salto_space" | "visionline" => format!("{}_system", self.kind),
            other => other.to_owned(),
        }
    }
}

/// The system with that id, in this workspace.
pub(crate) fn get(scope: &Scope<'_>, acs_system_id: &str) -> Result<System, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM acs_system WHERE acs_system_id = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (acs_system_id, scope.workspace_id), System::read)?
        .ok_or_else(|| ModelError::not_found("acs_system", acs_system_id))
}

/// Systems of a bridge, whichever the workspace.
pub(crate) fn of_bridge(scope: &Scope<'_>, bridge_id: &str) -> Result<Vec<System>, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM acs_system WHERE bridge_id = ?1 ORDER BY position");
    Ok(sql::all(scope.connection, &query, [bridge_id], System::read)?)
}

/// Why nobody can be served interactively at this system now, in words; `None` when it can be tried.
pub(crate) fn obstacle(scope: &Scope<'_>, system: &System) -> Result<Option<String>, ModelError> {
    for error in issues::list(scope, &system.acs_system_id, Severity::Error)? {
        let code = error.get("error_code").and_then(serde_json::Value::as_str).unwrap_or_default();
        if [BRIDGE_DISCONNECTED, LOCK_SERVER_UNREACHABLE, LOGIN_REFUSED].contains(&code) {
            let message = error.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
            return Ok(Some(message.to_owned()));
        }
    }
    let held = quarantines::of_bridge(scope.connection, &system.bridge_id)?;
    Ok(held.map(|incident| format!("The bridge of this system is in quarantine: {}.", incident.message)))
}
