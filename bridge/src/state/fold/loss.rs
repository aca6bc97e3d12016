//! What a damaged part of the journal took with it, told by delivery number.
//!
//! Every delivery leaves exactly one `Received`, in order of number. A number that is passed over was decided and
//! acknowledged, and its entry is gone. So what is missing follows from the entries that are there, whatever became of the
//! others; a command that is still held, or whose end is, is never counted among the lost by mistake.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::limits::LOST_RANGES;
use lockbridge_protocol::proto::journal::{CommandsLost, LostCommand};
use lockbridge_protocol::proto::tunnel::CommandState;

use super::lanes;
use super::records::{CommandRecord, LostRange, Tombstone};
use super::{Folding, StoreError};

/// End of a command that only a lost part of the journal knew.
pub const JOURNAL_LOST: &str = "journal_lost";
/// Ids kept for people; the journal has them all.
pub const LOST_SHOWN: usize = 20;

impl Folding<'_> {
    /// A delivery came: those between the last one and this one are missing.
    pub(super) fn miss_before(&mut self, delivery_sequence: u64) {
        let first = self.meta.deliveries_through.saturating_add(1);
        let last = delivery_sequence.saturating_sub(1);
        if first > last {
            return;
        }
        let full = self.meta.lost.len() >= LOST_RANGES;
        match self.meta.lost.last_mut().filter(|_| full) {
            // Wider than what is lost: the cloud asks for some things once more, and interactive ones stay as they were told.
            Some(widened) => widened.last = last,
            None => self.meta.lost.push(LostRange { first, last }),
        }
    }

    /// The cloud answered for a part of what is missing.
    pub(super) fn commands_lost(&mut self, lost: &CommandsLost) -> Result<(), StoreError> {
        for command in &lost.commands {
            self.command_lost(command)?;
        }
        let answered = LostRange { first: lost.first_delivery, last: lost.last_delivery };
        self.meta.lost = self.meta.lost.iter().flat_map(|range| without(*range, answered)).collect();
        Ok(())
    }

    /// It never comes again: its place in its lane counts as ended, and its id is remembered like that of any that ended.
    fn command_lost(&mut self, lost: &LostCommand) -> Result<(), StoreError> {
        let Some(id) = CommandId::from_bytes(&lost.command_id) else { return Ok(()) };
        if self.view().command(&id)?.is_some() || self.view().tombstone(&id)?.is_some() {
            return Ok(());
        }
        let record = CommandRecord {
            lock_system: lost.lock_system.clone(),
            lane: lost.lane.clone(),
            lane_sequence: lost.lane_sequence,
            priority: lost.priority,
            object: lost.object.clone(),
            ..CommandRecord::default()
        };
        // A revoke made older wishes moot when it was accepted; those that are still held must not forget it.
        lanes::overtake(self.store, &record, lost.cancels_below)?;
        lanes::end(self.store, &lost.lock_system, &lost.lane, lost.lane_sequence)?;
        self.meta.lost_named = self.meta.lost_named.saturating_add(1);
        self.meta.lost_unknown += u64::from(is_unknown(lost));
        if self.meta.lost_shown.len() < LOST_SHOWN {
            self.meta.lost_shown.push(lost.command_id.clone());
        }
        let stone = Tombstone {
            hash: lost.command_hash.clone(),
            state: lost.state,
            error_code: JOURNAL_LOST.to_owned(),
            ..Tombstone::default()
        };
        self.bury(&id, &stone, lost.expires_at_ms)
    }
}

/// Nobody knows whether it was carried out, and nothing asks for it anew.
fn is_unknown(lost: &LostCommand) -> bool {
    lost.state == CommandState::Abandoned as u32 && lost.successor_id.is_empty()
}

/// What is left of `range` without `answered`.
fn without(range: LostRange, answered: LostRange) -> impl Iterator<Item = LostRange> {
    let before = LostRange { last: range.last.min(answered.first.saturating_sub(1)), ..range };
    let after = LostRange { first: range.first.max(answered.last.saturating_add(1)), ..range };
    let apart = answered.first > range.last || answered.last < range.first;
    let parts = if apart { [Some(range), None] } else { [Some(before), Some(after)] };
    parts.into_iter().flatten().filter(|part| part.first <= part.last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lockbridge_protocol::proto::journal::{Entry, Outcome, Received, entry};
    use lockbridge_protocol::proto::tunnel::Priority;
    use proptest::prelude::*;

    use super::super::{View, apply, next_of};
    use super::*;
    use crate::state::MemoryStore;

    fn received(number: u8, lane_sequence: u64, priority: Priority, object: &str) -> Entry {
        let received = Received {
            delivery_sequence: number.into(),
            command_id: vec![number; 16],
            command_hash: vec![number; 32],
            sealed: vec![1],
            lock_system: "tower".into(),
            lane: "user:u".into(),
            lane_sequence,
            priority: priority as u32,
            object: object.into(),
            ..Received::default()
        };
        Entry { wall_ms: 1, body: Some(entry::Body::Received(received)) }
    }

    fn ended(number: u8) -> Entry {
        let outcome = Outcome {
            command_id: vec![number; 16],
            state: CommandState::Succeeded as u32,
            report_sequence: number.into(),
            sealed_report: vec![2],
            ..Outcome::default()
        };
        Entry { wall_ms: 2, body: Some(entry::Body::Outcome(outcome)) }
    }

    fn named(number: u8, lane_sequence: u64, priority: Priority, object: &str) -> LostCommand {
        LostCommand {
            command_id: vec![number; 16],
            command_hash: vec![number; 32],
            lock_system: "tower".into(),
            lane: "user:u".into(),
            lane_sequence,
            priority: priority as u32,
            object: object.into(),
            state: CommandState::Abandoned as u32,
            ..LostCommand::default()
        }
    }

    fn answer(first: u64, last: u64, commands: Vec<LostCommand>) -> Entry {
        let body = entry::Body::CommandsLost(CommandsLost { first_delivery: first, last_delivery: last, commands });
        Entry { wall_ms: 3, body: Some(body) }
    }

    fn ranges(store: &MemoryStore) -> Vec<(u64, u64)> {
        let lost = View::new(store).meta().expect("reads").lost;
        lost.into_iter().map(|range| (range.first, range.last)).collect()
    }

    #[test]
    fn the_lane_goes_on_behind_what_was_named_and_a_lost_revoke_keeps_its_effect() {
        let mut store = MemoryStore::default();
        let mut take = |sequence, entry: Entry| apply(&mut store, sequence, &entry).expect("the map takes all");
        take(1, received(1, 1, Priority::Convergent, "grant:g"));
        // 2 revoked it, 3 came behind; only 3 is still there.
        take(9, received(3, 3, Priority::Convergent, "grant:h"));
        take(10, answer(2, 2, vec![named(2, 2, Priority::Safety, "grant:g")]));
        let view = View::new(&store);
        assert_eq!(ranges(&store), []);
        let lane = view.lane("tower", "user:u").expect("reads");
        assert!(super::super::is_superseded(&lane, 1, "grant:g") && !super::super::is_superseded(&lane, 3, "grant:h"));
        let buried = view.tombstone(&CommandId([2; 16])).expect("reads").expect("is remembered");
        assert_eq!((buried.hash.as_slice(), buried.error_code.as_str()), ([2; 32].as_slice(), JOURNAL_LOST));
        let meta = view.meta().expect("reads");
        assert_eq!((meta.lost_named, meta.lost_unknown, meta.lost_shown.len()), (1, 1, 1));
        // The first ends: 2 holds nobody up.
        apply(&mut store, 11, &ended(1)).expect("the map takes all");
        assert_eq!(next_of(&View::new(&store).lane("tower", "user:u").expect("reads")), 3);
    }

    #[test]
    fn an_answer_changes_nothing_about_what_is_held_or_remembered() {
        let mut store = MemoryStore::default();
        let mut take = |sequence, entry: Entry| apply(&mut store, sequence, &entry).expect("the map takes all");
        take(1, received(1, 1, Priority::Convergent, ""));
        take(2, ended(1));
        take(3, received(2, 2, Priority::Convergent, ""));
        take(4, answer(1, 2, vec![named(1, 1, Priority::Convergent, ""), named(2, 2, Priority::Convergent, "")]));
        let view = View::new(&store);
        assert!(view.command(&CommandId([2; 16])).expect("reads").is_some(), "it is held");
        let buried = view.tombstone(&CommandId([1; 16])).expect("reads").expect("is remembered");
        assert_eq!(buried.state, CommandState::Succeeded as u32);
        assert_eq!(next_of(&view.lane("tower", "user:u").expect("reads")), 2);
        assert_eq!(view.meta().expect("reads").lost_named, 0);
    }

    proptest! {
        /// Whatever entries are gone, exactly the deliveries before the last one known and without `Received` are missing,
        /// until answers cover them in any pieces.
        #[test]
        fn what_is_missing_is_exactly_what_was_decided_and_is_gone(
            gone in proptest::collection::btree_set(1_u8..=40, 0..40),
            cuts in proptest::collection::vec((1_u64..=40, 0_u64..12), 0..12),
        ) {
            let mut store = MemoryStore::default();
            let kept: Vec<u8> = (1..=40).filter(|number| !gone.contains(number)).collect();
            for number in &kept {
                apply(&mut store, (*number).into(), &received(*number, (*number).into(), Priority::Convergent, "")).expect("applies");
            }
            let through = u64::from(kept.last().copied().unwrap_or(0));
            let mut missing: BTreeSet<u64> =
                gone.iter().map(|number| u64::from(*number)).filter(|number| *number < through).collect();
            let listed = |store: &MemoryStore| -> Vec<u64> {
                ranges(store).into_iter().flat_map(|(first, last)| first..=last).collect()
            };
            prop_assert_eq!(listed(&store), missing.iter().copied().collect::<Vec<_>>());
            for (sequence, (first, length)) in (100..).zip(cuts) {
                apply(&mut store, sequence, &answer(first, first + length, vec![])).expect("applies");
                missing.retain(|number| !(first..=first + length).contains(number));
                prop_assert_eq!(listed(&store), missing.iter().copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn ranges_are_bounded_and_none_is_forgotten() {
        let mut store = MemoryStore::default();
        for number in 1..=200_u64 {
            let entry = Received { delivery_sequence: number * 2, ..Received::default() };
            let entry = Entry { wall_ms: 1, body: Some(entry::Body::Received(entry)) };
            apply(&mut store, number, &entry).expect("applies");
        }
        let ranges = ranges(&store);
        assert_eq!(ranges.len(), LOST_RANGES);
        assert!((1..400).step_by(2).all(|odd| ranges.iter().any(|(first, last)| (*first..=*last).contains(&odd))));
    }
}
