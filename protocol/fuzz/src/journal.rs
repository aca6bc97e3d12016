//! Segments and checkpoints of the journal.

use lockbridge_protocol::journal::{
    CHECKPOINT_HEADER_BYTES, ChainHash, CheckpointDecoder, CheckpointStep, Event, Position, Record, SegmentHeader,
    SegmentReader,
};

/// Reading ends. The first byte says whether a limit in the next eight holds.
pub(crate) fn segment(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let (until, bytes) = match input.split_first_chunk() {
        Some((until, rest)) if kind & 1 == 1 => (Some(u64::from_le_bytes(*until)), rest),
        _ => (None, input),
    };
    let _any = Record::read(bytes);
    let _any = SegmentHeader::decode(bytes);
    let mut reader = SegmentReader::new(bytes, 0, Position { next: 1, head: ChainHash([0; 32]) }, until);
    // Each finding uses up at least one byte.
    for _ in 0..=bytes.len() + 1 {
        if matches!(reader.next_event(), Event::End(_)) {
            break;
        }
    }
    assert!(matches!(reader.next_event(), Event::End(_)), "reading ends");
    assert!(reader.offset() <= bytes.len());
    if let Ok((_, mut decoder)) = CheckpointDecoder::begin(bytes) {
        let mut rest = bytes.get(CHECKPOINT_HEADER_BYTES..).unwrap_or_default();
        while let Ok(CheckpointStep::Item { used, .. }) = decoder.step(rest) {
            assert!(used > 0);
            rest = &rest[used..];
        }
    }
}
