use lockbridge_protocol::proto::tunnel::{Delivery, LaneGap};
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys, verify};
use lockbridge_protocol::tunnel::session::BridgeEvent;

use crate::testing::{Bench, State, delete_user, put_user};

fn sequences(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.delivery_sequence).collect()
}

#[tokio::test]
async fn commands_arrive_in_order_and_unacknowledged_ones_again_after_a_cut() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    for user in ["u1", "u2", "u3"] {
        bench.issue(&identity.bridge_id, put_user(user)).await.expect("issues");
    }
    let mut first = bench.connect(&identity, State::new()).await.expect("is welcome");
    first.until(|script| script.delivered.len() == 3).await.expect("delivers");
    assert_eq!(sequences(&first.delivered), [1, 2, 3]);
    first.acknowledge(2).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.commands_durable_through == 2).await;

    let (state, third) = (first.state.clone(), first.delivered[2].clone());
    drop(first);
    bench.issue(&identity.bridge_id, put_user("u4")).await.expect("issues");
    let mut second = bench.connect(&identity, state).await.expect("is welcome");
    second.until(|script| script.delivered.len() == 2).await.expect("delivers");
    assert_eq!(sequences(&second.delivered), [3, 4]);
    assert_eq!(second.delivered[0], third, "the same bytes under the same number");
    assert_eq!(second.state.highest_epoch, 2);

    let keys = AuthorityKeys::new([bench.authority.public().public_key.as_slice()]).expect("is a key");
    let audience = Audience {
        workspace_id: bench.workspace_id.clone(),
        site_id: bench.site_id.clone(),
        bridge_id: identity.bridge_id.clone(),
    };
    for delivery in &second.delivered {
        verify(&keys, &audience, delivery.command.as_ref().expect("carries one")).expect("verifies");
    }
}

#[tokio::test]
async fn a_wake_sends_at_once_and_credit_holds_back() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let state = State { credit: [5, 0, 2, 0], ..State::new() };
    let mut script = bench.connect(&identity, state).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    for user in 0..4 {
        bench.issue(&identity.bridge_id, put_user(&format!("u{user}"))).await.expect("issues");
    }
    bench.hub.wake(&identity.bridge_id);
    script.until(|script| script.delivered.len() == 2).await.expect("delivers");
    // A revocation passes the grants that wait for credit.
    bench.issue(&identity.bridge_id, delete_user("u9")).await.expect("issues");
    bench.hub.wake(&identity.bridge_id);
    script.until(|script| script.delivered.len() == 3).await.expect("delivers");
    let last = script.delivered[2].command.clone().expect("carries one");
    assert_eq!(lockbridge_protocol::signed::command::parse(&last.payload).expect("parses").kind, "delete_user");
    assert_eq!(bench.bridge(&identity.bridge_id).await.delivered_last, 3, "what has no credit is not numbered");

    script.handle(BridgeEvent::Credit([5, 0, 4, 0], "")).await.expect("is open");
    script.until(|script| script.delivered.len() == 5).await.expect("delivers");
    assert_eq!(sequences(&script.delivered), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn more_than_a_batch_drains_completely() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    for user in 0..300 {
        bench.issue(&identity.bridge_id, put_user(&format!("u{user}"))).await.expect("issues");
    }
    let state = State { credit: [0, 0, 1000, 0], ..State::new() };
    let mut script = bench.connect(&identity, state).await.expect("is welcome");
    script.until(|script| script.delivered.len() == 300).await.expect("delivers");
    assert_eq!(sequences(&script.delivered), (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lane_that_misses_what_was_decided_gets_it_under_a_new_number() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    bench.issue(&identity.bridge_id, put_user("u1")).await.expect("issues");
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    script.until(|script| script.delivered.len() == 1).await.expect("delivers");
    let gap = |have| LaneGap { lock_system: "space".into(), lane: "user:u1".into(), expected: 1, have };
    script.acknowledge(1).await.expect("is open");
    bench.eventually(&identity.bridge_id, |bridge| bridge.commands_durable_through == 1).await;
    script.handle(BridgeEvent::LaneGap(gap(2))).await.expect("is open");
    script.until(|script| script.delivered.len() == 2).await.expect("delivers");
    assert_eq!(sequences(&script.delivered), [1, 2]);
    assert_eq!(script.delivered[0].command, script.delivered[1].command);
}
