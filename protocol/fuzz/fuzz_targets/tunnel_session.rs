//! Any messages at any time to both session machines: no panic, and nothing after the close.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::proto::tunnel::Hello;
use lockbridge_protocol::tunnel::session::{
    Admission, BridgeAction, BridgeEvent, BridgeSession, HubAction, HubEvent, HubSession, HubSettings,
};

fuzz_target!(|input: (bool, Vec<(u16, Vec<u8>)>)| {
    let (open, messages) = input;
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
    if open {
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
    for (milliseconds, message) in messages {
        now += Duration::from_millis(milliseconds.into());
        for event in [BridgeEvent::Message(&message), BridgeEvent::Timer] {
            let actions = bridge.handle(event, now);
            assert!(!bridge_closed || actions.is_empty());
            bridge_closed |= matches!(actions.last(), Some(BridgeAction::Close(..)));
        }
        for event in [HubEvent::Message(&message), HubEvent::Timer] {
            let actions = hub.handle(event, now);
            assert!(!hub_closed || actions.is_empty());
            hub_closed |= matches!(actions.last(), Some(HubAction::Close(..)));
        }
        assert_eq!(bridge_closed, bridge.deadline().is_none());
        assert_eq!(hub_closed, hub.deadline().is_none());
    }
});
