//! Revocation reaches live sessions (rule H7), also when another process wrote it into the database.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::store::bridges;

/// Less than the 5 s of the rule, with room for a slow query.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks for revoked bridges that are connected, until `stop`.
pub(super) async fn revocations(hub: Hub, stop: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if hub.0.registry.count() == 0 {
            continue;
        }
        match hub.0.parts.store.read(bridges::revoked).await {
            Ok(revoked) => {
                let connected = revoked.iter().filter_map(|bridge_id| hub.0.registry.get(bridge_id));
                connected.for_each(|session| session.revoked());
            }
            Err(error) => tracing::warn!(%error, "Looking for revoked bridges failed."),
        }
    }
}
