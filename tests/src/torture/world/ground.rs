//! One lineage of disks: runs of the daemon under load, one after the other, and the folders they need.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lockbridge::state::Origin;
use lockbridge::system::Operation;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::time::sleep;

use super::authority::START_MS;
use super::daemon::{Daemon, Folding, POLICY, open, pause};
use super::disk::{Event, PowerDisk};
use super::image::{Follower, Image};
use super::live::{Live, Mark, What, World};
use super::load::Load;
use super::site::is_blind;
use super::system::WorldSystem;
use super::truth::Truth;

/// Latest end of a card that was being written when the daemon died; an encoder waits no longer.
pub(crate) const LATE_CARD: Duration = Duration::from_secs(25);

/// A world between two runs of the daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) image: Image,
    pub(crate) world: World,
    pub(crate) truth: Truth,
    /// Requests that were under way, and may yet have their effect.
    pub(crate) late: Vec<(Duration, Arc<Operation>)>,
    /// The working set of the last run, when only the process died.
    pub(crate) set: Option<PathBuf>,
}

impl Standing {
    /// A world in which nothing has happened, and an empty disk.
    pub(crate) fn beginning() -> Self {
        Self { world: World { now_ms: START_MS, ..World::default() }, ..Self::default() }
    }
}

/// A run of the daemon that ended, as it can be cut.
pub(crate) struct Run {
    /// What the disk held when it began.
    pub(crate) image: Image,
    /// The world when it began.
    pub(crate) begun: World,
    /// Everything that happened until the daemon was killed.
    pub(crate) record: Vec<Event<Mark>>,
    /// Where in the record the engine began.
    pub(crate) opened_at: usize,
    /// Every entry it gave its journal, and those before.
    pub(crate) truth: Truth,
    /// Its state folder, without the journal.
    pub(crate) directory: PathBuf,
    /// Which of the lineage.
    pub(crate) number: u64,
    /// Where its working set came from.
    pub(crate) origin: Option<Origin>,
    /// Entries under load.
    pub(crate) entries: u64,
    /// What was seen on the way and must not be.
    pub(crate) problems: Vec<String>,
}

/// The place of a lineage.
pub(crate) struct Ground {
    seed: u64,
    pub(crate) lying_disk: bool,
    pub(crate) lineage: u64,
    folder: TempDir,
    pub(crate) policy: PathBuf,
    directories: u64,
    pub(crate) random: StdRng,
}

impl Ground {
    /// Makes it, on memory where there is a place for it: nothing here rests on the machine's disk.
    pub(crate) fn new(seed: u64, lying_disk: bool, lineage: u64) -> anyhow::Result<Self> {
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }?;
        let policy = folder.path().join("policy.toml");
        std::fs::write(&policy, POLICY)?;
        Ok(Self { seed, lying_disk, lineage, folder, policy, directories: 0, random: seeded(seed, &[lineage]) })
    }

    /// A folder that is not there yet.
    pub(crate) fn directory(&mut self) -> PathBuf {
        self.directories += 1;
        self.folder.path().join(format!("state-{}", self.directories))
    }

    /// One run of the daemon under load on what stands, until it is killed.
    pub(crate) async fn run(&mut self, standing: Standing, number: u64) -> anyhow::Result<Run> {
        let random = |part: u64| seeded(self.seed, &[self.lineage, number, part]);
        let (load, faults, pauses) = (random(1), random(2), random(3));
        let disk = PowerDisk::new(&standing.image, self.lying_disk);
        let directory = self.directory();
        if let Some(set) = &standing.set {
            std::fs::rename(set, &directory).context("take over the state folder")?;
        }
        let live = Live::new(disk, standing.world, standing.truth);
        let begun = live.world().clone();
        let opening = open(&live, &directory, Folding::Sled)?;
        let origin = opening.origin.clone();
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
        Ok(Run {
            image: standing.image,
            begun,
            record,
            opened_at,
            entries: truth.last() - before,
            truth,
            directory,
            number,
            origin,
            problems: live.take_problems(),
        })
    }

    /// What stands after a cut: requests under way may still have their effect.
    pub(crate) fn left(&mut self, image: Image, world: &World, truth: &Truth) -> Standing {
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

    /// Removes the folders of this lineage but the one that is still needed.
    pub(crate) fn clean(&self, keep: Option<&Path>) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.is_dir() && Some(path.as_path()) != keep {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

fn seeded(seed: u64, path: &[u64]) -> StdRng {
    let mixed = path
        .iter()
        .fold(seed, |seed, step| (seed ^ step.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23));
    StdRng::seed_from_u64(mixed)
}

/// Takes a part of a record.
pub(crate) fn follow(follower: &mut Follower, world: &mut World, events: &[Event<Mark>]) {
    for event in events {
        match event {
            Event::Disk(operation) => follower.apply(operation),
            Event::Mark(mark) => world.take(mark),
        }
    }
}

/// Requests of the daemon that died, which the lock server still had.
pub(crate) fn have_late_effects(live: &Arc<Live>, late: Vec<(Duration, Arc<Operation>)>) {
    for (pause, operation) in late {
        let live = Arc::clone(live);
        tokio::spawn(async move {
            sleep(pause).await;
            live.happen(What::Effect { call: u64::MAX, operation });
        });
    }
}

/// Copies the state folder without its journal, which is on the disk of the world.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
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
