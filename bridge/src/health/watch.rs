//! Looks at the hops at a steady pace and writes into the history how they were.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Observer;
use crate::clock::Clock;
use crate::history::Sample;
use crate::limits::HISTORY_LOOK;

/// A look that comes later than this proves nothing of the time before it: the machine slept, or was too busy.
const LONGEST: Duration = HISTORY_LOOK.saturating_mul(3);

/// Runs until `stop`. Looks every [`HISTORY_LOOK`], and whenever the link to the cloud changes.
pub async fn watch(observer: Observer, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut link = observer.link();
    let mut looked_at = clock.since_boot();
    loop {
        let snapshot = observer.snapshot().await;
        let now = clock.since_boot();
        let elapsed = now.saturating_sub(looked_at);
        looked_at = now;
        let engine = snapshot.engine.unwrap_or_default();
        let sample = Sample {
            link_up: snapshot.cloud.connected,
            systems_up: snapshot.lock_systems.iter().map(|system| system.reachable).collect(),
            queued: engine.queued,
            in_doubt: engine.in_doubt,
        };
        if elapsed <= LONGEST {
            observer.history().sample(&sample, clock.wall_ms(), elapsed);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(HISTORY_LOOK) => {}
            // When the tunnel has ended the process is about to; the pause above keeps the pace until then.
            Ok(()) = link.changed() => {}
        }
    }
}
