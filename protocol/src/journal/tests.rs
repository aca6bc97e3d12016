use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const STORE: StoreId = StoreId([9; 16]);
const SEGMENT: usize = 64 * 1024;

/// A segment as the writer makes it, and where its batches end.
struct Written {
    bytes: Vec<u8>,
    start: Position,
    batches: Vec<Vec<Vec<u8>>>,
    /// Offset and position behind each batch, the header's end first.
    ends: Vec<(usize, Position)>,
}

fn write(batches: &[Vec<Vec<u8>>]) -> Written {
    let start = Position { next: 40, head: ChainHash([3; 32]) };
    let mut bytes = SegmentHeader { store_id: STORE, index: 2, boot_counter: 5, start }.encode();
    let mut position = start;
    let mut ends = vec![(bytes.len(), position)];
    for batch in batches {
        let first = position.next;
        for payload in batch {
            let head = write_entry(&mut bytes, position.next, position.head, payload).expect("short enough");
            assert_eq!(position.head.after(position.next, payload), Some(head));
            position = Position { next: position.next + 1, head };
        }
        write_commit(&mut bytes, Commit { first, last: position.next - 1, boot_counter: 5 }, position.head);
        ends.push((bytes.len(), position));
    }
    bytes.resize(bytes.len().max(SEGMENT), 0);
    Written { bytes, start, batches: batches.to_vec(), ends }
}

/// Everything the reader finds: payloads by sequence, lost ranges, the ending and the place of the end.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    entries: Vec<(u64, Vec<u8>)>,
    lost: Vec<(u64, u64)>,
    ending: Ending,
    offset: usize,
    position: Position,
}

fn read(bytes: &[u8], start: Position, until: Option<u64>) -> Reading {
    let mut reader = SegmentReader::new(bytes, HEADER_BYTES, start, until);
    let (mut entries, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..100_000 {
        match reader.next_event() {
            Event::Batch(batch) => entries.extend(batch.entries.iter().map(|(it, payload, _)| (*it, payload.to_vec()))),
            Event::Lost { from, through } => lost.push((from, through)),
            Event::End(ending) => {
                assert_eq!(reader.next_event(), Event::End(ending), "the end stays the end");
                return Reading { entries, lost, ending, offset: reader.offset(), position: reader.position() };
            }
        }
    }
    panic!("the reader does not end");
}

fn expected(written: &Written, batches: usize) -> Vec<(u64, Vec<u8>)> {
    (written.start.next..).zip(written.batches.iter().take(batches).flatten().cloned()).collect()
}

fn batches() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    vec(vec(vec(any::<u8>(), 0..200), 0..5), 1..8)
}

proptest! {
    #[test]
    fn what_is_written_is_read(batches in batches()) {
        let written = write(&batches);
        let header = SegmentHeader::decode(&written.bytes).expect("a header");
        prop_assert_eq!(header, SegmentHeader { store_id: STORE, index: 2, boot_counter: 5, start: written.start });
        let reading = read(&written.bytes, written.start, None);
        prop_assert_eq!(&reading.entries, &expected(&written, batches.len()));
        let (offset, position) = *written.ends.last().expect("an end");
        prop_assert_eq!((reading.offset, reading.position), (offset, position));
        prop_assert!(reading.lost.is_empty() && reading.ending == Ending::Clean);
        let closed = read(&written.bytes, written.start, Some(position.next));
        prop_assert_eq!(closed.entries, reading.entries);
        prop_assert!(closed.lost.is_empty());
    }

    #[test]
    fn a_cut_leaves_the_whole_batches_before_it(batches in batches(), cut in any::<prop::sample::Index>(), zeros: bool) {
        let written = write(&batches);
        let used = written.ends.last().expect("an end").0;
        let cut = HEADER_BYTES + cut.index(used - HEADER_BYTES);
        let mut bytes = written.bytes[..cut].to_vec();
        if zeros {
            bytes.resize(SEGMENT, 0);
        }
        let whole = written.ends.iter().take_while(|(offset, _)| *offset <= cut).count() - 1;
        let reading = read(&bytes, written.start, None);
        prop_assert_eq!(&reading.entries, &expected(&written, whole));
        prop_assert_eq!(reading.offset, written.ends[whole].0);
        prop_assert!(reading.lost.is_empty(), "a torn end is not damage");
        // With the next segment's word for where this one ended, the same cut is a loss, and all of it is told.
        let end = written.ends.last().expect("an end").1.next;
        let closed = read(&bytes, written.start, Some(end));
        let told: u64 = closed.lost.iter().map(|(from, through)| through + 1 - from).sum();
        prop_assert_eq!(closed.entries.len() as u64 + told, end - written.start.next);
    }

    #[test]
    fn any_flipped_bit_is_noticed(batches in batches(), place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let written = write(&batches);
        let (used, end) = *written.ends.last().expect("an end");
        let place = place.index(used);
        let mut bytes = written.bytes.clone();
        bytes[place] ^= 1 << bit;
        if place < HEADER_BYTES {
            prop_assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Damaged));
            return Ok(());
        }
        let hit = written.ends.iter().filter(|(offset, _)| *offset <= place).count() - 1;
        let all = expected(&written, batches.len());
        let open = read(&bytes, written.start, None);
        prop_assert!(open.entries.iter().all(|entry| all.contains(entry)), "nothing false is given");
        if hit == batches.len() - 1 {
            // In the last batch a flipped bit cannot be told from a torn write; the batch did not happen.
            prop_assert_eq!(&open.entries, &expected(&written, hit));
            prop_assert!(open.lost.is_empty());
            // A start marker alone, its magic flipped, is nothing recognisable, and nothing is missing without it.
            prop_assert!(open.ending == Ending::Torn || batches[hit].is_empty());
        }
        let later = batches[hit + 1..].iter().any(|batch| !batch.is_empty());
        if later {
            prop_assert!(!open.lost.is_empty(), "a later batch proves the damage");
        }
        let closed = read(&bytes, written.start, Some(end.next));
        prop_assert!(closed.entries.iter().all(|entry| all.contains(entry)));
        let told: u64 = closed.lost.iter().map(|(from, through)| (through + 1).saturating_sub(*from)).sum();
        prop_assert_eq!(closed.entries.len() as u64 + told, all.len() as u64, "each entry is given or told as lost");
        prop_assert!(told <= 1, "one flipped bit costs one entry at most, not {}", told);
    }

    #[test]
    fn remains_of_an_older_use_are_unwritten(old in batches(), new in batches()) {
        // The old use has sequences 40.. and the new one begins behind them, as a reused file does.
        let old = write(&old);
        let mut position = Position { next: 1_000, head: ChainHash([4; 32]) };
        let start = position;
        let mut bytes = Vec::from([0; HEADER_BYTES]);
        for batch in &new {
            let first = position.next;
            for payload in batch {
                let head = write_entry(&mut bytes, position.next, position.head, payload).expect("short enough");
                position = Position { next: position.next + 1, head };
            }
            write_commit(&mut bytes, Commit { first, last: position.next - 1, boot_counter: 6 }, position.head);
        }
        let end = bytes.len();
        if let Some(rest) = old.bytes.get(end..) {
            bytes.extend_from_slice(rest);
        }
        let reading = read(&bytes, start, None);
        prop_assert_eq!(reading.entries.len(), new.iter().map(Vec::len).sum::<usize>());
        prop_assert_eq!((reading.offset, reading.position), (end, position));
        prop_assert!(reading.lost.is_empty());
        prop_assert_eq!(reading.ending, Ending::Clean);
    }

    #[test]
    fn a_torn_batch_with_any_pages_missing_did_not_happen(
        good in batches(), torn in vec(vec(any::<u8>(), 100..2_000), 1..8), missing in vec(any::<bool>(), 64),
    ) {
        let good = write(&good);
        let (begin, position) = *good.ends.last().expect("an end");
        let mut bytes = good.bytes[..begin].to_vec();
        let mut next = position;
        for payload in &torn {
            let head = write_entry(&mut bytes, next.next, next.head, payload).expect("short enough");
            next = Position { next: next.next + 1, head };
        }
        write_commit(&mut bytes, Commit { first: position.next, last: next.next - 1, boot_counter: 5 }, next.head);
        let end = bytes.len();
        bytes.resize(SEGMENT, 0);
        let mut any_missing = false;
        for (sector, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
            let from = (begin / 512 + sector) * 512;
            let range = from.max(begin)..(from + 512).min(end);
            if !range.is_empty() {
                any_missing |= bytes[range.clone()].iter().any(|byte| *byte != 0);
                bytes[range].fill(0);
            }
        }
        let reading = read(&bytes, good.start, None);
        prop_assert!(reading.lost.is_empty(), "a torn write is not damage");
        if any_missing {
            prop_assert_eq!((reading.offset, reading.position), (begin, position));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..4_000), until in proptest::option::of(0_u64..200)) {
        let start = Position { next: 40, head: ChainHash([3; 32]) };
        let reading = read(&bytes, start, until);
        prop_assert!(reading.entries.is_empty());
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
        prop_assert!(CheckpointHeader::decode(&bytes).is_err());
    }

    #[test]
    fn mixed_up_segments_never_give_what_was_not_written(
        batches in batches(), moves in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_usize..600), 1..4),
        until in proptest::option::of(30_u64..80),
    ) {
        let written = write(&batches);
        let used = written.ends.last().expect("an end").0;
        let mut bytes = written.bytes.clone();
        for (from, to, length) in moves {
            let (from, to) = (HEADER_BYTES + from.index(used), HEADER_BYTES + to.index(used));
            bytes.copy_within(from..from + length, to);
        }
        let all = expected(&written, batches.len());
        let reading = read(&bytes, written.start, until);
        prop_assert!(reading.entries.iter().all(|entry| all.contains(entry)));
        prop_assert!(reading.entries.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, none twice");
    }

    #[test]
    fn checkpoints_read_back_in_any_pieces(
        items in vec((vec(any::<u8>(), 1..40), vec(any::<u8>(), 0..300)), 0..20), piece in 1_usize..400,
        flip in proptest::option::of((any::<prop::sample::Index>(), 0_u8..8)),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let header = CheckpointHeader { schema_version: 7, store_id: STORE, sequence: 99, head: ChainHash([8; 32]) };
        let mut file = Vec::new();
        let mut encoder = CheckpointEncoder::begin(&header, &mut file);
        for (key, value) in &items {
            encoder.item(key, value, &mut file).expect("short enough");
        }
        encoder.finish(&mut file);
        let mut good = true;
        if let Some((place, bit)) = flip {
            let place = place.index(file.len());
            file[place] ^= 1 << bit;
            good = false;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
            good = false;
        }
        let read = read_checkpoint(&file, piece);
        if good {
            prop_assert_eq!(read, Ok((header, items)));
        } else {
            prop_assert!(read.is_err());
        }
    }
}

type Items = Vec<(Vec<u8>, Vec<u8>)>;

fn read_checkpoint(file: &[u8], piece: usize) -> Result<(CheckpointHeader, Items), Option<CheckpointError>> {
    let (header, mut decoder) = CheckpointDecoder::begin(file)?;
    let mut rest = &file[CHECKPOINT_HEADER_BYTES..];
    let (mut items, mut shown) = (Vec::new(), piece);
    loop {
        let visible = &rest[..shown.min(rest.len())];
        match decoder.step(visible)? {
            CheckpointStep::Item { key, value, used } => {
                items.push((key.to_vec(), value.to_vec()));
                rest = &rest[used..];
                shown = piece;
            }
            CheckpointStep::More(needed) => {
                assert!(needed > visible.len(), "asks for more than it has");
                if needed > rest.len() {
                    return Err(None);
                }
                shown = needed;
            }
            CheckpointStep::End => return Ok((header, items)),
        }
    }
}

#[test]
fn bounds_are_met_exactly() {
    let head = ChainHash([0; 32]);
    let mut bytes = Vec::new();
    assert!(write_entry(&mut bytes, 1, head, &vec![7; ENTRY_BYTES]).is_some());
    assert!(matches!(Record::read(&bytes), Ok(Step::Record(_, length)) if length == bytes.len()));
    assert_eq!(write_entry(&mut Vec::new(), 1, head, &vec![7; ENTRY_BYTES + 1]), None);
    // A length beyond the bound is refused from the head alone, whatever follows.
    let claimed = u32::try_from(ENTRY_BYTES).expect("fits") + 1;
    bytes[4..8].copy_from_slice(&claimed.to_le_bytes());
    assert_eq!(Record::read(&bytes), Err(RecordError::Length(claimed)));
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Record::read(&bytes), Err(RecordError::Length(u32::MAX)));

    let header = CheckpointHeader { schema_version: 1, store_id: STORE, sequence: 1, head };
    let mut file = Vec::new();
    let mut encoder = CheckpointEncoder::begin(&header, &mut file);
    assert_eq!(encoder.item(&[1; KEY_BYTES], &vec![1; VALUE_BYTES], &mut file), Ok(()));
    assert!(encoder.item(&[1; KEY_BYTES + 1], &[], &mut file).is_err());
    assert!(encoder.item(&[1], &vec![1; VALUE_BYTES + 1], &mut file).is_err());
    assert!(encoder.item(&[], &[], &mut file).is_err());
}

#[test]
fn a_claimed_length_of_a_checkpoint_item_is_refused_from_its_head_alone() {
    let header = CheckpointHeader { schema_version: 1, store_id: STORE, sequence: 1, head: ChainHash([0; 32]) };
    let mut file = Vec::new();
    CheckpointEncoder::begin(&header, &mut file);
    let step = |key: usize, value: usize| {
        let length = |length: usize| u32::try_from(length).expect("fits").to_le_bytes();
        let head = [length(key), length(value)].concat();
        let (_, mut decoder) = CheckpointDecoder::begin(&file).expect("a header");
        match decoder.step(&head) {
            Ok(CheckpointStep::More(more)) => Ok(more),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(step(1, 0), Ok(9));
    assert_eq!(step(KEY_BYTES, VALUE_BYTES), Ok(8 + KEY_BYTES + VALUE_BYTES));
    for (key, value) in [(0, 1), (KEY_BYTES + 1, 0), (KEY_BYTES + 9, 0), (1, VALUE_BYTES + 1), (1, VALUE_BYTES + 9)] {
        assert_eq!(step(key, value), Err(CheckpointError::TooLong { key, value }));
    }
}

#[test]
fn a_remainder_too_short_for_a_record_is_the_end_when_nothing_was_written() {
    for length in 0..4 {
        assert_eq!(Record::read(&[0, 0, 0][..length.min(3)]), Ok(Step::Unwritten));
    }
    assert_eq!(Record::read(&[0, 0, 1]), Err(RecordError::Truncated));
    assert_eq!(Record::read(&[1]), Err(RecordError::Truncated));
}

#[test]
fn identities_are_shown_in_hexadecimal() {
    assert_eq!(format!("{:?}", StoreId([0xab; 16])), "ab".repeat(16));
    assert_eq!(format!("{:?}", ChainHash([0x0f; 32])), "0f".repeat(32));
}

/// Records of a segment, of one's own making.
struct Forged {
    bytes: Vec<u8>,
    position: Position,
}

impl Forged {
    fn new() -> Self {
        let position = Position { next: 40, head: ChainHash([3; 32]) };
        Self { bytes: vec![0; HEADER_BYTES], position }
    }

    /// An entry that continues the chain of hashes and says the sequence `sequence`.
    fn entry(mut self, sequence: u64) -> Self {
        let head = write_entry(&mut self.bytes, sequence, self.position.head, b"payload").expect("short enough");
        self.position = Position { next: sequence + 1, head };
        self
    }

    fn commit(mut self, first: u64, last: u64) -> Self {
        write_commit(&mut self.bytes, Commit { first, last, boot_counter: 5 }, self.position.head);
        self
    }

    fn read(mut self, until: Option<u64>) -> (Vec<u64>, Vec<(u64, u64)>) {
        self.bytes.resize(SEGMENT, 0);
        let reading = read(&self.bytes, Self::new().position, until);
        (reading.entries.into_iter().map(|(sequence, _)| sequence).collect(), reading.lost)
    }
}

#[test]
fn a_chain_of_good_hashes_with_other_numbers_is_not_followed() {
    let good = || Forged::new().entry(40).entry(41).commit(40, 41);
    assert_eq!(good().read(None), (vec![40, 41], vec![]));
    // A number left out inside a batch; whoever forged it knows how to make the hashes.
    assert_eq!(Forged::new().entry(41).commit(40, 41).read(None), (vec![], vec![]));
    assert_eq!(Forged::new().entry(40).entry(42).commit(40, 42).read(None).0, Vec::<u64>::new());
    // A marker that ends elsewhere than its batch, or begins elsewhere.
    assert_eq!(Forged::new().entry(40).entry(41).commit(40, 40).read(None).0, Vec::<u64>::new());
    assert_eq!(Forged::new().entry(40).entry(41).commit(41, 41).read(None).0, Vec::<u64>::new());
    // Entries that the next segment has as its own are not this one's.
    assert_eq!(good().read(Some(41)).0, vec![40]);
    assert_eq!(good().read(Some(42)), (vec![40, 41], vec![]));
}

#[test]
fn other_versions_and_unknown_kinds_are_refused_by_name() {
    let start = Position { next: 1, head: ChainHash::genesis(STORE) };
    let mut header = SegmentHeader { store_id: STORE, index: 1, boot_counter: 1, start }.encode();
    header[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(SegmentHeader::decode(&header), Err(HeaderError::Version(2)));
    assert!(HeaderError::Version(2).to_string().contains("format version 2; this version reads 1 to 1"));
    assert_eq!(SegmentHeader::decode(&[0; HEADER_BYTES]), Err(HeaderError::Unused));

    let mut bytes = Vec::new();
    write_entry(&mut bytes, 1, start.head, b"payload").expect("short enough");
    bytes[8] = 3;
    assert_eq!(Record::read(&bytes), Err(RecordError::Kind(3)));
}

#[test]
fn stores_do_not_share_a_chain() {
    assert_ne!(ChainHash::genesis(StoreId([1; 16])), ChainHash::genesis(StoreId([2; 16])));
    let head = ChainHash::genesis(STORE);
    assert_ne!(head.after(1, b"a"), head.after(2, b"a"));
    assert_ne!(head.after(1, b"a"), head.after(1, b"b"));
}
