//! From a name to a connection: what does not resolve, does not answer, or answers later than another address.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

use super::super::tcp::{interleave, race};
use super::super::test_support::{NOW, TestCa};
use super::super::*;
use super::{by_hash, dial};
use crate::health::ReasonCode;

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
