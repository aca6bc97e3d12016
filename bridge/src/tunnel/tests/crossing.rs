//! What crosses, over loopback TCP.

use lockbridge_protocol::proto::tunnel::{Quarantine, QuarantineReason, RefuseCode};
use lockbridge_protocol::tunnel::session::Refusal;
use tokio::net::TcpListener;

use super::hub::{Hub, Tell, deliver, frame};
use super::*;

/// A hub behind a listener, and a tunnel to it that retries at once.
async fn connect() -> (Running, Hub) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/tunnel", listener.local_addr().unwrap()).parse().unwrap();
    let hub = Hub::new();
    let serving = hub.clone();
    // Ends with the runtime of the test.
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serving.serve(stream).await;
        }
    });
    let mut running = Running::start(Tcp(url), || 0);
    running.connected(true).await;
    (running, hub)
}

#[tokio::test]
async fn deliveries_are_acknowledged_only_after_they_are_durable() {
    let (running, hub) = connect().await;
    assert_eq!(running.cloud_reason(), None);
    running.engine.state().hold = true;
    hub.command(5).await;
    until("delivery", || running.engine.delivered().len() == 5).await;
    assert_eq!(running.engine.delivered(), [1, 2, 3, 4, 5]);
    // A report that makes the round trip after them proves that an early acknowledgement would have arrived.
    running.engine.report(1);
    until("report", || hub.state().reports == [1]).await;
    assert_eq!(hub.state().acknowledged, 0);
    running.engine.commit(3);
    until("acknowledgement", || hub.state().acknowledged == 3).await;
    running.engine.commit(5);
    until("acknowledgement", || hub.state().acknowledged == 5).await;
}

#[tokio::test]
async fn reports_cross_in_order_and_are_acknowledged_to_the_engine() {
    let (running, hub) = connect().await;
    running.engine.report(300);
    until("reports", || running.engine.state().reports_acknowledged == 300).await;
    assert_eq!(hub.state().reports, (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cut_session_resumes_both_ways() {
    let (running, hub) = connect().await;
    running.engine.state().hold = true;
    hub.state().forget_reports = true;
    hub.command(3).await;
    running.engine.report(2);
    until("first delivery", || running.engine.delivered() == [1, 2, 3]).await;
    until("first reports", || hub.state().reports_seen == 2).await;
    hub.state().forget_reports = false;
    hub.tell(Tell::Cut).await;
    until("second session", || hub.state().opened == 2).await;
    until("second delivery", || running.engine.delivered() == [1, 2, 3, 1, 2, 3]).await;
    until("reports", || hub.state().reports == [1, 2]).await;
    running.engine.commit(3);
    until("acknowledgement", || hub.state().acknowledged == 3).await;
    assert_eq!(running.engine.state().epochs, [1, 2]);
    assert_eq!(running.engine.state().sessions_lost, 1);
}

#[tokio::test]
async fn frames_of_an_older_epoch_change_nothing() {
    let (running, hub) = connect().await;
    hub.tell(Tell::Cut).await;
    until("second session", || hub.state().opened == 2).await;
    hub.tell(Tell::Raw(frame(1, vec![deliver(1)]))).await;
    hub.command(1).await;
    until("delivery", || hub.state().acknowledged == 1).await;
    assert_eq!(running.engine.delivered(), [1], "once, from the epoch that holds");
}

#[tokio::test]
async fn an_oversized_message_is_refused_with_its_size() {
    let (running, hub) = connect().await;
    hub.tell(Tell::Bytes(vec![0; 256 * 1024 + 1])).await;
    until("close", || !hub.state().closes.is_empty()).await;
    let (code, reason) = hub.state().closes[0].clone();
    assert_eq!(code, 1009);
    assert!(reason.contains("262145") && reason.contains("262144"), "{reason}");
    until("the reason", || running.status.borrow().last_error.is_some()).await;
    let lost = running.status.borrow().last_error.clone().expect("the end is kept");
    assert!(lost.message.contains("262145"), "{}", lost.message);
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_session_works() {
    let (running, hub) = connect().await;
    hub.tell(Tell::Bytes(vec![0xff; 40])).await;
    until("second session", || hub.state().opened == 2).await;
    assert_eq!(hub.state().closes[0].0, 1007);
    hub.command(1).await;
    until("delivery", || running.engine.delivered() == [1]).await;
}

#[tokio::test]
async fn stopping_drains_then_closes_with_1001() {
    let (running, hub) = connect().await;
    running.draining.cancel();
    running.engine.report(1);
    until("the last report", || hub.state().reports == [1]).await;
    hub.command(1).await;
    running.stop.cancel();
    running.task.await.unwrap();
    until("close", || !hub.state().closes.is_empty()).await;
    assert_eq!(hub.state().closes[0].0, 1001);
    assert_eq!(running.engine.delivered(), [0; 0], "nothing new after draining");
    assert_eq!(running.engine.state().sessions_lost, 1);
}

#[tokio::test]
async fn a_quarantine_is_told_both_ways_and_a_second_process_is_a_finding() {
    let (running, hub) = connect().await;
    let held = Quarantine { incident: 4, reason: QuarantineReason::DuplicateSession.into(), ..Quarantine::default() };
    hub.tell(Tell::Quarantine(held.clone())).await;
    until("the hub's word", || running.engine.state().quarantined == [held.clone()]).await;
    let own = Quarantine { released: true, ..held.clone() };
    running.engine.quarantine(own.clone());
    until("the bridge's word", || hub.state().health.last() == Some(&Some(own.clone()))).await;

    hub.state().quarantine = Some(held.clone());
    hub.tell(Tell::Cut).await;
    until("the Welcome that tells it again", || running.engine.state().quarantined == [held.clone(), held.clone()])
        .await;
    hub.state().refuse = Some(Refusal::new(RefuseCode::DuplicateSession, "another process answers"));
    hub.tell(Tell::Cut).await;
    until("the finding", || running.engine.state().suspected == [QuarantineReason::DuplicateSession]).await;
}
