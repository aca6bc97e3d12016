//! Any bytes as an answer: no panic, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::ship::Notes;
use lockbridge_protocol::ship::call::{Call, GetInfo, ReadKey};
use lockbridge_protocol::ship::entity::{Entity, User};
use lockbridge_protocol::ship::envelope::Answer;
use lockbridge_protocol::ship::xml::Element;

fuzz_target!(|bytes: &[u8]| {
    let mut notes = Notes::default();
    let _any = GetInfo.parse_answer(bytes, &mut notes);
    let _any = ReadKey { encoder: String::new() }.parse_answer(bytes, &mut notes);
    if let Ok(element) = Element::parse(bytes) {
        User::read(&element, &mut notes);
    }
    if let Ok(answer) = Answer::parse(bytes) {
        Answer::parse(answer.to_document().as_bytes()).expect("an answer that was read can be written");
    }
});
