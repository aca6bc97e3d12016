//! Workspaces, their sites and their API keys.

use data_encoding::BASE32_NOPAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension};
use secrecy::SecretString;
use uuid::Uuid;

use super::StoreError;

/// What every API key starts with.
pub const API_KEY_PREFIX: &str = "seam_";

/// Makes a workspace and returns its id.
pub fn create(connection: &Connection, now_ms: i64, name: &str) -> Result<String, StoreError> {
    let workspace_id = Uuid::now_v7().to_string();
    connection.execute(
        "INSERT INTO workspaces (workspace_id, name, created_at_ms) VALUES (?1, ?2, ?3)",
        (&workspace_id, name, now_ms),
    )?;
    Ok(workspace_id)
}

/// The workspace's name; `None` when there is no such workspace.
pub fn name(connection: &Connection, workspace_id: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT name FROM workspaces WHERE workspace_id = ?1";
    Ok(connection.query_row(sql, [workspace_id], |row| row.get(0)).optional()?)
}

/// The id of the workspace's site of that name, which is made if needed.
pub fn site(connection: &Connection, now_ms: i64, workspace_id: &str, name: &str) -> Result<String, StoreError> {
    connection.execute(
        "INSERT INTO sites (site_id, workspace_id, name, created_at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace_id, name) DO NOTHING",
        (Uuid::now_v7().to_string(), workspace_id, name, now_ms),
    )?;
    let sql = "SELECT site_id FROM sites WHERE workspace_id = ?1 AND name = ?2";
    Ok(connection.query_row(sql, [workspace_id, name], |row| row.get(0))?)
}

/// Makes an API key for the workspace. The key is returned this once; only its hash is kept.
pub fn create_api_key(
    connection: &Connection,
    now_ms: i64,
    workspace_id: &str,
    name: &str,
) -> Result<SecretString, StoreError> {
    let mut random = [0; 25];
    SystemRandom::new().fill(&mut random).map_err(|_| StoreError::Damaged("random source"))?;
    let key = format!("{API_KEY_PREFIX}{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase());
    connection.execute(
        "INSERT INTO api_keys (api_key_id, workspace_id, key_hash, name, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        (Uuid::now_v7().to_string(), workspace_id, hash(&key), name, now_ms),
    )?;
    Ok(SecretString::from(key))
}

/// The workspace an API key opens; `None` for an unknown key.
pub fn of_api_key(connection: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    // Looked up by hash: how long the comparison takes tells nothing about the key.
    let sql = "SELECT workspace_id FROM api_keys WHERE key_hash = ?1";
    Ok(connection.query_row(sql, [hash(key)], |row| row.get(0)).optional()?)
}

fn hash(key: &str) -> Vec<u8> {
    digest(&SHA256, key.as_bytes()).as_ref().to_vec()
}
