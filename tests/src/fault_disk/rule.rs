//! What is counted, and what is done to the n-th call that fits.

use std::path::{Path, PathBuf};

/// The calls that change the disk, or make changes durable. Others (look up, read, list) leave nothing to lose and are
/// not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A new file.
    Create,
    /// A new directory.
    MakeDirectory,
    /// A second name for a file; counted at the new name.
    Link,
    /// Bytes to a file.
    Write,
    /// Another length for a file.
    SetLength,
    /// Another name; whatever had it is gone.
    Rename,
    /// A name of a file goes.
    Remove,
    /// A directory goes.
    RemoveDirectory,
    /// `fsync` or `fdatasync` of a file.
    Sync,
    /// `fsync` of a directory.
    SyncDirectory,
}

/// One call, in the total order of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its place in the order, from 1; goes on over crashes.
    pub number: u64,
    /// What was asked for.
    pub call: Call,
    /// Of what, relative to the root; of a rename, the old name.
    pub path: PathBuf,
    /// Bytes of a write.
    pub bytes: usize,
}

/// A part of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All of it.
    Anywhere,
    /// A directory of the root, and what is in it.
    Below(&'static str),
    /// Everything else.
    Outside(&'static str),
}

impl Place {
    /// Whether a path, relative to the root, belongs to it.
    pub fn holds(self, path: &Path) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Below(directory) => path.starts_with(directory),
            Self::Outside(directory) => !path.starts_with(directory),
        }
    }
}

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `ENOSPC`, nothing is changed.
    NoSpace,
    /// `EIO`, nothing is changed. A failed sync loses what was in flight for the file, and the next one says nothing of
    /// it: that is how Linux behaves.
    InputOutput,
    /// At most this many bytes of a write are taken.
    Short(usize),
    /// A sync is answered as if it were done, and is not: a disk that lies.
    Lie,
    /// `SIGKILL` to the caller, who never gets an answer; the call is not carried out. The disk goes on.
    KillBefore,
    /// `SIGKILL` to the caller, who never gets an answer; the call is carried out. The disk goes on.
    KillAfter,
    /// The power fails while the call is in flight: the caller dies, and every call from now on gives `EIO`.
    PowerCut,
}

/// Does something to some of the calls.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Calls that count; empty: all.
    pub calls: &'static [Call],
    /// Where.
    pub place: Place,
    /// So many calls that fit are left alone first.
    pub skip: u64,
    /// So many after them are not.
    pub times: u64,
    /// What happens to them.
    pub effect: Effect,
}

impl Rule {
    /// A crash at the `n`-th call (from 1) in a place.
    pub fn crash(place: Place, n: u64, effect: Effect) -> Self {
        Self { calls: &[], place, skip: n.saturating_sub(1), times: 1, effect }
    }

    /// Counts a call; whether the effect is due.
    pub(super) fn meets(&mut self, operation: &Operation) -> bool {
        let fits = (self.calls.is_empty() || self.calls.contains(&operation.call)) && self.place.holds(&operation.path);
        if !fits {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let due = self.times > 0;
        self.times = self.times.saturating_sub(1);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_of_the_kind_in_the_place() {
        let call = |call, path: &str| Operation { number: 0, call, path: path.into(), bytes: 0 };
        let mut rule =
            Rule { calls: &[Call::Write], place: Place::Below("journal"), skip: 1, times: 2, effect: Effect::NoSpace };
        let met: Vec<bool> = [
            call(Call::Write, "journal/a"),
            call(Call::Sync, "journal/a"),
            call(Call::Write, "journal-of-others/a"),
            call(Call::Write, "journal/b"),
            call(Call::Write, "journal/b"),
            call(Call::Write, "journal/b"),
        ]
        .iter()
        .map(|operation| rule.meets(operation))
        .collect();
        assert_eq!(met, [false, false, false, true, true, false]);
        assert!(
            Place::Outside("journal").holds(Path::new("lock"))
                && !Place::Outside("journal").holds(Path::new("journal"))
        );
    }
}
