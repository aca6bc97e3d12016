//! What a disk holds, and what a power cut leaves of it.
//!
//! A cut takes what was never flushed: none of it, all of it, any 512-byte sectors, or all of it up to one write; and of the
//! directory's changes any that came last, down to those that were flushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::disk::{Inode, Operation, overwrite};

const SECTOR: usize = 512;

/// The files of the journal's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<String, Arc<Vec<u8>>>,
}

/// A disk followed through its record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Follower {
    files: BTreeMap<Inode, Followed>,
    names: BTreeMap<String, Inode>,
    /// Changes of names since the directory was flushed, oldest first.
    changes: Vec<Operation>,
}

#[derive(Debug, Clone, Default)]
struct Followed {
    flushed: Arc<Vec<u8>>,
    /// Writes since then, oldest first.
    pending: Vec<(usize, Arc<[u8]>)>,
}

impl Follower {
    /// Begins with `image`, all of it flushed. Numbers the files as [`PowerDisk::new`](super::disk::PowerDisk::new) does.
    pub(crate) fn new(image: &Image) -> Self {
        let mut follower = Self::default();
        for (number, (name, data)) in (1..).zip(&image.files) {
            follower.names.insert(name.clone(), number);
            follower.files.insert(number, Followed { flushed: Arc::clone(data), pending: Vec::new() });
        }
        follower
    }

    /// Takes the next operation.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write(inode, begin, bytes) => {
                self.files.entry(*inode).or_default().pending.push((*begin, Arc::clone(bytes)));
            }
            Operation::Sync(inode) => {
                let file = self.files.entry(*inode).or_default();
                let data = Arc::make_mut(&mut file.flushed);
                for (begin, bytes) in file.pending.drain(..) {
                    overwrite(data, begin, &bytes);
                }
            }
            Operation::SyncDirectory => {
                for change in std::mem::take(&mut self.changes) {
                    rename(&mut self.names, &change);
                }
            }
            Operation::Create(_, inode) => {
                self.files.insert(*inode, Followed::default());
                self.changes.push(operation.clone());
            }
            Operation::Rename(..) | Operation::Remove(_) => self.changes.push(operation.clone()),
        }
    }

    /// What the kernel holds: what is left when only the process dies.
    pub(crate) fn page_cache(&self) -> Image {
        self.left(self.changes.len(), |file| {
            let mut data = file.flushed.to_vec();
            file.pending.iter().for_each(|(begin, bytes)| overwrite(&mut data, *begin, bytes));
            data
        })
    }

    /// One of the images a power cut could leave here.
    pub(crate) fn power_cut(&self, random: &mut StdRng) -> Image {
        let changes = match random.random_range(0..4) {
            0 => 0,
            1 => self.changes.len(),
            _ => random.random_range(0..=self.changes.len()),
        };
        let how = random.random_range(0..5);
        self.left(changes, |file| {
            let mut data = file.flushed.to_vec();
            let survivors = match how {
                0 => 0,
                1 => random.random_range(0..=file.pending.len()),
                _ => file.pending.len(),
            };
            let share = [100, 100, 100, 50, 90][how];
            for (begin, bytes) in &file.pending[..survivors] {
                tear(&mut data, *begin, bytes, share, random);
            }
            data
        })
    }

    fn left(&self, changes: usize, mut content: impl FnMut(&Followed) -> Vec<u8>) -> Image {
        let mut names = self.names.clone();
        self.changes[..changes].iter().for_each(|change| rename(&mut names, change));
        let mut files = BTreeMap::new();
        for (name, inode) in names {
            let Some(file) = self.files.get(&inode) else { continue };
            let data = if file.pending.is_empty() { Arc::clone(&file.flushed) } else { Arc::new(content(file)) };
            files.insert(name, data);
        }
        Image { files }
    }
}

fn rename(names: &mut BTreeMap<String, Inode>, change: &Operation) {
    match change {
        Operation::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
        Operation::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Operation::Remove(name) => drop(names.remove(name)),
        Operation::Write(..) | Operation::Sync(_) | Operation::SyncDirectory => {}
    }
}

/// Writes those sectors of a write that reach the disk, each with a chance of `share` in a hundred.
fn tear(data: &mut Vec<u8>, begin: usize, bytes: &[u8], share: u32, random: &mut StdRng) {
    let mut place = begin;
    while place < begin + bytes.len() {
        let end = ((place / SECTOR + 1) * SECTOR).min(begin + bytes.len());
        if random.random_range(0..100) < share {
            overwrite(data, place, &bytes[place - begin..end - begin]);
        }
        place = end;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn write(inode: Inode, begin: usize, byte: u8, length: usize) -> Operation {
        Operation::Write(inode, begin, vec![byte; length].into())
    }

    #[test]
    fn what_was_flushed_survives_every_cut_and_what_was_not_may_go_or_tear() {
        let mut follower = Follower::default();
        let mut random = StdRng::seed_from_u64(1);
        for operation in [
            Operation::Create("a".into(), 1),
            write(1, 0, 1, 2048),
            Operation::Sync(1),
            Operation::SyncDirectory,
            write(1, 512, 2, 1024),
            Operation::Create("b".into(), 2),
            write(2, 0, 3, 512),
            Operation::Sync(2),
            Operation::Rename("a".into(), "c".into()),
        ] {
            follower.apply(&operation);
        }
        let (mut torn, mut gone, mut whole, mut forgotten, mut renamed) = (0, 0, 0, 0, 0);
        for _ in 0..400 {
            let image = follower.power_cut(&mut random);
            let a = image.files.get("a").or_else(|| image.files.get("c")).expect("under one of its names");
            renamed += u32::from(image.files.contains_key("c"));
            forgotten += u32::from(!image.files.contains_key("b"));
            assert_eq!(a.len(), 2048);
            assert!(a[..512].iter().chain(&a[1536..]).all(|byte| *byte == 1), "flushed bytes changed");
            match (a[512], a[1024]) {
                (1, 1) => gone += 1,
                (2, 2) => whole += 1,
                _ => torn += 1,
            }
            if let Some(b) = image.files.get("b") {
                assert_eq!(**b, vec![3; 512], "its bytes were flushed, only its name was not");
            }
        }
        assert!(torn > 0 && gone > 0 && whole > 0 && forgotten > 0 && renamed > 0);
        let cache = follower.page_cache();
        assert_eq!(cache.files.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(cache.files["c"][512..1536], vec![2; 1024]);
    }
}
