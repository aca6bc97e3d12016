//! Commands that a bridge acknowledged and no longer knows.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::CommandState;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, counter};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub command_id: CommandId,
    /// Whose.
    pub bridge_id: String,
    /// Under which number it was sent.
    pub delivery_sequence: u64,
    /// Name of the body.
    pub kind: String,
    /// Lock system on the bridge.
    pub lock_system: String,
    /// Lane within the lock system.
    pub lane: String,
    /// [`CommandState::Abandoned`] when its end was not known.
    pub state: CommandState,
    /// The command that asks for the same anew.
    pub successor_id: Option<CommandId>,
    /// When the bridge told it.
    pub lost_at_ms: i64,
}

const COLUMNS: &str =
    "command_id, bridge_id, delivery_sequence, kind, lock_system, lane, state, successor_id, lost_at_ms";

fn lost(row: &Row<'_>) -> rusqlite::Result<Lost> {
    let id = |bytes: Vec<u8>| CommandId::from_bytes(&bytes).unwrap_or(CommandId([0; 16]));
    Ok(Lost {
        command_id: id(row.get(0)?),
        bridge_id: row.get(1)?,
        delivery_sequence: row.get::<_, i64>(2)?.unsigned_abs(),
        kind: row.get(3)?,
        lock_system: row.get(4)?,
        lane: row.get(5)?,
        state: CommandState::try_from(row.get::<_, i32>(6)?).unwrap_or_default(),
        successor_id: row.get::<_, Option<Vec<u8>>>(7)?.map(id),
        lost_at_ms: row.get(8)?,
    })
}

/// The lost command with that id.
pub fn find(connection: &Connection, command_id: CommandId) -> Result<Option<Lost>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM lost_commands WHERE command_id = ?1");
    Ok(connection.query_row(&sql, [command_id.as_bytes()], lost).optional()?)
}

/// Those of one bridge, or of all, the newest first.
pub fn list(connection: &Connection, bridge_id: Option<&str>) -> Result<Vec<Lost>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lost_commands WHERE ?1 IS NULL OR bridge_id = ?1
         ORDER BY lost_at_ms DESC, bridge_id, delivery_sequence"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([bridge_id], lost)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes one down.
pub fn insert(connection: &Connection, new: &Lost) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO lost_commands ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    connection.execute(
        &sql,
        (
            new.command_id.as_bytes(),
            &new.bridge_id,
            counter(new.delivery_sequence),
            &new.kind,
            &new.lock_system,
            &new.lane,
            i32::from(new.state),
            new.successor_id.map(|id| id.0),
            new.lost_at_ms,
        ),
    )?;
    Ok(())
}
