//! Any bytes as the payload of a signed command: no panic, and only canonical bytes are accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::signed::command::{kind_of, mode_of, parse, priority_of};

fuzz_target!(|payload: &[u8]| {
    if let Ok(verified) = parse(payload) {
        assert_eq!(parse(payload).expect("parsing is a function").hash, verified.hash);
        assert_eq!(verified.kind, kind_of(&verified.body));
        assert_eq!(verified.priority, priority_of(&verified.body));
        assert_eq!(verified.mode, mode_of(&verified.body));
    }
});
