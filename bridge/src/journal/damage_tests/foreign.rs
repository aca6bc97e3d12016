//! Segments that are not ours, or may not be: of another store, history, time or format.

use std::path::PathBuf;

use lockbridge_protocol::journal::{ChainHash, CheckpointHeader, HEADER_BYTES, Position, SegmentHeader};

use super::super::recover::owner;
use super::*;

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
