//! What a session finds out about copies and restored state, and what it is told about the end of it.

use lockbridge_protocol::proto::tunnel::{Hello, Quarantine, QuarantineReason};
use lockbridge_protocol::tunnel::quarantine::lost_memory;
use lockbridge_protocol::tunnel::session::{Admission, KnownStore, is_cloud_restored, suspicion};
use rusqlite::Transaction;

use crate::store::bridges::Bridge;
use crate::store::quarantines::{self, Finding};
use crate::store::{Store, StoreError, certificates, commands, counter, journals};

/// Compares Hello with what was heard of the bridge. When the bridge's memory went back, the cursors in `known` and in the
/// database go back with it, and what was lost is numbered to be sent again in its order.
pub(super) fn examine(
    tx: &Transaction<'_>,
    now_ms: i64,
    bridge: &Bridge,
    serial: &[u8],
    hello: &Hello,
    known: &mut Admission,
) -> Result<(), StoreError> {
    let bridge_id = bridge.bridge_id.as_str();
    if let Some(store_id) = &bridge.store_id {
        let journal_sequence = journals::highest(tx, bridge_id, store_id)?.unwrap_or_default();
        known.store = Some(KnownStore { store_id: store_id.clone(), journal_sequence });
    }
    if is_cloud_restored(hello, known) {
        return Ok(()); // the session machine refuses, and says so
    }
    if let Some(found) = suspicion(hello, known) {
        let mut replay_through = 0;
        if lost_memory(found.reason) {
            replay_through = commands::number_again(tx, bridge_id, hello.commands_durable_through)?;
            begin_anew(tx, bridge_id, hello)?;
            known.deliveries_sent_through = replay_through;
            known.deliveries_durable_through = hello.commands_durable_through;
        }
        let finding = Finding { reason: found.reason, message: found.sentence, replay_through };
        quarantines::open(tx, now_ms, bridge_id, &finding)?;
    }
    known.quarantine = told(tx, now_ms, (bridge_id, serial), hello.quarantine.as_ref(), hello.quarantine_left)?;
    Ok(())
}

/// The bridge's own word, and what holds afterwards. Once people have decided for a state that had gone back, the
/// certificate that came with it counts as the newest: those given to what was lost open nothing any more.
pub(super) fn told(
    tx: &Transaction<'_>,
    now_ms: i64,
    (bridge_id, serial): (&str, &[u8]),
    holds: Option<&Quarantine>,
    left: u64,
) -> Result<Option<Quarantine>, StoreError> {
    let before = quarantines::of_bridge(tx, bridge_id)?;
    let open = quarantines::told(tx, now_ms, bridge_id, holds, left)?;
    if open.is_none() && before.is_some_and(|before| lost_memory(before.reason)) {
        certificates::make_newest(tx, bridge_id, serial)?;
    }
    Ok(open.map(|incident| incident.on_wire()))
}

/// What the bridge shows from now on is compared with this Hello.
fn begin_anew(tx: &Transaction<'_>, bridge_id: &str, hello: &Hello) -> Result<(), StoreError> {
    let sql = "UPDATE bridges SET commands_durable_through = ?2, store_id = ?3 WHERE bridge_id = ?1";
    tx.execute(sql, (bridge_id, counter(hello.commands_durable_through), &hello.store_id))?;
    journals::begin_anew(tx, bridge_id, &hello.store_id, hello.journal_sequence)?;
    let sql = "DELETE FROM witnessed_checkpoints WHERE bridge_id = ?1 AND store_id = ?2";
    tx.execute(sql, (bridge_id, &hello.store_id))?;
    Ok(())
}

/// Two processes with one identity answer: the incident, for the one that is connected.
pub(in crate::hub) async fn duplicate(
    store: &Store,
    now_ms: i64,
    bridge_id: String,
    message: String,
) -> Result<Quarantine, StoreError> {
    let found = Finding { reason: QuarantineReason::DuplicateSession, message, replay_through: 0 };
    let incident = store.write(move |tx| quarantines::open(tx, now_ms, &bridge_id, &found)).await?;
    Ok(incident.on_wire())
}
