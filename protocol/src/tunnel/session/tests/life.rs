//! A session as it should go: opening, timers, draining, resuming.

use super::*;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Bodies of the bridge frames on their way.
fn bodies_to_hub(pair: &Pair) -> Vec<bridge_frame::Body> {
    pair.to_hub.iter().map(|bytes| frame::decode::<BridgeFrame>(bytes).unwrap().body.unwrap()).collect()
}

#[test]
fn opens_with_epoch_cursor_and_workspace() {
    let mut pair = Pair::new(Hello { reports_last: 9, reports_first_kept: 3, ..hello() }, HubSettings::default());
    pair.carry();
    assert!(matches!(pair.hub_actions.as_slice(), [HubAction::Hello(hello)] if hello.reports_last == 9));
    assert_eq!(pair.hub.wanted(), Wanted::Nothing);
    pair.hub_event(HubEvent::Admit(Box::new(Admission {
        reports_durable_through: 4,
        hub_time_ms: 77,
        ..admission(3)
    })));
    assert_eq!(pair.hub_actions.last(), Some(&HubAction::Opened));
    pair.carry();
    let welcomed =
        Welcomed { epoch: 3, reports_durable_through: 4, reconnect_window_s: 15, workspace_name: "Example".into() };
    assert_eq!(pair.bridge_actions, [BridgeAction::HubTime(77), BridgeAction::Welcomed(welcomed)]);
    assert_eq!(pair.bridge.reports_wanted(), None, "nothing flows before the epoch is durable");
    pair.bridge_event(BridgeEvent::CommandsDurable(0));
    pair.bridge_event(BridgeEvent::EpochDurable);
    assert_eq!(pair.bridge.reports_wanted(), Some(ReportsWanted { from: 5, count: 5 }));
    assert_eq!((pair.bridge.epoch(), pair.hub.epoch()), (3, 3));
}

#[test]
fn both_ends_wait_ten_seconds_for_the_first_frame() {
    let mut pair = Pair::new(hello(), HubSettings::default());
    assert_eq!(pair.bridge.deadline(), Some(BOOT + seconds(10)));
    assert_eq!(pair.hub.deadline(), Some(BOOT + seconds(10)));
    pair.now = BOOT + Duration::from_millis(9_999);
    pair.bridge_event(BridgeEvent::Timer);
    pair.hub_event(HubEvent::Timer);
    assert_eq!((pair.bridge_actions.len(), pair.hub_actions.len()), (0, 0));
    pair.now = BOOT + seconds(10);
    pair.bridge_event(BridgeEvent::Timer);
    pair.hub_event(HubEvent::Timer);
    assert_eq!(pair.bridge_end(), &BridgeEnd::NoWelcome);
    assert_eq!(pair.hub_end(), &HubEnd::NoHello);
    assert_eq!((pair.bridge.deadline(), pair.hub.deadline()), (None, None));
}

#[test]
fn pings_every_20_s_and_dies_after_45_s_of_silence() {
    let mut pair = Pair::open([0; 4]);
    let end = BOOT + seconds(45);
    while let Some(at) = pair.bridge.deadline().min(pair.hub.deadline()) {
        pair.now = at;
        pair.bridge_event(BridgeEvent::Timer);
        pair.hub_event(HubEvent::Timer);
        pair.to_hub.clear();
        pair.to_bridge.clear();
        if pair.bridge.deadline().is_none() || pair.hub.deadline().is_none() {
            break;
        }
    }
    assert_eq!(pair.now, end);
    assert_eq!(pair.bridge_end(), &BridgeEnd::Silent);
    assert_eq!(pair.bridge_actions.iter().filter(|action| **action == BridgeAction::Ping).count(), 2);
    assert_eq!(pair.hub_actions.iter().filter(|action| **action == HubAction::Ping).count(), 2);
}

#[test]
fn any_sign_of_life_keeps_the_session() {
    let mut pair = Pair::open([0; 4]);
    for _ in 0..10 {
        pair.now += seconds(44);
        pair.bridge_event(BridgeEvent::Alive);
        pair.hub_event(HubEvent::Alive);
        pair.bridge_event(BridgeEvent::Timer);
        pair.hub_event(HubEvent::Timer);
        pair.carry();
    }
    assert!(pair.bridge.is_open() && pair.hub.is_open());
    assert_eq!(pair.hub.last_heard(), pair.now);
}

#[test]
fn heartbeat_at_once_and_each_minute_with_what_holds() {
    let mut pair = Pair::open([0; 4]);
    let health = |code: &str| HealthReport {
        reasons: vec![crate::proto::tunnel::HealthReason { code: code.into(), ..Default::default() }],
        ..HealthReport::default()
    };
    pair.bridge_event(BridgeEvent::Health(health("disk")));
    assert_eq!(bodies_to_hub(&pair), [bridge_frame::Body::Health(health("disk"))], "at once on change");
    pair.bridge_event(BridgeEvent::Health(health("disk")));
    assert_eq!(pair.to_hub.len(), 1, "the same again is no change");
    pair.to_hub.clear();
    pair.bridge_event(BridgeEvent::Timer);
    assert_eq!(pair.bridge_actions, [BridgeAction::HeartbeatDue]);
    assert_eq!(bodies_to_hub(&pair), [bridge_frame::Body::Health(health("disk"))]);
    pair.bridge_event(BridgeEvent::Heartbeat(BridgeHeartbeat { journal_sequence: 5, ..BridgeHeartbeat::default() }));
    pair.carry();
    assert!(matches!(pair.hub_actions.last(), Some(HubAction::Heartbeat(figures)) if figures.journal_sequence == 5));
    pair.bridge_actions.clear();
    for (after, due) in [(59, 0), (60, 1), (119, 1), (120, 2)] {
        pair.now = BOOT + seconds(after);
        pair.bridge_event(BridgeEvent::Alive);
        pair.bridge_event(BridgeEvent::Timer);
        let count = pair.bridge_actions.iter().filter(|action| **action == BridgeAction::HeartbeatDue).count();
        assert_eq!(count, due, "after {after} s");
    }
}

#[test]
fn hub_heartbeat_carries_its_time() {
    let mut pair = Pair::open([0; 4]);
    pair.hub_event(HubEvent::Timer);
    assert_eq!(pair.hub_actions, [HubAction::HeartbeatDue]);
    pair.hub_event(HubEvent::Heartbeat(123));
    pair.carry();
    assert_eq!(pair.bridge_actions, [BridgeAction::HubTime(123)]);
}

#[test]
fn a_draining_hub_delivers_no_more_and_the_bridge_learns_when_to_return() {
    let mut pair = Pair::open([5; 4]);
    pair.bridge_event(BridgeEvent::ReportsMade(1));
    pair.hub_event(HubEvent::Drain { from_s: 3, to_s: 9 });
    assert_eq!(pair.hub.wanted(), Wanted::Nothing);
    assert_eq!(pair.deliver(vec![delivery(1, Priority::Safety)]), Ok(0));
    pair.carry();
    pair.bridge_event(BridgeEvent::Reports(vec![report(1)]));
    pair.carry();
    assert_eq!(pair.hub_actions, [HubAction::Reports(vec![report(1)])], "reports still flow");
    pair.now += seconds(5);
    pair.hub_event(HubEvent::Timer);
    assert_eq!(pair.hub_end(), &HubEnd::Drained);
    pair.bridge_event(BridgeEvent::Disconnected("closed".into()));
    assert_eq!(pair.bridge_end(), &BridgeEnd::Drained { from: seconds(3), to: seconds(9) });
}

#[test]
fn a_hub_that_drains_and_does_not_close_is_left() {
    let mut pair = Pair::open([5; 4]);
    pair.hub_event(HubEvent::Drain { from_s: 3, to_s: 9 });
    pair.carry();
    pair.now += seconds(10);
    assert!(pair.bridge.deadline() <= Some(pair.now));
    pair.bridge_event(BridgeEvent::Timer);
    assert!(matches!(pair.bridge_end(), BridgeEnd::Drained { .. }));
}

#[test]
fn a_draining_bridge_takes_no_more_and_still_reports() {
    let mut pair = Pair::open([5; 4]);
    pair.deliver(vec![delivery(1, Priority::Safety)]).unwrap();
    pair.bridge_event(BridgeEvent::Drain);
    pair.carry();
    assert_eq!(pair.hub_actions, [HubAction::BridgeDraining]);
    assert_eq!(pair.bridge_actions, [], "what crossed Draining is left for the next session");
    assert_eq!(pair.hub.wanted(), Wanted::Nothing);
    pair.bridge_event(BridgeEvent::ReportsMade(1));
    assert!(pair.bridge.reports_wanted().is_some());
    pair.bridge_event(BridgeEvent::Finish);
    assert_eq!(pair.bridge_end(), &BridgeEnd::Finished);
    assert!(matches!(pair.bridge_actions.last(), Some(BridgeAction::Close(Close { code: 1001, .. }, _))));
}

#[test]
fn a_drain_before_the_session_opens_is_told_at_its_opening() {
    let mut pair = Pair::new(hello(), HubSettings::default());
    pair.bridge_event(BridgeEvent::Drain);
    pair.carry();
    pair.hub_event(HubEvent::Admit(Box::new(admission(1))));
    pair.carry();
    pair.bridge_event(BridgeEvent::EpochDurable);
    pair.carry();
    assert_eq!(pair.hub_actions.last(), Some(&HubAction::BridgeDraining));
}

#[test]
fn frames_of_other_epochs_are_ignored_both_ways() {
    let mut pair = Pair::open([5; 4]);
    for epoch in [2, 99] {
        let batch = crate::proto::tunnel::DeliveryBatch { deliveries: vec![delivery(7, Priority::Safety)] };
        pair.hub_sends(epoch, hub_frame::Body::Deliveries(batch));
        let durable = crate::proto::tunnel::CommandsDurable { through: 70 };
        pair.bridge_sends(epoch, bridge_frame::Body::CommandsDurable(durable));
    }
    assert_eq!((pair.bridge_actions.len(), pair.hub_actions.len()), (0, 0));
    assert_eq!((pair.bridge.ignored_frames(), pair.hub.ignored_frames()), (2, 2));
    pair.deliver(vec![delivery(1, Priority::Safety)]).unwrap();
    pair.carry();
    assert_eq!(pair.bridge_actions.len(), 1, "the session itself goes on");
}

#[test]
fn resend_begins_above_the_cursor_and_comes_before_anything_new() {
    let mut pair = Pair::new(Hello { commands_durable_through: 3, ..hello() }, HubSettings::default());
    pair.carry();
    pair.hub_event(HubEvent::Admit(Box::new(Admission { deliveries_sent_through: 6, ..admission(1) })));
    assert_eq!(pair.hub_actions.last(), Some(&HubAction::CommandsDurable(3)), "an acknowledgement that was lost");
    pair.carry();
    pair.bridge_event(BridgeEvent::EpochDurable);
    assert_eq!(pair.hub.wanted(), Wanted::Nothing, "no credit yet");
    pair.bridge_event(BridgeEvent::Credit([0, 0, 2, 0], ""));
    pair.carry();
    assert_eq!(pair.hub.wanted(), Wanted::Resend { from: 4, through: 6 });
    let all = || (4..=6).map(|at| delivery(at, Priority::Convergent)).collect::<Vec<_>>();
    assert_eq!(pair.deliver(all()[..2].to_vec()), Ok(2));
    assert_eq!(pair.hub.wanted(), Wanted::Resend { from: 6, through: 6 });
    assert_eq!(pair.hub.deliveries_in_flight(), 2);
    pair.carry();
    pair.bridge_event(BridgeEvent::CommandsDurable(6));
    pair.bridge_event(BridgeEvent::Credit([1, 1, 3, 1], ""));
    pair.carry();
    assert_eq!(pair.hub.wanted(), Wanted::New { from: 7, room: [1, 1, 1, 1] }, "the bridge held 6 from before");
    assert_eq!(pair.deliver(all()), Ok(3), "decided meanwhile: dealt with, not sent");
    assert_eq!(pair.to_bridge.len(), 0);
    assert_eq!(pair.deliver(vec![delivery(7, Priority::Safety)]), Ok(1));
    pair.carry();
    assert_eq!(pair.bridge_actions.last(), Some(&BridgeAction::Deliver(vec![delivery(7, Priority::Safety)])));
}

#[test]
fn what_was_numbered_before_needs_no_credit_and_counts() {
    let mut pair = Pair::new(hello(), HubSettings::default());
    pair.carry();
    pair.hub_event(HubEvent::Admit(Box::new(Admission { deliveries_sent_through: 2, ..admission(1) })));
    pair.carry();
    pair.bridge_event(BridgeEvent::EpochDurable);
    // The disk of the bridge is nearly full: revokes only.
    pair.bridge_event(BridgeEvent::Credit([1, 0, 0, 0], "disk_low"));
    pair.carry();
    let resent = vec![delivery(1, Priority::Convergent), delivery(2, Priority::Convergent)];
    assert_eq!(pair.deliver(resent.clone()), Ok(2));
    assert_eq!(pair.hub.wanted(), Wanted::New { from: 3, room: [1, 0, 0, 0] });
    assert_eq!(pair.deliver(vec![delivery(3, Priority::Safety)]), Ok(1), "the revoke is not held back");
    pair.carry();
    let delivered = [BridgeAction::Deliver(resent), BridgeAction::Deliver(vec![delivery(3, Priority::Safety)])];
    assert_eq!(pair.bridge_actions[pair.bridge_actions.len() - 2..], delivered);
    // The two count: a total of two is used up by them, a third one is over it on both ends.
    pair.bridge_event(BridgeEvent::Credit([1, 0, 2, 0], ""));
    pair.carry();
    assert_eq!(pair.hub.wanted(), Wanted::Nothing);
    pair.hub_sends(
        1,
        hub_frame::Body::Deliveries(crate::proto::tunnel::DeliveryBatch {
            deliveries: vec![delivery(4, Priority::Convergent)],
        }),
    );
    let violation = Violation::Credit { priority: Priority::Convergent, sequence: 4, granted: 2 };
    assert_eq!(pair.bridge_end(), &BridgeEnd::Violation(violation));
}

#[test]
fn what_is_numbered_stays_first_when_credit_ends_before_it() {
    let mut pair = Pair::open([1, 0, 1, 0]);
    let offered = vec![delivery(1, Priority::Convergent), delivery(2, Priority::Convergent)];
    assert_eq!(pair.deliver(offered), Ok(1));
    assert_eq!(pair.hub.wanted(), Wanted::Nothing);
    assert!(pair.hub.has_room(Priority::Safety) && !pair.hub.has_room(Priority::Convergent));
    pair.carry();
    pair.bridge_event(BridgeEvent::Credit([1, 0, 2, 0], ""));
    pair.carry();
    assert_eq!(pair.hub.wanted(), Wanted::Resend { from: 2, through: 2 });
}

#[test]
fn credit_is_told_on_change_of_total_or_reason() {
    let mut pair = Pair::open([5, 0, 0, 0]);
    pair.bridge_event(BridgeEvent::Credit([5, 0, 0, 0], ""));
    assert_eq!(pair.to_hub.len(), 0);
    pair.bridge_event(BridgeEvent::Credit([5, 0, 0, 0], "disk_low"));
    pair.carry();
    assert_eq!(pair.hub_actions, [HubAction::Credit { room: [5, 0, 0, 0], reason: "disk_low".into() }]);
}

#[test]
fn report_window_bounds_what_is_in_flight() {
    let mut pair =
        Pair::new(Hello { reports_last: 9, ..hello() }, HubSettings { report_window: 2, ..Default::default() });
    pair.carry();
    pair.hub_event(HubEvent::Admit(Box::new(admission(1))));
    pair.carry();
    pair.bridge_event(BridgeEvent::EpochDurable);
    assert_eq!(pair.bridge.reports_wanted(), Some(ReportsWanted { from: 1, count: 2 }));
    pair.bridge_event(BridgeEvent::Reports((1..=9).map(report).collect()));
    assert_eq!(pair.bridge.reports_wanted(), None);
    pair.carry();
    assert_eq!(pair.hub_actions.last(), Some(&HubAction::Reports(vec![report(1), report(2)])));
    pair.hub_event(HubEvent::ReportsDurable(1));
    pair.carry();
    assert_eq!(pair.bridge_actions.last(), Some(&BridgeAction::ReportsDurable(1)));
    assert_eq!(pair.bridge.reports_wanted(), Some(ReportsWanted { from: 3, count: 1 }));
}

#[test]
fn lane_gap_and_witness_cross() {
    let mut pair = Pair::open([0; 4]);
    let gap = LaneGap { lock_system: "main".into(), lane: "user:1".into(), expected: 2, have: 4 };
    pair.bridge_event(BridgeEvent::LaneGap(gap.clone()));
    let witness = crate::proto::tunnel::Witness { report_sequence: 8, witness: Some(signed(Priority::Safety)) };
    pair.hub_event(HubEvent::Witness(witness.clone()));
    pair.carry();
    assert_eq!(pair.hub_actions, [HubAction::LaneGap(gap)]);
    assert_eq!(pair.bridge_actions, [BridgeAction::Witness(witness)]);
}
