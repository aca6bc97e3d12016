//! The commands of the journal's tail, taken in after a start, so that the last day is not blank.

use std::collections::HashMap;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Entry, entry};
use prost::Message;

use super::note::{Command, Note};
use super::{History, Totals, day::Day, story::Stories};
use crate::journal::{Journal, Replayed};
use crate::limits::{HISTORY_MINUTES, HISTORY_SEED_ENTRIES};

/// Reads at most [`HISTORY_SEED_ENTRIES`] entries before and at `last_sequence` and puts what they say of the last day before
/// what `history` has. Blocks on the disk. What cannot be read is left out: nothing but pictures depends on it.
pub fn seed(history: &History, journal: &Journal, last_sequence: u64, now_ms: i64) {
    let from = last_sequence.saturating_sub(HISTORY_SEED_ENTRIES) + 1;
    let entries = journal
        .replay(from)
        .map_while(Result::ok)
        .filter_map(|replayed| match replayed {
            Replayed::Entry { sequence, payload, .. } => Some((sequence, payload)),
            Replayed::Lost { .. } => None,
        })
        .take_while(|(sequence, _)| *sequence <= last_sequence);
    fold(history, entries.filter_map(|(_, payload)| Entry::decode(payload.as_slice()).ok()), now_ms);
}

pub(super) fn fold(history: &History, entries: impl Iterator<Item = Entry>, now_ms: i64) {
    let day_ms = i64::try_from(HISTORY_MINUTES).unwrap_or(i64::MAX).saturating_mul(60_000);
    let since_ms = now_ms.saturating_sub(day_ms);
    let (mut day, mut stories, mut ignored) = (Day::default(), Stories::default(), Totals::default());
    // Live commands among the entries: no more than there are entries.
    let mut live: HashMap<CommandId, Command> = HashMap::new();
    for entry in entries.filter(|entry| entry.wall_ms >= since_ms) {
        let Some(note) = Note::of(&entry, |id| live.get(id).cloned()) else { continue };
        if let super::What::Step { id, command: Some(command), step, .. } = &note.what {
            super::count(&mut day, &mut ignored, command, step);
            if super::story::is_final(step.what) {
                live.remove(id);
            } else if matches!(entry.body, Some(entry::Body::Received(_))) {
                live.insert(*id, command.clone());
            }
        }
        stories.take(note, 0);
    }
    history.prepend(day, stories);
}
