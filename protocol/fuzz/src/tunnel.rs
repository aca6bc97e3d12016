//! Between bridge and hub: frames, sessions, signed commands, enrollment tokens.

use std::time::Duration;

use lockbridge_protocol::enrollment::EnrollmentToken;
use lockbridge_protocol::proto::tunnel::{BridgeFrame, Hello, HubFrame};
use lockbridge_protocol::signed::command::{kind_of, mode_of, parse, priority_of};
use lockbridge_protocol::tunnel::frame::{decode, encode};
use lockbridge_protocol::tunnel::session::{
    Admission, BridgeAction, BridgeEvent, BridgeSession, HubAction, HubEvent, HubSession, HubSettings,
};

use super::steps::Steps;

/// What was read can be written and read again.
pub(crate) fn frame(bytes: &[u8]) {
    if let Ok(frame) = decode::<HubFrame>(bytes) {
        assert_eq!(decode::<HubFrame>(&encode(&frame).expect("what was read can be written")), Ok(frame));
    }
    if let Ok(frame) = decode::<BridgeFrame>(bytes) {
        assert_eq!(decode::<BridgeFrame>(&encode(&frame).expect("what was read can be written")), Ok(frame));
    }
}

/// What was read is revealed and read again the same.
pub(crate) fn enrollment_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = EnrollmentToken::parse(text) {
        let again = EnrollmentToken::parse(&token.reveal()).expect("what was read can be read again");
        assert_eq!(again.public_key(), token.public_key());
        assert_eq!(*again.reveal(), *token.reveal());
    }
}

/// Only canonical bytes are accepted.
pub(crate) fn signed_command(payload: &[u8]) {
    if let Ok(verified) = parse(payload) {
        assert_eq!(parse(payload).expect("parsing is a function").hash, verified.hash);
        assert_eq!(verified.kind, kind_of(&verified.body));
        assert_eq!(verified.priority, priority_of(&verified.body));
        assert_eq!(verified.mode, mode_of(&verified.body));
    }
}

/// Any messages at any time to both session machines: nothing after the close.
pub(crate) fn session(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let mut now = Duration::from_secs(1000);
    let hello = Hello {
        version_minimum: 1,
        version_maximum: 1,
        store_id: vec![0; 16],
        boot_nonce: vec![0; 16],
        reports_last: 3,
        ..Hello::default()
    };
    let (mut bridge, first) = BridgeSession::open(hello, 1, now).expect("a valid Hello");
    let mut hub = HubSession::new(HubSettings::default(), "", 1, now);
    if kind & 1 == 1 {
        let BridgeAction::Send(hello) = first else { panic!("Hello comes first") };
        hub.handle(HubEvent::Message(&hello), now);
        for action in hub.handle(HubEvent::Admit(Box::new(Admission { epoch: 1, ..Admission::default() })), now) {
            if let HubAction::Send(welcome) = action {
                bridge.handle(BridgeEvent::Message(&welcome), now);
            }
        }
        bridge.handle(BridgeEvent::EpochDurable, now);
        bridge.handle(BridgeEvent::Credit([2; 4], ""), now);
        assert!(bridge.is_open() && hub.is_open());
    }
    let (mut bridge_closed, mut hub_closed) = (false, false);
    for step in Steps(input) {
        now += step.pause;
        for event in [BridgeEvent::Message(step.bytes), BridgeEvent::Timer] {
            let actions = bridge.handle(event, now);
            assert!(!bridge_closed || actions.is_empty());
            bridge_closed |= matches!(actions.last(), Some(BridgeAction::Close(..)));
        }
        for event in [HubEvent::Message(step.bytes), HubEvent::Timer] {
            let actions = hub.handle(event, now);
            assert!(!hub_closed || actions.is_empty());
            hub_closed |= matches!(actions.last(), Some(HubAction::Close(..)));
        }
        assert_eq!(bridge_closed, bridge.deadline().is_none());
        assert_eq!(hub_closed, hub.deadline().is_none());
    }
}
