//! Any bytes on a line: no panic, bounded memory, every byte counted once, and what is found can be framed and found again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::line::{Checksum, FrameReader, Token, write_frame};

const LIMIT: usize = 256;

fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (kind, chunks) = input;
    let checksum = match kind % 4 {
        0 => Checksum::Absent,
        1 => Checksum::Checked,
        2 => Checksum::CheckedUnlessMarked,
        _ => Checksum::Marked,
    };
    let mut reader = FrameReader::new(checksum, LIMIT);
    let mut good = 0;
    for chunk in &chunks {
        let mut rest = &chunk[..];
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
    }
    reader.abandon();
    let statistics = reader.statistics();
    let good = u64::try_from(good).expect("small");
    assert_eq!(good + statistics.controls + statistics.discarded, statistics.bytes);
});
