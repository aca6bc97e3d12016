//! The caller's side: sequences and chain hashes are given out here, in call order; the writer takes whole batches.

use lockbridge_protocol::journal::{COMMIT_BYTES, ChainHash, Position, RECORD_OVERHEAD, write_entry};
use thiserror::Error;

use super::Reserve;
use super::shared::Shared;

/// Why an entry was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The disk is full and the entry may not use the reserve (or the reserve is used up).
    #[error("the disk of the state directory is full: no space for another journal entry; free some")]
    Full,
    /// The journal failed or was closed.
    #[error("the journal takes no more entries: the disk failed or the daemon is stopping")]
    Stopped,
    /// Longer than an entry may be.
    #[error("a journal entry of {0} bytes is longer than allowed")]
    TooLong(usize),
}

/// Entries that wait for the writer, already encoded.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The records, back to back.
    pub(super) bytes: Vec<u8>,
    /// Of each record: where it ends in `bytes`, where the chain stands after it, and its payload's length.
    pub(super) records: Vec<(usize, Position, usize)>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that come about independently")]
pub(super) struct Queue {
    pub(super) waiting: Waiting,
    /// Bytes the writer has taken and not yet made durable; they count towards the bound.
    pub(super) taken_bytes: usize,
    position: Position,
    pub(super) durable_through: u64,
    /// Bytes left for records in the active and the prepared segments.
    pub(super) room: i64,
    /// Prepared segments: so many ends of segments may still turn out too short for the next entry. Below zero for the moment
    /// between the writer's taking one and its being counted.
    pub(super) prepared: i64,
    /// The file system refused more.
    pub(super) full: bool,
    pub(super) closed: bool,
    pub(super) failed: bool,
    pub(super) writer_ended: bool,
}

impl Queue {
    pub(super) fn new(position: Position) -> Self {
        Self {
            waiting: Waiting::default(),
            taken_bytes: 0,
            position,
            durable_through: position.next.saturating_sub(1),
            room: 0,
            prepared: 0,
            full: false,
            closed: false,
            failed: false,
            writer_ended: false,
        }
    }

    fn push(&mut self, payload: &[u8]) -> Option<u64> {
        let sequence = self.position.next;
        let head: ChainHash = write_entry(&mut self.waiting.bytes, sequence, self.position.head, payload)?;
        self.position = Position { next: sequence.checked_add(1)?, head };
        self.waiting.records.push((self.waiting.bytes.len(), self.position, payload.len()));
        Some(sequence)
    }
}

pub(super) async fn append(shared: &Shared, payload: &[u8], reserve: Reserve) -> Result<u64, AppendError> {
    loop {
        // Registered before looking, so that room made in between is not missed.
        let room = shared.room.notified();
        tokio::pin!(room);
        room.as_mut().enable();
        if let Some(sequence) = try_append(shared, payload, reserve)? {
            return Ok(sequence);
        }
        room.await;
    }
}

pub(super) fn try_append(shared: &Shared, payload: &[u8], reserve: Reserve) -> Result<Option<u64>, AppendError> {
    let cost = payload.len() + RECORD_OVERHEAD;
    // Its own commit marker at worst; what a shared one saves is given back after the commit.
    let room_cost = i64::try_from(cost + COMMIT_BYTES).unwrap_or(i64::MAX);
    let mut queue = shared.queue();
    if queue.closed || queue.failed {
        return Err(AppendError::Stopped);
    }
    if payload.len() > shared.options.entry_bytes {
        return Err(AppendError::TooLong(payload.len()));
    }
    if !shared.admits(&queue, room_cost, reserve == Reserve::Safety) {
        return if queue.full { Err(AppendError::Full) } else { Ok(None) };
    }
    if queue.waiting.bytes.len() + queue.taken_bytes + cost > shared.options.queue_bytes {
        return Ok(None);
    }
    let first = queue.waiting.records.is_empty();
    let sequence = queue.push(payload).ok_or(AppendError::TooLong(payload.len()))?;
    queue.room -= room_cost;
    drop(queue);
    if first {
        shared.queued.notify_one();
    }
    Ok(Some(sequence))
}
