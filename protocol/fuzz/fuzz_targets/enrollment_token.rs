//! Any text as an enrollment token: no panic, and what was read is revealed and read again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::enrollment::EnrollmentToken;

fuzz_target!(|text: &str| {
    if let Ok(token) = EnrollmentToken::parse(text) {
        let again = EnrollmentToken::parse(&token.reveal()).expect("what was read can be read again");
        assert_eq!(again.public_key(), token.public_key());
        assert_eq!(*again.reveal(), *token.reveal());
    }
});
