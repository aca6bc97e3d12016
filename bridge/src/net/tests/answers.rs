//! Single requests: to secure URLs only, with answers that are bounded.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::super::test_support::{NOW, TestCa, listen};
use super::super::*;
use super::by_hash;

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
