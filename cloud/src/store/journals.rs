//! How far each bridge's journal has been seen to go (rule F9), and what was witnessed of it (rule J2).

use lockbridge_protocol::proto::tunnel::AuditCheckpoint;
use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, counter};

/// The highest sequence ever told for this journal; `None` for a journal never shown.
pub fn highest(connection: &Connection, bridge_id: &str, store_id: &[u8]) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT highest_sequence FROM journals WHERE bridge_id = ?1 AND store_id = ?2";
    let highest: Option<i64> = connection.query_row(sql, (bridge_id, store_id), |row| row.get(0)).optional()?;
    Ok(highest.map(i64::unsigned_abs))
}

/// Forgets how far the journal was and notes how far it is: an older copy took its place, and that is known elsewhere.
pub fn begin_anew(connection: &Connection, bridge_id: &str, store_id: &[u8], sequence: u64) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO journals (bridge_id, store_id, highest_sequence) VALUES (?1, ?2, ?3)
         ON CONFLICT (bridge_id, store_id) DO UPDATE SET highest_sequence = excluded.highest_sequence",
        (bridge_id, store_id, counter(sequence)),
    )?;
    Ok(())
}

/// Notes how far the journal is; never goes back.
pub fn note(connection: &Connection, bridge_id: &str, store_id: &[u8], sequence: u64) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO journals (bridge_id, store_id, highest_sequence) VALUES (?1, ?2, ?3)
         ON CONFLICT (bridge_id, store_id) DO UPDATE SET highest_sequence = max(highest_sequence, excluded.highest_sequence)",
        (bridge_id, store_id, counter(sequence)),
    )?;
    Ok(())
}

/// The last head witnessed of each journal of a bridge, the newest first. Their time is that of the witnessing.
pub fn witnessed(connection: &Connection, bridge_id: &str) -> Result<Vec<AuditCheckpoint>, StoreError> {
    let sql = "SELECT store_id, journal_sequence, chain_head, witnessed_at_ms FROM witnessed_checkpoints
               WHERE bridge_id = ?1 ORDER BY witnessed_at_ms DESC";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([bridge_id], |row| {
        Ok(AuditCheckpoint {
            store_id: row.get(0)?,
            journal_sequence: row.get::<_, i64>(1)?.unsigned_abs(),
            chain_head: row.get(2)?,
            time_ms: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
