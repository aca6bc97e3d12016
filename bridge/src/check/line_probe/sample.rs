//! What bytes of a FIAS line say of its settings, whatever is configured here.

use lockbridge_protocol::fias::id::RecordId;
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::line::{ACK, ENQ, ETX, NAK, STX, longitudinal_redundancy_check};

/// A few introductions; what comes behind tells nothing new.
const BYTES: usize = 16 * 1024;

/// The first bytes that came.
#[derive(Debug, Default)]
pub(super) struct Sample {
    bytes: Vec<u8>,
    total: u64,
}

/// What is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes that came, also those that were not kept.
    pub(super) bytes: u64,
    /// Records, in order.
    pub(super) records: Vec<RecordId>,
    /// Records behind which the byte of a checksum stands that fits.
    pub(super) with_checksum: usize,
    /// Records behind which nothing stands, or a control byte that is no checksum of theirs.
    pub(super) without_checksum: usize,
    /// Records behind which some other byte stands.
    pub(super) damaged: usize,
    /// ACK.
    pub(super) acknowledged: usize,
    /// NAK.
    pub(super) refused: usize,
    /// ENQ.
    pub(super) enquiries: usize,
}

impl Sample {
    /// Keeps what came, up to a limit.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let room = BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    /// Looks at it as a whole.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen { bytes: self.total, ..Seen::default() };
        let mut rest = self.bytes.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            match *first {
                ACK => seen.acknowledged = seen.acknowledged.saturating_add(1),
                NAK => seen.refused = seen.refused.saturating_add(1),
                ENQ => seen.enquiries = seen.enquiries.saturating_add(1),
                STX => rest = seen.frame(behind),
                _ => {}
            }
        }
        seen
    }
}

impl Seen {
    /// Takes a frame whose STX was read; gives what stands behind it.
    fn frame<'bytes>(&mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        let Some(end) = bytes.iter().position(|byte| matches!(*byte, STX | ETX)) else { return bytes };
        let (body, behind) = bytes.split_at(end);
        let record = Record::read(body).ok().filter(|_| body.ends_with(b"|"));
        let (Some(record), Some((&ETX, behind))) = (record, behind.split_first()) else { return behind };
        self.records.push(record.id());
        let counter = match behind.first() {
            Some(trailer) if *trailer == longitudinal_redundancy_check(body) => {
                self.with_checksum = self.with_checksum.saturating_add(1);
                return behind.get(1..).unwrap_or_default();
            }
            None | Some(&(STX | ACK | NAK | ENQ)) => &mut self.without_checksum,
            Some(_) => &mut self.damaged,
        };
        *counter = counter.saturating_add(1);
        behind
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(pieces: &[&[u8]]) -> Seen {
        let mut sample = Sample::default();
        for piece in pieces {
            sample.take(piece);
        }
        sample.seen()
    }

    #[test]
    fn a_checksum_shows_itself() {
        // The specification's own example: its checksum is `w`.
        let record = b"\x02LS|DA161117|TI102926|\x03";
        let with = seen(&[b"\x06", record, b"w", record, b"w\x05"]);
        assert_eq!((with.with_checksum, with.without_checksum, with.damaged), (2, 0, 0));
        assert_eq!((with.acknowledged, with.enquiries), (1, 1));
        let without = seen(&[record, record, b"\x06", record]);
        assert_eq!((without.with_checksum, without.without_checksum, without.damaged), (0, 3, 0));
        assert_eq!(seen(&[record, b"W"]).damaged, 1);
        assert_eq!(without.records, [RecordId::LINK_START; 3]);
    }

    #[test]
    fn what_is_no_record_is_not_taken_for_one() {
        for noise in [&b"\x02\x03\x02x\x03"[..], b"SSH-2.0-x\r\n", b"\x02LS|cut", b"\xF8\x80\xFE", b"\x02LS\x03"] {
            let seen = seen(&[noise]);
            assert!(seen.records.is_empty() && seen.bytes > 0, "{noise:?}: {seen:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_counted_once(bytes in prop::collection::vec(prop::sample::select(vec![2_u8, 3, 5, 6, 21, b'L', b'S', b'|', 0]), 0..200), cut in 0_usize..200) {
            let cut = cut.min(bytes.len());
            let whole = seen(&[&bytes]);
            prop_assert_eq!(&whole, &seen(&[&bytes[..cut], &bytes[cut..]]));
            prop_assert_eq!(whole.records.len(), whole.with_checksum + whole.without_checksum + whole.damaged);
        }
    }
}
