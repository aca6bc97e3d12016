//! SHIP: frames, answers, and the stream of events.

use lockbridge_protocol::ship::Notes;
use lockbridge_protocol::ship::call::{Call, GetInfo, ReadKey};
use lockbridge_protocol::ship::entity::{Entity, User};
use lockbridge_protocol::ship::envelope::Answer;
use lockbridge_protocol::ship::frame::{Frame, FrameError, FrameReader};
use lockbridge_protocol::ship::stream::{StreamReader, parse_message};
use lockbridge_protocol::ship::xml::Element;

/// What was read can be written and read again.
pub(crate) fn answer(bytes: &[u8]) {
    let mut notes = Notes::default();
    let _any = GetInfo.parse_answer(bytes, &mut notes);
    let _any = ReadKey { encoder: String::new() }.parse_answer(bytes, &mut notes);
    if let Ok(element) = Element::parse(bytes) {
        User::read(&element, &mut notes);
    }
    if let Ok(answer) = Answer::parse(bytes) {
        Answer::parse(answer.to_document().as_bytes()).expect("an answer that was read can be written");
    }
}

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

/// The place of a split, which the first byte picks, does not change what is found.
pub(crate) fn frame(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let (head, tail) = bytes.split_at(usize::from(*cut).checked_rem(bytes.len()).unwrap_or(0));
    assert_eq!(frames(&[head, tail]), frames(&[bytes]));
}

/// Bounded memory.
pub(crate) fn stream(bytes: &[u8]) {
    let _any = parse_message(bytes);
    let mut reader = StreamReader::new();
    let mut input = bytes;
    while !input.is_empty() {
        if reader.read(&mut input).is_err() {
            reader = StreamReader::new();
        }
    }
}
