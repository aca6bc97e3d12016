//! Power cuts, simulated: a disk in memory that keeps what was flushed apart from what was only written, and at a chosen
//! operation leaves behind what a machine without power could: any un-flushed 512-byte sectors, any number of the last
//! directory changes. The next session starts on that, and is cut off in turn, recovery included.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;

use super::tests::{append, entries, small};
use super::*;

const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
struct Inode {
    data: Vec<u8>,
    flushed: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Name(PathBuf, u64),
    Forget(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Clone, Default)]
struct World {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    flushed_names: BTreeMap<PathBuf, u64>,
    pending: Vec<Change>,
    random: u64,
}

impl World {
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).expect("31 bits") % below.max(1)
    }

    fn change(names: &mut BTreeMap<PathBuf, u64>, change: &Change) {
        match change {
            Change::Name(path, inode) => drop(names.insert(path.clone(), *inode)),
            Change::Forget(path) => drop(names.remove(path)),
            Change::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }

    /// What is left when the power fails now.
    fn after_power_cut(&mut self) -> Self {
        let survivors = self.random(self.pending.len() + 1);
        let mut names = self.flushed_names.clone();
        self.pending[..survivors].iter().for_each(|change| Self::change(&mut names, change));
        // None, some or all of what was not flushed.
        let share = [0, 50, 90, 100][self.random(4)];
        let mut inodes = BTreeMap::new();
        for (number, mut inode) in self.inodes.clone() {
            let mut data = inode.flushed.clone();
            for sector in std::mem::take(&mut inode.dirty) {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(inode.data.len());
                if self.random(100) < share && !range.is_empty() {
                    data.resize(data.len().max(range.end), 0);
                    data[range.clone()].copy_from_slice(&inode.data[range]);
                }
            }
            inodes.insert(number, Inode { flushed: data.clone(), data, dirty: BTreeSet::new() });
        }
        Self { inodes, flushed_names: names.clone(), names, pending: Vec::new(), random: self.random }
    }
}

/// The disk of one session.
#[derive(Debug)]
struct CrashDisk {
    world: Mutex<World>,
    operations_left: AtomicU64,
    /// Set by the session: everything up to here was acknowledged.
    acknowledged: AtomicU64,
    /// What the cut left, and what had been acknowledged before it.
    cut: Mutex<Option<(World, u64)>>,
}

impl CrashDisk {
    fn new(world: World, operations: u64) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            operations_left: AtomicU64::new(operations),
            acknowledged: AtomicU64::new(0),
            cut: Mutex::new(None),
        })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no holder panicked")
    }

    /// Counts an operation; the power fails before it takes effect. The session goes on, for nothing.
    fn operation(&self) -> MutexGuard<'_, World> {
        let mut world = self.world();
        if self.operations_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let acknowledged = self.acknowledged.load(Ordering::SeqCst);
            *self.cut.lock().expect("no holder panicked") = Some((world.after_power_cut(), acknowledged));
        }
        world
    }

    /// What the cut left; when it was not reached, the power fails now.
    fn into_cut(self: Arc<Self>) -> (World, u64) {
        let cut = self.cut.lock().expect("no holder panicked").take();
        cut.unwrap_or_else(|| (self.world().after_power_cut(), self.acknowledged.load(Ordering::SeqCst)))
    }
}

#[derive(Debug)]
struct SharedDisk(Arc<CrashDisk>);

#[derive(Debug)]
struct CrashFile(Arc<CrashDisk>, u64);

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SharedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.0.operation();
        let number = world.inodes.keys().last().map_or(1, |last| last + 1);
        world.inodes.insert(number, Inode::default());
        world.names.insert(path.to_owned(), number);
        world.pending.push(Change::Name(path.to_owned(), number));
        Ok(Box::new(CrashFile(Arc::clone(&self.0), number)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let number = *self.0.world().names.get(path).ok_or_else(missing)?;
        Ok(Box::new(CrashFile(Arc::clone(&self.0), number)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.operation();
        let number = world.names.remove(from).ok_or_else(missing)?;
        world.names.insert(to.to_owned(), number);
        world.pending.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.operation();
        world.names.remove(path).ok_or_else(missing)?;
        world.pending.push(Change::Forget(path.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        let mut world = self.0.operation();
        world.flushed_names = world.names.clone();
        world.pending.clear();
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let world = self.0.world();
        let names = world.names.keys().filter_map(|name| name.strip_prefix(path).ok());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl DiskFile for CrashFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.0.world();
        let data = &world.inodes[&self.1].data;
        let begin = usize::try_from(offset).expect("small").min(data.len());
        let count = into.len().min(data.len() - begin);
        into[..count].copy_from_slice(&data[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.0.operation();
        let inode = world.inodes.get_mut(&self.1).expect("open files have inodes");
        let begin = usize::try_from(offset).expect("small");
        inode.data.resize(inode.data.len().max(begin + bytes.len()), 0);
        inode.data[begin..begin + bytes.len()].copy_from_slice(bytes);
        inode.dirty.extend(begin / SECTOR..(begin + bytes.len()).div_ceil(SECTOR));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.0.operation();
        let inode = world.inodes.get_mut(&self.1).expect("open files have inodes");
        inode.flushed.clone_from(&inode.data);
        inode.dirty.clear();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.world().inodes[&self.1].data.len() as u64)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What was acknowledged before the power failed is there afterwards, in order, unaltered; nothing is called damage.
    #[test]
    fn acknowledged_entries_survive_power_cuts(
        seed: u64, sessions in prop::collection::vec((1_u64..120, 0_usize..60, 1_usize..8), 1..7),
    ) {
        let state = tempfile::tempdir().expect("a directory");
        let mut world = World { random: seed, ..World::default() };
        // Of each sequence: every payload ever appended under it. The last one that was acknowledged must be there.
        let mut appended: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        let mut sure: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut given_up = 0;
        for (number, (operations, count, batch)) in sessions.into_iter().enumerate() {
            let disk = CrashDisk::new(world, operations);
            let opened = Journal::open(state.path(), small(Arc::new(SharedDisk(Arc::clone(&disk)))));
            let (journal, opened) = opened.expect("opens after any power cut");
            prop_assert_eq!(&opened.damage, &Vec::new(), "a power cut is not damage");
            let given = entries(&journal, 0);
            let first = given.first().map_or(1, |(sequence, _)| *sequence);
            prop_assert!(first <= given_up + 1, "{} is gone, and only up to {} was given up", first - 1, given_up);
            for (sequence, payload) in sure.range(first..) {
                let place = usize::try_from(*sequence - first).expect("small");
                prop_assert_eq!(given.get(place), Some(&(*sequence, payload.clone())), "acknowledged, and gone");
            }
            for ((sequence, payload), due) in given.iter().zip(first..) {
                prop_assert_eq!(*sequence, due, "in order, without gaps");
                prop_assert!(appended[sequence].contains(payload), "nobody appended that");
            }
            prop_assert!(!given.is_empty() || sure.keys().all(|sequence| *sequence <= given_up));
            // What was given is durable from now on, whatever comes.
            let mut candidates: BTreeMap<u64, Vec<u8>> = given.into_iter().collect();
            disk.acknowledged.store(opened.last_sequence, Ordering::SeqCst);
            for entry in 0..count {
                let payload = format!("session {number} entry {entry} {}", "y".repeat((entry * 37) % 400)).into_bytes();
                let sequence = append(&journal, &payload, Reserve::Ordinary).expect("appended");
                appended.entry(sequence).or_default().push(payload.clone());
                candidates.insert(sequence, payload);
                if entry % batch == batch - 1 {
                    prop_assert!(journal.wait_durable(sequence, Duration::from_secs(20)));
                    disk.acknowledged.store(sequence, Ordering::SeqCst);
                    if entry % 7 == 0 {
                        // As a checkpoint of that entry would.
                        given_up = given_up.max(sequence.saturating_sub(10));
                        journal.retire(given_up, 0);
                    }
                }
            }
            drop(journal);
            let (left, acknowledged) = disk.into_cut();
            candidates.retain(|sequence, _| *sequence <= acknowledged);
            sure.extend(candidates);
            world = left;
        }
    }
}
