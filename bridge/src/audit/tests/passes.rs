//! What must not be called tampering.

use super::*;

#[test]
fn a_whole_journal_is_sound_and_its_coverage_is_told() {
    let made = Made::new();
    let verdict = made.verify();
    assert_eq!(verdict.findings, []);
    assert!(verdict.sound);
    assert_eq!((verdict.from, verdict.through, verdict.entries), (1, 40, 40));
    assert_eq!((verdict.checkpoints.count, verdict.checkpoints.through), (3, 29));
    assert_eq!((verdict.witnesses.count, verdict.witnesses.through, verdict.not_witnessed), (3, 29, 11));
    assert_eq!(verdict.head, made.head(40));
    assert!(!verdict.witness_from_outside);
    let kept = made.signers.keys_with_witness(made.path(), 35, made.head(35));
    let verdict = made.verify_with(&kept);
    assert_eq!((verdict.findings.len(), verdict.witnesses.through, verdict.not_witnessed), (0, 35, 5));
    assert!(verdict.witness_from_outside);
}

#[test]
fn without_keys_nothing_is_called_sound() {
    let verdict = Made::new().verify_with(&Keys::default());
    assert!(!verdict.sound);
    assert_eq!(codes(&verdict), [Code::NoKey, Code::NoKey], "one for each key that is missing");
    assert!(
        verdict.findings.iter().all(|finding| finding.message.contains("3 signed values")),
        "{:?}",
        verdict.findings
    );
}

#[test]
fn a_journal_whose_oldest_segments_were_given_up_says_where_it_begins() {
    let made = Made::new();
    std::fs::remove_file(made.segment(1)).expect("removes");
    made.checkpoint_file(12, made.head(12));
    let verdict = made.verify();
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.from, verdict.begins_after), (13, made.head(12)));
    assert!(verdict.notes.iter().any(|note| note.contains("1 to 12") && note.contains(&made.head(12).to_string())));
    // Two checkpoints and two witnesses are of what is still there.
    assert_eq!((verdict.checkpoints.count, verdict.witnesses.count), (2, 2));
}

#[test]
fn a_batch_being_written_and_old_bytes_behind_the_end_are_no_findings() {
    let made = Made::new();
    let old = std::fs::read(made.segment(1)).expect("reads");
    made.change(4, |bytes| {
        let (offset, length, ..) = *records(bytes).last().expect("records");
        let end = offset + length;
        // As in a segment that was used before: what is left of it has lower sequences.
        let stale = &old[HEADER_BYTES + 7..HEADER_BYTES + 7 + 2000];
        bytes[end..end + 2000].copy_from_slice(stale);
        let mut torn = Vec::new();
        write_entry(&mut torn, 41, made.head(40), b"begun").expect("fits");
        bytes[end..end + torn.len()].copy_from_slice(&torn);
    });
    let verdict = made.verify();
    assert_eq!(verdict.findings, []);
    assert_eq!(verdict.through, 40, "what is not committed is not there");
    assert!(verdict.notes.iter().any(|note| note.contains("not committed")), "{:?}", verdict.notes);
    // Half a record of it.
    made.change(4, |bytes| {
        let (offset, length, ..) = *records(bytes).last().expect("records");
        bytes[offset + length - 3] ^= 1;
    });
    let verdict = made.verify();
    assert_eq!((verdict.findings.len(), verdict.through), (0, 40));
    assert!(verdict.notes.iter().any(|note| note.contains("not whole")), "{:?}", verdict.notes);
}

#[test]
fn segments_prepared_ahead_are_passed_over() {
    let made = Made::new();
    std::fs::write(made.segment(5), vec![0; SEGMENT_BYTES]).expect("writes");
    std::fs::write(made.path().join("journal/0000000000000006.segment.unfinished"), b"x").expect("writes");
    assert_eq!(made.verify().findings, []);
}

#[test]
fn an_export_is_verified_by_its_lines_alone() {
    let made = Made::new();
    let whole = made.export("all.jsonl", ALL);
    let verdict = made.verify_export(&whole);
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.from, verdict.through, verdict.head), (1, 40, made.head(40)));
    assert_eq!(verdict.witnesses.through, 29);
    let part = made.export("part.jsonl", Range { from: 15, through: 33 });
    let verdict = made.verify_export(&part);
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.from, verdict.through, verdict.begins_after), (15, 33, made.head(14)));
    // The checkpoint at 10 is not in it, that at 20 is, and so is its witness.
    assert_eq!((verdict.checkpoints.count, verdict.witnesses.count), (2, 2));
}

#[test]
fn a_longer_journal_does_not_contradict_a_shorter_one() {
    let made = Made::new();
    let part = Source::Export(made.export("part.jsonl", Range { from: 15, through: 33 }));
    let keys = made.signers.keys(made.path());
    let (other, findings) = compare(&made.verify(), &part, &keys).expect("compares");
    assert_eq!((findings, other.through), (vec![], 33));
}

#[test]
fn where_nothing_is_nothing_is_audited() {
    let empty = tempfile::tempdir().expect("a folder");
    let verified = verify(&Source::Folder(empty.path().to_owned()), &Keys::default(), &mut |_| Ok(()));
    assert!(matches!(verified, Err(AuditError::Nothing { .. })), "{verified:?}");
    let made = Made::new();
    let verified = verify(&Source::Export(made.segment(1)), &Keys::default(), &mut |_| Ok(()));
    assert!(matches!(verified, Err(AuditError::Version { .. })), "{verified:?}");
}

#[test]
fn texts_tell_what_may_be_told() {
    let made = Made::new();
    let mut texts = Vec::new();
    verify(&made.source(), &made.signers.keys(made.path()), &mut |visited| {
        texts.push(describe(visited.entry));
        Ok(())
    })
    .expect("can be audited");
    assert_eq!(texts[0], "brake_changed on=true who=uid 1");
    assert_eq!(texts[9], "reported report=10 signed=true what=audit_checkpoint");
    assert_eq!(texts[11], "witnessed report=1 through=9");
    assert_eq!(describe(None), "unknown");
}
