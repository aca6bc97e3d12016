use std::collections::HashMap;

use futures_util::{SinkExt, StreamExt};
use lockbridge_protocol::limits;
use lockbridge_protocol::proto::tunnel::{QuarantineReason, RefuseCode};
use lockbridge_protocol::tunnel::session::BridgeEnd;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::hub::AdmissionSettings;
use crate::store::StoreError;
use crate::testing::{Bench, Identity, State};

/// Status and headers of a refused upgrade.
fn http(refused: Error) -> (u16, HashMap<String, String>) {
    let Error::Http(response) = refused else { panic!("refused by HTTP, not {refused}") };
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    (response.status().as_u16(), headers.collect())
}

#[tokio::test]
async fn a_tunnel_needs_a_certificate_and_enrollment_does_not() {
    let bench = Bench::start().await;
    let (status, _) = http(bench.websocket(None).await.map(|_| ()).expect_err("is refused"));
    assert_eq!(status, 403);
    bench.enrolled().await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_fails_the_handshake() {
    let (bench, other) = (Bench::start().await, Bench::start().await);
    let foreign = other.enrolled().await;
    let refused = bench.websocket(Some(&foreign)).await.map(|_| ()).expect_err("is refused");
    assert!(matches!(refused, Error::Io(_)), "{refused}");
}

#[tokio::test]
async fn a_certificate_the_database_does_not_know_is_refused_by_name() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let forget = bench.store.write(|tx| {
        tx.execute("DELETE FROM certificates", [])?;
        Ok::<_, StoreError>(())
    });
    forget.await.expect("writes");
    let end = bench.connect(&identity, State::new()).await.map(|_| ()).expect_err("is refused");
    assert!(matches!(end, BridgeEnd::Refused { code: RefuseCode::IdentityUnknown, .. }), "{end:?}");
}

#[tokio::test]
async fn hello_must_name_the_bridge_of_the_certificate() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let liar = Identity { bridge_id: "11111111-1111-4111-8111-111111111111".into(), ..identity };
    let end = bench.connect(&liar, State::new()).await.map(|_| ()).expect_err("is refused");
    assert!(matches!(end, BridgeEnd::Refused { code: RefuseCode::IdentityUnknown, .. }), "{end:?}");
}

#[tokio::test]
async fn a_journal_that_was_put_back_is_put_in_quarantine() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let script = bench.connect(&identity, State::new()).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    let older = State { journal_sequence: script.state.journal_sequence - 1, ..script.state.clone() };
    drop(script);
    bench.eventually(&identity.bridge_id, |bridge| !bridge.link_up).await;
    let script = bench.connect(&identity, older).await.expect("keeps its session");
    let held = script.quarantine.as_ref().expect("is told");
    assert_eq!((held.incident, held.reason(), held.released), (1, QuarantineReason::StateRolledBack, false));
    assert_eq!(bench.alarms().await, ["state_rolled_back"]);
}

#[tokio::test]
async fn a_message_at_the_limit_is_read_and_one_past_it_closes() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    for (size, code) in [(limits::FRAME_BYTES, CloseCode::Invalid), (limits::FRAME_BYTES + 1, CloseCode::Size)] {
        let mut socket = bench.websocket(Some(&identity)).await.expect("upgrades");
        socket.send(Message::Binary(vec![0xFF; size].into())).await.expect("is sent");
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("is closed with a code") };
        assert_eq!(frame.code, code, "{size} bytes: {}", frame.reason);
    }
}

#[tokio::test]
async fn beyond_the_admitted_rate_bridges_are_sent_away_before_any_work() {
    let bench = Bench::with(AdmissionSettings { sessions_per_second: 1, burst: 2 }).await;
    let identity = bench.enrolled().await;
    let before = bench.bridge(&identity.bridge_id).await;
    let first = bench.websocket(Some(&identity)).await.expect("is the second of the burst");
    let mut turned_away = None;
    for _ in 0..5 {
        if let Err(refused) = bench.websocket(Some(&identity)).await {
            turned_away = Some(http(refused));
            break;
        }
    }
    let (status, headers) = turned_away.expect("five in a moment are too many");
    assert_eq!(status, 503);
    let wait: u32 = headers["retry-after"].parse().expect("is a number of seconds");
    assert!((5..=600).contains(&wait), "{wait}");
    assert_eq!(bench.bridge(&identity.bridge_id).await, before);
    drop(first);
}
