use lockbridge_protocol::proto::tunnel::RefuseCode;
use lockbridge_protocol::tunnel::session::BridgeEnd;

use crate::clock::now_ms;
use crate::store::bridges;
use crate::testing::{Bench, DEADLINE, State};

#[tokio::test]
async fn the_link_is_up_while_a_session_is() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let script = bench.connect(&identity, State::new()).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    assert!(bench.hub.is_connected(&identity.bridge_id));
    drop(script);
    bench.eventually(&identity.bridge_id, |bridge| !bridge.link_up).await;
    assert!(!bench.hub.is_connected(&identity.bridge_id));
    assert_eq!(bench.recorder.told(), ["hello of 1", "link up", "link down"]);
}

#[tokio::test]
async fn a_second_process_with_the_identity_is_refused_while_the_first_answers() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut first = bench.connect(&identity, State::new()).await.expect("is welcome");
    let copy = State { boot_nonce: vec![2; 16], ..State::new() };
    let refused = tokio::select! {
        refused = bench.connect(&identity, copy) => refused.map(|_| ()).expect_err("is refused"),
        end = first.until_the_end() => panic!("the first session ended: {end}"),
    };
    assert!(matches!(refused, BridgeEnd::Refused { code: RefuseCode::DuplicateSession, .. }), "{refused:?}");
    assert_eq!(bench.alarms().await, ["duplicate_session"]);
    assert!(bench.hub.is_connected(&identity.bridge_id));
}

#[tokio::test]
async fn a_half_open_session_gives_way_after_a_challenge() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    // Never polled again, so it answers no ping, like a connection whose other end lost power.
    let silent = bench.connect(&identity, State::new()).await.expect("is welcome");
    let restarted = State { boot_nonce: vec![2; 16], ..silent.state.clone() };
    let second = bench.connect(&identity, restarted).await.expect("is welcome");
    assert_eq!(second.state.highest_epoch, 2);
    assert_eq!(bench.alarms().await, [""; 0]);
}

#[tokio::test]
async fn the_same_process_replaces_its_own_session_at_once() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut first = bench.connect(&identity, State::new()).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    let second = bench.connect(&identity, first.state.clone()).await.expect("is welcome");
    assert!(matches!(first.until_the_end().await, BridgeEnd::Disconnected(_)));
    drop(second);
    bench.eventually(&identity.bridge_id, |bridge| !bridge.link_up).await;
    let told = bench.recorder.told();
    assert_eq!(told.iter().filter(|what| *what == "link down").count(), 1, "{told:?}");
}

#[tokio::test]
async fn revocation_cuts_a_live_session_and_keeps_it_out() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    let bridge_id = identity.bridge_id.clone();
    bench.store.write(move |tx| bridges::revoke(tx, now_ms(), &bridge_id)).await.expect("writes");
    let end =
        tokio::time::timeout(std::time::Duration::from_secs(5), script.until_the_end()).await.expect("within 5 s");
    assert!(matches!(end, BridgeEnd::Refused { code: RefuseCode::IdentityRevoked, .. }), "{end:?}");
    let again = bench.connect(&identity, script.state.clone()).await.map(|_| ()).expect_err("is refused");
    assert!(matches!(again, BridgeEnd::Refused { code: RefuseCode::IdentityRevoked, .. }), "{again:?}");
}

#[tokio::test]
async fn draining_tells_bridges_to_come_back_and_ends() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let mut script = bench.connect(&identity, State::new()).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    bench.stop.cancel();
    let end = script.until_the_end().await;
    assert!(matches!(end, BridgeEnd::Drained { .. }), "{end:?}");
    tokio::time::timeout(DEADLINE, bench.serving).await.expect("ends").expect("did not panic");
    let id = identity.bridge_id.clone();
    let bridge = bench.store.read(move |connection| bridges::find(connection, &id)).await;
    assert!(!bridge.expect("reads").expect("is there").link_up);
}
