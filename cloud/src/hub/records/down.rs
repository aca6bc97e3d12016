//! Commands on their way down.

use lockbridge_protocol::limits::{BATCH_BYTES, BATCH_ITEMS};
use lockbridge_protocol::proto::tunnel::{Delivery, LaneGap, Priority};
use prost::Message;

use super::{RecordError, Session, fence};
use crate::store::{Store, StoreError, bridges, commands, counter};

const PRIORITIES: [Priority; 4] = [Priority::Safety, Priority::Interactive, Priority::Convergent, Priority::Background];

/// Numbers the most urgent waiting commands from `from` on, at most `room` of each priority and about one frame of them.
/// None when nothing waits.
pub(in crate::hub) async fn next_deliveries(
    store: &Store,
    session: Session,
    from: u64,
    room: [u64; 4],
) -> Result<Vec<Delivery>, RecordError> {
    let batch = u64::try_from(BATCH_ITEMS).unwrap_or(u64::MAX);
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let mut waiting = Vec::new();
            for (priority, room) in PRIORITIES.into_iter().zip(room).filter(|(_, room)| *room > 0) {
                waiting.extend(commands::waiting(tx, &session.bridge_id, priority, room.min(batch))?);
            }
            waiting.sort_by_key(|command| (command.urgency, command.row));
            let mut deliveries = Vec::new();
            let mut bytes = 0;
            for command in waiting.into_iter().take(BATCH_ITEMS) {
                bytes += command.signed.encoded_len();
                if bytes > BATCH_BYTES && !deliveries.is_empty() {
                    break;
                }
                let delivery_sequence = commands::number(tx, &session.bridge_id, command.row)?;
                deliveries.push(Delivery { delivery_sequence, command: Some(command.signed) });
            }
            match deliveries.first() {
                // The session counts from what admission read; nothing else gives out numbers.
                Some(first) if first.delivery_sequence != from => Err(StoreError::Damaged("delivery sequence").into()),
                _ => Ok(deliveries),
            }
        })
        .await
}

/// Deliveries that were numbered earlier, from `from` to `through`, at most one batch of them.
pub(in crate::hub) async fn numbered(
    store: &Store,
    bridge_id: String,
    from: u64,
    through: u64,
) -> Result<Vec<Delivery>, StoreError> {
    let batch = u64::try_from(BATCH_ITEMS).unwrap_or(u64::MAX);
    let limit = through.saturating_sub(from).saturating_add(1).min(batch);
    store.read(move |connection| commands::numbered(connection, &bridge_id, from.saturating_sub(1), limit)).await
}

/// The bridge has durable decisions on all deliveries up to `through`.
pub(in crate::hub) async fn commands_durable(
    store: &Store,
    now_ms: i64,
    session: Session,
    through: u64,
) -> Result<(), RecordError> {
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let sql = "UPDATE bridges SET commands_durable_through = max(commands_durable_through, ?2),
                                          last_seen_at_ms = ?3
                       WHERE bridge_id = ?1";
            tx.execute(sql, (&session.bridge_id, counter(through), now_ms))?;
            Ok(())
        })
        .await
}

/// A lane misses commands: those that exist go to the head of the queue. How many.
pub(in crate::hub) async fn lane_gap(
    store: &Store,
    now_ms: i64,
    session: Session,
    gap: LaneGap,
) -> Result<usize, RecordError> {
    store
        .write(move |tx| {
            fence(tx, &session)?;
            let bridge_id = session.bridge_id.as_str();
            let found = commands::send_again(tx, bridge_id, &gap.lock_system, &gap.lane, gap.expected, gap.have)?;
            if found == 0 {
                let message = format!(
                    "lane {} of {} waits for command {}, which is not there to be sent",
                    gap.lane, gap.lock_system, gap.expected
                );
                bridges::alarm(tx, now_ms, Some(bridge_id), "lane_gap", &message)?;
            }
            Ok(found)
        })
        .await
}
