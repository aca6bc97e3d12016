//! Connections to one server: a small pool for database calls, one fresh connection for each call that must not be repeated.
//!
//! One request at a time per connection. A pooled connection that the server closed meanwhile is replaced and the request
//! sent again, which is why only repeatable requests go through the pool. Every wait has an end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockbridge_protocol::ship::Notes;
use lockbridge_protocol::ship::call::{Call, CallError};
use lockbridge_protocol::ship::envelope::Exception;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, RawAnswer, Target};

/// Longest wait for TCP and TLS; a server on the same site answers within milliseconds or not at all.
const CONNECT: Duration = Duration::from_secs(5);

/// A request without the wanted answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SessionError {
    /// No connection: nothing was sent.
    #[error("no connection to {to}: {reason}")]
    Connect { to: String, reason: String },
    /// The password or key could not be read: nothing was sent.
    #[error("{reason}")]
    Secret { reason: String },
    /// Larger than the protocol allows: nothing was sent.
    #[error("the request cannot be sent: {reason}")]
    TooLarge { reason: String },
    /// All connections were busy for the whole time: nothing was sent.
    #[error("no connection became free in time")]
    Occupied,
    /// The web server refused our credentials: it did not look at the request.
    #[error("the server refuses the credentials (HTTP status {status})")]
    LoginRefused { status: u16 },
    /// Sent, and no answer in time.
    #[error("the server did not answer in time")]
    Silence,
    /// Perhaps sent, and the connection was lost.
    #[error("the connection was lost: {reason}")]
    Cut { reason: String },
    /// Sent, and the answer means nothing to us.
    #[error("the answer of the server cannot be read: {reason}")]
    Unreadable { reason: String },
    /// The server answered with an exception.
    #[error("the server answered with error {}", .0.code)]
    Exception(Exception),
}

impl SessionError {
    /// The code of an exception.
    pub(super) fn code(&self) -> Option<i64> {
        match self {
            Self::Exception(exception) => Some(exception.code),
            _ => None,
        }
    }

    /// Certainly nothing reached the part of the server that acts.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Secret { .. }
                | Self::TooLarge { .. }
                | Self::Occupied
                | Self::LoginRefused { .. }
        )
    }
}

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Session {
    lock_system: String,
    target: Target,
    call_timeout: Duration,
    database: Semaphore,
    encoders: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Session {
    /// No connection is made before the first call.
    pub(super) fn new(
        lock_system: String,
        target: Target,
        connections: usize,
        encoders: usize,
        call_timeout: Duration,
    ) -> Self {
        Self {
            lock_system,
            target,
            call_timeout,
            database: Semaphore::new(connections.max(1)),
            encoders: Semaphore::new(encoders.max(1)),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// A repeatable call. May be sent twice when a pooled connection turns out to be dead.
    pub(super) async fn call<C: Call + Sync>(&self, call: &C, until: Instant) -> Result<C::Answer, SessionError> {
        let until = until.min(Instant::now() + self.call_timeout);
        let _permit = permit(&self.database, until).await?;
        while let Some(mut connection) = self.take_idle() {
            match self.exchange(&mut connection, call, until).await {
                // Lost without an answer on a connection that had been lying about: most likely it was dead before.
                Err(SessionError::Cut { .. }) => {}
                result => return self.settle(connection, result),
            }
        }
        let mut connection = self.connect(until).await?;
        let result = self.exchange(&mut connection, call, until).await;
        self.settle(connection, result)
    }

    /// A call that is sent at most once, on a connection of its own.
    pub(super) async fn call_once<C: Call + Sync>(&self, call: &C, until: Instant) -> Result<C::Answer, SessionError> {
        let until = until.min(Instant::now() + self.call_timeout);
        let _permit = permit(&self.database, until).await?;
        // Instead of an idle one, not beside it: servers are known to bear few connections.
        drop(self.take_idle());
        let mut connection = self.connect(until).await?;
        let result = self.exchange(&mut connection, call, until).await;
        self.settle(connection, result)
    }

    /// A call that waits for a card: sent at most once, beside the pool, and as patient as the caller.
    pub(super) async fn call_encoder<C: Call + Sync>(
        &self,
        call: &C,
        until: Instant,
    ) -> Result<C::Answer, SessionError> {
        let _permit = permit(&self.encoders, until).await?;
        let mut connection = self.connect(until).await?;
        self.exchange(&mut connection, call, until).await
    }

    async fn connect(&self, until: Instant) -> Result<Connection, SessionError> {
        let until = until.min(Instant::now() + CONNECT);
        timeout_at(until, self.target.connect()).await.unwrap_or_else(|_| {
            Err(SessionError::Connect { to: self.target.address(), reason: "no answer in time".to_owned() })
        })
    }

    async fn exchange<C: Call + Sync>(
        &self,
        connection: &mut Connection,
        call: &C,
        until: Instant,
    ) -> Result<C::Answer, SessionError> {
        let answer =
            timeout_at(until, connection.exchange(call.to_document())).await.unwrap_or(Err(SessionError::Silence))?;
        self.read(call, &answer)
    }

    /// The body counts first: which HTTP status goes with an exception is not known.
    fn read<C: Call>(&self, call: &C, answer: &RawAnswer) -> Result<C::Answer, SessionError> {
        let mut notes = Notes::default();
        let result = call.parse_answer(&answer.body, &mut notes);
        if !notes.is_empty() {
            let fields: Vec<&str> = notes.iter().collect();
            tracing::debug!(
                lock_system = self.lock_system,
                request = call.name(),
                fields = fields.join(", "),
                more = notes.is_cut(),
                "parts of an answer were not understood"
            );
        }
        match (result, answer.status) {
            (Ok(answer), _) => Ok(answer),
            (Err(CallError::Exception(exception)), _) => Err(SessionError::Exception(exception)),
            (Err(_), Some(status @ (401 | 403))) => Err(SessionError::LoginRefused { status }),
            (Err(error), status) => {
                let status = status.map(|status| format!(" (HTTP status {status})")).unwrap_or_default();
                Err(SessionError::Unreadable { reason: format!("{error}{status}") })
            }
        }
    }

    /// Keeps the connection if question and answer are in step.
    fn settle<T>(&self, connection: Connection, result: Result<T, SessionError>) -> Result<T, SessionError> {
        if matches!(result, Ok(_) | Err(SessionError::Exception(_) | SessionError::LoginRefused { .. })) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        result
    }

    /// As many are kept as there are permits: a connection goes back before its permit does.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }
}

async fn permit(semaphore: &Semaphore, until: Instant) -> Result<tokio::sync::SemaphorePermit<'_>, SessionError> {
    match timeout_at(until, semaphore.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        // The semaphore is never closed, so the other case is the time limit.
        Ok(Err(_)) | Err(_) => Err(SessionError::Occupied),
    }
}
