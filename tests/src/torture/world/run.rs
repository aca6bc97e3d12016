//! The driver: runs of the daemon under load, each followed by sampled power cuts of its record; the next run begins on
//! one of the images that the cuts left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lockbridge::dispatch::{DoubtVerdict, EngineRequest};
use lockbridge::state::Origin;
use lockbridge_protocol::ids::CommandId;
use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use super::check;
use super::daemon::{Daemon, Folding, open};
use super::disk::PowerDisk;
use super::figures::Figures;
use super::ground::{Ground, LATE_CARD, Run, Standing, copy, follow, have_late_effects};
use super::hub::Wish;
use super::image::Follower;
use super::live::{Live, World};
use super::state::MemoryState;
use super::system::WorldSystem;

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
        let mut bench = Bench { ground: Ground::new(options.seed, options.lying_disk, lineage)?, figures };
        let mut standing = Standing::beginning();
        for run in 0..RUNS {
            if bench.figures.cuts >= options.cuts {
                break;
            }
            standing = bench
                .round(standing, run)
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

struct Bench {
    ground: Ground,
    figures: Figures,
}

/// What ended the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Power,
    Kill,
}

impl Bench {
    /// One run under load and its cuts; gives where the next run begins.
    async fn round(&mut self, standing: Standing, number: u64) -> anyhow::Result<Standing> {
        let run = self.ground.run(standing, number).await?;
        self.note_origin(run.origin.as_ref());
        self.figures.sessions += 1;
        self.figures.entries += run.entries;
        let one = Figures { dishonest: run.problems.clone(), ..Figures::default() };
        self.figures.add(one, &format!("lineage {} run {number}", self.ground.lineage));
        self.cuts(run).await
    }

    /// Cuts a run at sampled places.
    async fn cuts(&mut self, run: Run) -> anyhow::Result<Standing> {
        let Run { image, begun, record, opened_at, truth, directory, number, .. } = run;
        let mut places: Vec<usize> = (0..CUTS).map(|_| self.ground.random.random_range(0..=record.len())).collect();
        places.sort_unstable();
        let next = self.ground.random.random_range(0..places.len() + 2);
        let (commands, cards) = (begun.hub.commands.len() as u64, begun.site.cards());
        let (mut follower, mut world, mut done) = (Follower::new(&image), begun, 0);
        let mut chosen = None;
        for (index, cut) in places.iter().enumerate() {
            follow(&mut follower, &mut world, &record[done..*cut]);
            done = *cut;
            let left = follower.power_cut(&mut self.ground.random);
            let standing = self.ground.left(left, &world, &truth);
            self.figures.cuts_in_recovery += u64::from(*cut < opened_at);
            let name = format!("lineage {} run {number} cut {index} at {cut} of {}", self.ground.lineage, record.len());
            self.cut(&standing, &world, &directory, End::Power, &name).await?;
            if index == next {
                chosen = Some(standing);
            }
        }
        follow(&mut follower, &mut world, &record[done..]);
        self.figures.commands += world.hub.commands.len() as u64 - commands;
        self.figures.cards += world.site.cards() - cards;
        let mut killed = self.ground.left(follower.page_cache(), &world, &truth);
        let kept = self.ground.directory();
        copy(&directory, &kept)?;
        killed.set = Some(kept);
        let name = format!("lineage {} run {number} killed at {}", self.ground.lineage, record.len());
        self.cut(&killed, &world, &directory, End::Kill, &name).await?;
        let standing = chosen.unwrap_or(killed);
        self.ground.clean(standing.set.as_deref())?;
        Ok(standing)
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
        let disk = PowerDisk::new(&standing.image, self.ground.lying_disk);
        let live = Live::new(disk, standing.world.clone(), standing.truth.clone());
        let directory = self.ground.directory();
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
        let daemon = Daemon::start(Arc::clone(&live), opening, system, &self.ground.policy, None).await?;
        check::recovered(&daemon, &expected, one).await?;
        have_late_effects(&live, standing.late.clone());
        if self.ground.random.random_range(0..SETTLED) == 0 {
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
        match self.ground.random.random_range(0..10) {
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
            Some(Origin::Rebuilt { .. } | Origin::Memory { .. }) => self.figures.sets_rebuilt += 1,
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
