//! What must hold when the core is started on a damaged folder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lockbridge::dispatch::EngineRequest;
use lockbridge::journal::{Damage, Journal, Replayed};
use lockbridge::state::{Origin, Pair};
use lockbridge_protocol::journal::{CheckpointHeader, StoreId};

use super::figures::Figures;
use crate::torture::world::daemon::{Daemon, Folding, Opening, open};
use crate::torture::world::disk::PowerDisk;
use crate::torture::world::image::Image;
use crate::torture::world::live::{Live, Mark, World};
use crate::torture::world::state::MemoryState;
use crate::torture::world::system::WorldSystem;
use crate::torture::world::truth::Truth;

/// The folder before it was damaged.
pub(super) struct Sound<'a> {
    pub(super) world: &'a World,
    /// Exactly what the journal holds.
    pub(super) truth: &'a Truth,
    /// Its fold.
    pub(super) pairs: &'a [Pair],
    /// Whose journal it is.
    pub(super) store_id: StoreId,
}

/// Starts the core on `image` in `state` and judges; then once more.
pub(super) async fn judge(sound: &Sound<'_>, image: &Image, state: &Path, policy: &Path, one: &mut Figures) {
    let live = Live::new(PowerDisk::new(image, false), sound.world.clone(), sound.truth.clone());
    let begun = Instant::now();
    let Some(opening) = opened(&live, state, one, "") else { return };
    match &opening.origin {
        Some(Origin::Kept) => one.sets_kept += 1,
        Some(Origin::Rebuilt { .. }) => {
            one.sets_rebuilt += 1;
            one.slowest_rebuild_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        Some(Origin::Memory { reason }) => one.silent.push(format!("in memory without need: {reason}")),
        None => {}
    }
    let kept = opening.origin == Some(Origin::Kept);
    let last = opening.opened.last_sequence;
    if opening.opened.store_id != sound.store_id {
        // Most of what is there is another journal's: the cloud knows that this is not the one it spoke to.
        let count = if opening.opened.damage.is_empty() { &mut one.tails } else { &mut one.reported };
        *count += 1;
        return;
    }
    let whole = content(&opening, sound, image, one);
    live.truth().truncate(last);
    if live.truth().last() != last {
        one.silent.push(format!("recovered through {last}, which was never reached"));
        return;
    }
    let system = WorldSystem::new(Arc::clone(&live), None);
    let daemon = match Daemon::start(Arc::clone(&live), opening, system, policy, None).await {
        Ok(daemon) => daemon,
        Err(error) => {
            one.refused.push(format!("the engine does not run: {error:#}"));
            return;
        }
    };
    if let Err(error) = daemon.ask(EngineRequest::Doubts).await {
        one.panicked.push(format!("the engine ended: {error:#}"));
    }
    daemon.kill().await;
    one.unstable.extend(live.take_problems());
    again(&live, state, sound.store_id, (whole, kept), one);
}

fn opened(live: &Live, state: &Path, one: &mut Figures, which: &str) -> Option<Opening> {
    match catch_unwind(AssertUnwindSafe(|| open(live, state, Folding::Sled))) {
        Err(_) => one.panicked.push(format!("opening{which} panicked")),
        Ok(Err(error)) => one.refused.push(format!("opening{which}: {error:#}")),
        Ok(Ok(opening)) => return Some(opening),
    }
    None
}

/// Everything recovered is what was given, and everything else is reported. Gives whether the fold misses nothing.
fn content(opening: &Opening, sound: &Sound<'_>, image: &Image, one: &mut Figures) -> bool {
    let (end, reached) = (sound.truth.last(), opening.opened.last_sequence);
    given(&opening.journal, sound.truth, one);
    let missed = &opening.lost;
    let held = opening.state.pairs(&[], &[1], usize::MAX).unwrap_or_default();
    let whole = held == sound.pairs;
    if !whole {
        // What the fold says it holds is all that was given, without what it says it misses.
        let known =
            (1..=reached.min(end)).filter(|it| !missed.iter().any(|(from, through)| (from..=through).contains(&it)));
        let known = known.filter_map(|sequence| Some((sequence, &**sound.truth.entry(sequence)?)));
        match MemoryState::of(known) {
            Ok(expected) if expected.all() == held => {}
            Ok(_) => one.silent.push(format!(
                "{:?}, {:?}: the fold is not what was given up to {reached} of {end} without {missed:?}",
                opening.origin, opening.opened.damage
            )),
            Err(error) => one.silent.push(format!("the fold could not be compared: {error}")),
        }
    }
    if reached < end {
        tail(opening, sound, image, one);
    } else if whole {
        one.whole += 1;
    } else {
        one.reported += 1;
    }
    opening.lost.is_empty()
}

/// The journal ends too early. That is knowable when a checkpoint, the folder's own note, or damage says so.
fn tail(opening: &Opening, sound: &Sound<'_>, image: &Image, one: &mut Figures) {
    let (end, reached) = (sound.truth.last(), opening.opened.last_sequence);
    let damage = opening.opened.damage.iter().filter_map(|damage| match damage {
        Damage::Lost { from, through, .. } => Some((*from, *through)),
        Damage::Foreign { .. } => None,
    });
    let reported = damage.chain(opening.lost.iter().copied()).any(|(_, through)| through > reached)
        || opening.opened.damage.iter().any(|damage| !matches!(damage, Damage::Lost { .. }));
    let headers = image.files.iter().filter_map(|(name, data)| {
        let header = CheckpointHeader::decode(data).ok()?;
        let named = name == "progress" || *name == format!("{:016x}.checkpoint", header.sequence);
        (named && header.store_id == sound.store_id).then_some(header.sequence)
    });
    let knowable = headers.max().unwrap_or(0);
    if reported {
        one.reported += 1;
    } else if reached < knowable {
        one.silent
            .push(format!("the journal ends at {reached} of {end}, {knowable} is on record, and nothing is said"));
    } else {
        one.tails += 1;
        let hub = &sound.world.hub;
        let decided = sound.truth.decided_through(reached);
        let told = lockbridge::state::fold::View::new(&*opening.state).meta().map_or(0, |meta| meta.reports_last);
        one.tails_known_to_cloud += u64::from(decided < hub.acknowledged || told < hub.cursor());
    }
}

/// Entries the journal gives, all of them true; gaps between them are told.
fn given(journal: &Journal, truth: &Truth, one: &mut Figures) {
    let mut due = None;
    for replayed in journal.replay(1) {
        match replayed {
            Ok(Replayed::Entry { sequence, payload, .. }) => {
                if truth.entry(sequence).is_none_or(|entry| **entry != *payload) {
                    one.silent.push(format!("entry {sequence} is not what was given"));
                }
                if due.is_some_and(|due| due != sequence) {
                    one.silent.push(format!("entry {sequence} follows where {due:?} was due, without a word"));
                }
                due = Some(sequence + 1);
            }
            Ok(Replayed::Lost { through, .. }) => due = Some(through + 1),
            Err(error) => one.refused.push(format!("replay: {error}")),
        }
    }
}

/// The second start finds what the first found and what came since.
fn again(first: &Live, state: &Path, store_id: StoreId, (whole, kept): (bool, bool), one: &mut Figures) {
    let truth = first.truth().clone();
    let disk: PowerDisk<Mark> = PowerDisk::new(&first.disk.image(), false);
    let second = Live::new(disk, first.world().clone(), truth.clone());
    let Some(opening) = opened(&second, state, one, " again") else { return };
    if opening.opened.last_sequence != truth.last() {
        let last = opening.opened.last_sequence;
        one.unstable.push(format!("ended at {}, and begins again at {last}", truth.last()));
    }
    let mut told = Figures::default();
    given(&opening.journal, &truth, &mut told);
    one.unstable.append(&mut told.silent);
    one.refused.append(&mut told.refused);
    // A set that was believed may hold what damaged checkpoints do not: once it is given up, the loss shows and is told.
    let given_up = kept && matches!(opening.origin, Some(Origin::Rebuilt { .. }));
    if whole && !given_up && !opening.lost.is_empty() {
        one.unstable.push(format!("nothing was missed at first, and then {:?}", opening.lost));
    }
    if opening.opened.store_id != store_id {
        one.unstable.push(format!("it is another journal now: {:?}", opening.opened));
    }
}
