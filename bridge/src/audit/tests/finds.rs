//! Every kind of tampering, each found as what it is.

use proptest::prelude::*;

use super::*;

#[test]
fn an_edited_entry_with_a_right_checksum_is_found_by_its_successor() {
    let made = Made::new();
    made.change(2, |bytes| edit(bytes, 17, made.head(16)));
    let verdict = made.verify();
    assert_eq!(codes(&verdict), [Code::Edited]);
    assert_eq!((verdict.findings[0].sequence, verdict.findings[0].through), (Some(17), Some(18)));
    assert!(verdict.findings[0].place.contains("0002.segment, byte"), "{:?}", verdict.findings);
    assert_eq!(verdict.entries, 40, "the rest is checked all the same");
}

#[test]
fn an_edited_last_entry_of_a_batch_is_found_by_the_mark() {
    let made = Made::new();
    made.change(2, |bytes| edit(bytes, 18, made.head(17)));
    let verdict = made.verify();
    assert_eq!(codes(&verdict), [Code::Edited]);
    assert_eq!(verdict.findings[0].sequence, Some(18));
}

#[test]
fn a_damaged_entry_is_found_where_it_is() {
    let made = Made::new();
    made.change(2, |bytes| {
        let (offset, length) = entry_at(bytes, 17);
        bytes[offset + length - 5] ^= 1;
    });
    let verdict = made.verify();
    assert_eq!(codes(&verdict), [Code::Damaged, Code::Missing]);
    assert!(verdict.findings.iter().all(|finding| finding.sequence == Some(17)), "{:?}", verdict.findings);
}

#[test]
fn swapped_entries_are_found_as_reordered() {
    let made = Made::new();
    made.change(2, |bytes| {
        let ((one, length), (two, other)) = (entry_at(bytes, 16), entry_at(bytes, 17));
        assert_eq!((one + length, length), (two, other));
        let (front, back) = bytes.split_at_mut(two);
        front[one..].swap_with_slice(&mut back[..other]);
    });
    let verdict = made.verify();
    assert_eq!(codes(&verdict), [Code::Reordered]);
    assert_eq!(verdict.findings[0].sequence, Some(16));
}

#[test]
fn an_entry_standing_twice_is_found() {
    let made = Made::new();
    made.change(4, |bytes| {
        let (offset, length, ..) = *records(bytes).last().expect("records");
        let mut again = Vec::new();
        write_entry(&mut again, 40, made.head(39), &[]).expect("fits");
        write_commit(&mut again, Commit { first: 41, last: 40, boot_counter: 1 }, made.head(40));
        bytes[offset + length..offset + length + again.len()].copy_from_slice(&again);
    });
    assert!(codes(&made.verify()).contains(&Code::Repeated));
}

/// Writes the journal anew from an entry on, as somebody would who can compute hashes and cannot sign.
fn rewritten(made: &Made, at: u64, keep_signed: bool) -> Made {
    let script: Vec<Says> = (1..)
        .zip(script())
        .map(|(sequence, says)| match says {
            _ if sequence == at => Says::Text("uid 0".into()),
            Says::Text(_) => says,
            _ if keep_signed || sequence < at => says,
            _ => Says::Text("nothing".into()),
        })
        .collect();
    let forger = Made::with(Signers::new(), &script);
    // What was signed before is copied: the forger has no key.
    let mut own = forger.heads.clone();
    for index in 1..=4 {
        let original = std::fs::read(made.segment(index)).expect("reads");
        forger.change(index, |bytes| {
            let mut out = bytes[..HEADER_BYTES].to_vec();
            let first = records(bytes)[0].2;
            let start = Position { next: first, head: own[usize::try_from(first).expect("small") - 1] };
            out.copy_from_slice(&SegmentHeader { store_id: STORE, index, boot_counter: 1, start }.encode());
            for (offset, length, sequence, entry) in records(bytes) {
                let place = usize::try_from(sequence).expect("small");
                if !entry {
                    let first = sequence - (sequence - 1) % BATCH;
                    write_commit(&mut out, Commit { first, last: sequence, boot_counter: 1 }, own[place]);
                    continue;
                }
                let signed = matches!(script[place - 1], Says::Checkpoint | Says::Witness);
                let from = if signed { entry_at(&original, sequence) } else { (offset, length) };
                let source = if signed { original.as_slice() } else { bytes.as_slice() };
                let payload = &source[from.0 + RECORD_OVERHEAD - 4..from.0 + from.1 - 4];
                own[place] = write_entry(&mut out, sequence, own[place - 1], payload).expect("fits");
            }
            out.resize(SEGMENT_BYTES, 0);
            *bytes = out;
        });
    }
    Made { folder: forger.folder, signers: Signers::new(), heads: own }
}

#[test]
fn a_history_written_anew_is_found_by_what_was_signed() {
    let made = Made::new();
    let forged = rewritten(&made, 15, true);
    let keys = made.signers.keys(made.path());
    let verdict = forged.verify_with(&keys);
    assert_eq!(codes(&verdict), [Code::Rewritten]);
    // The checkpoint over 9 holds, the one over 19 does not.
    assert_eq!((verdict.findings[0].sequence, verdict.findings[0].through), (Some(10), Some(19)));
    assert_eq!((verdict.witnesses.through, verdict.checkpoints.through), (9, 9));
}

#[test]
fn a_history_without_its_signatures_is_found_by_the_witness_kept_outside() {
    let made = Made::new();
    let forged = rewritten(&made, 15, false);
    let inside = forged.verify_with(&made.signers.keys(made.path()));
    assert_eq!(inside.findings, [], "nothing in it speaks against it");
    assert_eq!((inside.witnesses.through, inside.not_witnessed), (9, 31), "and it is not called witnessed");
    let verdict = forged.verify_with(&made.signers.keys_with_witness(made.path(), 29, made.head(29)));
    assert_eq!(codes(&verdict), [Code::Rewritten]);
    let (_, findings) = compare(&inside, &made.source(), &made.signers.keys(made.path())).expect("compares");
    assert_eq!((findings[0].code, findings[0].sequence), (Code::Fork, Some(15)));
    assert!(findings[0].message.contains("agree up to entry 14"), "{findings:?}");
}

#[test]
fn a_cut_tail_is_found_by_a_witness_or_a_checkpoint_file() {
    let made = Made::new();
    std::fs::remove_file(made.segment(4)).expect("removes");
    made.change(3, |bytes| {
        let (offset, ..) = entry_at(bytes, 28);
        bytes[offset..].fill(0);
    });
    assert_eq!(made.verify().findings, [], "a shorter journal looks like one");
    let verdict = made.verify_with(&made.signers.keys_with_witness(made.path(), 29, made.head(29)));
    assert_eq!(codes(&verdict), [Code::Cut]);
    assert_eq!((verdict.findings[0].sequence, verdict.findings[0].through), (Some(28), Some(29)));
    made.checkpoint_file(38, made.head(38));
    assert_eq!(codes(&made.verify()), [Code::Cut]);
}

#[test]
fn a_missing_segment_and_a_copied_one_are_found() {
    let made = Made::new();
    std::fs::copy(made.segment(2), made.segment(7)).expect("copies");
    assert_eq!(codes(&made.verify()), [Code::SegmentHead, Code::Repeated]);
    std::fs::remove_file(made.segment(7)).expect("removes");
    std::fs::remove_file(made.segment(2)).expect("removes");
    let verdict = made.verify();
    assert_eq!(codes(&verdict), [Code::Missing]);
    assert_eq!((verdict.findings[0].sequence, verdict.findings[0].through), (Some(13), Some(24)));
}

#[test]
fn a_segment_of_another_journal_is_found() {
    let made = Made::new();
    made.change(4, |bytes| {
        let start = Position { next: 37, head: made.head(36) };
        let head = SegmentHeader { store_id: StoreId([9; 16]), index: 4, boot_counter: 1, start }.encode();
        bytes[..HEADER_BYTES].copy_from_slice(&head);
    });
    assert_eq!(codes(&made.verify()), [Code::Foreign]);
    let other = made.signers.keys_with_witness(made.path(), 5, made.head(5));
    let mut file = made.signers.witness_file(5, made.head(5));
    let strange = AuditCheckpoint { store_id: vec![9; 16], ..claim(5, made.head(5)) };
    file.witness = sign_bytes(&made.signers.authority, WITNESS_TYPE, strange.encode_to_vec());
    std::fs::write(made.path().join("witness.json"), file.to_line()).expect("writes");
    let strange = Keys::given(&[], &[], &[made.path().join("witness.json")]).expect("keys");
    assert_eq!(codes(&made.verify_with(&other)), [Code::Foreign]);
    assert_eq!(codes(&made.verify_with(&strange)), [Code::Foreign, Code::Foreign]);
    // With the line of this journal beside it, the other line is only an older journal of the bridge.
    let both = format!("{}\n{}\n", file.to_line(), made.signers.witness_file(5, made.head(5)).to_line());
    std::fs::write(made.path().join("witness.json"), both).expect("writes");
    let both = Keys::given(&[], &[], &[made.path().join("witness.json")]).expect("keys");
    assert_eq!(codes(&made.verify_with(&both)), [Code::Foreign]);
}

#[test]
fn a_chain_that_begins_elsewhere_than_its_journal_is_found() {
    let made = Made::new();
    made.change(1, |bytes| {
        let start = Position { next: 1, head: ChainHash([1; 32]) };
        let head = SegmentHeader { store_id: STORE, index: 1, boot_counter: 1, start }.encode();
        bytes[..HEADER_BYTES].copy_from_slice(&head);
    });
    assert_eq!(codes(&made.verify()), [Code::SegmentHead, Code::Edited]);
}

#[test]
fn a_signature_of_another_key_is_found() {
    let made = Made::new();
    let verdict = made.verify_with(&Signers::new().keys(made.path()));
    assert_eq!(codes(&verdict), vec![Code::Signature; 3], "the authority's key is the same in both");
    assert_eq!(verdict.checkpoints.count, 0);
    assert_eq!(verdict.witnesses.count, 3);
}

#[test]
fn a_checkpoint_file_that_is_damaged_or_of_another_chain_is_found() {
    let made = Made::new();
    let path = made.checkpoint_file(20, made.head(20));
    assert_eq!(made.verify().findings, []);
    let mut bytes = std::fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("writes");
    assert_eq!(codes(&made.verify()), [Code::CheckpointFile]);
    made.checkpoint_file(20, made.head(21));
    assert_eq!(codes(&made.verify()), [Code::CheckpointFile]);
}

#[test]
fn an_export_that_was_changed_is_found() {
    let made = Made::new();
    let path = made.export("all.jsonl", ALL);
    let original = std::fs::read_to_string(&path).expect("reads");
    let lines: Vec<&str> = original.lines().collect();
    let verified = |lines: &[&str]| {
        std::fs::write(&path, lines.join("\n") + "\n").expect("writes");
        made.verify_export(&path)
    };
    assert_eq!(verified(&lines).findings, []);
    let mut swapped = lines.clone();
    swapped.swap(15, 16);
    assert_eq!(codes(&verified(&swapped)), [Code::Reordered]);
    let mut cut = lines.clone();
    cut.truncate(30);
    assert_eq!(codes(&verified(&cut)), [Code::ExportFormat]);
    let mut without = lines.clone();
    without.remove(15);
    assert_eq!(codes(&verified(&without)), [Code::ExportFormat, Code::Missing]);
    let told = lines[15].replace("uid 15", "uid 99");
    assert_ne!(told, lines[15]);
    let mut lied = lines.clone();
    lied[15] = &told;
    assert_eq!(codes(&verified(&lied)), [Code::ExportText]);
    let bytes = lines[15].rsplit_once("\"bytes\":\"").expect("bytes").1;
    let changed = lines[15].replace(bytes, lines[16].rsplit_once("\"bytes\":\"").expect("bytes").1);
    let mut edited = lines.clone();
    edited[15] = &changed;
    assert_eq!(codes(&verified(&edited)), [Code::Edited, Code::ExportText]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// In what is witnessed every bit matters.
    #[test]
    fn any_changed_byte_up_to_the_last_witness_is_found(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        thread_local!(static MADE: Made = Made::new());
        MADE.with(|made| {
            // Segments 1 and 2 whole as far as they are written, and segment 3 up to the entry 29.
            let lengths: Vec<usize> = (1..=3).map(|index| {
                let bytes = std::fs::read(made.segment(index)).expect("reads");
                let (offset, length) = if index == 3 { entry_at(&bytes, 29) } else {
                    let last = *records(&bytes).last().expect("records");
                    (last.0, last.1)
                };
                offset + length
            }).collect();
            let mut at = place.index(lengths.iter().sum());
            let mut index = 1;
            for length in lengths {
                if at < length { break; }
                at -= length;
                index += 1;
            }
            made.change(index, |bytes| bytes[at] ^= 1 << bit);
            let verdict = made.verify();
            made.change(index, |bytes| bytes[at] ^= 1 << bit);
            prop_assert!(!verdict.sound, "segment {index}, byte {at}, bit {bit}");
            prop_assert!(verdict.findings.iter().all(|finding| !finding.place.is_empty() && !finding.message.is_empty()));
            Ok(())
        })?;
    }

    /// Behind the end nothing is written, so nothing there means anything; and no bytes make the auditor panic.
    #[test]
    fn any_bytes_behind_the_end_are_read_without_panic(junk in proptest::collection::vec(any::<u8>(), 0..600)) {
        thread_local!(static MADE: Made = Made::new());
        MADE.with(|made| {
            let original = std::fs::read(made.segment(4)).expect("reads");
            made.change(4, |bytes| {
                let (offset, length, ..) = *records(bytes).last().expect("records");
                bytes[offset + length..offset + length + junk.len()].copy_from_slice(&junk);
            });
            let verdict = made.verify();
            std::fs::write(made.segment(4), original).expect("writes");
            prop_assert_eq!(verdict.findings, vec![]);
            prop_assert_eq!(verdict.through, 40);
            Ok(())
        })?;
    }
}
