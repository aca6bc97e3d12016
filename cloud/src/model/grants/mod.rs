//! Access grants: who, where, when, how; and their shares at each lock system.
//!
//! One function, `reconcile::reconcile`, derives from a grant's wish what every lock system should hold, compares it with what was
//! last asked of it, and issues the difference. Creating, changing and deleting a grant, changing a space and losing a door
//! on site all end there, so that they cannot disagree.
//!
//! A *part* is the share of one lock system. Its `revision` is that of its newest command, its `synced_revision` the newest
//! one the lock server confirmed. Revisions are counted per grant, so they never repeat even if a part goes and comes back.

mod changes;
mod doors;
mod parts;
mod reconcile;
mod settle;

use rusqlite::Row;

pub(crate) use changes::{NewGrant, create, delete, delete_method, update_name, update_times};
use doors::Door;
pub(crate) use doors::announce_of_user as announce_doors_of_user;
pub(crate) use parts::{drop_of_user as drop_parts_of_user, revoke_all_of_user};
pub(crate) use reconcile::{reconcile_entrance, reconcile_over};
pub(crate) use settle::{failed, removed, removed_for_user, synced};

use super::{ModelError, Scope, sql};

/// One grant.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) access_grant_id: String,
    pub(crate) workspace_id: String,
    pub(crate) user_identity_id: String,
    pub(crate) access_grant_key: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) reservation_key: Option<String>,
    pub(crate) customer_key: Option<String>,
    pub(crate) starts_at: i64,
    pub(crate) ends_at: Option<i64>,
    pub(crate) deleting: bool,
    pub(crate) created_at: i64,
}

/// Columns in the order [`Grant::read`] expects.
pub(crate) const COLUMNS: &str = "access_grant_id, workspace_id, user_identity_id, access_grant_key, name, reservation_key, customer_key, starts_at, \
     ends_at, deleting, created_at";

impl Grant {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            access_grant_id: row.get(0)?,
            workspace_id: row.get(1)?,
            user_identity_id: row.get(2)?,
            access_grant_key: row.get(3)?,
            name: row.get(4)?,
            reservation_key: row.get(5)?,
            customer_key: row.get(6)?,
            starts_at: row.get(7)?,
            ends_at: row.get(8)?,
            deleting: row.get(9)?,
            created_at: row.get(10)?,
        })
    }

    /// Its window is over: nothing about it needs to be carried out any more.
    pub(crate) fn has_ended(&self, now_ms: i64) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= now_ms)
    }
}

/// The grant with that id.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Grant, ModelError> {
    find(scope, id)?.ok_or_else(|| ModelError::not_found("access_grant", id))
}

/// The grant with that id, if it is still there.
pub(crate) fn find(scope: &Scope<'_>, id: &str) -> Result<Option<Grant>, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM access_grant WHERE access_grant_id = ?1 AND workspace_id = ?2");
    Ok(sql::one(scope.connection, &query, (id, scope.workspace_id), Grant::read)?)
}

/// The grant with that caller's key.
pub(crate) fn by_key(scope: &Scope<'_>, key: &str) -> Result<Grant, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM access_grant WHERE access_grant_key = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (key, scope.workspace_id), Grant::read)?
        .ok_or_else(|| ModelError::not_found("access_grant", key))
}
