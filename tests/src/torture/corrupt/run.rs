//! The driver: runs of the daemon make folders, each is damaged many times, the next run goes on with the sound one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lockbridge::state::Pair;
use lockbridge_protocol::journal::StoreId;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use super::figures::Figures;
use super::judge::{Sound, judge};
use super::wound::{Sources, WOUNDS, damage, damage_set};
use crate::torture::world::daemon::{Folding, open};
use crate::torture::world::disk::PowerDisk;
use crate::torture::world::ground::{Ground, Standing, copy, follow};
use crate::torture::world::image::{Follower, Image};
use crate::torture::world::live::{Live, Mark, World};
use crate::torture::world::state::MemoryState;
use crate::torture::world::truth::Truth;

/// Runs before a lineage of folders ends and a new one begins.
const RUNS: u64 = 8;
/// Corruptions of the folder after each run.
const CORRUPTIONS: u64 = 40;
/// Earlier images kept, for stale files.
const EARLIER: usize = 4;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many corruptions.
    pub count: u64,
    /// Draws loads and wounds.
    pub seed: u64,
}

/// Runs it; `say` gets a line now and then. Everything happens on this thread's own paused runtime.
pub fn corrupt(options: Options, say: impl Fn(&str)) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(lineages(options, &say))
}

/// A folder to be damaged.
struct Folder {
    image: Image,
    state: PathBuf,
    world: World,
    truth: Truth,
    pairs: Vec<Pair>,
    store_id: StoreId,
}

async fn lineages(options: Options, say: &impl Fn(&str)) -> anyhow::Result<Figures> {
    let begun = std::time::Instant::now();
    let mut figures = Figures { seed: options.seed, ..Figures::default() };
    // The lineage before lends its last folder as another journal's.
    let mut before: Option<(Ground, PathBuf, Image)> = None;
    for lineage in 0.. {
        let mut ground = Ground::new(options.seed, false, lineage)?;
        let mut standing = Standing::beginning();
        let mut earlier: Vec<Image> = Vec::new();
        let mut last = None;
        for run in 0..RUNS {
            let name = || format!("lineage {lineage}, run {run} of seed {}", options.seed);
            let (folders, next) = make(&mut ground, standing, run).await.with_context(name)?;
            figures.sessions += 1;
            for number in 0..CORRUPTIONS {
                if figures.corruptions >= options.count {
                    break;
                }
                let Some(folder) = folders.get(usize::from(number % 2 == 1)) else { break };
                let foreign = before.as_ref().map(|(_, state, image)| (state.as_path(), image));
                let name = format!("lineage {lineage} run {run} corruption {number}");
                one(&mut ground, folder, &earlier, foreign, &name, &mut figures).await?;
            }
            if earlier.len() == EARLIER {
                earlier.remove(0);
            }
            earlier.extend(folders.first().map(|folder| folder.image.clone()));
            ground.clean(next.set.as_deref())?;
            last = Some(next.clone());
            standing = next;
        }
        figures.seconds = begun.elapsed().as_secs_f64();
        say(&format!("{} of {} corruptions", figures.corruptions, options.count));
        if figures.corruptions >= options.count {
            break;
        }
        before = last.and_then(|standing| Some((ground, standing.set?, standing.image)));
    }
    Ok(figures)
}

/// Runs the daemon, and gives its folder as the kill left it, the same after an orderly close, and where to go on.
async fn make(ground: &mut Ground, standing: Standing, number: u64) -> anyhow::Result<(Vec<Folder>, Standing)> {
    let run = ground.run(standing, number).await?;
    let (mut follower, mut world) = (Follower::new(&run.image), run.begun);
    follow(&mut follower, &mut world, &run.record);
    let image = follower.page_cache();
    let next = ground.directory();
    copy(&run.directory, &next)?;
    let closed = ground.directory();
    copy(&run.directory, &closed)?;

    let live = Live::new(PowerDisk::<Mark>::new(&image, false), world.clone(), run.truth.clone());
    let opening = open(&live, &closed, Folding::Sled)?;
    anyhow::ensure!(opening.opened.damage.is_empty() && opening.lost.is_empty(), "a sound folder was called damaged");
    let store_id = opening.opened.store_id;
    let mut truth = run.truth;
    truth.truncate(opening.opened.last_sequence);
    let pairs = MemoryState::fold(&opening.journal)?.all();
    opening.state.close();
    drop(opening.journal);
    let closed_image = live.disk.image();

    world.end_calls();
    let folder = |image: &Image, state: PathBuf| Folder {
        image: image.clone(),
        state,
        world: world.clone(),
        truth: truth.clone(),
        pairs: pairs.clone(),
        store_id,
    };
    let folders = vec![folder(&image, run.directory), folder(&closed_image, closed)];
    let standing = Standing { image, world: world.clone(), truth: truth.clone(), late: Vec::new(), set: Some(next) };
    Ok((folders, standing))
}

/// Damages a folder in one or two ways, and judges.
async fn one(
    ground: &mut Ground,
    folder: &Folder,
    earlier: &[Image],
    foreign: Option<(&Path, &Image)>,
    name: &str,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let state = ground.directory();
    copy(&folder.state, &state)?;
    let mut image = folder.image.clone();
    let sources = Sources { earlier, foreign: foreign.map(|(_, image)| image) };
    let mut told = Vec::new();
    for _ in 0..if ground.random.random_range(0..4) == 0 { 2 } else { 1 } {
        let wound = WOUNDS.choose(&mut ground.random).copied().unwrap_or(WOUNDS[0]);
        let done = if wound.of_set() {
            damage_set(&state, wound, foreign.map(|(state, _)| state), &mut ground.random)?
        } else {
            damage(&mut image, wound, &sources, &mut ground.random)
        };
        if let Some(done) = done {
            *figures.by_wound.entry(wound.name()).or_default() += 1;
            told.push(format!("{}: {done}", wound.name()));
        }
    }
    if told.is_empty() {
        std::fs::remove_dir_all(&state)?;
        return Ok(());
    }
    figures.corruptions += 1;
    let mut brought = Figures::default();
    let sound = Sound { world: &folder.world, truth: &folder.truth, pairs: &folder.pairs, store_id: folder.store_id };
    judge(&sound, &image, &state, &ground.policy, &mut brought).await;
    figures.add(brought, &format!("{name} ({})", told.join("; ")));
    std::fs::remove_dir_all(&state).context("remove a damaged folder")?;
    Ok(())
}
