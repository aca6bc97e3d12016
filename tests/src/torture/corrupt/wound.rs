//! Ways to damage a state folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};

use crate::torture::world::image::Image;

/// What is damaged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wound {
    /// Some bits of a file are turned.
    Flip,
    /// A stretch of a file is zeros.
    Zero,
    /// A stretch of a file is noise.
    Noise,
    /// A file is shorter.
    Truncate,
    /// A file is gone.
    Delete,
    /// Two files have each other's content.
    Swap,
    /// A file is there twice, or in the place of another.
    Duplicate,
    /// A file is as it was at an earlier time.
    Stale,
    /// A file comes from another journal.
    Foreign,
    /// Each checkpoint is damaged or gone.
    Checkpoints,
    /// The working set's folder is gone.
    SetDeleted,
    /// Files of the working set are damaged.
    SetDamaged,
    /// The working set is another journal's.
    SetForeign,
}

/// All of them.
pub(super) const WOUNDS: [Wound; 13] = [
    Wound::Flip,
    Wound::Zero,
    Wound::Noise,
    Wound::Truncate,
    Wound::Delete,
    Wound::Swap,
    Wound::Duplicate,
    Wound::Stale,
    Wound::Foreign,
    Wound::Checkpoints,
    Wound::SetDeleted,
    Wound::SetDamaged,
    Wound::SetForeign,
];

impl Wound {
    /// For tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flip => "bits flipped",
            Self::Zero => "range zeroed",
            Self::Noise => "range of noise",
            Self::Truncate => "truncated",
            Self::Delete => "file missing",
            Self::Swap => "files swapped",
            Self::Duplicate => "file duplicated",
            Self::Stale => "stale file",
            Self::Foreign => "foreign file",
            Self::Checkpoints => "checkpoints damaged",
            Self::SetDeleted => "working set deleted",
            Self::SetDamaged => "working set damaged",
            Self::SetForeign => "working set of another journal",
        }
    }

    /// Whether it is about the working set's folder and not about the journal.
    pub(super) fn of_set(self) -> bool {
        matches!(self, Self::SetDeleted | Self::SetDamaged | Self::SetForeign)
    }
}

/// Where stale and foreign files come from.
pub(super) struct Sources<'a> {
    /// Earlier images of the same journal.
    pub(super) earlier: &'a [Image],
    /// An image of another journal.
    pub(super) foreign: Option<&'a Image>,
}

/// Damages the journal's files. Gives what was done, for people; `None` when there was nothing to do it to.
pub(super) fn damage(image: &mut Image, wound: Wound, sources: &Sources<'_>, random: &mut StdRng) -> Option<String> {
    // Files in use matter most, prepared ones are zeros.
    let used: Vec<String> = image
        .files
        .iter()
        .filter(|(_, data)| data.iter().any(|byte| *byte != 0))
        .map(|(name, _)| name.clone())
        .collect();
    let name = used.choose(random)?.clone();
    match wound {
        Wound::Flip | Wound::Zero | Wound::Noise => {
            let data = Arc::make_mut(image.files.get_mut(&name)?);
            let what = spoil(data, wound, random)?;
            Some(format!("{name}: {what}"))
        }
        Wound::Truncate => {
            let data = Arc::make_mut(image.files.get_mut(&name)?);
            let end = written(data);
            let length = random.random_range(0..=end.max(1).min(data.len()));
            data.truncate(length);
            Some(format!("{name}: cut at {length}"))
        }
        Wound::Delete => {
            image.files.remove(&name)?;
            Some(format!("{name}: removed"))
        }
        Wound::Swap => {
            let other = used.choose(random)?.clone();
            let (one, two) = (image.files.get(&name)?.clone(), image.files.get(&other)?.clone());
            image.files.insert(name.clone(), two);
            image.files.insert(other.clone(), one);
            (name != other).then(|| format!("{name} and {other}: swapped"))
        }
        Wound::Duplicate => {
            let data = image.files.get(&name)?.clone();
            let (number, kind) = name.split_once('.')?;
            let number = u64::from_str_radix(number, 16).ok()?;
            let to = match random.random_range(0..3) {
                0 => used.choose(random)?.clone(),
                1 => format!("{:016x}.{kind}", number + random.random_range(1..40)),
                _ => format!("{:016x}.{kind}", number.saturating_sub(random.random_range(1..4))),
            };
            image.files.insert(to.clone(), data);
            (name != to).then(|| format!("{name}: copied to {to}"))
        }
        Wound::Stale => replace(image, sources.earlier.choose(random)?, random),
        Wound::Foreign => replace(image, sources.foreign?, random),
        Wound::Checkpoints => {
            let names: Vec<String> = used.into_iter().filter(|name| name.ends_with(".checkpoint")).collect();
            let mut told = Vec::new();
            for name in names {
                if random.random_range(0..3) == 0 {
                    image.files.remove(&name)?;
                    told.push(format!("{name}: removed"));
                } else {
                    let data = Arc::make_mut(image.files.get_mut(&name)?);
                    told.push(format!("{name}: {}", spoil(data, Wound::Flip, random)?));
                }
            }
            (!told.is_empty()).then(|| told.join(", "))
        }
        Wound::SetDeleted | Wound::SetDamaged | Wound::SetForeign => None,
    }
}

/// Puts a file of `from` under its name, or under that of another.
fn replace(image: &mut Image, from: &Image, random: &mut StdRng) -> Option<String> {
    let (name, data) = from.files.iter().filter(|(_, data)| data.iter().any(|byte| *byte != 0)).choose(random)?;
    let kind = name.split_once('.')?.1;
    let over = image.files.keys().filter(|other| other.ends_with(kind)).choose(random)?.clone();
    let to = if random.random_range(0..3) == 0 { over } else { name.clone() };
    if image.files.get(&to) == Some(data) {
        return None;
    }
    image.files.insert(to.clone(), Arc::clone(data));
    Some(format!("{to}: replaced by another {name}"))
}

/// One past the last byte that is not zero.
fn written(data: &[u8]) -> usize {
    data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn spoil(data: &mut [u8], wound: Wound, random: &mut StdRng) -> Option<String> {
    let end = written(data);
    if end == 0 {
        return None;
    }
    // Now and then behind what is written too.
    let end = if random.random_range(0..10) == 0 { data.len() } else { end };
    let begin = random.random_range(0..end);
    if wound == Wound::Flip {
        let places: Vec<usize> = (0..random.random_range(1..5)).map(|_| random.random_range(0..end)).collect();
        for place in &places {
            data[*place] ^= 1 << random.random_range(0..8_u8);
        }
        return Some(format!("bits at {places:?}"));
    }
    let longest = [16, 512, 4096, 65_536].choose(random).copied().unwrap_or(16);
    let until = (begin + random.random_range(1..=longest)).min(end);
    for byte in &mut data[begin..until] {
        *byte = if wound == Wound::Zero { 0 } else { random.random_range(0..=255) };
    }
    Some(format!("{begin}..{until}"))
}

/// Damages the working set in a state folder. `other` is another journal's state folder.
pub(super) fn damage_set(
    state: &Path,
    wound: Wound,
    other: Option<&Path>,
    random: &mut StdRng,
) -> anyhow::Result<Option<String>> {
    let set = state.join("working-set");
    if !set.exists() {
        return Ok(None);
    }
    match wound {
        Wound::SetDeleted => {
            std::fs::remove_dir_all(&set)?;
            Ok(Some("the folder is gone".into()))
        }
        Wound::SetForeign => {
            let Some(other) = other else { return Ok(None) };
            std::fs::remove_dir_all(&set)?;
            crate::torture::world::ground::copy(&other.join("working-set"), &set)?;
            Ok(Some("another journal's".into()))
        }
        Wound::SetDamaged => {
            let mut sizes = BTreeMap::new();
            files(&set, &mut sizes)?;
            sizes.insert(state.join("working-set.trust"), 1);
            let Some(path) = sizes.keys().choose(random) else { return Ok(None) };
            if !path.exists() {
                return Ok(None);
            }
            let mut data = std::fs::read(path)?;
            let what = match random.random_range(0..4) {
                0 => {
                    data.truncate(random.random_range(0..=data.len()));
                    Some(format!("cut at {}", data.len()))
                }
                1 => spoil(&mut data, Wound::Zero, random),
                2 => spoil(&mut data, Wound::Noise, random),
                _ => spoil(&mut data, Wound::Flip, random),
            };
            std::fs::write(path, data)?;
            Ok(what.map(|what| format!("{}: {what}", path.display())))
        }
        _ => Ok(None),
    }
}

fn files(directory: &Path, into: &mut BTreeMap<PathBuf, u64>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files(&entry.path(), into)?;
        } else {
            into.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(())
}
