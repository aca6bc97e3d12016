//! The driver: runs of the daemon under load, each followed by sampled power cuts of its record; the next run begins on
//! one of the images that the cuts left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lockbridge::dispatch::{DoubtVerdict, EngineRequest};
use lockbridge::state::Origin;
use lockbridge::system::Operation;
use lockbridge_protocol::ids::CommandId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::authority::START_MS;
use super::check;
use super::daemon::{Daemon, Folding, POLICY, open, pause};
use super::disk::{Event, PowerDisk};
use super::figures::Figures;
use super::hub::Wish;
use super::image::{Follower, Image};
use super::live::{Live, Mark, What, World};
use super::load::Load;
use super::site::is_blind;
use super::state::MemoryState;
use super::system::WorldSystem;
use super::truth::Truth;

/// Runs before a lineage of disks ends and a new one begins.
const RUNS: u64 = 12;
/// Cuts sampled from each run.
const CUTS: u64 = 25;
/// One recovery in so many is run until nothing is left to do.
const SETTLED: u64 = 5;
/// Longest time, by the world's clock, until everything has ended.
const REST: Duration = Duration::from_secs(3_600);
/// A person looks at doubts that the lock server has not settled by then.
const PERSON: Duration = Duration::from_secs(150);
/// Latest end of a card that was being written when the daemon died; an encoder waits no longer.
const LATE_CARD: Duration = Duration::from_secs(25);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many power cuts.
    pub cuts: u64,
    /// Draws loads, disks and cuts. The journal's threads keep their own time, so a replay meets the same load and not the
    /// same order of every operation.
    pub seed: u64,
    /// The disk promises flushes and does not do them: a checker that works finds lost commands.
    pub lying_disk: bool,
}

/// A world between two runs of the daemon.
#[derive(Debug, Clone, Default)]
struct Standing {
    image: Image,
    world: World,
    truth: Truth,
    /// Requests that were under way, and may yet have their effect.
    late: Vec<(Duration, Arc<Operation>)>,
    /// The working set of the last run, when only the process died.
    set: Option<PathBuf>,
}

/// Runs it; `say` gets a line now and then. Everything happens on this thread's own paused runtime.
pub fn power(options: Options, say: impl Fn(&str)) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(lineages(options, &say))
}

async fn lineages(options: Options, say: &impl Fn(&str)) -> anyhow::Result<Figures> {
    let begun = std::time::Instant::now();
    let mut figures = Figures { seed: options.seed, ..Figures::default() };
    let mut said = 0;
    for lineage in 0.. {
        let folder = folder()?;
        let policy = folder.path().join("policy.toml");
        std::fs::write(&policy, POLICY)?;
        let mut bench =
            Bench { options, lineage, folder, policy, directories: 0, figures, random: seeded(&options, &[lineage]) };
        let mut standing = Standing { world: World { now_ms: START_MS, ..World::default() }, ..Standing::default() };
        for run in 0..RUNS {
            if bench.figures.cuts >= options.cuts {
                break;
            }
            standing = bench
                .run(standing, run)
                .await
                .with_context(|| format!("lineage {lineage}, run {run} of seed {}", options.seed))?;
        }
        figures = bench.figures;
        figures.seconds = begun.elapsed().as_secs_f64();
        if figures.cuts >= options.cuts {
            break;
        }
        if figures.cuts >= said + 1_000 {
            said = figures.cuts;
            say(&format!("{} of {} cuts, {} in a window", figures.cuts, options.cuts, figures.in_window));
        }
    }
    Ok(figures)
}

/// In memory where there is a place for it: nothing here rests on the machine's disk.
fn folder() -> std::io::Result<TempDir> {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }
}

fn seeded(options: &Options, path: &[u64]) -> StdRng {
    let mixed = path.iter().fold(options.seed, |seed, step| {
        (seed ^ step.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    });
    StdRng::seed_from_u64(mixed)
}

struct Bench {
    options: Options,
    lineage: u64,
    folder: TempDir,
    policy: PathBuf,
    directories: u64,
    figures: Figures,
    random: StdRng,
}

/// What ended the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Power,
    Kill,
}

impl Bench {
    fn directory(&mut self) -> PathBuf {
        self.directories += 1;
        self.folder.path().join(format!("state-{}", self.directories))
    }

    /// One run of the daemon under load on what stands, and its cuts; gives where the next run begins.
    async fn run(&mut self, standing: Standing, number: u64) -> anyhow::Result<Standing> {
        let random = |part: u64| seeded(&self.options, &[self.lineage, number, part]);
        let (load, faults, pauses) = (random(1), random(2), random(3));
        let disk = PowerDisk::new(&standing.image, self.options.lying_disk);
        let directory = self.directory();
        if let Some(set) = &standing.set {
            std::fs::rename(set, &directory).context("take over the state folder")?;
        }
        let live = Live::new(disk, standing.world, standing.truth);
        let begun = live.world().clone();
        let opening = open(&live, &directory, Folding::Sled)?;
        self.note_origin(opening.origin.as_ref());
        live.truth().truncate(opening.opened.last_sequence);
        let opened_at = live.disk.length();
        let system = WorldSystem::new(Arc::clone(&live), Some(faults));
        let daemon = Daemon::start(Arc::clone(&live), opening, system, &self.policy, Some(pauses)).await?;
        let before = live.truth().last();
        have_late_effects(&live, standing.late);
        let acts = self.random.random_range(10..60);
        Load::new(self.lineage * 1_000 + number, load).run(&daemon, acts).await?;
        sleep(pause(&mut self.random, Duration::from_millis(40))).await;
        let end = live.disk.length();
        daemon.kill().await;
        let mut record = live.disk.take_record();
        record.truncate(end);
        let truth = live.truth().clone();
        self.figures.sessions += 1;
        self.figures.entries += truth.last() - before;
        let mut one = Figures::default();
        one.dishonest.extend(live.take_problems());
        self.figures.add(one, &format!("lineage {} run {number}", self.lineage));
        let place = Place { image: standing.image, begun, record, opened_at, truth, directory, number };
        self.cuts(place).await
    }

    /// Cuts a run at sampled places.
    async fn cuts(&mut self, place: Place) -> anyhow::Result<Standing> {
        let Place { image, begun, record, opened_at, truth, directory, number } = place;
        let count = CUTS.min(self.options.cuts - self.figures.cuts.min(self.options.cuts)).max(1);
        let mut places: Vec<usize> = (0..count).map(|_| self.random.random_range(0..=record.len())).collect();
        places.sort_unstable();
        let next = self.random.random_range(0..places.len() + 2);
        let (commands, cards) = (begun.hub.commands.len() as u64, begun.site.cards());
        let (mut follower, mut world, mut done) = (Follower::new(&image), begun, 0);
        let mut chosen = None;
        for (index, cut) in places.iter().enumerate() {
            follow(&mut follower, &mut world, &record[done..*cut]);
            done = *cut;
            let left = follower.power_cut(&mut self.random);
            let standing = self.left(left, &world, &truth);
            self.figures.cuts_in_recovery += u64::from(*cut < opened_at);
            let name = format!("lineage {} run {number} cut {index} at {cut} of {}", self.lineage, record.len());
            self.cut(&standing, &world, &directory, End::Power, &name).await?;
            if index == next {
                chosen = Some(standing);
            }
        }
        follow(&mut follower, &mut world, &record[done..]);
        self.figures.commands += world.hub.commands.len() as u64 - commands;
        self.figures.cards += world.site.cards() - cards;
        let mut killed = self.left(follower.page_cache(), &world, &truth);
        let kept = self.directory();
        copy(&directory, &kept)?;
        killed.set = Some(kept);
        let name = format!("lineage {} run {number} killed at {}", self.lineage, record.len());
        self.cut(&killed, &world, &directory, End::Kill, &name).await?;
        let standing = chosen.unwrap_or(killed);
        self.clean(standing.set.as_deref())?;
        Ok(standing)
    }

    /// What stands after a cut: requests under way may still have their effect.
    fn left(&mut self, image: Image, world: &World, truth: &Truth) -> Standing {
        let mut standing = Standing { image, world: world.clone(), truth: truth.clone(), late: Vec::new(), set: None };
        for operation in standing.world.end_calls() {
            if self.random.random_range(0..2) == 0 {
                if is_blind(&operation) {
                    standing.late.push((pause(&mut self.random, LATE_CARD), operation));
                } else {
                    // A lock server ends a request that it has before it takes one of a later connection.
                    standing.world.site.apply(&operation);
                }
            }
        }
        standing
    }

    /// Starts the daemon on what a cut left, and judges.
    async fn cut(
        &mut self,
        standing: &Standing,
        world: &World,
        last_run: &Path,
        end: End,
        name: &str,
    ) -> anyhow::Result<()> {
        let mut one = Figures::default();
        if let Err(error) = self.recover(standing, world, last_run, end, &mut one).await {
            one.lost.push(format!("no recovery: {error:#}"));
        }
        if end == End::Power {
            self.figures.cuts += 1;
        } else {
            self.figures.kills += 1;
        }
        self.figures.add(one, name);
        Ok(())
    }

    async fn recover(
        &mut self,
        standing: &Standing,
        world: &World,
        last_run: &Path,
        end: End,
        one: &mut Figures,
    ) -> anyhow::Result<()> {
        let disk = PowerDisk::new(&standing.image, self.options.lying_disk);
        let live = Live::new(disk, standing.world.clone(), standing.truth.clone());
        let directory = self.directory();
        let folding = self.working_set(last_run, &directory, end)?;
        let opening = open(&live, &directory, folding)?;
        if folding == Folding::Sled {
            self.note_origin(opening.origin.as_ref());
            check::same_pairs(&*opening.state, &MemoryState::fold(&opening.journal)?, one);
        }
        let expected = check::opened(&opening, world, &standing.truth, one);
        self.figures.in_window += u64::from(!expected.in_window.is_empty());
        self.figures.window_attempts += expected.in_window.len() as u64;
        live.truth().truncate(expected.last);
        let system = WorldSystem::new(Arc::clone(&live), None);
        let daemon = Daemon::start(Arc::clone(&live), opening, system, &self.policy, None).await?;
        check::recovered(&daemon, &expected, one).await?;
        have_late_effects(&live, standing.late.clone());
        if self.random.random_range(0..SETTLED) == 0 {
            self.settle(&daemon, one).await?;
        } else {
            daemon.connect().await?;
        }
        check::counts(&live.world(), one);
        one.dishonest.extend(live.take_problems());
        daemon.kill().await;
        std::fs::remove_dir_all(&directory).context("remove a state folder")?;
        Ok(())
    }

    /// What a recovery finds of the working set. A power cut means another boot of the machine: what sled left behind, which
    /// may be ahead of the journal, must not be believed.
    fn working_set(&mut self, last_run: &Path, directory: &Path, end: End) -> anyhow::Result<Folding> {
        if end == End::Kill {
            copy(last_run, directory)?;
            return Ok(Folding::Sled);
        }
        match self.random.random_range(0..10) {
            0 => {
                copy(last_run, directory)?;
                std::fs::write(directory.join("working-set.trust"), "00000000-0000-4000-8000-000000000000 0")?;
                Ok(Folding::Sled)
            }
            // As if the boot could not be told apart: what stands in it is held against the journal.
            1 => {
                copy(last_run, directory)?;
                Ok(Folding::Sled)
            }
            2 => Ok(Folding::Sled),
            _ => Ok(Folding::Memory),
        }
    }

    fn note_origin(&mut self, origin: Option<&Origin>) {
        match origin {
            Some(Origin::Kept) => self.figures.sets_kept += 1,
            Some(Origin::Rebuilt { .. }) => self.figures.sets_rebuilt += 1,
            None => {}
        }
    }

    /// Lets everything come to an end, faults being over, and judges the world at rest.
    async fn settle(&mut self, daemon: &Daemon, one: &mut Figures) -> anyhow::Result<()> {
        daemon.connect().await?;
        let begun = Instant::now();
        loop {
            let status = daemon.status().await?;
            let open = daemon.live.world().hub.open().count();
            if open == 0 && status.queued == 0 && status.executing == 0 && status.in_doubt == 0 {
                break;
            }
            if begun.elapsed() > REST {
                one.lost.push(format!("not at rest after {REST:?}: {status:?}"));
                break;
            }
            if begun.elapsed() > PERSON && status.in_doubt > 0 {
                person(daemon).await?;
            }
            sleep(Duration::from_secs(3)).await;
        }
        daemon.acknowledge_reports().await?;
        sleep(LATE_CARD).await;
        self.figures.settled += 1;
        check::at_rest(&daemon.live.world(), one);
        Ok(())
    }

    /// Removes the folders of this lineage but the one that is still needed.
    fn clean(&self, keep: Option<&Path>) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.is_dir() && Some(path.as_path()) != keep {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

/// A run that ended, to be cut.
struct Place {
    image: Image,
    begun: World,
    record: Vec<Event<Mark>>,
    opened_at: usize,
    truth: Truth,
    directory: PathBuf,
    number: u64,
}

fn follow(follower: &mut Follower, world: &mut World, events: &[Event<Mark>]) {
    for event in events {
        match event {
            Event::Disk(operation) => follower.apply(operation),
            Event::Mark(mark) => world.take(mark),
        }
    }
}

/// Requests of the daemon that died, which the lock server still had.
fn have_late_effects(live: &Arc<Live>, late: Vec<(Duration, Arc<Operation>)>) {
    for (pause, operation) in late {
        let live = Arc::clone(live);
        tokio::spawn(async move {
            sleep(pause).await;
            live.happen(What::Effect { call: u64::MAX, operation });
        });
    }
}

/// A person looks at what the lock server could not settle, and says what is there.
async fn person(daemon: &Daemon) -> anyhow::Result<()> {
    for doubt in daemon.ask(EngineRequest::Doubts).await? {
        let Ok(id) = uuid::Uuid::parse_str(&doubt.command.command_id) else { continue };
        let command_id = CommandId(id.into_bytes());
        let verdict = {
            let world = daemon.live.world();
            let wish = world.hub.commands.get(&command_id).map(|known| known.issued.clone());
            match wish {
                Some(issued) if issued.wish == Wish::Encode => {
                    let written = world.site.encodes.contains_key(&issued.holder);
                    if written { DoubtVerdict::Done } else { DoubtVerdict::NotDone }
                }
                _ => DoubtVerdict::Unsure,
            }
        };
        let who = "uid 1000".to_owned();
        let resolved = daemon.ask(|done| EngineRequest::Resolve { command_id, verdict, who, done }).await?;
        if let Err(error) = resolved {
            daemon.live.problem(format!("the doubt {command_id} could not be settled: {error}"));
        }
    }
    Ok(())
}

/// Copies the state folder without its journal, which is on the disk of the world.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
