use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64;

/// A token that outlives the reader's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Frame(Vec<u8>),
    Control(Control),
    Fault(FrameFault),
    Noise(u8),
}

fn read(reader: &mut FrameReader, mut input: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(token) = reader.read(&mut input) {
        seen.push(match token {
            Token::Frame(body) => Seen::Frame(body.to_vec()),
            Token::Control(control) => Seen::Control(control),
            Token::Fault(fault) => Seen::Fault(fault),
            Token::Noise(byte) => Seen::Noise(byte),
        });
    }
    assert!(input.is_empty());
    seen
}

fn read_all(checksum: Checksum, input: &[u8]) -> (Vec<Seen>, FrameReader) {
    let mut reader = FrameReader::new(checksum, LIMIT);
    (read(&mut reader, input), reader)
}

fn framed(body: &[u8], checksum: Checksum) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(body, checksum, LIMIT, &mut out).expect("a body that fits");
    out
}

#[test]
fn vendor_vectors_of_the_checksum() {
    for (body, expected) in [
        ("12345", 0x32),
        ("LS|DA161117|TI102926|", 0x77),
        ("LD|DA161117|TI103116|V#1.0|IFWW|", 0x3F),
        ("LS|DA161117|TI103020|", 0x79),
        ("LA|DA161117|TI103118|", 0x61),
        ("LA|DA161117|TI103024|", 0x6F),
        ("LS|DA161117|TI102107|", 0x7C),
        ("LE|DA161117|TI102631|", 0x68),
        ("KR|WS3|KC1|RN2781|KTN|GA261122|GD261124|G#11122|", ETX),
        ("KA|WS3|KC1|ASOK|G#11122|", 0x38),
    ] {
        assert_eq!(longitudinal_redundancy_check(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn a_checksum_that_looks_like_a_control_byte_is_taken_by_its_place() {
    // One data byte gives the checksum byte ^ ETX.
    for checksum in [STX, ETX, ENQ, ACK, NAK, UNCHECKED] {
        let body = [0xC0, 0xC0, checksum ^ ETX ^ 0x80, 0x80];
        let bytes = framed(&body, Checksum::Checked);
        assert_eq!(bytes.last(), Some(&checksum));
        let (seen, _) = read_all(Checksum::Checked, &[&bytes[..], &[ACK]].concat());
        assert_eq!(seen, [Seen::Frame(body.to_vec()), Seen::Control(Control::Acknowledge)], "{checksum:02X}");
    }
}

#[test]
fn only_one_protocol_has_an_off_switch() {
    let unchecked = framed(b"abc", Checksum::Marked);
    assert_eq!(unchecked, [STX, b'a', b'b', b'c', ETX, 0x0D]);
    assert_eq!(read_all(Checksum::CheckedUnlessMarked, &unchecked).0, [Seen::Frame(b"abc".to_vec())]);
    assert_eq!(read_all(Checksum::Marked, &framed(b"abc", Checksum::Checked)).0, [Seen::Frame(b"abc".to_vec())]);
    assert_eq!(read_all(Checksum::Checked, &unchecked).0, [Seen::Fault(FrameFault::Checksum)]);
    for checksum in [Checksum::Marked, Checksum::CheckedUnlessMarked] {
        assert_eq!(read_all(checksum, b"\x02abc\x03\x0C").0, [Seen::Fault(FrameFault::Checksum)]);
    }
}

#[test]
fn who_writes_checksums_is_held_to_them() {
    let mut reader = FrameReader::new(Checksum::CheckedUnlessMarked, LIMIT);
    reader.hold_to_checksums();
    let mut passes = |bytes: &[u8]| matches!(reader.read(&mut &bytes[..]), Some(Token::Frame(_)));
    let (marked, checked) = (framed(b"abc", Checksum::Marked), framed(b"abc", Checksum::Checked));
    // A checksum that is the mark proves neither.
    let either = framed(&[UNCHECKED ^ ETX], Checksum::Checked);
    assert_eq!(either.last(), Some(&UNCHECKED));
    for _ in 0..2 {
        assert!(passes(&checked) && passes(&marked) && passes(&either));
    }
    assert!(passes(&checked), "the third");
    assert!(!passes(&marked), "from now on the mark is a checksum, and the wrong one");
    assert!(passes(&either) && passes(&checked));
    reader.hold_to_checksums();
    assert_eq!(reader.read(&mut &marked[..]), Some(Token::Frame(b"abc")), "somebody else, perhaps");
}

#[test]
fn bodies_at_the_limit_and_one_past_it() {
    let fits = vec![b'x'; LIMIT];
    let over = vec![b'x'; LIMIT + 1];
    assert_eq!(
        write_frame(&over, Checksum::Absent, LIMIT, &mut Vec::new()),
        Err(FrameError::TooLarge { bytes: LIMIT + 1, limit: LIMIT })
    );
    for checksum in [Checksum::Absent, Checksum::Checked] {
        let good = framed(&fits, checksum);
        assert_eq!(read_all(checksum, &good).0, [Seen::Frame(fits.clone())]);
        let mut long = Vec::new();
        write_frame(&over, checksum, LIMIT + 1, &mut long).expect("a wider limit");
        let (seen, reader) = read_all(checksum, &[&long[..], &good].concat());
        assert_eq!(seen, [Seen::Fault(FrameFault::TooLong), Seen::Frame(fits.clone())]);
        assert_eq!(reader.statistics().oversized, 1);
        assert_eq!(reader.statistics().discarded, u64::try_from(long.len()).unwrap());
    }
}

#[test]
fn a_second_start_drops_the_first_half() {
    let (seen, reader) = read_all(Checksum::Absent, b"\x02half\x02whole\x03");
    assert_eq!(seen, [Seen::Frame(b"whole".to_vec())]);
    assert_eq!((reader.statistics().cut, reader.statistics().discarded), (1, 5));
}

#[test]
fn control_bytes_inside_a_frame_are_data() {
    let (seen, _) = read_all(Checksum::Absent, &[STX, b'a', ACK, NAK, ENQ, ETX, ENQ]);
    assert_eq!(seen, [Seen::Frame(vec![b'a', ACK, NAK, ENQ]), Seen::Control(Control::Enquiry)]);
}

#[test]
fn a_silence_ends_a_begun_frame() {
    for begun in [&b"\x02ab"[..], b"\x02ab\x03", b"\x02"] {
        let (seen, mut reader) = read_all(Checksum::Checked, begun);
        assert_eq!(seen, []);
        assert!(reader.is_inside_frame() && reader.abandon());
        assert!(!reader.is_inside_frame() && !reader.abandon());
        assert_eq!(reader.statistics().discarded, u64::try_from(begun.len()).unwrap());
        assert_eq!(read(&mut reader, &[ENQ]), [Seen::Control(Control::Enquiry)]);
    }
}

#[test]
fn the_marks_of_a_frame_cannot_be_sent_inside_one() {
    for byte in [STX, ETX] {
        let mut out = vec![1];
        let written = write_frame(&[b'a', byte], Checksum::Absent, LIMIT, &mut out);
        assert_eq!(written, Err(FrameError::ControlByte { byte, position: 1 }));
        assert_eq!(out, [1], "nothing was written");
    }
}

fn any_checksum() -> impl Strategy<Value = Checksum> {
    prop_oneof![
        Just(Checksum::Absent),
        Just(Checksum::Checked),
        Just(Checksum::CheckedUnlessMarked),
        Just(Checksum::Marked)
    ]
}

/// Any byte but STX and ETX, 8-bit and control bytes included.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>().prop_filter("no marks", |byte| !matches!(*byte, STX | ETX)), 0..=LIMIT)
}

/// Bytes between frames that can start none.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>().prop_filter("no start", |byte| *byte != STX), 0..8)
}

/// A stream in which every kind of damage is likely.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(STX), Just(ETX), Just(ACK), Just(NAK), Just(ENQ), Just(0x0D), Just(b'a')];
    prop::collection::vec(byte, 0..400)
}

proptest! {
    #[test]
    fn frames_come_back_from_any_split_with_garbage_between(
        checksum in any_checksum(),
        bodies in prop::collection::vec((garbage(), body()), 0..6),
        mut cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        let bytes: Vec<u8> =
            bodies.iter().flat_map(|(junk, body)| [junk.clone(), framed(body, checksum)].concat()).collect();
        cuts.sort_unstable();
        let mut reader = FrameReader::new(checksum, LIMIT);
        let mut seen = Vec::new();
        let mut start = 0;
        for end in cuts.into_iter().chain([bytes.len()]) {
            let end = end.clamp(start, bytes.len());
            seen.extend(read(&mut reader, &bytes[start..end]));
            start = end;
        }
        let frames: Vec<Vec<u8>> =
            seen.into_iter().filter_map(|seen| if let Seen::Frame(body) = seen { Some(body) } else { None }).collect();
        prop_assert_eq!(frames, bodies.into_iter().map(|(_, body)| body).collect::<Vec<_>>());
        prop_assert!(!reader.is_inside_frame());
    }

    #[test]
    fn every_byte_is_counted_once_and_the_split_does_not_matter(checksum in any_checksum(), bytes in stream(), cut in 0_usize..400) {
        let (whole, mut reader) = read_all(checksum, &bytes);
        let mut other = FrameReader::new(checksum, LIMIT);
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut parts = read(&mut other, first);
        parts.extend(read(&mut other, second));
        prop_assert_eq!(&whole, &parts);
        prop_assert_eq!(reader.statistics(), other.statistics());
        reader.abandon();
        let marks = if checksum == Checksum::Absent { 2 } else { 3 };
        let good: usize = whole.iter().map(|seen| if let Seen::Frame(body) = seen { body.len() + marks } else { 0 }).sum();
        let statistics = reader.statistics();
        prop_assert_eq!(statistics.bytes, u64::try_from(bytes.len()).unwrap());
        prop_assert_eq!(u64::try_from(good).unwrap() + statistics.controls + statistics.discarded, statistics.bytes);
        prop_assert!(reader.body.capacity() <= 2 * LIMIT, "memory stays bounded");
    }

    #[test]
    fn one_flipped_bit_never_passes_the_checksum(body in body(), place in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = framed(&body, Checksum::Checked);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let (seen, _) = read_all(Checksum::Checked, &bytes);
        prop_assert!(!seen.contains(&Seen::Frame(body)), "{:?}", seen);
    }
}
