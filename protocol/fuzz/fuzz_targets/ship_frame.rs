//! Any bytes as an STP stream: no panic, and the first split does not change what is found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::ship::frame::{Frame, FrameError, FrameReader};

fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
    let mut reader = FrameReader::new();
    let mut found = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while !input.is_empty() {
            found.extend(reader.read(&mut input)?);
        }
    }
    Ok(found)
}

fuzz_target!(|input: (usize, Vec<u8>)| {
    let (cut, bytes) = input;
    let (head, tail) = bytes.split_at(cut.checked_rem(bytes.len()).unwrap_or(0));
    assert_eq!(frames(&[head, tail]), frames(&[&bytes]));
});
