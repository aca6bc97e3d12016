//! How far each bridge's journal has been seen to go (rule F9).

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
