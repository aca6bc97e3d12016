//! Connections, logins, and answers that are late, cut, garbage or of another kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::server::{Reply, Server, frame};
use super::*;
use crate::config::{HttpAuthentication, SecretSource, TlsTrust};
use crate::system::{Effect, KeyKind, KeyTarget, LockSystem, Operation, OperationError, Retry};

const INFO: &str =
    "<ProtocolID>SHIP</ProtocolID><ProtocolVersion>1.0</ProtocolVersion><DateTime>2026-11-22T13:00:07</DateTime>";

fn encode() -> Operation {
    let key = KeyTarget {
        kind: KeyKind::First,
        rooms: vec![],
        areas: vec![],
        window: None,
        stay: String::new(),
        mark: String::new(),
    };
    Operation::Encode { user_id: USER.to_owned(), encoder: "Desk".to_owned(), key }
}

async fn encode_error(reply: impl Fn() -> Reply + Send + Sync + 'static, limit: Duration) -> (OperationError, Server) {
    let server = Server::stp(move |_| reply()).await;
    let error = adapter_for(&server).perform(encode(), limit).await.expect_err("no success");
    (error, server)
}

#[tokio::test]
async fn the_probe_tells_version_and_skew_in_the_zone_of_the_site() {
    let server = Server::stp(|_| Reply::Params(INFO.to_owned())).await;
    let probe = adapter_for(&server).probe().await.expect("an answer");
    assert_eq!(probe.version, "SHIP 1.0");
    assert_eq!(probe.clock_skew_s, Some(7), "13:00:07 in Berlin is 12:00:07 UTC");
}

#[tokio::test]
async fn calls_share_a_connection_and_a_closed_one_is_replaced() {
    let server = Server::stp(|_| Reply::Params(INFO.to_owned())).await;
    let system = adapter_for(&server);
    for _ in 0..3 {
        system.probe().await.expect("an answer");
    }
    assert_eq!(server.connections(), 1);

    let server = Server::stp(|_| Reply::ParamsAndClose(INFO.to_owned())).await;
    let system = adapter_for(&server);
    for _ in 0..3 {
        system.probe().await.expect("an answer");
    }
    assert_eq!(server.names().len(), 3);
}

#[tokio::test]
async fn a_pooled_connection_that_dies_with_the_request_is_tried_once_more() {
    let requests = AtomicUsize::new(0);
    let server = Server::stp(move |_| match requests.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::Close,
        _ => Reply::Params(INFO.to_owned()),
    })
    .await;
    let system = adapter_for(&server);
    system.probe().await.expect("an answer");
    system.probe().await.expect("the answer to the second try");
    assert_eq!((server.names().len(), server.connections()), (3, 2));
}

#[tokio::test]
async fn an_encode_is_sent_once_whatever_happens_to_the_connection() {
    let (error, server) = encode_error(|| Reply::Close, LONG).await;
    assert_eq!((error.code, error.effect), ("bridge_disconnected", Effect::Unknown));
    assert_eq!(server.names(), ["Encoder.SaltoDBUser.AssignNewKey"]);
}

#[tokio::test]
async fn silence_at_the_encoder_is_a_timeout_in_doubt() {
    let (error, server) = encode_error(|| Reply::Silence, Duration::from_millis(200)).await;
    assert_eq!(error.code, "encoder_communication_timeout");
    assert_eq!((error.effect, error.retry), (Effect::Unknown, Retry::Later));
    assert_eq!(server.names().len(), 1);
}

#[tokio::test]
async fn an_answer_that_trickles_in_ends_at_the_limit() {
    let slow = || Reply::Trickle(frame(&[b' '; 200]), Duration::from_millis(30));
    let started = std::time::Instant::now();
    let (error, _server) = encode_error(slow, Duration::from_millis(300)).await;
    assert_eq!(error.effect, Effect::Unknown);
    assert!(started.elapsed() < Duration::from_secs(5), "bytes do not prolong the wait");
}

#[tokio::test]
async fn half_answers_and_garbage_leave_doubt() {
    let whole = frame(b"<RequestResponse><RequestName>x</RequestName><Params/></RequestResponse>");
    for (bytes, code) in [
        (whole[..whole.len() - 9].to_vec(), "bridge_disconnected"),
        (b"STP/00/5".to_vec(), "bridge_disconnected"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "uncategorized_error"),
        (frame(b"HELLO"), "uncategorized_error"),
        (frame(b"<html><body>502</body></html>"), "uncategorized_error"),
        (
            frame(b"<RequestResponse><RequestName>GetInfo</RequestName><Params/></RequestResponse>"),
            "uncategorized_error",
        ),
        (frame(&b"\xFF".repeat(50)), "uncategorized_error"),
    ] {
        let sent = bytes.clone();
        let (error, server) = encode_error(move || Reply::Raw(sent.clone()), LONG).await;
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!((error.code, error.effect), (code, Effect::Unknown), "{shown}: {error}");
        assert_eq!(server.names().len(), 1, "{shown}");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_has_no_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let error = adapter(config(stp(address))).perform(encode(), LONG).await.expect_err("nobody listens");
    assert_eq!((error.code, error.effect, error.retry), ("bridge_disconnected", Effect::None, Retry::Later));
    assert!(error.message.contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn unknown_codes_are_doubt_and_keep_their_number() {
    let (error, _server) = encode_error(|| Reply::Code(4711), LONG).await;
    assert_eq!((error.code, error.effect, error.retry), ("uncategorized_error", Effect::Unknown, Retry::Never));
    assert_eq!((error.vendor_code.as_str(), error.vendor_text.as_str()), ("4711", "text of 4711"));
}

#[tokio::test]
async fn no_free_connection_has_no_effect() {
    let server = Server::stp(|_| Reply::Silence).await;
    let system = Arc::new(adapter_with(&server, |config, _| {
        config.connections = 1;
        config.call_timeout = Duration::from_millis(500);
    }));
    let blocked = system.clone();
    let first = tokio::spawn(async move { blocked.probe().await });
    eventually("the first request", || server.names().len() == 1).await;
    let unlock = Operation::Unlock { entrance: "D1".to_owned() };
    let error = system.perform(unlock, Duration::from_millis(50)).await.expect_err("the only connection is in use");
    assert_eq!((error.code, error.effect), ("bridge_disconnected", Effect::None));
    assert_eq!(server.names(), ["GetInfo"], "nothing was sent");
    let first = first.await.expect("no panic").expect_err("silence");
    assert_eq!(first.effect, Effect::None, "a probe changes nothing");
}

fn http_transport(server: &Server, scheme: &str, authentication: HttpAuthentication, trust: TlsTrust) -> ShipTransport {
    let url = format!("{scheme}://{}", server.address).parse().expect("a URL");
    ShipTransport::Http { url, authentication, trust }
}

const NO_TRUST: TlsTrust = TlsTrust::Pin([0; 32]);

#[tokio::test]
async fn http_carries_bare_xml_with_the_key_as_it_is_now() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key");
    std::fs::write(&path, "first-key\n").expect("writes");
    let server = Server::http(None, |_| Reply::Params(INFO.to_owned())).await;
    let authentication = HttpAuthentication::Custom { key: SecretSource::File(path.clone()) };
    let system = adapter(config(http_transport(&server, "http", authentication, NO_TRUST)));
    system.probe().await.expect("an answer");
    std::fs::write(&path, "second-key\n").expect("writes");
    system.probe().await.expect("an answer");
    assert_eq!(server.connections(), 1);
    let heads: Vec<String> = server.seen().into_iter().map(|seen| seen.head.to_ascii_lowercase()).collect();
    assert!(heads[0].starts_with("post / http/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("content-type: application/vnd.saltosystems.ship.v1+xml"), "{}", heads[0]);
    assert!(heads[0].contains("salto-ship-key: first-key"), "{}", heads[0]);
    assert!(heads[1].contains("salto-ship-key: second-key"), "{}", heads[1]);
    assert!(server.seen()[0].document.starts_with("<?xml"));

    std::fs::remove_file(&path).expect("removes");
    let error = system.probe().await.expect_err("no key to send");
    assert_eq!((error.code, error.effect), ("account_disconnected", Effect::None));
    assert_eq!(server.names().len(), 2);
}

#[tokio::test]
async fn a_refused_login_is_not_an_unreachable_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("password");
    std::fs::write(&path, "open sesame").expect("writes");
    let server = Server::http(None, |_| Reply::Status(401, "<html>no</html>".to_owned())).await;
    let authentication =
        HttpAuthentication::Basic { user: "Aladdin".to_owned(), password: SecretSource::File(path.clone()) };
    let system = adapter(config(http_transport(&server, "http", authentication, NO_TRUST)));
    let error = system.perform(encode(), LONG).await.expect_err("refused");
    assert_eq!((error.code, error.effect, error.retry), ("account_disconnected", Effect::None, Retry::Later));
    assert_eq!(error.vendor_code, "HTTP 401");
    assert!(!format!("{error:?}").contains("sesame"));
    assert!(server.seen()[0].head.contains("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "{}", server.seen()[0].head);
}

#[tokio::test]
async fn the_body_counts_before_the_status() {
    let server = Server::http(None, |_| Reply::Code(403)).await;
    let system = adapter(config(http_transport(&server, "http", HttpAuthentication::None, NO_TRUST)));
    let error = system.perform(encode(), LONG).await.expect_err("no card");
    assert_eq!((error.code, error.effect), ("no_credential_on_encoder", Effect::None));

    let server = Server::http(None, |_| Reply::Status(500, "oops".to_owned())).await;
    let system = adapter(config(http_transport(&server, "http", HttpAuthentication::None, NO_TRUST)));
    let error = system.perform(encode(), LONG).await.expect_err("no answer");
    assert_eq!((error.code, error.effect), ("uncategorized_error", Effect::Unknown));
    assert!(error.message.contains("HTTP status 500"), "{error}");

    let server =
        Server::http(None, |_| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<RequestRes".to_vec())).await;
    let system = adapter(config(http_transport(&server, "http", HttpAuthentication::None, NO_TRUST)));
    let error = system.perform(encode(), LONG).await.expect_err("half an answer");
    assert_eq!((error.code, error.effect), ("bridge_disconnected", Effect::Unknown));
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_and_no_other() {
    let certified = rcgen::generate_simple_self_signed(vec!["old-name.example.com".to_owned()]).expect("a certificate");
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let hash: [u8; 32] = digest(&SHA256, &certificate).as_ref().try_into().expect("32 bytes");
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a good pair");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let server = Server::http(Some(acceptor), |_| Reply::Params(INFO.to_owned())).await;
    let none = HttpAuthentication::None;
    let system = adapter(config(http_transport(&server, "https", none.clone(), TlsTrust::Pin(hash))));
    system.probe().await.expect("the pinned certificate");

    let system = adapter(config(http_transport(&server, "https", none, TlsTrust::Pin([7; 32]))));
    let error = system.perform(encode(), LONG).await.expect_err("another certificate");
    assert_eq!((error.code, error.effect), ("bridge_disconnected", Effect::None));
    assert!(error.message.contains("not the pinned one"), "{error}");
    assert_eq!(server.names().len(), 1, "no request went to the wrong server");
}

#[test]
fn a_ca_file_that_is_none_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, "no certificate").expect("writes");
    let url = "https://space.example.com:8100".parse().expect("a URL");
    let trust = TlsTrust::CaFile(path.clone());
    let transport = ShipTransport::Http { url, authentication: HttpAuthentication::None, trust };
    let error = SaltoSpace::new(config(transport), Arc::new(ManualClock::at(NOW_MS))).expect_err("no certificate");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}
