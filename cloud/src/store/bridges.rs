//! Bridges: identity, certificates, session cursors, what they announced, and alarms about them.

use lockbridge_protocol::proto::tunnel::{HealthReport, LockSystemDescription};
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row};

use super::StoreError;

/// One bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// UUID, the subject of its certificate.
    pub bridge_id: String,
    /// Owner.
    pub workspace_id: String,
    /// Where it stands.
    pub site_id: String,
    /// Host name as its admin knows it.
    pub display_name: String,
    /// As it told last.
    pub software_version: String,
    /// P-256 point that signs its reports.
    pub audit_key: Vec<u8>,
    /// Of its newest certificate (rule H5).
    pub generation: u32,
    /// When it was enrolled.
    pub created_at_ms: i64,
    /// No session since then.
    pub revoked_at_ms: Option<i64>,
    /// Of its newest session (rule G8).
    pub epoch: u64,
    /// Of the newest session in which it was heard.
    pub epoch_heard: u64,
    /// Whether a session is up.
    pub link_up: bool,
    /// When that changed.
    pub link_changed_at_ms: Option<i64>,
    /// Last sign of life.
    pub last_seen_at_ms: Option<i64>,
    /// The journal it lives on; set by its first session.
    pub store_id: Option<Vec<u8>>,
    /// Highest delivery sequence given out.
    pub delivered_last: u64,
    /// Deliveries with a durable decision at the bridge.
    pub commands_durable_through: u64,
    /// Reports kept here.
    pub reports_durable_through: u64,
}

const COLUMNS: &str = "bridge_id, workspace_id, site_id, display_name, software_version, audit_key, generation, \
     created_at_ms, revoked_at_ms, epoch, link_up, link_changed_at_ms, last_seen_at_ms, store_id, \
     delivered_last, commands_durable_through, reports_durable_through, epoch_heard";

fn bridge(row: &Row<'_>) -> rusqlite::Result<Bridge> {
    let unsigned = |index: usize| row.get(index).map(|value: i64| value.unsigned_abs());
    Ok(Bridge {
        bridge_id: row.get(0)?,
        workspace_id: row.get(1)?,
        site_id: row.get(2)?,
        display_name: row.get(3)?,
        software_version: row.get(4)?,
        audit_key: row.get(5)?,
        generation: row.get(6)?,
        created_at_ms: row.get(7)?,
        revoked_at_ms: row.get(8)?,
        epoch: unsigned(9)?,
        link_up: row.get(10)?,
        link_changed_at_ms: row.get(11)?,
        last_seen_at_ms: row.get(12)?,
        store_id: row.get(13)?,
        delivered_last: unsigned(14)?,
        commands_durable_through: unsigned(15)?,
        reports_durable_through: unsigned(16)?,
        epoch_heard: unsigned(17)?,
    })
}

/// The bridge of that id.
pub fn find(connection: &Connection, bridge_id: &str) -> Result<Option<Bridge>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM bridges WHERE bridge_id = ?1");
    Ok(connection.query_row(&sql, [bridge_id], bridge).optional()?)
}

/// All bridges of a workspace, or of all, oldest first.
pub fn list(connection: &Connection, workspace_id: Option<&str>) -> Result<Vec<Bridge>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM bridges WHERE ?1 IS NULL OR workspace_id = ?1 ORDER BY created_at_ms, bridge_id"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([workspace_id], bridge)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a bridge that was just enrolled; the cursors of `new` are ignored, they start at nothing.
pub fn insert(connection: &Connection, new: &Bridge) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO bridges (bridge_id, workspace_id, site_id, display_name, software_version, audit_key, generation,
                              created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            &new.bridge_id,
            &new.workspace_id,
            &new.site_id,
            &new.display_name,
            &new.software_version,
            &new.audit_key,
            new.generation,
            new.created_at_ms,
        ),
    )?;
    Ok(())
}

/// Forbids the bridge any further session; whether it was known and not yet revoked.
pub fn revoke(connection: &Connection, now_ms: i64, bridge_id: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE bridges SET revoked_at_ms = ?2 WHERE bridge_id = ?1 AND revoked_at_ms IS NULL";
    Ok(connection.execute(sql, (bridge_id, now_ms))? == 1)
}

/// The revoked bridges.
pub fn revoked(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare("SELECT bridge_id FROM bridges WHERE revoked_at_ms IS NOT NULL")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The link came up or went down.
pub fn set_link(connection: &Connection, now_ms: i64, bridge_id: &str, up: bool) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE bridges SET link_up = ?2, link_changed_at_ms = ?3,
                            last_seen_at_ms = CASE WHEN ?2 THEN ?3 ELSE last_seen_at_ms END
         WHERE bridge_id = ?1",
        (bridge_id, up, now_ms),
    )?;
    Ok(())
}

/// A sign of life.
pub fn seen(connection: &Connection, now_ms: i64, bridge_id: &str) -> Result<(), StoreError> {
    let sql = "UPDATE bridges SET last_seen_at_ms = ?2 WHERE bridge_id = ?1";
    connection.execute(sql, (bridge_id, now_ms))?;
    Ok(())
}

/// Replaces the announced lock systems; those no longer announced stay, marked so.
pub fn announce(
    connection: &Connection,
    bridge_id: &str,
    lock_systems: &[LockSystemDescription],
) -> Result<(), StoreError> {
    connection.execute("UPDATE lock_systems SET announced = 0 WHERE bridge_id = ?1", [bridge_id])?;
    for system in lock_systems {
        connection.execute(
            "INSERT INTO lock_systems (bridge_id, name, kind, display_name, time_zone, announced)
             VALUES (?1, ?2, ?3, ?4, ?5, 1)
             ON CONFLICT (bridge_id, name) DO UPDATE SET kind = excluded.kind, display_name = excluded.display_name,
                                                         time_zone = excluded.time_zone, announced = 1",
            (bridge_id, &system.lock_system, &system.kind, &system.display_name, &system.time_zone),
        )?;
    }
    Ok(())
}

/// Keeps the newest health report. Lock systems that were never announced are left out.
pub fn set_health(connection: &Connection, bridge_id: &str, health: &HealthReport) -> Result<(), StoreError> {
    let sql = "UPDATE bridges SET health = ?2 WHERE bridge_id = ?1";
    connection.execute(sql, (bridge_id, health.encode_to_vec()))?;
    for system in &health.lock_systems {
        let reason = system.reason.as_ref();
        connection.execute(
            "UPDATE lock_systems SET reachable = ?3, logged_in = ?4, reason_code = ?5, reason_message = ?6,
                                     reason_since_ms = ?7, inventory_at_ms = nullif(?8, 0)
             WHERE bridge_id = ?1 AND name = ?2",
            (
                bridge_id,
                &system.lock_system,
                system.reachable,
                system.logged_in,
                reason.map_or("", |reason| &reason.code),
                reason.map_or("", |reason| &reason.message),
                reason.map(|reason| reason.since_ms),
                system.inventory_at_ms,
            ),
        )?;
    }
    Ok(())
}

/// Records what a person must see.
pub fn alarm(
    connection: &Connection,
    now_ms: i64,
    bridge_id: Option<&str>,
    code: &str,
    message: &str,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO alarms (at_ms, bridge_id, code, message) VALUES (?1, ?2, ?3, ?4)",
        (now_ms, bridge_id, code, message),
    )?;
    Ok(())
}
