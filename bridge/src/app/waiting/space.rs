//! Waiting for space: every start writes one entry first, and a disk that has no room even for that ends nothing.
//!
//! Seldom: segments are written full ahead of their use. It takes a used-up reserve, or a file system that needs new blocks
//! to write over old ones.

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::super::AppError;
use super::super::doors::Doors;
use super::super::signals::Signals;
use super::Waiting;
use crate::control::{Answer, Caller, Desk, Request};
use crate::health::{Observer, ReasonCode, Scope};
use crate::limits::FULL_DISK_RETRY;
use crate::net::chain_text;

impl Waiting<'_> {
    /// Serves the doors and tries `open` again until the disk has room; `None` when told to stop before.
    pub(in super::super) async fn for_space<T>(
        &self,
        doors: &Doors,
        refused: AppError,
        signals: &mut Signals,
        open: impl AsyncFnMut() -> Result<T, AppError>,
    ) -> Result<Option<T>, AppError> {
        warn!(error = %chain_text(&refused), "The disk has no room to start on.");
        self.health.raise(Scope::Bridge, ReasonCode::Disk, chain_text(&refused));
        let observer = self.observer();
        let desk = FullDesk { observer: observer.clone() };
        let opened = self.serve(doors, observer, desk, opened(signals, open)).await?;
        if let Ok(Some(_)) = &opened {
            self.health.clear(Scope::Bridge, ReasonCode::Disk);
            info!("The disk has room again.");
        }
        opened
    }
}

async fn opened<T>(
    signals: &mut Signals,
    mut open: impl AsyncFnMut() -> Result<T, AppError>,
) -> Result<Option<T>, AppError> {
    loop {
        let next = Instant::now() + FULL_DISK_RETRY;
        tokio::select! {
            () = signals.told_to_stop() => return Ok(None),
            () = sleep_until(next) => {}
        }
        match open().await {
            Err(error) if error.is_full_disk() => {}
            other => return other.map(Some),
        }
    }
}

/// The desk of a daemon that has no journal yet.
#[derive(Debug, Clone)]
struct FullDesk {
    observer: Observer,
}

impl Desk for FullDesk {
    async fn answer(&self, request: Request, _caller: Caller) -> Answer {
        if let Request::Status = request {
            return Answer::done(&self.observer.snapshot().await);
        }
        let code = ReasonCode::Disk;
        Answer::refused_with_hint(
            code.code(),
            "The disk of the state directory has no room to start on.",
            code.remedy(),
        )
    }
}
