//! The checker: what must hold when the daemon starts on what a cut left (rules O1 to O7), judged by the lock server's own
//! count, by the hub's own memory and by what the journal was given; never by what the bridge says of itself.

use std::collections::BTreeSet;

use lockbridge::dispatch::EngineRequest;
use lockbridge::journal::{Journal, Replayed};
use lockbridge::state::fold::{Pairs, View};
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::CommandState;

use super::daemon::{Daemon, Opening};
use super::figures::Figures;
use super::hub::{Known, Wish, is_final};
use super::live::World;
use super::site::Site;
use super::truth::Truth;

/// What the entries that survived say should be found.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The last entry that survived.
    pub(crate) last: u64,
    /// Blind attempts that were cut between intent and outcome.
    pub(crate) in_window: BTreeSet<CommandId>,
    /// Doubts from before.
    pub(crate) doubts: BTreeSet<CommandId>,
}

/// Judges journal and fold before the engine runs. `world` as of the cut, its calls included.
pub(crate) fn opened(opening: &Opening, world: &World, truth: &Truth, figures: &mut Figures) -> Expected {
    let last = opening.opened.last_sequence;
    if !opening.opened.damage.is_empty() {
        figures.dishonest.push(format!("a power cut was called damage: {:?}", opening.opened.damage));
    }
    if !opening.lost.is_empty() {
        figures.lost.push(format!("the fold misses entries: {:?}", opening.lost));
    }
    entries(&opening.journal, last, truth, figures);
    let hub = &world.hub;
    let decided = truth.decided_through(last);
    if decided < hub.acknowledged {
        let acknowledged = hub.acknowledged;
        figures.lost.push(format!("deliveries through {acknowledged} were acknowledged, {decided} are in the journal"));
    }
    folded(&*opening.state, world, figures);
    for call in world.calls.values() {
        match call.intent {
            Some(intent) if intent <= last => {}
            Some(intent) => figures.dishonest.push(format!(
                "{:?} was begun by the intent {intent}, and only entries through {last} were durable",
                call.operation
            )),
            None => figures.dishonest.push(format!("{:?} was begun without an intent", call.operation)),
        }
    }
    let (in_window, doubts) = truth.open_blind(last);
    Expected { last, in_window, doubts }
}

/// Everything recovered is what was given, in order, without gaps.
fn entries(journal: &Journal, last: u64, truth: &Truth, figures: &mut Figures) {
    let covered = journal.checkpoints().newest_first().first().map_or(0, |file| file.header.sequence);
    let mut due = None;
    for replayed in journal.replay(1) {
        match replayed {
            Ok(Replayed::Entry { sequence, payload, .. }) => {
                if due.is_some_and(|due| due != sequence) {
                    figures.lost.push(format!("entry {sequence} follows where {due:?} was due"));
                }
                if truth.entry(sequence).is_none_or(|given| **given != *payload) {
                    figures.dishonest.push(format!("entry {sequence} is not what was given to the journal"));
                }
                if due.is_none() && sequence > covered + 1 {
                    figures.lost.push(format!("entries before {sequence} are gone, the checkpoint has {covered}"));
                }
                due = Some(sequence + 1);
            }
            other => figures.lost.push(format!("the journal gives {other:?}")),
        }
    }
    if last > truth.last() || due.unwrap_or(covered + 1) != last + 1 {
        figures.dishonest.push(format!("recovered through {last}, given {}, replayed up to {due:?}", truth.last()));
    }
}

/// Every acknowledged command is there, waiting or ended; every end told is still the end.
fn folded(state: &dyn Pairs, world: &World, figures: &mut Figures) {
    let view = View::new(state);
    let Ok(meta) = view.meta() else {
        figures.lost.push("the fold cannot be read".into());
        return;
    };
    if meta.deliveries_through < world.hub.acknowledged || meta.reports_last < world.hub.cursor() {
        figures.lost.push(format!(
            "acknowledged {}, folded {}; told {}, folded {}",
            world.hub.acknowledged,
            meta.deliveries_through,
            world.hub.cursor(),
            meta.reports_last
        ));
    }
    let unacknowledged: BTreeSet<CommandId> = world.hub.unacknowledged().collect();
    for (id, known) in &world.hub.commands {
        if unacknowledged.contains(id) {
            continue;
        }
        let live = view.command(id).ok().flatten();
        let stone = view.tombstone(id).ok().flatten();
        match (known.end(), &live, &stone) {
            (None, None, None) => figures.lost.push(format!("{id} was acknowledged, and is gone")),
            (Some(told), _, Some(stone)) if stone.state == told as u32 => {}
            (Some(told), ..) => {
                figures.dishonest.push(format!("{id} was told as {told:?}, and is {live:?} {stone:?}"));
            }
            (None, ..) => {}
        }
    }
}

/// Judges the running engine right after its recovery.
pub(crate) async fn recovered(daemon: &Daemon, expected: &Expected, figures: &mut Figures) -> anyhow::Result<()> {
    let listed = daemon.ask(EngineRequest::Doubts).await?;
    let mut due: BTreeSet<String> = BTreeSet::new();
    due.extend(expected.in_window.iter().chain(&expected.doubts).map(ToString::to_string));
    let found: Vec<String> = listed.into_iter().map(|doubt| doubt.command.command_id).collect();
    let unique: BTreeSet<String> = found.iter().cloned().collect();
    if unique != due || found.len() != due.len() {
        figures.dishonest.push(format!("in doubt are {due:?}, shown are {found:?}"));
    }
    for id in &expected.in_window {
        let written = daemon.live.truth().doubts_behind(expected.last, id);
        if written == 1 {
            figures.in_doubt += 1;
        } else {
            figures.dishonest.push(format!("{id} was cut in its window and written down as in doubt {written} times"));
        }
    }
    outbox(daemon, figures);
    Ok(())
}

/// Reports that the hub has are still the same ones.
fn outbox(daemon: &Daemon, figures: &mut Figures) {
    let kept = daemon.handle.outbox().read(1, 1_000, usize::MAX);
    let world = daemon.live.world();
    for (sequence, bytes) in kept {
        if world.hub.reports.get(&sequence).is_some_and(|told| **told != *bytes) {
            figures.dishonest.push(format!("report {sequence} was told otherwise before the cut"));
        }
    }
}

/// The lock server's count, at any time: no blind effect happened twice for one command.
pub(crate) fn counts(world: &World, figures: &mut Figures) {
    for (holder, written) in &world.site.encodes {
        let asked = wishes(world, holder, &Wish::Encode).count() as u64;
        if *written > asked {
            figures.doubled.push(format!("{written} cards for {holder}, {asked} asked for"));
        }
    }
    for (door, opened) in &world.site.openings {
        let asked = wishes(world, "", &Wish::Open(door.clone())).count() as u64;
        if *opened > asked {
            figures.doubled.push(format!("{door} was opened {opened} times, {asked} asked for"));
        }
    }
    for known in world.hub.commands.values() {
        let ends: BTreeSet<i32> =
            known.told.iter().filter(|state| is_final(**state)).map(|state| *state as i32).collect();
        if ends.len() > 1 {
            figures.dishonest.push(format!("{} was told with several ends: {:?}", known.issued.id, known.told));
        }
    }
}

fn wishes<'a>(world: &'a World, holder: &str, wish: &'a Wish) -> impl Iterator<Item = &'a Known> {
    let ids = world.hub.holders.get(holder).map(Vec::as_slice).unwrap_or_default();
    ids.iter().filter_map(|id| world.hub.commands.get(id)).filter(move |known| known.issued.wish == *wish)
}

/// Judges a world at rest: everything has ended, and what was told is what stands at the lock server.
pub(crate) fn at_rest(world: &World, figures: &mut Figures) {
    for known in world.hub.open() {
        figures.lost.push(format!("{} ({:?}) never ended: {:?}", known.issued.id, known.issued.wish, known.told));
    }
    for (holder, ids) in &world.hub.holders {
        let known: Vec<&Known> = ids.iter().filter_map(|id| world.hub.commands.get(id)).collect();
        for card in known.iter().filter(|known| known.issued.wish == Wish::Encode) {
            let written = world.site.encodes.get(holder).copied().unwrap_or(0);
            let agrees = match card.end() {
                Some(CommandState::Succeeded) => written == 1,
                Some(CommandState::Abandoned) => written <= 1,
                _ => written == 0,
            };
            if !agrees {
                figures.dishonest.push(format!("{holder}: {written} cards, told {:?}", card.told));
            }
        }
        standing(holder, &known, &world.site, figures);
    }
}

/// The last grant or revoke of a holder is what the lock server holds.
fn standing(holder: &str, known: &[&Known], site: &Site, figures: &mut Figures) {
    let rights = known.iter().rfind(|known| matches!(known.issued.wish, Wish::Grant(_) | Wish::Revoke));
    let Some(last) = rights.filter(|known| known.end() == Some(CommandState::Succeeded)) else { return };
    let mut found = site.doors(holder);
    found.sort();
    let wanted = match &last.issued.wish {
        Wish::Grant(doors) => doors.clone(),
        _ => Vec::new(),
    };
    if found != wanted {
        figures.lost.push(format!("{holder} was told to have {wanted:?}, and has {found:?}"));
    }
}

/// The working set on sled is the fold of the journal, pair by pair.
pub(crate) fn same_pairs(set: &dyn Pairs, memory: &super::state::MemoryState, figures: &mut Figures) {
    let held = set.pairs(&[], &[1], usize::MAX).unwrap_or_default();
    if held != memory.all() {
        figures.lost.push("the working set is not the fold of the journal".into());
    }
}
