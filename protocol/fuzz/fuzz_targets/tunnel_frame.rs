//! Any bytes as a frame of either end: no panic, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::proto::tunnel::{BridgeFrame, HubFrame};
use lockbridge_protocol::tunnel::frame::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = decode::<HubFrame>(bytes) {
        assert_eq!(decode::<HubFrame>(&encode(&frame).expect("what was read can be written")), Ok(frame));
    }
    if let Ok(frame) = decode::<BridgeFrame>(bytes) {
        assert_eq!(decode::<BridgeFrame>(&encode(&frame).expect("what was read can be written")), Ok(frame));
    }
});
