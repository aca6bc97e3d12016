//! The one writer: a thread that commits whatever waits together.
//!
//! A flush costs the same for one row as for a hundred, so the thread takes every write that is already queued (up to
//! [`GROUP`]) into one transaction, each in its own savepoint, and answers all of them after the one commit.

use std::io;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{ADMISSION, StoreError, WRITE_QUEUE};

/// Writes in one commit: bounds how long the first of them waits.
const GROUP: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

impl Writer {
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WRITE_QUEUE);
        // The thread ends when the last sender is gone; its owner is therefore whoever holds a `Writer`.
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || serve(connection, receiver))?;
        Ok(Self(sender))
    }

    pub(super) async fn run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work: Some(work), outcome: None, reply });
        self.0.send_timeout(job, ADMISSION).await.map_err(|refused| match refused {
            mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closed,
        })?;
        // No deadline here: a queued write will be done, and giving up early would only hide how it ended. The thread
        // itself waits for nothing but the disk and, for a bounded time, another process.
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

trait Job: Send {
    /// Does the work; whether it is to be kept.
    fn run(&mut self, transaction: &Transaction<'_>) -> bool;
    /// Tells the caller how it ended.
    fn finish(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Write<F, T, E> {
    work: Option<F>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Write<F, T, E>
where
    F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>) -> bool {
        self.outcome = self.work.take().map(|work| work(transaction));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, commit: Result<(), StoreError>) {
        let answer = match (self.outcome, commit) {
            // The caller's own error holds whatever the commit did: its savepoint was undone.
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Closed.into()),
        };
        // A caller that stopped waiting (its request was cut) has nobody left to tell.
        drop(self.reply.send(answer));
    }
}

fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        let commit = commit_group(&mut connection, &mut group);
        if let Err(error) = &commit {
            tracing::error!(%error, writes = group.len(), "A database transaction failed.");
        }
        for job in group {
            job.finish(commit.clone());
        }
    }
}

fn commit_group(connection: &mut Connection, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        transaction.execute_batch("SAVEPOINT job")?;
        let keep = job.run(&transaction);
        // Some errors (disk full, I/O) make SQLite undo the whole transaction; the next statement then says so here.
        transaction.execute_batch(if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" })?;
    }
    transaction.commit().map_err(|error| StoreError::Commit(Arc::new(error)))
}
