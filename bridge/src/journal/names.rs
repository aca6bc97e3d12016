//! File names in the journal's directory. Numbers have 16 hexadecimal digits, so that names sort as numbers do.

use std::path::{Path, PathBuf};

/// What a file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// A segment, in use or prepared.
    Segment(u64),
    /// A segment with damage, kept and read where it is good.
    Quarantined(u64),
    /// A segment or checkpoint that was being made when the process ended.
    Unfinished,
    /// A checkpoint as of this sequence.
    Checkpoint(u64),
}

pub(super) fn segment(directory: &Path, index: u64) -> PathBuf {
    directory.join(format!("{index:016x}.segment"))
}

pub(super) fn checkpoint(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:016x}.checkpoint"))
}

/// The name a file has until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    suffixed(path, ".unfinished")
}

/// The name a damaged or foreign file is kept under.
pub(super) fn quarantined(path: &Path) -> PathBuf {
    suffixed(path, ".quarantined")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Reads a name; `None` for files that are none of ours.
pub(super) fn parse(name: &str) -> Option<Name> {
    let (number, kind) = name.split_once('.')?;
    if number.len() != 16 {
        return None;
    }
    let number = u64::from_str_radix(number, 16).ok()?;
    match kind {
        "segment" => Some(Name::Segment(number)),
        "segment.quarantined" => Some(Name::Quarantined(number)),
        "segment.unfinished" | "checkpoint.unfinished" => Some(Name::Unfinished),
        "checkpoint" => Some(Name::Checkpoint(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let directory = Path::new("/");
        let name = |path: PathBuf| parse(path.file_name().expect("a name").to_str().expect("text"));
        assert_eq!(name(segment(directory, 31)), Some(Name::Segment(31)));
        assert_eq!(name(quarantined(&segment(directory, 31))), Some(Name::Quarantined(31)));
        assert_eq!(name(unfinished(&segment(directory, 1))), Some(Name::Unfinished));
        assert_eq!(name(checkpoint(directory, u64::MAX)), Some(Name::Checkpoint(u64::MAX)));
        assert_eq!(name(unfinished(&checkpoint(directory, 1))), Some(Name::Unfinished));
        assert_eq!(parse("1.segment"), None);
        assert_eq!(parse("000000000000001f.segment.bak"), None);
    }
}
