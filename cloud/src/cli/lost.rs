//! What bridges lost, for the operator.

use std::path::Path;

use super::admin::open;
use super::print_line;
use crate::store::lost;

pub(super) async fn list(data: &Path, bridge: Option<String>) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    for found in store.read(move |connection| lost::list(connection, bridge.as_deref())).await? {
        let state = found.state.as_str_name().trim_start_matches("COMMAND_STATE_").to_lowercase();
        print_line(
            &serde_json::json!({
                "command_id": found.command_id.to_string(),
                "bridge_id": found.bridge_id,
                "delivery": found.delivery_sequence,
                "kind": found.kind,
                "lock_system": found.lock_system,
                "lane": found.lane,
                "state": state,
                "asked_anew_by": found.successor_id.map(|id| id.to_string()),
                "lost_at_ms": found.lost_at_ms,
            })
            .to_string(),
        );
    }
    Ok(())
}
