//! Any bytes as an event stream: no panic, bounded memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::ship::stream::{StreamReader, parse_message};

fuzz_target!(|bytes: &[u8]| {
    let _any = parse_message(bytes);
    let mut reader = StreamReader::new();
    let mut input = bytes;
    while !input.is_empty() {
        if reader.read(&mut input).is_err() {
            reader = StreamReader::new();
        }
    }
});
