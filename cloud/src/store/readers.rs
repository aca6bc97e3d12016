//! Read-only connections, lent one at a time to blocking threads.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{ADMISSION, StoreError};

#[derive(Debug)]
pub(super) struct Readers {
    free: Mutex<Vec<Connection>>,
    /// One permit a connection: who holds one finds a connection in `free`.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { free: Mutex::new(connections), permits }
    }

    pub(super) async fn run<T, E, F>(self: Arc<Self>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = timeout(ADMISSION, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        // The permit travels with the connection: a caller that gives up does not free a reader still at work.
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = self.take().ok_or(StoreError::Closed)?;
            let answer = snapshot(&connection, work);
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        });
        task.await.map_err(|_| StoreError::Closed)?
    }

    fn take(&self) -> Option<Connection> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

fn snapshot<T, E, F>(connection: &Connection, work: F) -> Result<T, E>
where
    F: FnOnce(&Connection) -> Result<T, E>,
    E: From<StoreError>,
{
    let transaction = connection.unchecked_transaction().map_err(StoreError::from)?;
    let answer = work(&transaction);
    transaction.finish().map_err(StoreError::from)?;
    answer
}
