use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::proxy::{Credentials, open};
use super::tcp::{interleave, race};
use super::test_support::{NOW, TestCa, listen, server_config, time_at};
use super::*;
use crate::config::{ProxyConfig, SecretSource};
use crate::health::ReasonCode;

const LABEL: &[u8] = b"EXPORTER-test";

/// Handshakes, then writes the exporter of its side so that a test sees both ends agree.
async fn tls_server(config: ServerConfig) -> (SocketAddr, AbortOnDropHandle<()>) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let bytes = stream.get_ref().1.export_keying_material([0; 32], LABEL, None).expect("exports");
            if stream.write_all(&bytes).await.is_ok() {
                stream.shutdown().await.ok();
            }
        }
    })
    .await
}

async fn dial(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Connection, DialError> {
    let url = Url::parse(&format!("wss://{address}/v1/tunnel")).expect("a URL");
    Dialer::new(None).connect(&url, tls).await
}

fn by_hash(ca: &TestCa, now: &str) -> Arc<ClientConfig> {
    enrollment_client(ca.key_hash(), &time_at(now)).expect("a client")
}

fn by_bundle(ca: &TestCa, now: &str) -> Arc<ClientConfig> {
    let (chain, key) = ca.server(&["bridge.example.com"]);
    mutual_client(std::slice::from_ref(&ca.certificate), chain, key, &time_at(now)).expect("a client")
}

/// Both ways to trust a CA: everything about certificates has to hold for each.
fn both(ca: &TestCa, now: &str) -> [Arc<ClientConfig>; 2] {
    [by_hash(ca, now), by_bundle(ca, now)]
}

fn fault(result: Result<Connection, DialError>) -> (CertificateFault, ReasonCode, String) {
    let error = result.expect_err("refused");
    let (code, text) = error.reason();
    match error {
        DialError::Certificate { source, .. } => (source, code, text),
        other => panic!("not about the certificate: {other:?}"),
    }
}

#[tokio::test]
async fn the_right_ca_is_accepted_and_both_ends_export_the_same() {
    let ca = TestCa::new("Example CA");
    let (address, _server) = tls_server(ca.server_config(&["127.0.0.1"])).await;
    for tls in both(&ca, NOW) {
        let mut connection = dial(address, tls).await.expect("connects");
        assert_eq!(connection.peer_chain().last(), Some(&ca.certificate));
        let ours: [u8; 32] = connection.exporter(LABEL).expect("exports");
        let mut theirs = [0; 32];
        connection.read_exact(&mut theirs).await.expect("reads");
        assert_eq!(ours, theirs);
        assert_ne!(ours, [0; 32]);
    }
}

#[tokio::test]
async fn another_ca_is_an_interception_and_named() {
    let (ours, theirs) = (TestCa::new("Example CA"), TestCa::new("Inspection Box CA"));
    let (address, _server) = tls_server(theirs.server_config(&["127.0.0.1"])).await;
    for tls in both(&ours, NOW) {
        let (found, code, text) = fault(dial(address, tls).await);
        assert_eq!(found, CertificateFault::Foreign { issuer: "CN=Inspection Box CA".to_owned() });
        assert_eq!(code, ReasonCode::TlsIntercepted);
        assert!(text.contains("Inspection Box CA") && text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn a_name_like_ours_does_not_make_a_ca_ours() {
    let (ours, theirs) = (TestCa::new("Example CA"), TestCa::new("Example CA"));
    // Their leaf, with our CA certificate put behind it.
    let (mut chain, key) = theirs.server(&["127.0.0.1"]);
    chain[1] = ours.certificate.clone();
    let (address, _server) = tls_server(server_config(&[&rustls::version::TLS13], (chain, key))).await;
    for tls in both(&ours, NOW) {
        assert_eq!(fault(dial(address, tls).await).1, ReasonCode::TlsIntercepted);
    }
}

#[tokio::test]
async fn a_self_signed_server_is_an_interception() {
    let ca = TestCa::new("Example CA");
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("signs itself");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
    let config = server_config(&[&rustls::version::TLS13], (vec![own.cert.der().clone()], key));
    let (address, _server) = tls_server(config).await;
    for tls in both(&ca, NOW) {
        assert_eq!(fault(dial(address, tls).await).1, ReasonCode::TlsIntercepted);
    }
}

#[tokio::test]
async fn another_name_is_told_with_both_names() {
    let ca = TestCa::new("Example CA");
    let (address, _server) = tls_server(ca.server_config(&["hub.example.com"])).await;
    for tls in both(&ca, NOW) {
        let (found, code, text) = fault(dial(address, tls).await);
        assert!(matches!(found, CertificateFault::WrongName { .. }), "{found:?}");
        assert_eq!(code, ReasonCode::Tls);
        assert!(text.contains("hub.example.com") && text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_both_times() {
    let ca = TestCa::new("Example CA");
    let (address, _server) = tls_server(ca.server_config(&["127.0.0.1"])).await;
    for tls in both(&ca, "2026-12-01T00:00:00Z") {
        let (found, code, text) = fault(dial(address, tls).await);
        assert!(matches!(found, CertificateFault::NotYetValid { .. }), "{found:?}");
        assert_eq!(code, ReasonCode::Clock);
        assert!(text.contains("2026-12-01T00:00:00Z") && text.contains("2027-01-01T00:00:00Z"), "{text}");
    }
    for tls in both(&ca, "2029-02-01T00:00:00Z") {
        let (found, code, text) = fault(dial(address, tls).await);
        assert!(matches!(found, CertificateFault::Expired { .. }), "{found:?}");
        assert_eq!(code, ReasonCode::Clock);
        assert!(text.contains("2029-02-01T00:00:00Z") && text.contains("2029-01-01T00:00:00Z"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_clock_does_not_hide_an_interception_or_a_wrong_name() {
    let (ours, theirs) = (TestCa::new("Example CA"), TestCa::new("Inspection Box CA"));
    let (foreign, _foreign_server) = tls_server(theirs.server_config(&["127.0.0.1"])).await;
    let (misnamed, _misnamed_server) = tls_server(ours.server_config(&["hub.example.com"])).await;
    for tls in both(&ours, "2029-02-01T00:00:00Z") {
        assert_eq!(fault(dial(foreign, tls.clone()).await).1, ReasonCode::TlsIntercepted);
        assert!(matches!(fault(dial(misnamed, tls).await).0, CertificateFault::WrongName { .. }));
    }
}

#[tokio::test]
async fn a_clock_before_the_floor_is_lifted_to_it() {
    let ca = TestCa::new("Example CA");
    let (address, _server) = tls_server(ca.server_config(&["127.0.0.1"])).await;
    let time = time_at("1970-01-01T00:10:00Z");
    let (found, ..) = fault(dial(address, enrollment_client(ca.key_hash(), &time).expect("a client")).await);
    let CertificateFault::NotYetValid { now, .. } = found else { panic!("{found:?}") };
    assert_eq!(now.to_string(), "2026-11-01T00:00:00Z", "the age of this version");
    let floor: jiff::Timestamp = NOW.parse().expect("a time");
    time.raise_floor(floor.as_second());
    time.raise_floor(0);
    dial(address, enrollment_client(ca.key_hash(), &time).expect("a client")).await.expect("connects");
}

#[tokio::test]
async fn tls_12_is_refused() {
    let ca = TestCa::new("Example CA");
    let config = server_config(&[&rustls::version::TLS12], ca.server(&["127.0.0.1"]));
    let (address, _server) = tls_server(config).await;
    let error = dial(address, by_hash(&ca, NOW)).await.expect_err("refused");
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    assert_eq!(error.reason().0, ReasonCode::Tls);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_shakes_hands_is_left_after_ten_seconds() {
    let (address, _server) = listen(|stream| async move {
        let _held = stream;
        pending::<()>().await;
    })
    .await;
    let before = Instant::now();
    let error = dial(address, by_hash(&TestCa::new("Example CA"), NOW)).await.expect_err("no handshake");
    assert!(matches!(error, DialError::TlsTimeout { .. }), "{error:?}");
    assert_eq!(before.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_refused_port_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = dial(address, by_hash(&TestCa::new("Example CA"), NOW)).await.expect_err("refused");
    let (code, text) = error.reason();
    assert_eq!(code, ReasonCode::Internet);
    assert!(text.contains(&address.to_string()), "{text}");
}

#[derive(Debug)]
struct Answer(Option<io::ErrorKind>, Vec<SocketAddr>);

impl tcp::Resolve for Answer {
    fn resolve<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move {
            match self.0 {
                Some(io::ErrorKind::TimedOut) => pending().await,
                Some(kind) => Err(kind.into()),
                None => Ok(self.1.clone()),
            }
        })
    }
}

async fn dial_with(answer: Answer) -> DialError {
    let url = Url::parse("wss://hub.example.com/v1/tunnel").expect("a URL");
    let dialer = Dialer::new(None).with_resolver(Arc::new(answer));
    dialer.connect(&url, by_hash(&TestCa::new("Example CA"), NOW)).await.expect_err("no connection")
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_resolve_are_a_dns_reason() {
    for answer in [Answer(Some(io::ErrorKind::NotFound), Vec::new()), Answer(None, Vec::new())] {
        let (code, text) = dial_with(answer).await.reason();
        assert_eq!(code, ReasonCode::Dns);
        assert!(text.contains("hub.example.com"), "{text}");
    }
    let before = Instant::now();
    let error = dial_with(Answer(Some(io::ErrorKind::TimedOut), Vec::new())).await;
    assert!(matches!(error, DialError::DnsTimeout { .. }), "{error:?}");
    assert_eq!((error.reason().0, before.elapsed().as_secs()), (ReasonCode::Dns, 5));
}

#[test]
fn families_alternate_from_the_resolvers_first_choice() {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (a, b, c) = (address("[2001:db8::1]:443"), address("[2001:db8::2]:443"), address("192.0.2.1:443"));
    assert_eq!(interleave(vec![a, b, c]), [a, c, b]);
    assert_eq!(interleave(vec![c, a, b]), [c, a, b]);
    assert_eq!(interleave(vec![c; 50]).len(), 8);
}

fn addresses(count: u8) -> VecDeque<SocketAddr> {
    (1..=count).map(|last| SocketAddr::from(([192, 0, 2, last], 443))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_does_not_hold_up_the_next() {
    let before = Instant::now();
    let winner = race(addresses(3), |address| async move {
        if address.ip().to_string().ends_with(".3") { Ok(address) } else { pending().await }
    })
    .await;
    assert_eq!(winner.map_err(|_| ()), Ok(addresses(3)[2]));
    assert_eq!(before.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn each_address_has_its_own_limit_and_every_failure_is_kept() {
    let before = Instant::now();
    let failed = race(addresses(3), |address| async move {
        if address.ip().to_string().ends_with(".1") {
            Err(io::ErrorKind::ConnectionRefused.into())
        } else {
            pending::<io::Result<()>>().await
        }
    })
    .await
    .expect_err("nobody answers");
    // Refused at once, so the second starts at once and the third 250 ms later.
    assert_eq!(before.elapsed(), Duration::from_millis(5250));
    let kinds: Vec<_> = failed.iter().map(|(_, error)| error.kind()).collect();
    assert_eq!(kinds, [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::TimedOut]);
}

/// Runs the CONNECT exchange against a proxy that answers `answer` and then hangs; gives back what it was asked, too.
async fn connect_with(answer: &[u8], credentials: Option<&Credentials>) -> (Result<(), ProxyError>, String) {
    let (mut ours, mut theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(64 * 1024);
    theirs.write_all(answer).await.expect("fits");
    let result = open(&mut ours, "hub.example.com:443", credentials).await;
    drop(ours);
    let mut asked = String::new();
    theirs.read_to_string(&mut asked).await.expect("reads");
    (result, asked)
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_agrees_is_asked_correctly() {
    let (result, asked) = connect_with(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", None).await;
    result.expect("open");
    assert_eq!(asked, "CONNECT hub.example.com:443 HTTP/1.1\r\nHost: hub.example.com:443\r\n\r\n");
    let credentials = Credentials { user: "site".to_owned(), password: "pass word".to_owned().into() };
    let (result, asked) = connect_with(b"HTTP/1.0 200\r\n\r\n", Some(&credentials)).await;
    result.expect("open");
    assert!(asked.contains("\r\nProxy-Authorization: Basic c2l0ZTpwYXNzIHdvcmQ=\r\n"), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_refuses_is_told_apart() {
    let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\nbody";
    let result = connect_with(refused, None).await.0;
    assert!(matches!(result, Err(ProxyError::Authentication { sent: false })), "{result:?}");
    let credentials = Credentials { user: "site".to_owned(), password: "wrong".to_owned().into() };
    let result = connect_with(refused, Some(&credentials)).await.0;
    assert!(matches!(result, Err(ProxyError::Authentication { sent: true })), "{result:?}");
    let result = connect_with(b"HTTP/1.1 403 Forbidden by policy\r\n\r\n", None).await.0;
    assert!(
        matches!(&result, Err(ProxyError::Refused { status_line }) if status_line.contains("403 Forbidden")),
        "{result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_talks_nonsense_or_too_much_is_refused() {
    let mut long = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    long.resize(9 * 1024, b'x');
    let answers: [&[u8]; 6] = [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03",
        &long,
    ];
    for answer in answers {
        let result = connect_with(answer, None).await.0;
        assert!(
            matches!(result, Err(ProxyError::Garbage { .. })),
            "{result:?} for {:?}",
            String::from_utf8_lossy(answer)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_hangs_is_left_after_ten_seconds() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nX: y\r\n"] {
        let before = Instant::now();
        let result = connect_with(answer, None).await.0;
        assert!(matches!(result, Err(ProxyError::Timeout { .. })), "{result:?}");
        assert_eq!(before.elapsed().as_secs(), 10);
    }
}

/// A proxy that takes every target to `target`.
async fn proxy_to(target: SocketAddr) -> (SocketAddr, AbortOnDropHandle<()>) {
    listen(move |mut client| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = client.read_u8().await else { return };
            head.push(byte);
        }
        let Ok(mut server) = TcpStream::connect(target).await else { return };
        if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
            tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
        }
    })
    .await
}

fn proxy_config(address: SocketAddr) -> ProxyConfig {
    ProxyConfig { host: address.ip().to_string(), port: address.port(), user: None, password: None }
}

#[tokio::test]
async fn tls_goes_through_the_proxy_and_the_target_is_not_resolved_here() {
    let ca = TestCa::new("Example CA");
    let (server, _server) = tls_server(ca.server_config(&["hub.invalid"])).await;
    let (proxy, _proxy) = proxy_to(server).await;
    let dialer = Dialer::new(Some(proxy_config(proxy)));
    let url = Url::parse("wss://hub.invalid/v1/tunnel").expect("a URL");
    dialer.connect(&url, by_hash(&ca, NOW)).await.expect("connects through the proxy");
    // Loopback goes straight: this proxy would lead to a server with another name.
    let (local, _local) = tls_server(ca.server_config(&["127.0.0.1"])).await;
    let url = Url::parse(&format!("wss://{local}/v1/tunnel")).expect("a URL");
    dialer.connect(&url, by_hash(&ca, NOW)).await.expect("connects directly");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_has_no_password_is_a_proxy_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let mut config = proxy_config(listener.local_addr().expect("an address"));
    drop(listener);
    let url = Url::parse("wss://hub.example.com/v1/tunnel").expect("a URL");
    let tls = by_hash(&TestCa::new("Example CA"), NOW);
    let error = Dialer::new(Some(config.clone())).connect(&url, tls.clone()).await.expect_err("nobody listens");
    assert!(matches!(error, DialError::ProxyUnreachable(_)), "{error:?}");
    assert_eq!(error.reason().0, ReasonCode::Proxy);
    config.user = Some("site".to_owned());
    config.password = Some(SecretSource::File("/nonexistent/password".into()));
    let (code, text) = Dialer::new(Some(config)).connect(&url, tls).await.expect_err("no password").reason();
    assert_eq!(code, ReasonCode::Proxy);
    assert!(text.contains("/nonexistent/password"), "{text}");
}

#[tokio::test]
async fn only_secure_urls_are_dialled() {
    let tls = by_hash(&TestCa::new("Example CA"), NOW);
    for url in ["ws://hub.example.com/", "http://hub.example.com/"] {
        let url = Url::parse(url).expect("a URL");
        let error = Dialer::new(None).connect(&url, tls.clone()).await.expect_err("not secure");
        assert!(matches!(error, DialError::Address { .. }), "{error:?}");
    }
}

/// Serves one raw HTTP answer after reading the head of the request, and gives what was asked.
async fn post_to(answer: Vec<u8>, limit: usize) -> Result<HttpAnswer, HttpError> {
    let ca = TestCa::new("Example CA");
    let acceptor = TlsAcceptor::from(Arc::new(ca.server_config(&["127.0.0.1"])));
    let (address, _server) = listen(move |stream| {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut asked = Vec::new();
            while !asked.ends_with(b"ping") {
                let Ok(byte) = stream.read_u8().await else { return };
                asked.push(byte);
            }
            let asked = String::from_utf8(asked).expect("text").to_ascii_lowercase();
            assert!(asked.starts_with("post /v1/enroll http/1.1\r\n"), "{asked}");
            assert!(asked.contains("content-type: application/protobuf\r\n"), "{asked}");
            assert!(asked.contains("host: 127.0.0.1:"), "{asked}");
            stream.write_all(&answer).await.ok();
            if answer.is_empty() {
                pending::<()>().await;
            }
            stream.shutdown().await.ok();
        }
    })
    .await;
    let url = Url::parse(&format!("https://{address}/v1/enroll")).expect("a URL");
    let connection = Dialer::new(None).connect(&url, by_hash(&ca, NOW)).await.expect("connects");
    post(connection, &url, "application/protobuf", b"ping".to_vec(), limit).await
}

#[tokio::test]
async fn an_answer_is_read_whole_and_bounded() {
    let answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 9999\r\nContent-Length: 4\r\n\r\npong".to_vec();
    let read = post_to(answer.clone(), 4).await.expect("an answer");
    assert_eq!((read.status.as_u16(), &read.body[..]), (503, &b"pong"[..]));
    assert_eq!(read.retry_after, Some(Duration::from_secs(600)));
    assert!(matches!(post_to(answer, 3).await, Err(HttpError::TooLong { limit: 3, .. })));
    // No length: the end of the connection is the end of the body.
    let read = post_to(b"HTTP/1.1 200 OK\r\n\r\npong".to_vec(), 100).await.expect("an answer");
    assert_eq!(&read.body[..], b"pong");
}

#[tokio::test]
async fn a_broken_answer_is_an_error() {
    let broken = post_to(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npong".to_vec(), 100).await;
    assert!(matches!(broken, Err(HttpError::Body { .. })), "{broken:?}");
    let garbage = post_to(b"220 mail.example.com ESMTP\r\n\r\n".to_vec(), 100).await;
    assert!(matches!(garbage, Err(HttpError::Exchange { .. })), "{garbage:?}");
}
