//! Waiting on a condition, with a deadline that names what did not come.

use std::future::Future;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

/// The condition did not hold in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("waited {seconds} s for: {what}; last seen: {last}")]
pub struct WaitError {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub seconds: u64,
    /// What the last look showed.
    pub last: String,
}

/// Looks every 20 ms until `look` gives `Ok`; its `Err` says what was seen instead.
pub async fn until<T, Look, Seen>(what: &str, limit: Duration, mut look: Look) -> Result<T, WaitError>
where
    Look: FnMut() -> Seen,
    Seen: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + limit;
    let mut last = String::new();
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = seen,
            // The deadline fell into a look: what the one before saw says more.
            Err(_) if last.is_empty() => "the first look did not end".clone_into(&mut last),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(WaitError { what: what.to_owned(), seconds: limit.as_secs(), last });
        }
        // The pace of looking, not a wait for luck: the deadline above decides.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
