//! Where writing went on: the last batch, segments that were cut short, and ones that never held a record.

use super::*;

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
