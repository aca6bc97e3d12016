use lockbridge_protocol::limits;
use lockbridge_protocol::proto::tunnel::EnrollRefused;
use prost::Message;

use super::{Ca, Peer};
use crate::store::DataDirectory;
use crate::testing::{Bench, Identity, Keys, State, token_request};

#[tokio::test]
async fn a_token_makes_one_bridge_for_one_key_whatever_is_lost() {
    let bench = Bench::start().await;
    let (token, keys) = (bench.token(true).await, Keys::new());
    let first = bench.enroll(&token, &keys).await.expect("enrolls");
    let again = bench.enroll(&token, &keys).await.expect("the answer may have been lost");
    assert_eq!(again, first);
    assert_eq!(first.authority_keys, [bench.authority.public()]);
    assert_eq!(first.tunnel_url, format!("wss://localhost:{}/v1/tunnel", bench.address.port()));
    assert_eq!(bench.bridge(&first.bridge_id).await.display_name, "desk-pc");
    assert_eq!(bench.alarms().await, [""; 0]);

    assert_eq!(bench.enroll(&token, &Keys::new()).await.expect_err("is refused"), "token_used");
    assert_eq!(bench.alarms().await, ["token_reused"]);
    bench.enroll(&token, &keys).await.expect("the first key still has its identity");
}

#[tokio::test]
async fn the_first_session_kills_the_token() {
    let bench = Bench::start().await;
    let (token, keys) = (bench.token(true).await, Keys::new());
    let response = bench.enroll(&token, &keys).await.expect("enrolls");
    let identity = keys.identity(response);
    let script = bench.connect(&identity, State::new()).await.expect("is welcome");
    bench.eventually(&identity.bridge_id, |bridge| bridge.link_up).await;
    assert_eq!(bench.enroll(&token, &identity.keys).await.expect_err("is refused"), "token_used");
    drop(script);
}

#[tokio::test]
async fn bad_requests_are_refused_by_code() {
    let bench = Bench::start().await;
    let unknown = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    assert_eq!(bench.enroll(&unknown, &Keys::new()).await.expect_err("is refused"), "token_unknown");
    let expired = bench.token(false).await;
    assert_eq!(bench.enroll(&expired, &Keys::new()).await.expect_err("is refused"), "token_expired");

    let token = bench.token(true).await;
    let code = async |body: Vec<u8>| {
        let stream = bench.tls(None).await.expect("connects");
        let (status, body) = bench.post(stream, "/v1/enroll", body).await;
        assert!(status.is_client_error(), "{status}");
        EnrollRefused::decode(body).expect("decodes").code
    };
    // A request overheard on another connection.
    let replayed = token_request(&token, &Keys::new(), &[0; 32]);
    assert_eq!(code(replayed.encode_to_vec()).await, "proof_invalid");
    assert_eq!(code(vec![0xFF; 40]).await, "request_invalid");
    assert_eq!(code(vec![0; limits::ENROLLMENT_BYTES + 1]).await, "request_invalid");
    assert_eq!(code(Vec::new()).await, "request_invalid");
    bench.enroll(&token, &Keys::new()).await.expect("the token is unharmed");
}

#[tokio::test]
async fn renewal_gives_the_next_generation_and_repeats_a_lost_answer() {
    let bench = Bench::start().await;
    let identity = bench.enrolled().await;
    let next = Keys::new();
    let first = bench.renew(Some(&identity), &next).await.expect("renews");
    let again = bench.renew(Some(&identity), &next).await.expect("the answer may have been lost");
    assert_eq!(again, first);
    assert_eq!(bench.bridge(&identity.bridge_id).await.generation, 2);

    assert_eq!(bench.renew(Some(&identity), &Keys::new()).await.expect_err("is refused"), "generation_stale");
    assert_eq!(bench.alarms().await, ["generation_stale"]);

    let audit_keeper = Keys { identity: next.identity, ..identity.keys };
    let renewed = Identity { bridge_id: identity.bridge_id, chain: first.certificate_chain, keys: audit_keeper };
    bench.connect(&renewed, State::new()).await.expect("the new certificate opens a session");
    assert_eq!(bench.renew(None, &Keys::new()).await.expect_err("is refused"), "identity_unknown");
    let own_key = bench.renew(Some(&renewed), &renewed.keys).await.expect_err("is refused");
    assert_eq!(own_key, "request_invalid");
}

#[test]
fn the_ca_is_kept_and_its_certificates_say_who() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = DataDirectory::open(parent.path()).expect("opens");
    let first = Ca::open(&directory).expect("is made");
    let second = Ca::open(&directory).expect("is read");
    assert_eq!((second.key_hash(), second.certificate()), (first.key_hash(), first.certificate()));

    let key = rcgen::KeyPair::generate().expect("makes a key");
    let bridge_id = "11111111-1111-4111-8111-111111111111";
    let issued = second.bridge_certificate(bridge_id, &key).expect("issues");
    let peer = Peer::of_certificate(&issued.der).expect("is a bridge");
    assert_eq!(peer, Peer { bridge_id: bridge_id.into(), serial: issued.serial });
    assert_eq!(Peer::of_certificate(first.certificate()), None, "the CA is no bridge");

    std::fs::remove_file(directory.path("ca.pem")).expect("is there");
    let recovered = Ca::open(&directory).expect("is certified again");
    assert_eq!(recovered.key_hash(), first.key_hash());
    std::fs::remove_file(directory.path("ca.key")).expect("is there");
    assert!(Ca::open(&directory).is_err(), "a certificate without its key is no CA");
}
