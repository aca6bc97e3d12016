//! Frames on a line.

use lockbridge_protocol::line::{Checksum, FrameReader, Token, write_frame};

use super::steps::Steps;

const LIMIT: usize = 256;

/// Bounded memory, every byte counted once, and what is found can be framed and found again.
pub(crate) fn frame(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let checksum = match kind % 4 {
        0 => Checksum::Absent,
        1 => Checksum::Checked,
        2 => Checksum::CheckedUnlessMarked,
        _ => Checksum::Marked,
    };
    let mut reader = FrameReader::new(checksum, LIMIT);
    let mut good = 0;
    for step in Steps(input) {
        let mut rest = step.bytes;
        while let Some(token) = reader.read(&mut rest) {
            if let Token::Frame(body) = token {
                good += body.len() + if checksum == Checksum::Absent { 2 } else { 3 };
                let mut frame = Vec::new();
                write_frame(body, checksum, LIMIT, &mut frame).expect("a body that was framed can be framed");
                let mut again = FrameReader::new(checksum, LIMIT);
                assert_eq!(again.read(&mut &frame[..]), Some(Token::Frame(body)));
            }
        }
        assert!(rest.is_empty());
        // Silence ends a frame that was begun.
        if step.pause.as_millis() > 1000 {
            reader.abandon();
        }
    }
    reader.abandon();
    let statistics = reader.statistics();
    let good = u64::try_from(good).expect("small");
    assert_eq!(good + statistics.controls + statistics.discarded, statistics.bytes);
}
