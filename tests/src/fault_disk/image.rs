//! A whole file system as it lies on the disk: directories and files, without anything in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;

use nix::errno::Errno;

use super::content::Content;

/// Number of the root directory, fixed by FUSE.
pub(super) const ROOT: u64 = 1;

/// A file or directory.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Permission bits.
    pub(super) permissions: u16,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    File(Content),
    /// Names and the numbers of their nodes.
    Directory(BTreeMap<OsString, u64>),
}

/// The content of a disk; cheap to copy, and to be mounted any number of times.
#[derive(Debug, Clone)]
pub struct Image {
    nodes: BTreeMap<u64, Node>,
}

impl Default for Image {
    /// A fresh disk: an empty root directory.
    fn default() -> Self {
        let root = Node { permissions: 0o700, body: Body::Directory(BTreeMap::new()) };
        Self { nodes: BTreeMap::from([(ROOT, root)]) }
    }
}

impl Image {
    /// The bytes of a file; `None` when there is no file of that name. Paths are relative to the root.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let Body::File(content) = &self.nodes.get(&self.find(path.as_ref())?)?.body else { return None };
        Some(content.read(0, usize::try_from(content.length()).ok()?))
    }

    /// The names in a directory; `None` when there is no directory of that name.
    pub fn names(&self, path: impl AsRef<Path>) -> Option<Vec<OsString>> {
        let Body::Directory(entries) = &self.nodes.get(&self.find(path.as_ref())?)?.body else { return None };
        Some(entries.keys().cloned().collect())
    }

    fn find(&self, path: &Path) -> Option<u64> {
        path.iter().try_fold(ROOT, |node, name| self.child(node, name).ok())
    }

    /// Blocks taken by all files.
    pub(super) fn allocated(&self) -> u64 {
        self.nodes.values().map(|node| if let Body::File(content) = &node.body { content.allocated() } else { 0 }).sum()
    }

    /// A number above all that are in use.
    pub(super) fn next_number(&self) -> u64 {
        self.nodes.keys().last().map_or(ROOT, |last| last + 1)
    }

    pub(super) fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ESTALE)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ESTALE)
    }

    pub(super) fn add(&mut self, number: u64, node: Node) {
        self.nodes.insert(number, node);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Node> {
        self.nodes.remove(&number)
    }

    pub(super) fn content(&self, number: u64) -> Result<&Content, Errno> {
        match &self.node(number)?.body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn content_mut(&mut self, number: u64) -> Result<&mut Content, Errno> {
        match &mut self.node_mut(number)?.body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn entries(&self, directory: u64) -> Result<&BTreeMap<OsString, u64>, Errno> {
        match &self.node(directory)?.body {
            Body::Directory(entries) => Ok(entries),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn entries_mut(&mut self, directory: u64) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match &mut self.node_mut(directory)?.body {
            Body::Directory(entries) => Ok(entries),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn child(&self, directory: u64, name: &OsStr) -> Result<u64, Errno> {
        self.entries(directory)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// How many names lead to a node.
    pub(super) fn names_of(&self, number: u64) -> u32 {
        let directories = self.nodes.values().filter_map(|node| match &node.body {
            Body::Directory(entries) => Some(entries),
            Body::File(_) => None,
        });
        let names = directories.flat_map(BTreeMap::values).filter(|child| **child == number).count();
        u32::try_from(names).unwrap_or(u32::MAX)
    }

    /// Forgets every node that no name and nothing in `also` leads to.
    pub(super) fn sweep(&mut self, also: &BTreeSet<u64>) {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<u64> = also.iter().copied().chain([ROOT]).collect();
        while let Some(number) = ahead.pop() {
            if reached.insert(number)
                && let Ok(entries) = self.entries(number)
            {
                ahead.extend(entries.values());
            }
        }
        self.nodes.retain(|number, _| reached.contains(number));
    }

    /// Forgets names that lead nowhere: a directory whose node never reached the disk.
    pub(super) fn drop_dangling(&mut self) {
        let known: BTreeSet<u64> = self.nodes.keys().copied().collect();
        for node in self.nodes.values_mut() {
            if let Body::Directory(entries) = &mut node.body {
                entries.retain(|_, number| known.contains(number));
            }
        }
    }
}
