//! What the resource model wants done from time to time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::model::attempts;
use crate::store::Store;

/// Readers see an overdue attempt as ended by themselves; this only writes it down.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes down the end of action attempts past their deadline, until `stop`.
pub(super) async fn attempts(store: Store, stop: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = store.write(|tx| attempts::sweep(tx, now_ms())).await {
            tracing::warn!(%error, "Writing down overdue attempts failed.");
        }
    }
}
