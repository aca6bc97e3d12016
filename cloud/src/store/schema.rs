//! Versions of the database's tables.
//!
//! A part is a list of migrations that only grows: migration n brings the part from version n to n + 1. Parts are
//! versioned apart so that the hub's tables and the resource model's can grow independently; they are migrated in the
//! order of [`PARTS`], so a later part may refer to tables of an earlier one.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::StoreError;

/// The tables of one room, as SQL scripts, oldest first. Never edit a script that was released: add one.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Stable name, a key in the database.
    pub name: &'static str,
    /// Script n makes version n + 1.
    pub migrations: &'static [&'static str],
}

/// All parts of this program, in the order they build on each other.
pub const PARTS: &[Part] = &[
    Part {
        name: "core",
        migrations: &[
            include_str!("sql/0001_core.sql"),
            include_str!("sql/0002_quarantine.sql"),
            include_str!("sql/0003_lost.sql"),
        ],
    },
    Part { name: "model", migrations: &[include_str!("sql/0001_model.sql"), include_str!("sql/0002_progress.sql")] },
];

/// Brings every part to this program's version, in one transaction.
pub(super) fn migrate(connection: &mut Connection, parts: &[Part]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    for part in parts {
        let found: usize = transaction
            .query_row("SELECT version FROM schema_parts WHERE part = ?1", [part.name], |row| row.get::<_, u32>(0))
            .optional()?
            .map_or(0, |version| version.try_into().unwrap_or(usize::MAX));
        let known = part.migrations.len();
        let Some(missing) = part.migrations.get(found..) else {
            return Err(StoreError::Newer { part: part.name.to_owned(), found, known });
        };
        for script in missing {
            transaction.execute_batch(script)?;
        }
        transaction.execute(
            "INSERT INTO schema_parts (part, version) VALUES (?1, ?2)
             ON CONFLICT (part) DO UPDATE SET version = excluded.version",
            (part.name, i64::try_from(known).unwrap_or(i64::MAX)),
        )?;
    }
    transaction.commit().map_err(|error| StoreError::Commit(Arc::new(error)))
}
