//! Which certificates are believed, and that each one that is not is told by what is wrong with it.

use std::future::pending;

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::super::test_support::{NOW, TestCa, listen, server_config, time_at};
use super::super::*;
use super::{LABEL, both, by_hash, dial, fault, tls_server};
use crate::health::ReasonCode;

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
