//! Small tasks between rooms that do not know each other.

use lockbridge_protocol::proto::tunnel::QuarantineReason;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{EngineHandle, EngineRequest};
use crate::health::{Health, ReasonCode, Scope};
use crate::limits;

/// That the working set was rebuilt is news for an hour.
pub(super) async fn forget_rebuild(health: Health, stop: CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(limits::STATE_REBUILT_NOTICE) => health.clear(Scope::Bridge, ReasonCode::StateRebuilt),
        () = stop.cancelled() => {}
    }
}

/// Tells the engine when renewal finds that this identity was copied.
pub(super) async fn pass_on_suspicion(
    mut suspicion: watch::Receiver<Option<String>>,
    engine: EngineHandle,
    stop: CancellationToken,
) {
    while let Some(Ok(())) = stop.run_until_cancelled(suspicion.changed()).await {
        let Some(message) = suspicion.borrow_and_update().clone() else { continue };
        let request = EngineRequest::Suspect { reason: QuarantineReason::GenerationStale, message };
        if engine.send(request).await.is_err() {
            return; // the engine stopped, and so does the process
        }
    }
}

/// Waits until the hub has every report, or the session is gone for good; bounded by the caller.
pub(super) async fn everything_told(engine: &EngineHandle) {
    // The feed ends with the engine; then nothing is left to tell either.
    let mut feed = engine.feed();
    let _ended = feed.wait_for(|feed| feed.outbox == 0).await;
}
