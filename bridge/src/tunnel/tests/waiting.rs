//! What waits, under paused time: every figure here is exact or inside the bounds of its rule.

use lockbridge_protocol::proto::tunnel::RefuseCode;
use lockbridge_protocol::tunnel::session::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::hub::{Hub, Tell};
use super::*;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn memory(random: fn() -> u64) -> (Running, mpsc::Receiver<DuplexStream>) {
    let (ends, far) = mpsc::channel(1);
    let url = "wss://hub.example.com:8443/v1/tunnel".parse().unwrap();
    (Running::start(Memory { url, ends }, random), far)
}

/// Reads the upgrade request and answers it with these bytes.
async fn answer(mut stream: DuplexStream, bytes: &[u8]) -> DuplexStream {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    // A peer that refuses a head half-way no longer reads.
    stream.write_all(bytes).await.unwrap_or_default();
    stream
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_with_up_to_a_fifth_more() {
    for (random, wait) in [((|| 0) as fn() -> u64, 100), (|| u64::MAX, 120)] {
        let (mut running, mut far) = memory(random);
        let busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n";
        let _stream = answer(far.recv().await.unwrap(), busy).await;
        let status = running.connected(false).await;
        let since = Instant::now();
        let (code, message) = running.cloud_reason().unwrap();
        assert_eq!(code, ReasonCode::HubRefused);
        assert!(message.contains("503") && message.contains("busy"), "{message}");
        assert_eq!(status.hub, "hub.example.com:8443");
        assert!(status.next_try_ms.unwrap().abs_diff(WALL_MS + wait * 1000) <= 1);
        far.recv().await.unwrap();
        assert_eq!(since.elapsed().as_millis().div_ceil(1000), u128::try_from(wait).unwrap());
    }
}

/// Sessions of this length, one after another; the waits between them.
async fn waits_between_sessions(lengths: &[u64]) -> Vec<u64> {
    let (mut running, mut far) = memory(|| u64::MAX);
    let hub = Hub::new();
    let mut waits = Vec::new();
    let mut lost = None;
    for length in lengths {
        let stream = far.recv().await.unwrap();
        if let Some(lost) = lost {
            waits.push(Instant::now().duration_since(lost).as_millis().div_ceil(1000).try_into().unwrap());
        }
        let serving = hub.clone();
        let session = tokio::spawn(async move { serving.serve(stream).await });
        running.connected(true).await;
        tokio::time::sleep(seconds(*length)).await;
        hub.tell(Tell::Cut).await;
        session.await.unwrap();
        running.connected(false).await;
        lost = Some(Instant::now());
    }
    far.recv().await.unwrap();
    waits.push(Instant::now().duration_since(lost.unwrap()).as_millis().div_ceil(1000).try_into().unwrap());
    waits
}

#[tokio::test(start_paused = true)]
async fn the_backoff_starts_anew_only_after_a_session_of_a_minute() {
    // W is 15 s, a step at most three times the one before, the cap 120 s.
    assert_eq!(waits_between_sessions(&[1, 59, 59, 59, 61, 1]).await, [15, 45, 120, 120, 15, 15]);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_peer_is_found_dead() {
    let (mut running, mut far) = memory(|| u64::MAX);
    let hub = Hub::new();
    let serving = hub.clone();
    let stream = far.recv().await.unwrap();
    tokio::spawn(async move { serving.serve(stream).await });
    running.connected(true).await;
    hub.tell(Tell::Freeze).await;
    let since = Instant::now();
    running.connected(false).await;
    let silent = since.elapsed();
    assert!((seconds(44)..=seconds(46)).contains(&silent), "{silent:?}");
    let (code, message) = running.cloud_reason().unwrap();
    assert_eq!(code, ReasonCode::HubSilent);
    assert!(message.contains("45 s"), "{message}");
    assert_eq!(running.engine.state().sessions_lost, 1);
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_live_on_pings() {
    let (mut running, mut far) = memory(|| 0);
    let hub = Hub::new();
    let serving = hub.clone();
    let stream = far.recv().await.unwrap();
    tokio::spawn(async move { serving.serve(stream).await });
    running.connected(true).await;
    tokio::time::sleep(seconds(3600)).await;
    assert!(running.status.borrow().connected);
    assert_eq!(hub.state().ends, []);
    assert_eq!(hub.state().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_never_answers_the_upgrade_is_silent() {
    let (mut running, mut far) = memory(|| 0);
    let since = Instant::now();
    let _held = far.recv().await.unwrap();
    running.connected(false).await;
    assert_eq!(since.elapsed().as_secs(), 10);
    assert_eq!(running.cloud_reason().unwrap().0, ReasonCode::HubSilent);
}

#[tokio::test(start_paused = true)]
async fn an_endless_head_is_cut_at_its_limit() {
    let (mut running, mut far) = memory(|| 0);
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\nX-Padding: ".to_vec();
    head.resize(9 * 1024, b'a');
    let _stream = answer(far.recv().await.unwrap(), &head).await;
    running.connected(false).await;
    let (code, message) = running.cloud_reason().unwrap();
    assert_eq!(code, ReasonCode::HubRefused);
    assert!(message.contains("8192"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_bridge_says_so_and_comes_back_in_a_quarter_of_an_hour() {
    let (mut running, mut far) = memory(|| u64::MAX);
    let hub = Hub::new();
    hub.state().refuse = Some(Refusal::new(RefuseCode::IdentityRevoked, "revoked by an admin"));
    let serving = hub.clone();
    let stream = far.recv().await.unwrap();
    tokio::spawn(async move { serving.serve(stream).await });
    running.connected(false).await;
    let since = Instant::now();
    let (code, message) = running.cloud_reason().unwrap();
    assert_eq!(code, ReasonCode::Identity);
    assert!(message.contains("revoked by an admin"), "{message}");
    far.recv().await.unwrap();
    assert_eq!(since.elapsed().as_millis().div_ceil(1000), 18 * 60);
    assert_eq!(running.engine.state().sessions_lost, 0, "there was no session to lose");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_differs_is_told_and_forgotten_when_right() {
    let (mut running, mut far) = memory(|| 0);
    let hub = Hub::new();
    hub.state().clock_ahead_ms = 31_000;
    let serving = hub.clone();
    let stream = far.recv().await.unwrap();
    tokio::spawn(async move { serving.serve(stream).await });
    running.connected(true).await;
    let reason = running.health.reasons().into_iter().find(|reason| reason.code == ReasonCode::Clock).unwrap();
    assert_eq!(reason.scope, Scope::Bridge);
    assert!(reason.message.contains("31 s behind"), "{}", reason.message);
    hub.state().clock_ahead_ms = 0;
    tokio::time::sleep(seconds(61)).await;
    assert!(!running.health.holds(&Scope::Bridge, ReasonCode::Clock));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_far_off_is_not_trusted_until_it_is_right() {
    let (mut running, mut far) = memory(|| 0);
    let hub = Hub::new();
    hub.state().clock_ahead_ms = -121_000;
    let serving = hub.clone();
    let stream = far.recv().await.unwrap();
    tokio::spawn(async move { serving.serve(stream).await });
    running.connected(true).await;
    let reason = running.health.reasons().into_iter().find(|it| it.code == ReasonCode::ClockUntrusted).unwrap();
    assert!(reason.message.contains("121 s ahead of"), "{}", reason.message);
    assert!(running.health.holds(&Scope::Bridge, ReasonCode::Clock));
    hub.state().clock_ahead_ms = -119_000;
    tokio::time::sleep(seconds(61)).await;
    assert!(!running.health.holds(&Scope::Bridge, ReasonCode::ClockUntrusted));
    assert!(running.health.holds(&Scope::Bridge, ReasonCode::Clock));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_stops_while_it_waits() {
    let (mut running, mut far) = memory(|| u64::MAX);
    drop(far.recv().await.unwrap());
    running.connected(false).await;
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_waits_for_something_remote_lives_and_one_that_is_gone_does_not() {
    let (running, mut far) = memory(|| u64::MAX);
    // A hub that accepts and says nothing: tries to their end, and waits between them.
    let _silent = far.recv().await.unwrap();
    for _ in 0..300 {
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(running.health.late(), []);
    }
    running.task.abort();
    tokio::time::sleep(seconds(20)).await;
    assert!(matches!(running.health.late().as_slice(), [("tunnel", age)] if *age > seconds(10)));
}
