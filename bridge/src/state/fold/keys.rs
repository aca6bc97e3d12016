//! Names in the key/value store. See the table in [`super`].

use lockbridge_protocol::ids::CommandId;

/// The one record of cursors and counters.
pub const META: &[u8] = b"m";
/// Live commands.
pub const COMMANDS: u8 = b'c';
/// Outbox of reports.
pub const REPORTS: u8 = b'r';
/// Which reports are door events.
pub const EVENT_REPORTS: u8 = b'e';
/// Tombstones by the time they may go.
pub const FORGETTING: u8 = b'x';
/// Facts.
pub const FACTS: u8 = b'f';
/// Rights that have to be written again at a time.
pub const REPLANS: u8 = b'w';
/// Rate counters.
pub const RATES: u8 = b'q';
/// Lanes.
pub const LANES: u8 = b'l';

/// A live command.
pub fn command(id: &CommandId) -> Vec<u8> {
    joined(COMMANDS, &[id.as_bytes()])
}

/// The sealed payload of a live command.
pub fn payload(id: &CommandId) -> Vec<u8> {
    joined(b'p', &[id.as_bytes()])
}

/// What is remembered of an ended command.
pub fn tombstone(id: &CommandId) -> Vec<u8> {
    joined(b't', &[id.as_bytes()])
}

/// A tombstone by the time it may go.
pub fn forgetting(at_ms: i64, id: &CommandId) -> Vec<u8> {
    joined(FORGETTING, &[&time(at_ms), id.as_bytes()])
}

/// A lane of a lock system.
pub fn lane(lock_system: &str, lane: &str) -> Vec<u8> {
    joined(LANES, &[lock_system.as_bytes(), &[0], lane.as_bytes()])
}

/// A report in the outbox.
pub fn report(sequence: u64) -> Vec<u8> {
    joined(REPORTS, &[&sequence.to_be_bytes()])
}

/// Marks a report as a batch of door events.
pub fn event_report(sequence: u64) -> Vec<u8> {
    joined(EVENT_REPORTS, &[&sequence.to_be_bytes()])
}

/// A fact of a kind at a lock system.
pub fn fact(kind: &str, lock_system: &str, id: &str) -> Vec<u8> {
    joined(FACTS, &[lock_system.as_bytes(), &[0], kind.as_bytes(), &[0], id.as_bytes()])
}

/// Where reading the event log of a lock system goes on.
pub fn event_cursor(lock_system: &str) -> Vec<u8> {
    joined(b'v', &[lock_system.as_bytes()])
}

/// When the rights of a holder have to be written again.
pub fn replan(at_ms: i64, lock_system: &str, user_id: &str) -> Vec<u8> {
    joined(REPLANS, &[&time(at_ms), lock_system.as_bytes(), &[0], user_id.as_bytes()])
}

/// Where the entry of [`replan`] for this holder is, so that it can be moved.
pub fn replan_of(lock_system: &str, user_id: &str) -> Vec<u8> {
    joined(b'y', &[lock_system.as_bytes(), &[0], user_id.as_bytes()])
}

/// All buckets of something that is counted.
pub fn rates(lock_system: &str, subject: &str) -> Vec<u8> {
    joined(RATES, &[lock_system.as_bytes(), &[0], subject.as_bytes(), &[0]])
}

/// How often something was done in one bucket of time.
pub fn rate(lock_system: &str, subject: &str, bucket: u64) -> Vec<u8> {
    joined(RATES, &[lock_system.as_bytes(), &[0], subject.as_bytes(), &[0], &bucket.to_be_bytes()])
}

/// Milliseconds in an order that sorts as bytes; times before 1970 count as 1970.
fn time(at_ms: i64) -> [u8; 8] {
    u64::try_from(at_ms).unwrap_or(0).to_be_bytes()
}

fn joined(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(first);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
