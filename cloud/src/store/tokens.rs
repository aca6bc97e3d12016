//! Enrollment tokens: the public halves, and which key burnt them.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// A token as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Workspace the bridge will belong to.
    pub workspace_id: String,
    /// Site the bridge will stand at.
    pub site_id: String,
    /// End of its life, milliseconds since the epoch.
    pub expires_at_ms: i64,
    /// The identity key (uncompressed point) that used it.
    pub used_by_key: Option<Vec<u8>>,
    /// The bridge it made.
    pub bridge_id: Option<String>,
    /// First session of that bridge; from then on the token is dead.
    pub activated_at_ms: Option<i64>,
}

/// Records the public half of a new token.
pub fn create(
    connection: &Connection,
    now_ms: i64,
    public_key: &[u8],
    workspace_id: &str,
    site_id: &str,
    expires_at_ms: i64,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO enrollment_tokens (public_key, workspace_id, site_id, created_at_ms, expires_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (public_key, workspace_id, site_id, now_ms, expires_at_ms),
    )?;
    Ok(())
}

/// The token of that public key.
pub fn find(connection: &Connection, public_key: &[u8]) -> Result<Option<Token>, StoreError> {
    let sql = "SELECT workspace_id, site_id, expires_at_ms, used_by_key, bridge_id, activated_at_ms
               FROM enrollment_tokens WHERE public_key = ?1";
    let token = connection.query_row(sql, [public_key], |row| {
        Ok(Token {
            workspace_id: row.get(0)?,
            site_id: row.get(1)?,
            expires_at_ms: row.get(2)?,
            used_by_key: row.get(3)?,
            bridge_id: row.get(4)?,
            activated_at_ms: row.get(5)?,
        })
    });
    Ok(token.optional()?)
}

/// Burns the token for one identity key and the bridge made of it.
pub fn burn(
    connection: &Connection,
    now_ms: i64,
    public_key: &[u8],
    used_by_key: &[u8],
    bridge_id: &str,
) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE enrollment_tokens SET used_by_key = ?2, bridge_id = ?3, used_at_ms = ?4
         WHERE public_key = ?1 AND used_by_key IS NULL",
        (public_key, used_by_key, bridge_id, now_ms),
    )?;
    Ok(())
}

/// The bridge has held a session: nobody may use its token again, not even with the same key.
pub fn activate(connection: &Connection, now_ms: i64, bridge_id: &str) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE enrollment_tokens SET activated_at_ms = ?2 WHERE bridge_id = ?1 AND activated_at_ms IS NULL",
        (bridge_id, now_ms),
    )?;
    Ok(())
}
