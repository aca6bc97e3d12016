//! What has to be looked at from time to time: revocations (rule H7) and quarantines (rule H9), also when another process
//! wrote them into the database, and what is old enough to go.

use std::collections::HashMap;
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::Quarantine;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::clock::now_ms;
use crate::store::{bridges, quarantines, retention};

/// Less than the 5 s of the rule, with room for a slow query.
const INTERVAL: Duration = Duration::from_secs(2);
/// Between two looks for old rows, when the last one found few.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);
/// Between two passes while there is more to remove; other writes come in between.
const RETENTION_PAUSE: Duration = Duration::from_secs(1);

/// Looks for connected bridges that were revoked, or whose quarantine changed, until `stop`.
pub(super) async fn decisions(hub: Hub, stop: CancellationToken) {
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
        match hub.0.parts.store.read(|connection| quarantines::list(connection, false)).await {
            Ok(open) => {
                let open: HashMap<String, Quarantine> =
                    open.into_iter().map(|held| (held.bridge_id.clone(), held.on_wire())).collect();
                for (bridge_id, session) in hub.0.registry.by_bridge() {
                    session.quarantine(open.get(&bridge_id));
                }
            }
            Err(error) => tracing::warn!(%error, "Looking for quarantines failed."),
        }
    }
}

/// Removes what is past its retention, a bounded number of rows at a time, until `stop`.
pub(super) async fn retention(hub: Hub, stop: CancellationToken) {
    loop {
        let removed = hub.0.parts.store.write(|tx| retention::prune(tx, now_ms())).await;
        let wait = match removed {
            Ok(removed) if removed >= retention::ROWS => RETENTION_PAUSE,
            Ok(_) => RETENTION_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "Removing old rows failed.");
                RETENTION_INTERVAL
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
