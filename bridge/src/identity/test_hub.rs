//! A hub on loopback that enrolls and renews: real TLS, real certificates, the cloud's side of the rules.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use lockbridge_protocol::enrollment::{EXPORTER_LABEL, verify_proof};
use lockbridge_protocol::proto::tunnel::{
    AuthorityKey, EnrollRefused, EnrollRequest, EnrollResponse, RenewRequest, RenewResponse,
};
use lockbridge_protocol::signed::{key_id, sha256};
use prost::Message;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::net::test_support::{TestCa, listen};

pub(super) const BRIDGE: &str = "7b0c9a52-6f5e-4c1c-9d58-3d7d4f7a1c11";
/// Issued certificates live 30 of these, from 2027-05-25 unless told otherwise.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the hub knows and how it behaves.
pub(super) struct HubState {
    /// The one token, and the identity key that used it.
    pub(super) used_by: Option<Vec<u8>>,
    pub(super) token_public_key: Vec<u8>,
    /// Answers this instead.
    pub(super) refuse: Option<(u16, EnrollRefused)>,
    /// Acts, and cuts the connection before the answer.
    pub(super) lose_answers: u32,
    /// Changes the answer on its way.
    pub(super) alter: Option<fn(&mut EnrollResponse)>,
    /// The same for renewals.
    pub(super) alter_renewal: Option<fn(&mut RenewResponse)>,
    /// Signs another key than the one asked for.
    pub(super) swap_key: bool,
    pub(super) enrollments: u32,
    /// Public keys in the renewal requests, in order.
    pub(super) renewed_keys: Vec<Vec<u8>>,
    /// SHA-256 of the certificates shown at renewals.
    pub(super) shown: Vec<[u8; 32]>,
    /// Month and day, in 2027, on which issued certificates begin.
    pub(super) first_day: (u8, u8),
    /// Common name in issued certificates.
    pub(super) bridge_id: String,
}

pub(super) struct TestHub {
    pub(super) address: SocketAddr,
    pub(super) ca: Arc<TestCa>,
    pub(super) state: Arc<Mutex<HubState>>,
    _server: AbortOnDropHandle<()>,
}

/// The text of the token for `hub`, with the CA hash given.
pub(super) fn token_text(address: SocketAddr, ca_key_hash: [u8; 32]) -> String {
    let hash = data_encoding::HEXLOWER.encode(&ca_key_hash);
    format!("https://{address}#{hash}#{}", data_encoding::BASE64URL_NOPAD.encode(&[7; 32]))
}

/// 32 bytes that are an Ed25519 public key: of the token's seed, as good as any.
pub(super) fn ed25519_public() -> Vec<u8> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    lockbridge_protocol::enrollment::EnrollmentToken::parse(&token_text(address, [0; 32]))
        .expect("a token")
        .public_key()
        .to_vec()
}

impl TestHub {
    pub(super) async fn start() -> Self {
        let ca = Arc::new(TestCa::new("Example CA"));
        let state = Arc::new(Mutex::new(HubState {
            used_by: None,
            token_public_key: ed25519_public(),
            refuse: None,
            lose_answers: 0,
            alter: None,
            alter_renewal: None,
            swap_key: false,
            enrollments: 0,
            renewed_keys: Vec::new(),
            shown: Vec::new(),
            first_day: (5, 25),
            bridge_id: BRIDGE.to_owned(),
        }));
        let acceptor = acceptor(&ca);
        let (for_server, for_ca) = (state.clone(), ca.clone());
        let (address, server) = listen(move |stream| {
            let (acceptor, state, ca) = (acceptor.clone(), for_server.clone(), for_ca.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, state, ca).await;
                }
            }
        })
        .await;
        Self { address, ca, state, _server: server }
    }

    pub(super) fn token(&self) -> String {
        token_text(self.address, self.ca.key_hash())
    }

    pub(super) fn with<Value>(&self, change: impl FnOnce(&mut HubState) -> Value) -> Value {
        change(&mut self.state.lock().expect("no holder panicked"))
    }
}

fn acceptor(ca: &TestCa) -> TlsAcceptor {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.clone()).expect("a CA");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .expect("a verifier");
    let (chain, key) = ca.server(&["127.0.0.1"]);
    // The hub lives in the tests' year, too.
    let time = Arc::new(crate::net::test_support::time_at(crate::net::test_support::NOW));
    let config = rustls::ServerConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("certificate and key");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(stream: TlsStream<tokio::net::TcpStream>, state: Arc<Mutex<HubState>>, ca: Arc<TestCa>) {
    let session = stream.get_ref().1;
    let exporter: [u8; 32] = session.export_keying_material([0; 32], EXPORTER_LABEL, None).expect("exports");
    let client = session.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.to_vec());
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, ca, client) = (state.clone(), ca.clone(), client.clone());
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
            let answer = {
                let mut state = state.lock().expect("no holder panicked");
                let answer = match (path.as_str(), client) {
                    _ if state.refuse.is_some() => Err(state.refuse.clone().expect("just seen")),
                    ("/v1/enroll", None) => enroll(&mut state, &ca, &body, &exporter),
                    ("/v1/renew", Some(leaf)) => {
                        state.shown.push(sha256(&leaf));
                        Ok(renew(&mut state, &ca, &body))
                    }
                    _ => Err((404, EnrollRefused::default())),
                };
                if state.lose_answers > 0 {
                    state.lose_answers -= 1;
                    return Err(std::io::Error::other("the connection is cut"));
                }
                answer
            };
            let (status, bytes) = match answer {
                Ok(bytes) => (200, bytes),
                Err((status, refused)) => (status, refused.encode_to_vec()),
            };
            let response = Response::builder().status(status).header("retry-after", "7200");
            Ok(response.body(Full::new(Bytes::from(bytes))).expect("a response"))
        }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

fn refused(code: &str) -> (u16, EnrollRefused) {
    (403, EnrollRefused { code: code.to_owned(), message: String::new(), hub_time_ms: 0 })
}

fn enroll(
    state: &mut HubState,
    ca: &TestCa,
    body: &[u8],
    exporter: &[u8; 32],
) -> Result<Vec<u8>, (u16, EnrollRefused)> {
    let request = EnrollRequest::decode(body).expect("a request");
    let (csr, audit) = (&request.certificate_request, &request.audit_public_key);
    if request.token_public_key != state.token_public_key {
        return Err(refused("token_unknown"));
    }
    verify_proof(&request.token_public_key, csr, audit, exporter, &request.proof)
        .map_err(|_| refused("proof_invalid"))?;
    let (leaf, key) = issue(state, ca, csr);
    match &state.used_by {
        Some(other) if *other != key => return Err(refused("token_used")),
        _ => state.used_by = Some(key),
    }
    state.enrollments += 1;
    let authority = ed25519_public();
    let mut response = EnrollResponse {
        bridge_id: BRIDGE.to_owned(),
        workspace_id: "workspace-1".to_owned(),
        workspace_name: "Example\u{7} Hotels".to_owned(),
        site_id: "site-1".to_owned(),
        certificate_chain: vec![leaf.to_vec(), ca.certificate.to_vec()],
        ca_bundle: vec![ca.certificate.to_vec()],
        authority_keys: vec![AuthorityKey { key_id: key_id(&authority), public_key: authority }],
        tunnel_url: "wss://hub.example.com/v1/tunnel".to_owned(),
    };
    if let Some(alter) = state.alter {
        alter(&mut response);
    }
    Ok(response.encode_to_vec())
}

fn renew(state: &mut HubState, ca: &TestCa, body: &[u8]) -> Vec<u8> {
    let request = RenewRequest::decode(body).expect("a request");
    let (leaf, key) = issue(state, ca, &request.certificate_request);
    state.renewed_keys.push(key);
    let ca_bundle = vec![ca.certificate.to_vec()];
    let mut response = RenewResponse { certificate_chain: vec![leaf.to_vec()], ca_bundle };
    if let Some(alter) = state.alter_renewal {
        alter(&mut response);
    }
    response.encode_to_vec()
}

/// Signs a request; gives the leaf and the public key in it.
fn issue(state: &HubState, ca: &TestCa, csr: &[u8]) -> (CertificateDer<'static>, Vec<u8>) {
    let mut request = CertificateSigningRequestParams::from_der(&csr.to_vec().into()).expect("a signed request");
    request.params = bridge_params(&state.bridge_id, state.first_day);
    let key = rcgen::PublicKeyData::der_bytes(&request.public_key).to_vec();
    let leaf = if state.swap_key {
        let other = rcgen::KeyPair::generate().expect("a key");
        request.params.signed_by(&other, &ca.issuer)
    } else {
        request.signed_by(&ca.issuer)
    };
    (leaf.expect("signs").der().clone(), key)
}

/// The same bridge and key under another CA.
pub(super) fn signed_anew(leaf: &[u8], ca: &TestCa) -> Vec<u8> {
    let (_, parsed) = X509Certificate::from_der(leaf).expect("a certificate");
    let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw).expect("a key");
    bridge_params(BRIDGE, (5, 25)).signed_by(&key, &ca.issuer).expect("signs").der().to_vec()
}

fn bridge_params(bridge_id: &str, (month, day): (u8, u8)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, bridge_id);
    let uri = format!("lockbridge:bridge:{bridge_id}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2027, month, day);
    params.not_after = params.not_before + 30 * DAY;
    params
}
