//! Segments that lack a head, an entry, a marker or their end, and segments that are gone: exactly that is lost, and told
//! with its numbers.

use lockbridge_protocol::journal::{ChainHash, HEADER_BYTES};

use super::*;

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
