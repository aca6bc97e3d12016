//! What opening makes of each kind of damage: exactly what is given back, what is told, what the files are called afterwards,
//! and that life goes on.

mod any_bit;
mod entries_lost;
mod foreign;
mod tail;

use std::path::PathBuf;

use super::tests::{append_durably, entries, small, used_files};
use super::*;

/// Entries of this size fill a segment with about seven.
const PAYLOAD: usize = 400;

/// A journal on disk, closed.
struct Site {
    state: tempfile::TempDir,
    /// Segments in use.
    files: Vec<PathBuf>,
    /// First sequence in each of them.
    starts: Vec<u64>,
    entries: Vec<(u64, Vec<u8>)>,
}

fn open(state: &Path) -> (Journal, Opened) {
    Journal::open(state, small(Arc::new(RealDisk))).expect("opens")
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = vec![b'.'; PAYLOAD];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

impl Site {
    fn with(count: u64) -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let (journal, _) = open(state.path());
        (1..=count).for_each(|number| {
            append_durably(&journal, &payload(number));
        });
        Self::of(state, journal)
    }

    fn of(state: tempfile::TempDir, journal: Journal) -> Self {
        let starts = journal.shared.segments().list.iter().map(|segment| segment.start.next).collect();
        let entries = entries(&journal, 1);
        drop(journal);
        Self { files: used_files(state.path()), starts, entries, state }
    }

    fn last(&self) -> u64 {
        self.entries.last().expect("entries").0
    }

    fn change(&self, file: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(&self.files[file]).expect("readable");
        change(&mut bytes);
        std::fs::write(&self.files[file], bytes).expect("written");
    }

    /// Where the entry `sequence` stands in `file`.
    fn place(&self, file: usize, sequence: u64) -> usize {
        let bytes = std::fs::read(&self.files[file]).expect("readable");
        let payload = payload(sequence);
        bytes.windows(PAYLOAD).position(|window| window == payload).expect("it is there")
    }

    fn quarantined(&self, file: usize) -> PathBuf {
        names::quarantined(&self.files[file])
    }

    fn all_but(&self, from: u64, through: u64) -> Vec<(u64, Vec<u8>)> {
        let kept = self.entries.iter().filter(|(sequence, _)| !(from..=through).contains(sequence));
        kept.cloned().collect()
    }

    /// Opens twice: the same entries and the same telling both times; then new entries, which are kept.
    fn opens_with(&self, damage: &[Damage], given: &[(u64, Vec<u8>)]) {
        let mut last = 0;
        for time in ["first", "second"] {
            let (journal, opened) = open(self.state.path());
            assert_eq!(opened.damage, damage, "{time}");
            assert!(entries(&journal, 1) == given, "{time}: {:?}", numbers(&journal));
            last = opened.last_sequence;
        }
        self.goes_on(last, given);
    }

    fn goes_on(&self, last: u64, given: &[(u64, Vec<u8>)]) {
        let mut given = given.to_vec();
        let (journal, _) = open(self.state.path());
        for number in 1..=20 {
            assert_eq!(append_durably(&journal, &payload(last + number)), last + number);
            given.push((last + number, payload(last + number)));
        }
        assert!(entries(&journal, 1) == given, "{:?}", numbers(&journal));
        drop(journal);
        let (journal, _) = open(self.state.path());
        assert!(entries(&journal, 1) == given, "{:?}", numbers(&journal));
    }
}

fn numbers(journal: &Journal) -> Vec<u64> {
    entries(journal, 1).into_iter().map(|(sequence, _)| sequence).collect()
}

fn lost(from: u64, through: u64, file: Option<PathBuf>) -> Damage {
    Damage::Lost { from, through, file }
}

fn flip(bytes: &mut [u8], place: usize) {
    bytes[place] ^= 0x10;
}

#[test]
fn nothing_is_made_or_removed_by_opening_a_whole_journal_again() {
    let site = Site::with(60);
    let names = |site: &Site| RealDisk.list(&site.state.path().join("journal")).expect("listed");
    let before: std::collections::BTreeSet<String> = names(&site).into_iter().collect();
    let (journal, opened) = open(site.state.path());
    assert_eq!((opened.damage, opened.last_sequence), (Vec::new(), 60));
    assert_eq!(names(&site).into_iter().collect::<std::collections::BTreeSet<_>>(), before);
    assert_eq!(journal.statistics().prepared_bytes, 0, "what was prepared serves again");
}
