//! The cloud's half of the way out of a quarantine (rule H9).

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::bail;
use lockbridge_protocol::tunnel::quarantine::word;

use super::admin::open;
use super::print_line;
use crate::clock::now_ms;
use crate::store::{StoreError, bridges, quarantines};

pub(super) async fn list(data: &Path, all: bool) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    for found in store.read(move |connection| quarantines::list(connection, all)).await? {
        print_line(
            &serde_json::json!({
                "bridge_id": found.bridge_id,
                "incident": found.incident,
                "reason": word(found.reason),
                "message": found.message,
                "opened_at_ms": found.opened_at_ms,
                "released_at_ms": found.released_at_ms,
                "released_by": found.released_by,
                "confirmed_at_ms": found.confirmed_at_ms,
                "closed_at_ms": found.closed_at_ms,
            })
            .to_string(),
        );
    }
    Ok(())
}

pub(super) async fn lift(data: &Path, bridge: String) -> anyhow::Result<()> {
    let (_, store) = open(data)?;
    let who = format!("uid {}", std::fs::metadata("/proc/self")?.uid());
    let bridge_id = bridge.clone();
    let (known, released) = store
        .write(move |tx| {
            let known = bridges::find(tx, &bridge_id)?.is_some();
            Ok::<_, StoreError>((known, quarantines::release(tx, now_ms(), &bridge_id, &who)?))
        })
        .await?;
    match (known, released) {
        (false, _) => bail!("there is no bridge {bridge}; see `lockbridge-cloud bridge list`"),
        (true, false) => bail!("bridge {bridge} is not in quarantine; see `lockbridge-cloud bridge quarantine list`"),
        (true, true) => Ok(()),
    }
}
