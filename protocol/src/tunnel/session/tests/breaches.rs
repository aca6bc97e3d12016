//! Refusals by name, breaches of the protocol, limits, and bytes from anywhere.

use super::*;
use crate::proto::tunnel::{CommandsDurable, DeliveryBatch, ReportBatch, ReportsDurable, Welcome};

fn refusal(pair: &Pair) -> (RefuseCode, &str) {
    match pair.bridge_end() {
        BridgeEnd::Refused { code, message, .. } => (*code, message),
        other => panic!("not refused but {other}"),
    }
}

fn admitted(hello: Hello, known: Admission) -> Pair {
    let mut pair = Pair::new(hello, HubSettings::default());
    pair.carry();
    pair.hub_event(HubEvent::Admit(Box::new(known)));
    pair.carry();
    pair
}

#[test]
fn another_version_is_refused_by_name() {
    let mut pair = Pair::new(Hello { version_minimum: 2, version_maximum: 4, ..hello() }, HubSettings::default());
    pair.carry();
    let (code, message) = refusal(&pair);
    assert_eq!(code, RefuseCode::VersionUnsupported);
    assert!(message.contains("2 to 4") && message.contains("1 to 1"), "{message}");
    assert!(matches!(pair.bridge_end(), BridgeEnd::Refused { versions: (1, 1), .. }));
    assert!(matches!(pair.hub_end(), HubEnd::Refused(_)));
}

#[test]
fn a_later_bridge_that_still_speaks_ours_is_welcome() {
    let pair = admitted(Hello { version_maximum: 4, ..hello() }, admission(1));
    assert!(matches!(pair.bridge_actions.last(), Some(BridgeAction::Welcomed(_))));
}

#[test]
fn another_identity_than_the_certificate_is_refused() {
    let mut pair = Pair::new(Hello { bridge_id: "other".into(), ..hello() }, HubSettings::default());
    pair.carry();
    assert_eq!(refusal(&pair).0, RefuseCode::IdentityUnknown);
}

#[test]
fn a_busy_hub_names_a_time() {
    let mut pair = Pair::new(hello(), HubSettings::default());
    pair.carry();
    let mut busy = Refusal::new(RefuseCode::Busy, "too many bridges at once");
    busy.retry_after = Some(Duration::from_secs(20));
    pair.hub_event(HubEvent::Refuse(busy));
    pair.carry();
    assert!(matches!(
        pair.bridge_end(),
        BridgeEnd::Refused { code: RefuseCode::Busy, retry_after: Some(wait), .. } if wait.as_secs() == 20
    ));
}

#[test]
fn memory_lost_on_either_side_is_refused() {
    let store = |journal_sequence| Some(KnownStore { store_id: vec![1; 16], journal_sequence });
    let older_journal = (Hello { journal_sequence: 9, ..hello() }, Admission { store: store(10), ..admission(1) });
    let lost_deliveries = (
        Hello { commands_durable_through: 4, ..hello() },
        Admission { deliveries_sent_through: 9, deliveries_durable_through: 5, ..admission(1) },
    );
    let lost_reports = (Hello { reports_last: 4, ..hello() }, Admission { reports_durable_through: 5, ..admission(1) });
    let older_cloud = (
        Hello { commands_durable_through: 4, ..hello() },
        Admission { deliveries_sent_through: 3, deliveries_durable_through: 3, ..admission(1) },
    );
    let older_epoch = (Hello { highest_epoch_seen: 7, ..hello() }, admission(7));
    for (hello, known) in [older_journal, lost_deliveries, lost_reports, older_cloud, older_epoch] {
        let pair = admitted(hello, known);
        let (code, message) = refusal(&pair);
        assert_eq!(code, RefuseCode::StateRolledBack);
        assert!(message.contains("restored"), "{message}");
    }
    let same = (Hello { journal_sequence: 10, ..hello() }, Admission { store: store(10), ..admission(1) });
    let pair = admitted(same.0, same.1);
    assert!(matches!(pair.bridge_actions.last(), Some(BridgeAction::Welcomed(_))));
}

#[test]
fn reports_that_nobody_has_any_more_are_a_recorded_loss() {
    let pair = admitted(
        Hello { reports_first_kept: 8, reports_last: 9, ..hello() },
        Admission { reports_durable_through: 4, ..admission(1) },
    );
    assert!(pair.hub_actions.contains(&HubAction::ReportsMissing(5, 7)));
    assert!(matches!(
        pair.bridge_actions.last(),
        Some(BridgeAction::Welcomed(welcomed)) if welcomed.reports_durable_through == 7
    ));
}

fn welcome() -> Welcome {
    Welcome { version: 1, boot_nonce: vec![2; 16], report_window: 5, ..Welcome::default() }
}

#[test]
fn a_welcome_that_cannot_be_right_ends_the_session() {
    let hello = Hello { highest_epoch_seen: 6, reports_first_kept: 3, reports_last: 4, ..hello() };
    let cases: [(u64, Welcome, BridgeEnd); 5] = [
        (7, Welcome { boot_nonce: vec![3; 16], ..welcome() }, Violation::BootNonce.into()),
        (7, Welcome { version: 2, ..welcome() }, Violation::Version { chosen: 2, minimum: 1, maximum: 1 }.into()),
        (6, welcome(), Violation::EpochNotHigher { epoch: 6, seen: 6 }.into()),
        (
            7,
            Welcome { reports_durable_through: 5, ..welcome() },
            BridgeEnd::CursorMismatch { theirs: 5, first_kept: 3, last: 4 },
        ),
        (
            7,
            Welcome { reports_durable_through: 1, ..welcome() },
            BridgeEnd::CursorMismatch { theirs: 1, first_kept: 3, last: 4 },
        ),
    ];
    for (epoch, welcome, end) in cases {
        let mut pair = Pair::new(hello.clone(), HubSettings::default());
        pair.hub_sends(epoch, hub_frame::Body::Welcome(welcome));
        assert_eq!(pair.bridge_end(), &end);
        assert_eq!(pair.bridge_actions.len(), 1, "nothing else is done");
    }
}

#[test]
fn a_delivery_past_the_credit_of_its_priority_ends_the_session() {
    let mut pair = Pair::open([1, 1, 1, 1]);
    let deliveries = vec![delivery(1, Priority::Convergent), delivery(2, Priority::Convergent)];
    pair.hub_sends(1, hub_frame::Body::Deliveries(DeliveryBatch { deliveries }));
    let violation = Violation::Credit { priority: Priority::Convergent, sequence: 2, granted: 1 };
    assert_eq!(pair.bridge_end(), &BridgeEnd::Violation(violation));
    assert_eq!(pair.bridge_actions.len(), 1, "none of the batch is passed on");
    assert!(
        matches!(pair.bridge_actions.last(), Some(BridgeAction::Close(Close { code: 1002, reason }, _)) if reason.contains("credit"))
    );
}

#[test]
fn sequences_out_of_order_end_the_session() {
    let mut pair = Pair::open([9; 4]);
    let deliveries = vec![delivery(1, Priority::Safety), delivery(3, Priority::Safety)];
    pair.hub_sends(1, hub_frame::Body::Deliveries(DeliveryBatch { deliveries }));
    let violation = Violation::OutOfOrder { what: "delivery", expected: 2, found: 3 };
    assert_eq!(pair.bridge_end(), &BridgeEnd::Violation(violation));

    let mut pair = Pair::open([9; 4]);
    pair.bridge_sends(1, bridge_frame::Body::Reports(ReportBatch { reports: vec![report(2)] }));
    let violation = Violation::OutOfOrder { what: "report", expected: 1, found: 2 };
    assert_eq!(pair.hub_end(), &HubEnd::Violation(violation));
}

#[test]
fn acknowledging_what_was_never_sent_ends_the_session() {
    let mut pair = Pair::open([9; 4]);
    pair.deliver(vec![delivery(1, Priority::Safety)]).unwrap();
    pair.bridge_sends(1, bridge_frame::Body::CommandsDurable(CommandsDurable { through: 2 }));
    let violation = Violation::AcknowledgedUnsent { what: "deliveries", through: 2, last: 1 };
    assert_eq!(pair.hub_end(), &HubEnd::Violation(violation));
    pair.hub_sends(1, hub_frame::Body::ReportsDurable(ReportsDurable { through: 1 }));
    let violation = Violation::AcknowledgedUnsent { what: "reports", through: 1, last: 0 };
    assert_eq!(pair.bridge_end(), &BridgeEnd::Violation(violation));
}

#[test]
fn reports_past_the_window_end_the_session() {
    let mut pair = Pair::open([9; 4]);
    let batch = |from: u64| ReportBatch { reports: (from..from + 256).map(report).collect() };
    pair.bridge_sends(1, bridge_frame::Body::Reports(batch(1)));
    pair.bridge_sends(1, bridge_frame::Body::Reports(batch(257)));
    assert!(pair.hub.is_open(), "512 is the window");
    pair.bridge_sends(1, bridge_frame::Body::Reports(ReportBatch { reports: vec![report(513)] }));
    assert_eq!(pair.hub_end(), &HubEnd::Violation(Violation::Window { sequence: 513, window: 512 }));
}

#[test]
fn frames_at_the_wrong_time_and_text_end_the_session() {
    let mut pair = Pair::open([9; 4]);
    pair.bridge_sends(0, bridge_frame::Body::Hello(hello()));
    pair.hub_sends(1, hub_frame::Body::Welcome(welcome()));
    let unexpected = |frame, when| Violation::Unexpected { frame, when };
    assert_eq!(pair.hub_end(), &HubEnd::Violation(unexpected("Hello", "after Welcome")));
    assert_eq!(pair.bridge_end(), &BridgeEnd::Violation(unexpected("Welcome", "after Welcome")));

    let mut pair = Pair::new(hello(), HubSettings::default());
    pair.hub_sends(3, hub_frame::Body::ReportsDurable(ReportsDurable { through: 0 }));
    pair.bridge_sends(3, bridge_frame::Body::CommandsDurable(CommandsDurable { through: 0 }));
    assert_eq!(pair.bridge_end(), &BridgeEnd::Violation(unexpected("ReportsDurable", "before Welcome")));
    assert_eq!(pair.hub_end(), &HubEnd::Violation(unexpected("CommandsDurable", "before Welcome")));

    let mut pair = Pair::open([9; 4]);
    pair.bridge_event(BridgeEvent::Text);
    pair.hub_event(HubEvent::Text);
    assert!(matches!(pair.bridge_actions.last(), Some(BridgeAction::Close(Close { code: 1003, .. }, _))));
    assert!(matches!(pair.hub_actions.last(), Some(HubAction::Close(Close { code: 1003, .. }, _))));
}

#[test]
fn an_oversized_message_closes_with_1009_and_its_sizes() {
    let mut pair = Pair::open([9; 4]);
    pair.hub_event(HubEvent::Message(&vec![0; FRAME_BYTES + 1]));
    match pair.hub_actions.last() {
        Some(HubAction::Close(Close { code: 1009, reason }, HubEnd::Violation(Violation::Frame(error)))) => {
            assert!(reason.contains("262145") && reason.contains("262144"), "{reason}");
            assert!(matches!(error, FrameError::TooLarge { .. }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_websocket_refuses_for_its_size_ends_the_session_alike() {
    let mut pair = Pair::open([9; 4]);
    pair.bridge_event(BridgeEvent::Oversized(300_000));
    pair.hub_event(HubEvent::Oversized(300_000));
    assert!(matches!(
        pair.bridge_actions.last(),
        Some(BridgeAction::Close(Close { code: 1009, reason }, _)) if reason.contains("HubFrame of 300000 bytes")
    ));
    assert!(matches!(
        pair.hub_actions.last(),
        Some(HubAction::Close(Close { code: 1009, reason }, _)) if reason.contains("BridgeFrame of 300000 bytes")
    ));
}

#[test]
fn an_unreadable_command_counts_like_a_grant_on_both_ends() {
    let mut unreadable = delivery(1, Priority::Safety);
    unreadable.command.as_mut().unwrap().payload = vec![0xff];
    assert_eq!(priority_of(&unreadable), Priority::Convergent);
}

#[test]
fn the_hub_server_cannot_leave_out_or_oversize_a_delivery() {
    let mut pair = Pair::open([9; 4]);
    assert_eq!(
        pair.deliver(vec![delivery(2, Priority::Safety)]),
        Err(DeliverError::OutOfOrder { expected: 1, found: 2 })
    );
    let mut large = delivery(1, Priority::Safety);
    large.command.as_mut().unwrap().payload = vec![0; crate::limits::COMMAND_BYTES];
    assert!(matches!(pair.deliver(vec![large]), Err(DeliverError::TooLarge { sequence: 1, .. })));
    assert_eq!(pair.deliver(vec![delivery(1, Priority::Safety)]), Ok(1), "the session goes on");
}

#[test]
fn nothing_comes_after_the_close() {
    let mut pair = Pair::open([9; 4]);
    pair.bridge_event(BridgeEvent::Text);
    let count = pair.bridge_actions.len();
    pair.bridge_event(BridgeEvent::Drain);
    pair.bridge_event(BridgeEvent::Timer);
    pair.bridge_event(BridgeEvent::Disconnected("gone".into()));
    assert_eq!((pair.bridge_actions.len(), pair.to_hub.len()), (count, 0));
}

#[test]
fn a_close_reason_fits_a_close_frame() {
    let close = Close::new(1002, &"ä".repeat(100));
    assert_eq!(close.reason, "ä".repeat(61));
}

proptest! {
    #[test]
    fn no_bytes_make_either_end_panic(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..8), open: bool) {
        let mut pair = if open { Pair::open([3; 4]) } else { Pair::new(hello(), HubSettings::default()) };
        for message in &messages {
            pair.bridge_event(BridgeEvent::Message(message));
            pair.hub_event(HubEvent::Message(message));
        }
    }

    #[test]
    fn flipped_bytes_of_real_frames_panic_nobody(at in 0_usize..400, value: u8) {
        let mut pair = Pair::open([3; 4]);
        pair.deliver((1..4).map(|sequence| delivery(sequence, Priority::Safety)).collect()).unwrap();
        let mut bytes = pair.to_bridge.pop_front().unwrap().to_vec();
        let at = at % bytes.len();
        bytes[at] = value;
        pair.bridge_event(BridgeEvent::Message(&bytes));
        pair.hub_event(HubEvent::Message(&bytes));
    }
}
