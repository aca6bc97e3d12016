//! Who stores: the one SQLite file, and the files beside it that hold secrets.
//!
//! Owns the schema and its migrations, the one writer connection and the readers. Promises: [`Store::write`] returns only
//! after the transaction is committed with `synchronous=FULL`, and a failed closure leaves nothing behind; every queue is
//! bounded. Never: decides what a row means beyond its own tables, holds a private key in the database, or lets two
//! transactions write at once.
//!
//! The resource model brings its own tables: see [`schema::PARTS`].

pub mod bridges;
pub mod certificates;
pub mod commands;
pub mod directory;
pub mod journals;
pub mod lost;
pub mod quarantines;
mod readers;
pub mod retention;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod workspaces;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};
use thiserror::Error;

pub use directory::DataDirectory;

/// Writes that may wait for the writer; beyond it, `write` waits up to [`ADMISSION`] and then gives up.
pub const WRITE_QUEUE: usize = 256;
/// Connections that read at the same time.
pub const READERS: usize = 4;
/// Longest wait for a place in the write queue or for a reader.
pub const ADMISSION: Duration = Duration::from_secs(10);
/// Longest wait for another process (the command line) that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// What can go wrong between a caller and the database.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The file cannot be opened, or is not a database.
    #[error("opening the database {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// A newer program wrote this database.
    #[error("the database has version {found} of `{part}` and this program knows {known}: run the newer program")]
    Newer {
        /// The schema part.
        part: String,
        /// The version in the file.
        found: usize,
        /// The highest version this program can make.
        known: usize,
    },
    /// A statement failed; its transaction left nothing behind.
    #[error("a database statement failed: {0}")]
    Statement(Arc<rusqlite::Error>),
    /// A stored value is not what this program writes.
    #[error("the database holds a damaged {0}")]
    Damaged(&'static str),
    /// The commit failed; nothing of the transaction holds.
    #[error("the database did not commit: {0}")]
    Commit(Arc<rusqlite::Error>),
    /// The queue stayed full; nothing was done.
    #[error("the database is busy; try again")]
    Busy,
    /// The writer or a reader has ended, as the process stops; whether a queued write was committed is not known.
    #[error("the database is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(Arc::new(error))
    }
}

/// The database. Cheap to clone; the last clone dropped ends the writer thread.
#[derive(Debug, Clone)]
pub struct Store {
    writer: writer::Writer,
    readers: Arc<readers::Readers>,
}

impl Store {
    /// Opens (and creates, and migrates) the database file.
    ///
    /// # Errors
    /// When the file is no database, is newer than this program, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        schema::migrate(&mut connection, schema::PARTS)?;
        let readers =
            (0..READERS).map(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            writer: writer::Writer::start(connection).map_err(|_| StoreError::Closed)?,
            readers: Arc::new(readers::Readers::new(readers)),
        })
    }

    /// Runs `work` in the one write transaction at a time and returns its value once that is durable. Writers that wait
    /// together share a commit; an error of `work` undoes what `work` did and nothing else.
    ///
    /// Do not block or compute at length in `work`: every other write waits.
    ///
    /// # Errors
    /// The error of `work`, or [`StoreError`] when the database refuses; then nothing was written ([`StoreError::Closed`]:
    /// not known).
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.run(work).await
    }

    /// Runs `work` on a read-only connection that sees one committed state throughout.
    ///
    /// # Errors
    /// The error of `work`, or [`StoreError`] when no reader becomes free.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Arc::clone(&self.readers).run(work).await
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let open = || {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            connection.pragma_update(None, "synchronous", "FULL")?;
        }
        Ok(connection)
    };
    open().map_err(|source: rusqlite::Error| StoreError::Open { path: path.to_owned(), source: Arc::new(source) })
}

/// A counter as SQLite stores it. Counters start at 0 and grow by one, so the top bit is never reached by honest means;
/// a peer's absurd number is pinned to the largest that fits.
pub(crate) fn counter(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
