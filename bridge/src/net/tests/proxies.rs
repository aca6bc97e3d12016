//! The way through a proxy, and every way in which a proxy can be in the way.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::super::proxy::{Credentials, open};
use super::super::test_support::{NOW, TestCa, listen};
use super::super::*;
use super::{by_hash, tls_server};
use crate::config::{ProxyConfig, SecretSource};
use crate::health::ReasonCode;

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
