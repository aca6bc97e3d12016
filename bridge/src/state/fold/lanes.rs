//! Order within a lane: what is awaited, what has ended, what a revoke made moot (rules C3, C5).

use lockbridge_protocol::proto::tunnel::Priority;

use super::keys;
use super::put;
use super::records::{CommandRecord, LaneRecord, Revoked};
use super::view::View;
use crate::state::store::{Store, StoreError};

/// The lowest sequence of the lane that has not ended.
pub fn next_of(lane: &LaneRecord) -> u64 {
    lane.next.max(1)
}

/// Whether a later command of the lane made one with this sequence and object moot, queued or still to come.
pub fn is_superseded(lane: &LaneRecord, lane_sequence: u64, object: &str) -> bool {
    lane_sequence > 0
        && (lane_sequence < lane.cancels_below
            || (!object.is_empty()
                && lane.revoked.iter().any(|revoked| revoked.object == object && lane_sequence < revoked.below)))
}

/// A command was accepted: a safety command leaves its marks for all that is older.
pub(super) fn overtake(store: &mut dyn Store, record: &CommandRecord, cancels_below: u64) -> Result<(), StoreError> {
    if record.priority != Priority::Safety as u32 || record.lane_sequence == 0 {
        return Ok(());
    }
    let mut lane = View::new(&*store).lane(&record.lock_system, &record.lane)?;
    // A mark above the command's own place could take away later wishes.
    lane.cancels_below = lane.cancels_below.max(cancels_below.min(record.lane_sequence));
    if !record.object.is_empty() && record.lane_sequence > next_of(&lane) {
        lane.revoked.retain(|revoked| revoked.object != record.object || revoked.below > record.lane_sequence);
        lane.revoked.push(Revoked { object: record.object.clone(), below: record.lane_sequence });
    }
    advance(&mut lane);
    put(store, &keys::lane(&record.lock_system, &record.lane), &lane)
}

/// The command with this sequence ended: the lane moves on as far as it can.
pub(super) fn end(store: &mut dyn Store, lock_system: &str, name: &str, lane_sequence: u64) -> Result<(), StoreError> {
    if lane_sequence == 0 {
        return Ok(());
    }
    let mut lane = View::new(&*store).lane(lock_system, name)?;
    if lane_sequence >= next_of(&lane) && !lane.ended_ahead.contains(&lane_sequence) {
        lane.ended_ahead.push(lane_sequence);
    }
    advance(&mut lane);
    put(store, &keys::lane(lock_system, name), &lane)
}

/// Sequences below `next` will not come.
pub(super) fn skip_to(lane: &mut LaneRecord, next: u64) {
    lane.next = next_of(lane).max(next);
    advance(lane);
}

fn advance(lane: &mut LaneRecord) {
    let mut next = next_of(lane).max(lane.cancels_below);
    lane.ended_ahead.sort_unstable();
    for ended in &lane.ended_ahead {
        if *ended == next {
            next = next.saturating_add(1);
        }
    }
    lane.next = next;
    lane.ended_ahead.retain(|ended| *ended >= next);
    lane.revoked.retain(|revoked| revoked.below > next);
}
