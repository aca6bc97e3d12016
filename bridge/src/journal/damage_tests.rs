//! What opening makes of each kind of damage: exactly what is given back, what is told, what the files are called afterwards,
//! and that life goes on.

use std::path::PathBuf;

use lockbridge_protocol::journal::{ChainHash, CheckpointHeader, HEADER_BYTES, Position, SegmentHeader};
use proptest::prelude::*;

use super::recover::owner;
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

#[test]
fn a_segment_missing_between_others_is_told_with_its_numbers() {
    let site = Site::with(60);
    std::fs::remove_file(&site.files[2]).expect("removed");
    let (from, through) = (site.starts[2], site.starts[3] - 1);
    site.opens_with(&[lost(from, through, None)], &site.all_but(from, through));
}

#[test]
fn a_spoilt_entry_in_the_middle_costs_that_entry_alone() {
    let site = Site::with(60);
    let sequence = site.starts[2] + 2;
    let place = site.place(2, sequence);
    site.change(2, |bytes| flip(bytes, place));
    site.opens_with(&[lost(sequence, sequence, Some(site.quarantined(2)))], &site.all_but(sequence, sequence));
    assert!(site.quarantined(2).exists() && !site.files[2].exists());
    // Who reads it back is told the same, each in its place.
    let (journal, _) = open(site.state.path());
    let replayed: Vec<Replayed> =
        journal.replay(sequence - 1).take(3).map(|replayed| replayed.expect("readable")).collect();
    let [Replayed::Entry { sequence: before, .. }, told, Replayed::Entry { sequence: behind, .. }] = &replayed[..]
    else {
        panic!("{replayed:?}")
    };
    assert_eq!((*before, *behind), (sequence - 1, sequence + 1));
    assert_eq!(told, &Replayed::Lost { from: sequence, through: sequence });
    assert!(!journal.replay(sequence + 1).any(|it| matches!(it, Ok(Replayed::Lost { .. }))), "not asked for");
}

#[test]
fn the_end_of_a_segment_lost_is_no_break_in_the_chain() {
    let site = Site::with(60);
    let (from, through) = (site.starts[3] - 2, site.starts[3] - 1);
    let place = site.place(2, from);
    site.change(2, |bytes| bytes[place..].fill(0));
    site.opens_with(&[lost(from, through, Some(site.quarantined(2)))], &site.all_but(from, through));
}

#[test]
fn a_marker_alone_lost_costs_no_entry() {
    let site = Site::with(60);
    let sequence = site.starts[2] + 2;
    let marker = site.place(2, sequence) + PAYLOAD + 4 + 20;
    site.change(2, |bytes| flip(bytes, marker));
    site.opens_with(&[lost(sequence + 1, sequence, Some(site.quarantined(2)))], &site.entries);
}

#[test]
fn a_segment_without_its_head_is_read_by_what_its_records_say() {
    for file in 0..3 {
        let site = Site::with(60);
        site.change(file, |bytes| flip(bytes, 20));
        site.opens_with(&[Damage::Foreign { file: site.quarantined(file) }], &site.entries);
    }
}

#[test]
fn a_head_of_zeros_between_two_in_use_costs_the_segment_for_it_could_be_anybodys() {
    let (site, other) = (Site::with(60), Site::with(90));
    let (from, through) = (site.starts[1], site.starts[2] - 1);
    // A segment that another store had taken back: no head, and records with good hashes.
    let mut foreign = std::fs::read(&other.files[5]).expect("readable");
    foreign[..HEADER_BYTES].fill(0);
    std::fs::write(&site.files[1], foreign).expect("written");
    site.opens_with(&[lost(from, through, None)], &site.all_but(from, through));
}

#[test]
fn the_first_segment_left_is_read_without_its_head_too() {
    let site = Site::with(60);
    for given_up in &site.files[..2] {
        std::fs::remove_file(given_up).expect("removed");
    }
    site.change(2, |bytes| flip(bytes, 20));
    let given = site.all_but(1, site.starts[2] - 1);
    site.opens_with(&[Damage::Foreign { file: site.quarantined(2) }], &given);
}

#[test]
fn a_segment_of_another_history_is_not_held_for_ours() {
    let site = Site::with(30);
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(copy.path().join("journal")).expect("made");
    for name in RealDisk.list(&site.state.path().join("journal")).expect("listed") {
        let file = |state: &Path| state.join("journal").join(&name);
        std::fs::copy(file(site.state.path()), file(copy.path())).expect("copied");
    }
    // From here on two histories of one store, with the same numbers.
    let grown = |state: tempfile::TempDir, salt: u64| {
        let (journal, _) = open(state.path());
        (1..=30).for_each(|number| {
            append_durably(&journal, &payload(number * salt));
        });
        Site::of(state, journal)
    };
    let (ours, theirs) = (grown(site.state, 1000), grown(copy, 7777));
    assert_eq!((ours.files.len(), &ours.starts), (theirs.files.len(), &theirs.starts));
    let last = ours.files.len() - 1;
    std::fs::copy(&theirs.files[last], &ours.files[last]).expect("copied");
    let (_, opened) = open(ours.state.path());
    assert_eq!(opened.damage, [Damage::Foreign { file: ours.files[last].clone() }]);

    // A loss inside the segment before it, whose end is known, does not excuse the break.
    let sequence = ours.starts[last - 1] + 1;
    let place = {
        let bytes = std::fs::read(&ours.files[last - 1]).expect("readable");
        let payload = &ours.entries[usize::try_from(sequence).expect("small") - 1].1;
        bytes.windows(PAYLOAD).position(|window| window == payload).expect("it is there")
    };
    ours.change(last - 1, |bytes| flip(bytes, place));
    let (_, opened) = open(ours.state.path());
    let told = lost(sequence, sequence, Some(ours.quarantined(last - 1)));
    assert_eq!(opened.damage, [told, Damage::Foreign { file: ours.files[last].clone() }]);
}

#[test]
fn a_batch_that_did_not_happen_is_cleared_away() {
    let site = Site::with(60);
    let file = site.files.len() - 1;
    let (last, place) = (site.last(), site.place(file, site.last()));
    // All three notes of how far it came are put back, as after a power cut in the last commit.
    std::fs::remove_file(site.state.path().join("journal/progress")).expect("removed");
    site.change(file, |bytes| bytes[place + 100..].fill(0));
    let (journal, opened) = open(site.state.path());
    assert_eq!((opened.last_sequence, &opened.damage), (last - 1, &Vec::new()));
    drop(journal);
    assert!(!site.quarantined(file).exists() && site.files[file].exists());
    site.goes_on(last - 1, &site.all_but(last, last));
}

#[test]
fn a_segment_cut_short_is_not_written_again() {
    let site = Site::with(60);
    let file = site.files.len() - 1;
    let end = site.place(file, site.last()) + PAYLOAD + 4 + lockbridge_protocol::journal::COMMIT_BYTES;
    site.change(file, |bytes| bytes.truncate(end));
    site.opens_with(&[], &site.entries);
    assert_eq!(std::fs::metadata(&site.files[file]).expect("there").len(), end as u64);
}

#[test]
fn an_earlier_segment_cut_short_does_not_become_the_one_written() {
    let site = Site::with(60);
    let end = site.place(1, site.starts[2] - 1) + PAYLOAD + 4 + lockbridge_protocol::journal::COMMIT_BYTES;
    site.change(1, |bytes| bytes.truncate(end));
    let file = site.files.len() - 1;
    site.change(file, |bytes| flip(bytes, 20));
    site.opens_with(&[Damage::Foreign { file: site.quarantined(file) }], &site.entries);
}

#[test]
fn a_damaged_segment_without_any_record_goes_without_a_word() {
    let site = Site::with(60);
    let directory = site.state.path().join("journal");
    let torn = names::segment(&directory, 500);
    let mut bytes = vec![0; 4096];
    bytes[..20].fill(7);
    std::fs::write(&torn, bytes).expect("written");
    site.opens_with(&[], &site.entries);
    assert!(!torn.exists() && !names::quarantined(&torn).exists());
}

#[test]
fn a_second_copy_under_quarantine_is_passed_over_and_a_stale_one_is_set_aside() {
    let site = Site::with(60);
    std::fs::copy(&site.files[1], site.quarantined(1)).expect("copied");
    site.opens_with(&[], &site.entries);

    let site = Site::with(60);
    let directory = site.state.path().join("journal");
    let stale = names::segment(&directory, 500);
    std::fs::copy(&site.files[1], &stale).expect("copied");
    let mut bytes = std::fs::read(&stale).expect("readable");
    flip(&mut bytes, 20);
    std::fs::write(&stale, bytes).expect("written");
    let (journal, opened) = open(site.state.path());
    assert_eq!(opened.damage, [Damage::Foreign { file: names::quarantined(&stale) }]);
    drop(journal);
    site.opens_with(&[], &site.entries);
}

#[test]
fn what_a_checkpoint_covers_is_neither_read_nor_missed() {
    let state = tempfile::tempdir().expect("a directory");
    let (journal, _) = open(state.path());
    let mut heads = vec![ChainHash::genesis(journal.store_id())];
    for number in 1..=60 {
        append_durably(&journal, &payload(number));
        heads.push(journal.durable().borrow().chain_head);
    }
    let starts: Vec<u64> = journal.shared.segments().list.iter().map(|segment| segment.start.next).collect();
    let settled = starts[2] - 1;
    let sink = journal.checkpoints().begin(1, settled, heads[usize::try_from(settled).expect("small")]);
    sink.expect("begins").finish().expect("written");
    let site = Site::of(state, journal);
    // The second segment ends exactly where the checkpoint does; the third is behind it.
    let (covered, behind) = (site.starts[1] + 1, site.starts[2] + 1);
    for (file, sequence) in [(1, covered), (2, behind)] {
        let place = site.place(file, sequence);
        site.change(file, |bytes| flip(bytes, place));
    }
    let (_, opened) = open(site.state.path());
    assert_eq!(opened.damage, [lost(behind, behind, Some(site.quarantined(2)))]);
    // One that was being taken back has zeros for a head.
    site.change(0, |bytes| bytes[..HEADER_BYTES].fill(0));
    let (_, opened) = open(site.state.path());
    assert_eq!(opened.damage, [lost(behind, behind, Some(site.quarantined(2)))]);
    assert!(!site.files[0].exists());
}

#[test]
fn prepared_segments_are_kept_unless_they_hold_what_could_be_taken_for_ours() {
    let (site, other) = (Site::with(20), Site::with(60));
    let directory = site.state.path().join("journal");
    let headless = |from: &Path, index: u64| {
        let mut bytes = std::fs::read(from).expect("readable");
        bytes[..HEADER_BYTES].fill(0);
        let path = names::segment(&directory, index);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let earlier = headless(&site.files[0], 500);
    let foreign = headless(other.files.last().expect("one"), 501);
    let short = names::segment(&directory, 502);
    std::fs::write(&short, [0; 100]).expect("written");
    let (journal, opened) = open(site.state.path());
    assert_eq!(opened.damage, []);
    assert!(earlier.exists(), "lower numbers are taken for unwritten");
    assert_eq!((foreign.exists(), short.exists()), (false, false));
    drop(journal);
    site.opens_with(&[], &site.entries);
}

#[test]
fn a_journal_belongs_to_most_of_its_files() {
    let store = |number: u8| StoreId([number; 16]);
    let header = |number: u8, boot_counter: u64| SegmentHeader {
        store_id: store(number),
        index: 1,
        boot_counter,
        start: Position { next: 1, head: ChainHash([0; 32]) },
    };
    let noted = |number: u8| CheckpointHeader {
        schema_version: 0,
        store_id: store(number),
        sequence: 1,
        head: ChainHash([0; 32]),
    };
    assert_eq!(owner(&[], &[], None), None);
    assert_eq!(owner(&[], &[], Some(&noted(4))), Some(store(4)));
    assert_eq!(owner(&[header(1, 1), header(1, 1), header(2, 9)], &[], None), Some(store(1)), "the most files");
    assert_eq!(owner(&[header(1, 1), header(1, 1), header(2, 9)], &[], Some(&noted(2))), Some(store(2)), "noted");
    assert_eq!(owner(&[header(1, 9), header(2, 1)], &[], None), Some(store(1)), "started more often");
    assert_eq!(owner(&[header(1, 1), header(2, 9)], &[], None), Some(store(2)));
    assert_eq!(owner(&[header(1, 9), header(2, 1), header(2, 1)], &[], Some(&noted(1))), Some(store(1)), "a tie");
}

#[test]
fn foreign_and_copied_segments_are_set_aside() {
    let (state, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    for (directory, count) in [(&state, 60), (&other, 20)] {
        let (journal, _) = Journal::open(directory.path(), small(Arc::new(RealDisk))).expect("opens");
        (0..count).for_each(|_| {
            append_durably(&journal, &[3; 150]);
        });
    }
    let (ours, foreign) = (used_files(state.path()), used_files(other.path()));
    let (first, last) = (&ours[0], ours.last().expect("some"));
    let directory = state.path().join("journal");
    std::fs::copy(&foreign[0], names::segment(&directory, 900)).expect("copies");
    std::fs::copy(first, names::segment(&directory, 901)).expect("copies");
    let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    let aside: Vec<PathBuf> = [900, 901].map(|index| names::quarantined(&names::segment(&directory, index))).into();
    let told: Vec<Damage> = aside.iter().map(|file| Damage::Foreign { file: file.clone() }).collect();
    assert_eq!(opened.damage, told);
    assert!(aside.iter().all(|path| path.exists()) && last.exists());
    assert_eq!(entries(&journal, 1).len(), 60);
    drop(journal);
    let (_, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    assert_eq!(opened.damage, Vec::new(), "told once");
}

#[test]
fn a_last_segment_that_is_gone_is_told_and_its_numbers_are_not_given_again() {
    let state = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    let mut last = 0;
    for _ in 0..40 {
        last = append_durably(&journal, &[3; 300]);
    }
    let store_id = journal.store_id();
    drop(journal);
    let newest = used_files(state.path()).pop().expect("segments in use");
    std::fs::remove_file(newest).expect("removed");
    let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
    assert_eq!((opened.store_id, opened.last_sequence), (store_id, last));
    let [Damage::Lost { from, through, file: None }] = opened.damage.as_slice() else { panic!("{opened:?}") };
    assert!(*from > 1 && *from <= last && *through == last, "{opened:?}");
    assert_eq!(entries(&journal, 0).len() as u64, from - 1);
    assert_eq!(append_durably(&journal, b"goes on"), last + 1);
}

#[test]
fn one_segment_of_another_store_does_not_take_the_journal_over() {
    let (ours, theirs) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (journal, opened) = Journal::open(ours.path(), small(Arc::new(RealDisk))).expect("opens");
    append_durably(&journal, b"ours");
    drop(journal);
    for _ in 0..3 {
        // Started more often.
        let (journal, _) = Journal::open(theirs.path(), small(Arc::new(RealDisk))).expect("opens");
        append_durably(&journal, b"theirs");
    }
    let (from, to) = (used_files(theirs.path()).remove(0), used_files(ours.path()).remove(0));
    std::fs::copy(from, &to).expect("copied");
    let (journal, found) = Journal::open(ours.path(), small(Arc::new(RealDisk))).expect("opens");
    assert_eq!(found.store_id, opened.store_id);
    assert!(found.damage.contains(&Damage::Foreign { file: names::quarantined(&to) }), "{found:?}");
    assert!(found.damage.contains(&Damage::Lost { from: 1, through: 1, file: None }), "{found:?}");
    assert_eq!(entries(&journal, 0), []);
}

#[test]
fn another_format_version_is_refused_by_name() {
    let state = tempfile::tempdir().expect("a directory");
    drop(Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens"));
    let path = &used_files(state.path())[0];
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[8] = 9;
    let crc = crc32c(&bytes[..HEADER_BYTES - 4]);
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(path, bytes).expect("written");
    let error = Journal::open(state.path(), small(Arc::new(RealDisk))).expect_err("refused");
    assert!(error.to_string().contains("format version 9"), "{error}");
}

/// CRC-32C, bit by bit: the test must not share code with what it tests.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A flipped bit anywhere in any segment: opens, gives nothing false, tells each loss, keeps the file, and the
    /// next start finds the same.
    #[test]
    fn a_flipped_bit_is_survived_and_told(
        count in 5_u64..80, file in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let state = tempfile::tempdir().expect("a directory");
        let all = {
            let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
            (1..=count).for_each(|number| { append_durably(&journal, &[u8::try_from(number % 251).expect("small"); 120]); });
            entries(&journal, 1)
        };
        prop_assert_eq!(all.len() as u64, count);
        let files = used_files(state.path());
        let path = &files[file.index(files.len())];
        let mut bytes = std::fs::read(path).expect("readable");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
        let place = place.index(used);
        bytes[place] ^= 1 << bit;
        std::fs::write(path, &bytes).expect("written");
        let last_batch = path == files.last().expect("some");
        let mut found = None;
        for _ in 0..2 {
            let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens all the same");
            let given = entries(&journal, 1);
            prop_assert!(given.iter().all(|entry| all.contains(entry)), "nothing false");
            let lost: u64 = opened.damage.iter().map(|damage| match damage {
                Damage::Lost { from, through, .. } => (through + 1).saturating_sub(*from),
                Damage::Foreign { .. } => 0,
            }).sum();
            if !last_batch || !opened.damage.is_empty() {
                prop_assert_eq!(given.len() as u64 + lost, count, "each entry is given or told: {:?}", &opened.damage);
            } else {
                prop_assert!(given.len() as u64 + 1 >= count, "only the last batch can pass for torn");
            }
            prop_assert!(found.replace(given.clone()).is_none_or(|before| before == given), "the same twice");
        }
        // Life goes on, and what comes now is kept.
        let (journal, opened) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
        let next = append_durably(&journal, b"after");
        prop_assert!(next > opened.last_sequence);
        drop(journal);
        let (journal, _) = Journal::open(state.path(), small(Arc::new(RealDisk))).expect("opens");
        prop_assert_eq!(entries(&journal, next), vec![(next, b"after".to_vec())]);
    }
}
