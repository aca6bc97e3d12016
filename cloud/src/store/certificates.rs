//! Certificates of bridges, by generation.

use rusqlite::{Connection, OptionalExtension, Row};

use super::StoreError;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose.
    pub bridge_id: String,
    /// 1, 2, 3, ... per bridge.
    pub generation: u32,
    /// Without leading zeros.
    pub serial: Vec<u8>,
    /// P-256, uncompressed point.
    pub public_key: Vec<u8>,
    /// The certificate itself.
    pub der: Vec<u8>,
    /// End of its validity.
    pub not_after_ms: i64,
}

fn certificate(row: &Row<'_>) -> rusqlite::Result<Certificate> {
    Ok(Certificate {
        bridge_id: row.get(0)?,
        generation: row.get(1)?,
        serial: row.get(2)?,
        public_key: row.get(3)?,
        der: row.get(4)?,
        not_after_ms: row.get(5)?,
    })
}

/// Records a certificate and makes its generation the bridge's newest.
pub fn insert(connection: &Connection, now_ms: i64, new: &Certificate) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO certificates (bridge_id, generation, serial, public_key, der, not_after_ms, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (&new.bridge_id, new.generation, &new.serial, &new.public_key, &new.der, new.not_after_ms, now_ms),
    )?;
    let sql = "UPDATE bridges SET generation = ?2 WHERE bridge_id = ?1";
    connection.execute(sql, (&new.bridge_id, new.generation))?;
    Ok(())
}

/// The bridge's newest certificate.
pub fn newest(connection: &Connection, bridge_id: &str) -> Result<Option<Certificate>, StoreError> {
    let sql = "SELECT bridge_id, generation, serial, public_key, der, not_after_ms FROM certificates
               WHERE bridge_id = ?1 ORDER BY generation DESC LIMIT 1";
    Ok(connection.query_row(sql, [bridge_id], certificate).optional()?)
}

/// Forgets the certificates that the bridge was given after this one.
pub fn make_newest(connection: &Connection, bridge_id: &str, serial: &[u8]) -> Result<(), StoreError> {
    let Some(shown) = of_serial(connection, serial)?.filter(|shown| shown.bridge_id == bridge_id) else {
        return Ok(());
    };
    let sql = "DELETE FROM certificates WHERE bridge_id = ?1 AND generation > ?2";
    connection.execute(sql, (bridge_id, shown.generation))?;
    let sql = "UPDATE bridges SET generation = ?2 WHERE bridge_id = ?1";
    connection.execute(sql, (bridge_id, shown.generation))?;
    Ok(())
}

/// The certificate of that serial number.
pub fn of_serial(connection: &Connection, serial: &[u8]) -> Result<Option<Certificate>, StoreError> {
    let sql = "SELECT bridge_id, generation, serial, public_key, der, not_after_ms FROM certificates WHERE serial = ?1";
    Ok(connection.query_row(sql, [serial], certificate).optional()?)
}
