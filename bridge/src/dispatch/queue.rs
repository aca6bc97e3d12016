//! Order: which commands could begin now. An index in memory over the live commands of the state, never a truth of its own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{Mode, Priority};

use super::LaneGapNotice;
use crate::limits::BACKGROUND_AGE;
use crate::state::fold::{CommandRecord, LaneRecord, Phase, next_of};

/// A lock system and a lane of it.
pub(super) type LaneKey = (String, String);

/// What order needs to know of a live command.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) lane: LaneKey,
    pub(super) lane_sequence: u64,
    pub(super) order: u64,
    pub(super) priority: u32,
    pub(super) interactive: bool,
    pub(super) local: bool,
    pub(super) phase: Phase,
    pub(super) blocks_lane: bool,
    pub(super) not_before_ms: i64,
    pub(super) expires_at_ms: i64,
    /// Interactive: to be begun by then, since boot.
    pub(super) begin_by: Option<Duration>,
    /// Not to be tried before, since boot.
    pub(super) retry_at: Option<Duration>,
    /// Why it waits; empty when it is simply not its turn.
    pub(super) waits_for: &'static str,
    pub(super) received: Duration,
    pub(super) object: String,
    /// The encoder it needs, by the lock system's id.
    pub(super) encoder: Option<String>,
}

impl Slot {
    /// From the stored record; `received` is since boot.
    pub(super) fn new(record: &CommandRecord, received: Duration, begin_by: Option<Duration>) -> Self {
        let phase = record.phase();
        Self {
            lane: (record.lock_system.clone(), record.lane.clone()),
            lane_sequence: record.lane_sequence,
            order: record.order,
            priority: record.priority,
            interactive: record.mode == Mode::Interactive as u32,
            local: !record.operator.is_empty(),
            phase,
            // Class R is settled by the next write, and a momentary opening leaves nothing behind: neither blocks.
            blocks_lane: phase == Phase::InDoubt && record.class > 1 && record.kind != "unlock_entrance",
            not_before_ms: record.not_before_ms,
            expires_at_ms: record.expires_at_ms,
            begin_by,
            retry_at: None,
            waits_for: "",
            received,
            object: record.object.clone(),
            encoder: None,
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    record: LaneRecord,
    by_sequence: BTreeMap<u64, CommandId>,
    local: BTreeSet<(u64, CommandId)>,
    safety: BTreeSet<(u64, CommandId)>,
    busy: bool,
    candidate: Option<(u32, u64, CommandId)>,
}

/// Place at an encoder: what has begun goes first, then by priority and order.
type Turn = (bool, u32, u64, CommandId);

/// Live commands in their lanes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    slots: HashMap<CommandId, Slot>,
    lanes: HashMap<LaneKey, Lane>,
    ready: HashMap<String, BTreeSet<(u32, u64, CommandId)>>,
    delayed: BTreeSet<(Duration, LaneKey)>,
    live: [u64; 4],
    phases: [u64; 3],
    gaps: BTreeMap<LaneKey, (u64, u64, Duration)>,
    /// By lock system and encoder, in the order of their turns: what is under way first.
    at_encoders: BTreeMap<(String, String), BTreeSet<Turn>>,
}

/// Which encoder a command needs, and its place there.
fn turn(id: CommandId, slot: &Slot) -> Option<((String, String), Turn)> {
    let encoder = slot.encoder.clone().filter(|_| slot.phase != Phase::InDoubt)?;
    Some(((slot.lane.0.clone(), encoder), (slot.phase == Phase::Queued, slot.priority, slot.order, id)))
}

fn phase_index(phase: Phase) -> usize {
    match phase {
        Phase::Queued => 0,
        Phase::Executing => 1,
        Phase::InDoubt => 2,
    }
}

/// Index of a priority into arrays of four.
pub(super) fn rank(priority: u32) -> usize {
    usize::try_from(priority.saturating_sub(1)).unwrap_or(3).min(3)
}

impl Queue {
    pub(super) fn get(&self, id: &CommandId) -> Option<&Slot> {
        self.slots.get(id)
    }

    /// All live commands, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&CommandId, &Slot)> {
        self.slots.iter()
    }

    /// Live commands by priority.
    pub(super) fn live(&self) -> [u64; 4] {
        self.live
    }

    /// Live commands that wait, have begun, are in doubt.
    pub(super) fn phases(&self) -> (u64, u64, u64) {
        let [queued, executing, in_doubt] = self.phases;
        (queued, executing, in_doubt)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a live command has this place in its lane.
    pub(super) fn place_taken(&self, lane: &LaneKey, lane_sequence: u64) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.by_sequence.contains_key(&lane_sequence))
    }

    /// Whether a command given on site lives in this lane.
    pub(super) fn has_local(&self, lane: &LaneKey) -> bool {
        self.lanes.get(lane).is_some_and(|lane| !lane.local.is_empty())
    }

    /// The first revoke of a lane, whether it has begun or not.
    pub(super) fn safety_in(&self, lane: &LaneKey) -> Option<CommandId> {
        self.lanes.get(lane)?.safety.first().map(|(_, id)| *id)
    }

    /// Live commands of a lane in a phase.
    pub(super) fn in_phase(&self, lane: &LaneKey, phase: Phase) -> Vec<CommandId> {
        let Some(lane) = self.lanes.get(lane) else { return Vec::new() };
        let all = lane.by_sequence.values().chain(lane.local.iter().map(|(_, id)| id));
        all.filter(|id| self.slots.get(id).is_some_and(|slot| slot.phase == phase)).copied().collect()
    }

    /// Live commands of a lane that have not begun.
    pub(super) fn queued_in(&self, lane: &LaneKey) -> Vec<CommandId> {
        let Some(lane) = self.lanes.get(lane) else { return Vec::new() };
        lane.by_sequence
            .values()
            .chain(lane.local.iter().map(|(_, id)| id))
            .filter(|id| self.slots.get(id).is_some_and(|slot| slot.phase == Phase::Queued))
            .copied()
            .collect()
    }

    /// Takes in a new or changed command.
    pub(super) fn put(&mut self, id: CommandId, slot: Slot) {
        self.forget(&id);
        let lane = self.lanes.entry(slot.lane.clone()).or_default();
        if slot.lane_sequence > 0 {
            lane.by_sequence.insert(slot.lane_sequence, id);
        } else {
            lane.local.insert((slot.order, id));
        }
        if slot.priority == Priority::Safety as u32 {
            lane.safety.insert((slot.order, id));
        }
        if let Some(count) = self.live.get_mut(rank(slot.priority)) {
            *count += 1;
        }
        if let Some(count) = self.phases.get_mut(phase_index(slot.phase)) {
            *count += 1;
        }
        if let Some((encoder, turn)) = turn(id, &slot) {
            self.at_encoders.entry(encoder).or_default().insert(turn);
        }
        self.slots.insert(id, slot);
    }

    /// Who needs this encoder, in the order of their turns.
    pub(super) fn at_encoder(&self, system: &str, encoder: &str) -> impl Iterator<Item = CommandId> {
        let turns = self.at_encoders.get(&(system.to_owned(), encoder.to_owned()));
        turns.into_iter().flatten().map(|(.., id)| *id)
    }

    /// By lock system and encoder: who needs it, in the order of their turns. A doubt has left its encoder.
    pub(super) fn at_encoders(&self) -> impl Iterator<Item = (&str, &str, impl Iterator<Item = CommandId>)> {
        self.at_encoders
            .iter()
            .map(|((system, encoder), turns)| (system.as_str(), encoder.as_str(), turns.iter().map(|(.., id)| *id)))
    }

    /// Drops a command that ended.
    pub(super) fn forget(&mut self, id: &CommandId) {
        let Some(slot) = self.slots.remove(id) else { return };
        if let Some(count) = self.live.get_mut(rank(slot.priority)) {
            *count -= 1;
        }
        if let Some(count) = self.phases.get_mut(phase_index(slot.phase)) {
            *count -= 1;
        }
        if let Some(lane) = self.lanes.get_mut(&slot.lane) {
            lane.by_sequence.remove(&slot.lane_sequence);
            lane.local.remove(&(slot.order, *id));
            lane.safety.remove(&(slot.order, *id));
        }
        if let Some((encoder, turn)) = turn(*id, &slot)
            && let Entry::Occupied(mut turns) = self.at_encoders.entry(encoder)
        {
            turns.get_mut().remove(&turn);
            if turns.get().is_empty() {
                turns.remove();
            }
        }
    }

    /// Says that a command of the lane is under way, or no longer.
    pub(super) fn set_busy(&mut self, lane: &LaneKey, busy: bool) {
        self.lanes.entry(lane.clone()).or_default().busy = busy;
    }

    /// Lets a command rest.
    pub(super) fn delay(&mut self, id: &CommandId, until: Duration, why: &'static str) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.retry_at = Some(until);
            slot.waits_for = why;
        }
    }

    /// Makes up its mind about a lane after anything changed in it.
    pub(super) fn refresh(&mut self, key: &LaneKey, record: LaneRecord, now: Duration, wall_ms: i64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.record = record;
        let ready = self.ready.entry(key.0.clone()).or_default();
        if let Some(old) = lane.candidate.take() {
            ready.remove(&old);
        }
        let (found, gap) = head(lane, &self.slots);
        match gap {
            Some((expected, have)) => {
                let since =
                    self.gaps.get(key).filter(|(old, _, _)| *old == expected).map_or(now, |(_, _, since)| *since);
                self.gaps.insert(key.clone(), (expected, have, since));
            }
            None => {
                self.gaps.remove(key);
            }
        }
        if lane.by_sequence.is_empty() && lane.local.is_empty() && !lane.busy {
            self.lanes.remove(key);
            return;
        }
        let Some(id) = found else { return };
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let not_before = Duration::from_millis(u64::try_from(slot.not_before_ms.saturating_sub(wall_ms)).unwrap_or(0));
        // Wall time may jump, so a far start is looked at again every minute.
        let begin = (now + not_before.min(Duration::from_secs(60))).max(slot.retry_at.unwrap_or_default());
        if begin > now {
            self.delayed.insert((begin, key.clone()));
            return;
        }
        slot.waits_for = "";
        let candidate = (slot.priority, slot.order, id);
        lane.candidate = Some(candidate);
        ready.insert(candidate);
    }

    /// Lanes whose rest is over.
    pub(super) fn due(&mut self, now: Duration) -> Vec<LaneKey> {
        let mut due = Vec::new();
        while self.delayed.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.delayed.pop_first().map(|(_, lane)| lane));
        }
        due
    }

    /// When the next rest is over.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Commands of a lock system that could begin, best first. Background work that waited long goes before grants.
    pub(super) fn ready(&self, system: &str, now: Duration) -> Vec<CommandId> {
        let Some(ready) = self.ready.get(system) else { return Vec::new() };
        let background = Priority::Background as u32;
        let aged = ready
            .range((background, 0, CommandId([0; 16]))..)
            .next()
            .filter(|(_, _, id)| {
                self.slots.get(id).is_some_and(|slot| now.saturating_sub(slot.received) >= BACKGROUND_AGE)
            })
            .map(|(_, _, id)| *id);
        let urgent = ready.range(..(Priority::Convergent as u32, 0, CommandId([0; 16]))).map(|(_, _, id)| *id);
        let rest = ready.range((Priority::Convergent as u32, 0, CommandId([0; 16]))..).map(|(_, _, id)| *id);
        urgent.chain(aged).chain(rest.filter(|id| Some(*id) != aged)).take(READY_AT_ONCE).collect()
    }

    /// Lanes that miss a sequence, and since when.
    pub(super) fn gaps(&self) -> Vec<(LaneGapNotice, Duration)> {
        self.gaps
            .iter()
            .map(|((lock_system, lane), (expected, have, since))| {
                let notice = LaneGapNotice {
                    lock_system: lock_system.clone(),
                    lane: lane.clone(),
                    expected: *expected,
                    have: *have,
                };
                (notice, *since)
            })
            .collect()
    }
}

/// Looked at in one round: more than can begin, far less than may wait.
const READY_AT_ONCE: usize = 384;

/// The one command of the lane that may begin, and the gap that holds others.
fn head(lane: &Lane, slots: &HashMap<CommandId, Slot>) -> (Option<CommandId>, Option<(u64, u64)>) {
    let queued = |id: &CommandId| slots.get(id).is_some_and(|slot| slot.phase == Phase::Queued);
    let mut expected = next_of(&lane.record);
    let mut in_order = None;
    let mut gap = None;
    let mut blocked = false;
    for (sequence, id) in &lane.by_sequence {
        while lane.record.ended_ahead.contains(&expected) {
            expected = expected.saturating_add(1);
        }
        let Some(slot) = slots.get(id) else { continue };
        if *sequence > expected {
            if slot.priority != Priority::Safety as u32 {
                gap = Some((expected, *sequence));
            }
            break;
        }
        match slot.phase {
            Phase::Queued => {
                in_order = Some(*id);
                break;
            }
            Phase::InDoubt if slot.blocks_lane => {
                blocked = true;
                break;
            }
            Phase::Executing | Phase::InDoubt => expected = sequence.saturating_add(1),
        }
    }
    // A doubt of a command given on site blocks like any other.
    blocked |= lane.local.iter().any(|(_, id)| slots.get(id).is_some_and(|slot| slot.blocks_lane));
    if lane.busy {
        return (None, gap);
    }
    if let Some((_, id)) = lane.safety.iter().find(|(_, id)| queued(id)) {
        return (Some(*id), gap);
    }
    if blocked {
        return (None, gap);
    }
    let local = lane.local.iter().find(|(_, id)| queued(id));
    let order = |id: &CommandId| slots.get(id).map_or(u64::MAX, |slot| slot.order);
    match (in_order, local) {
        (Some(first), Some((at, second))) => (Some(if *at < order(&first) { *second } else { first }), gap),
        (first, second) => (first.or_else(|| second.map(|(_, id)| *id)), gap),
    }
}
