//! Changes that were made and are not yet on the disk, and what a power cut leaves of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use rand::RngExt;
use rand::rngs::StdRng;

use super::image::Image;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) directory: u64,
    pub(super) name: OsString,
}

/// One change.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { node: u64, offset: u64, bytes: Vec<u8> },
    Length { node: u64, length: u64 },
    Name { entry: Entry, node: u64 },
    Forget { entry: Entry, node: u64 },
    Rename { from: Entry, to: Entry, node: u64 },
}

impl Change {
    /// The file whose content it changes.
    pub(super) fn file(&self) -> Option<u64> {
        match self {
            Self::Write { node, .. } | Self::Length { node, .. } => Some(*node),
            Self::Name { .. } | Self::Forget { .. } | Self::Rename { .. } => None,
        }
    }

    /// Whether it changes the names in this directory.
    pub(super) fn touches(&self, directory: u64) -> bool {
        match self {
            Self::Write { .. } | Self::Length { .. } => false,
            Self::Name { entry, .. } | Self::Forget { entry, .. } => entry.directory == directory,
            Self::Rename { from, to, .. } => from.directory == directory || to.directory == directory,
        }
    }

    /// The node it is about.
    pub(super) fn node(&self) -> u64 {
        match self {
            Self::Write { node, .. }
            | Self::Length { node, .. }
            | Self::Name { node, .. }
            | Self::Forget { node, .. }
            | Self::Rename { node, .. } => *node,
        }
    }

    /// Bytes of memory it holds besides itself.
    pub(super) fn weight(&self) -> usize {
        if let Self::Write { bytes, .. } = self { bytes.len() } else { 0 }
    }

    /// Brings it to the disk. Changes before it may be missing there: then it does what it still can.
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Self::Write { node, offset, bytes } => {
                if let Ok(content) = image.content_mut(*node) {
                    content.write(*offset, bytes);
                }
            }
            Self::Length { node, length } => {
                if let Ok(content) = image.content_mut(*node) {
                    content.set_length(*length);
                }
            }
            Self::Name { entry, node } => name(image, entry, *node),
            Self::Forget { entry, node } => forget(image, entry, *node),
            Self::Rename { from, to, node } => {
                forget(image, from, *node);
                name(image, to, *node);
            }
        }
    }
}

fn name(image: &mut Image, entry: &Entry, node: u64) {
    if let Ok(entries) = image.entries_mut(entry.directory) {
        entries.insert(entry.name.clone(), node);
    }
}

fn forget(image: &mut Image, entry: &Entry, node: u64) {
    if let Ok(entries) = image.entries_mut(entry.directory)
        && entries.get(&entry.name) == Some(&node)
    {
        entries.remove(&entry.name);
    }
}

/// What a power cut leaves of changes in flight. What was synced is kept by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Gone,
    /// Any 512-byte sectors of writes, within the length the disk knows; any changes of length; any changes of names.
    Sectors,
    /// Everything in the order it was made, up to some moment; the last write is torn.
    InOrder,
}

impl Tear {
    /// Any of them.
    pub fn draw(random: &mut StdRng) -> Self {
        [Self::Gone, Self::Sectors, Self::InOrder][random.random_range(0..3)]
    }

    /// `durable` is what was synced, `pending` what was not, oldest first.
    pub(super) fn leave(self, durable: &Image, pending: &[Change], random: &mut StdRng) -> Image {
        let mut image = durable.clone();
        match self {
            Self::Gone => {}
            Self::Sectors => sectors(&mut image, pending, random),
            Self::InOrder => {
                let survivors = random.random_range(0..=pending.len());
                pending[..survivors].iter().for_each(|change| change.apply(&mut image));
                if let Some(Change::Write { node, offset, bytes }) = pending.get(survivors) {
                    let cut = random.random_range(0..=bytes.len().div_ceil(SECTOR)) * SECTOR;
                    let torn = &bytes[..cut.min(bytes.len())];
                    Change::Write { node: *node, offset: *offset, bytes: torn.to_vec() }.apply(&mut image);
                }
            }
        }
        image.sweep(&BTreeSet::new());
        image.drop_dangling();
        image
    }
}

fn sectors(image: &mut Image, pending: &[Change], random: &mut StdRng) {
    // None, some, most or all of what was in flight, drawn for each file and for the names.
    let draw = |random: &mut StdRng| [0, 50, 90, 100][random.random_range(0..4)];
    let mut shares = BTreeMap::new();
    let names = draw(random);
    for change in pending {
        let share = match change.file() {
            Some(node) => *shares.entry(node).or_insert_with(|| draw(random)),
            None => names,
        };
        let Change::Write { node, offset, bytes } = change else {
            if random.random_range(0..100) < share {
                change.apply(image);
            }
            continue;
        };
        let Ok(content) = image.content_mut(*node) else { continue };
        let mut at = 0;
        while at < bytes.len() {
            let position = offset + at as u64;
            // To the next border of a sector on the disk, which is not one of the write.
            let into = usize::try_from(position % SECTOR as u64).unwrap_or(0);
            let end = (at + SECTOR - into).min(bytes.len());
            let inside = usize::try_from(content.length().saturating_sub(position)).unwrap_or(usize::MAX);
            let known = end.min(at.saturating_add(inside));
            if known > at && random.random_range(0..100) < share {
                content.write(position, &bytes[at..known]);
            }
            at = end;
        }
    }
}
