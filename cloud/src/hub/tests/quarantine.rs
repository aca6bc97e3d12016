use lockbridge_protocol::proto::tunnel::{Delivery, HealthReport, Quarantine, QuarantineReason, RefuseCode};
use lockbridge_protocol::tunnel::session::{BridgeEnd, BridgeEvent};

use crate::clock::now_ms;
use crate::store::quarantines;
use crate::testing::{Bench, Identity, Keys, State, delete_user, put_user};

fn sequences(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.delivery_sequence).collect()
}

impl Bench {
    async fn release(&self, identity: &Identity) {
        let bridge_id = identity.bridge_id.clone();
        let release = self.store.write(move |tx| quarantines::release(tx, now_ms(), &bridge_id, "uid 0"));
        assert!(release.await.expect("writes"), "an incident is open");
    }

    async fn open_incidents(&self) -> Vec<QuarantineReason> {
        let open = self.store.read(|connection| quarantines::list(connection, false)).await.expect("reads");
        open.into_iter().map(|incident| incident.reason).collect()
    }
}

/// What the bridge tells once it has left an incident.
fn left(incident: u64) -> BridgeEvent<'static> {
    BridgeEvent::Health(HealthReport { quarantine_left: incident, ..HealthReport::default() })
}

#[tokio::test]
async fn a_second_process_puts_both_in_quarantine_and_the_first_hears_it_at_once() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut first = bench.connect(&identity, State::new()).await.expect("is welcome");
    let copy = State { boot_nonce: vec![2; 16], ..State::new() };
    let refused = tokio::select! {
        refused = bench.connect(&identity, copy) => refused.map(|_| ()).expect_err("is refused"),
        end = first.until_the_end() => panic!("the first session ended: {end}"),
    };
    let BridgeEnd::Refused { code: RefuseCode::DuplicateSession, retry_after: Some(_), .. } = refused else {
        panic!("{refused:?}");
    };
    first.until(|script| script.quarantine.is_some()).await.expect("stays for diagnosis");
    assert_eq!(bench.open_incidents().await, [QuarantineReason::DuplicateSession]);

    // Nothing but revokes, until both have released it.
    bench.issue(&identity.bridge_id, put_user("u1")).await.expect("issues");
    bench.issue(&identity.bridge_id, delete_user("u2")).await.expect("issues");
    bench.hub.wake(&identity.bridge_id);
    first.until(|script| !script.delivered.is_empty()).await.expect("delivers");
    let revoke = first.delivered[0].command.clone().expect("carries one");
    assert_eq!(lockbridge_protocol::signed::command::parse(&revoke.payload).expect("parses").kind, "delete_user");
    // Another process wrote it: the hub finds out by itself.
    bench.release(&identity).await;
    first.until(|script| script.quarantine.as_ref().is_some_and(|held| held.released)).await.expect("is told");
    assert_eq!(bench.bridge(&identity.bridge_id).await.delivered_last, 1, "the site has not released it");
    first.handle(left(1)).await.expect("is open");
    first.until(|script| script.delivered.len() == 2).await.expect("delivers");
    assert_eq!(bench.open_incidents().await, []);
}

#[tokio::test]
async fn what_a_journal_lost_is_sent_again_in_order_and_without_gaps() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    for user in ["u1", "u2", "u3"] {
        bench.issue(&identity.bridge_id, put_user(user)).await.expect("issues");
    }
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    script.until(|script| script.delivered.len() == 3).await.expect("delivers");
    script.acknowledge(3).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.commands_durable_through == 3).await;
    // The second was sent once more under another number: a gap in the old numbers.
    let gap = lockbridge_protocol::proto::tunnel::LaneGap {
        lock_system: "space".into(),
        lane: "user:u2".into(),
        expected: 1,
        have: 2,
    };
    script.handle(BridgeEvent::LaneGap(gap)).await.expect("is open");
    script.until(|script| script.delivered.len() == 4).await.expect("delivers");
    let (first, sent) = (script.state.clone(), script.delivered.clone());
    drop(script);

    let older = State { commands_durable: 1, ..first };
    let mut script = bench.connect(&identity, older).await.expect("keeps its session");
    let held = script.quarantine.clone().expect("is told");
    assert_eq!((held.reason(), held.replay_through), (QuarantineReason::StateRolledBack, 3));
    assert!(held.replay_before_ms > 0 && held.replay_before_ms <= now_ms());
    script.until(|script| script.delivered.len() == 2).await.expect("delivers");
    assert_eq!(sequences(&script.delivered), [2, 3]);
    let again: Vec<_> = script.delivered.iter().map(|delivery| delivery.command.clone()).collect();
    assert_eq!(again, [sent[2].command.clone(), sent[3].command.clone()], "in the order in which they were last sent");
    script.acknowledge(3).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.commands_durable_through == 3).await;

    // The next Hello fits what this one showed: the same incident goes on.
    let state = State { quarantine: Some(held.clone()), ..script.state.clone() };
    drop(script);
    let script = bench.connect(&identity, state).await.expect("is welcome");
    assert_eq!(script.quarantine.map(|again| again.incident), Some(held.incident));
    assert_eq!(bench.alarms().await, ["state_rolled_back"]);
}

#[tokio::test]
async fn a_bridge_that_spoke_in_a_session_and_does_not_know_it_is_a_copy() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let copy = State::new();
    let mut script = bench.connect(&identity, copy.clone()).await.expect("is welcome");
    // The first heartbeat is on its way with the first message.
    script.until(|script| script.state.highest_epoch == 1).await.expect("is open");
    script.handle(BridgeEvent::Timer).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.epoch_heard == 1).await;
    let honest = script.state.clone();
    drop(script);
    let script = bench.connect(&identity, honest).await.expect("is welcome");
    assert_eq!(script.quarantine, None, "the same state goes on");
    drop(script);
    let script = bench.connect(&identity, copy).await.expect("keeps its session");
    assert_eq!(script.quarantine.map(|held| held.reason()), Some(QuarantineReason::StateRolledBack));
}

#[tokio::test]
async fn another_journal_and_a_finding_of_the_bridge_open_incidents() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    drop(bench.connect(&identity, State::new()).await.expect("is welcome"));
    bench.eventually(&identity.bridge_id, |bridge| bridge.store_id.is_some() && !bridge.link_up).await;
    let other = State { store_id: vec![9; 16], ..State::new() };
    let script = bench.connect(&identity, State { highest_epoch: 1, ..other }).await.expect("keeps its session");
    assert_eq!(script.quarantine.map(|held| held.reason()), Some(QuarantineReason::StateReplaced));

    let moved = bench.enrolled().await;
    let own = Quarantine { reason: QuarantineReason::MachineChanged.into(), ..Quarantine::default() };
    let state = State { quarantine: Some(own), ..State::new() };
    let script = bench.connect(&moved, state).await.expect("keeps its session");
    let held = script.quarantine.expect("is told its number");
    assert_eq!((held.incident, held.reason()), (1, QuarantineReason::MachineChanged));
}

#[tokio::test]
async fn a_stale_certificate_holds_the_bridge_and_a_restored_one_counts_once_people_decided() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    let renewed = Keys::new();
    let newer = bench.renew(Some(&identity), &renewed).await.expect("renews");
    assert_eq!(bench.renew(Some(&identity), &Keys::new()).await.expect_err("is stale"), "generation_stale");
    script.until(|script| script.quarantine.is_some()).await.expect("is told");
    assert_eq!(bench.open_incidents().await, [QuarantineReason::GenerationStale]);
    let state = State { journal_sequence: script.state.journal_sequence - 1, ..script.state.clone() };
    drop(script);

    let mut script = bench.connect(&identity, state).await.expect("keeps its session");
    let held = script.quarantine.clone().expect("is told");
    assert_eq!((held.incident, held.reason()), (2, QuarantineReason::StateRolledBack));
    bench.release(&identity).await;
    script.handle(left(2)).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.generation == 1).await;
    assert_eq!(bench.open_incidents().await, []);
    bench.renew(Some(&identity), &Keys::new()).await.expect("the restored one is the newest now");
    let keys = Keys { identity: renewed.identity, ..Keys::new() };
    let lost = Identity { bridge_id: identity.bridge_id.clone(), chain: newer.certificate_chain, keys };
    let refused = bench.connect(&lost, State::new()).await.map(|_| ()).expect_err("is refused");
    assert!(matches!(refused, BridgeEnd::Refused { code: RefuseCode::IdentityUnknown, .. }), "{refused:?}");
}
