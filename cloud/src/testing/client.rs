//! Keys of a bridge, TLS to the hub, enrollment and renewal over it.

use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use lockbridge_protocol::enrollment::{EXPORTER_BYTES, EXPORTER_LABEL, prove};
use lockbridge_protocol::proto::tunnel::{
    EnrollRefused, EnrollRequest, EnrollResponse, RenewRequest, RenewResponse, Report, Signed,
};
use lockbridge_protocol::signed;
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Bench;

/// A bridge's identity key and audit key, before and after enrollment.
pub(crate) struct Keys {
    pub(crate) identity: KeyPair,
    pub(crate) audit: Vec<u8>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let audit = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self {
            identity: KeyPair::generate().expect("makes a key"),
            audit: audit.expect("makes a key").as_ref().to_vec(),
        }
    }

    pub(crate) fn audit(&self) -> EcdsaKeyPair {
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.audit, &random).expect("is a key")
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        let request = CertificateParams::default().serialize_request(&self.identity).expect("is made");
        request.der().to_vec()
    }

    pub(crate) fn identity(self, response: EnrollResponse) -> Identity {
        Identity { bridge_id: response.bridge_id, chain: response.certificate_chain, keys: self }
    }
}

/// An enrolled bridge.
pub(crate) struct Identity {
    pub(crate) bridge_id: String,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) keys: Keys,
}

impl Identity {
    pub(crate) fn sign(&self, report: &Report) -> Signed {
        let signed = signed::report::sign(&self.keys.audit(), &SystemRandom::new(), report.encode_to_vec());
        signed.expect("signs")
    }
}

/// What a bridge sends to enroll, for this connection's exporter.
pub(crate) fn token_request(token: &SigningKey, keys: &Keys, exporter: &[u8; EXPORTER_BYTES]) -> EnrollRequest {
    let (request, audit) = (keys.request(), keys.audit().public_key().as_ref().to_vec());
    EnrollRequest {
        version: 1,
        token_public_key: token.verifying_key().to_bytes().to_vec(),
        proof: prove(token, &request, &audit, exporter),
        certificate_request: request,
        audit_public_key: audit,
        software_version: "0.1.0".into(),
        display_name: "desk-pc".into(),
    }
}

impl Bench {
    pub(crate) async fn tls(&self, identity: Option<&Identity>) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate().clone()).expect("is a CA");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("speaks TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
                let key = PrivatePkcs8KeyDer::from(identity.keys.identity.serialize_der());
                builder.with_client_auth_cert(chain, key.into()).expect("is an identity")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("is a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// One request on a connection of its own; status and body of the answer.
    pub(crate) async fn http(
        &self,
        stream: TlsStream<TcpStream>,
        request: Request<Full<Bytes>>,
    ) -> (StatusCode, Bytes) {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.expect("is answered");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("is whole").to_bytes();
        connection.abort();
        (status, body)
    }

    pub(crate) async fn post(&self, stream: TlsStream<TcpStream>, path: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        let request = Request::post(path)
            .header("host", "localhost")
            .header("content-type", "application/protobuf")
            .body(Full::from(body))
            .expect("is a request");
        self.http(stream, request).await
    }

    /// The response, or the code of the refusal.
    pub(crate) async fn enroll(&self, token: &SigningKey, keys: &Keys) -> Result<EnrollResponse, String> {
        let stream = self.tls(None).await.expect("connects");
        let exporter = exporter(&stream);
        let request = token_request(token, keys, &exporter);
        decode(self.post(stream, "/v1/enroll", request.encode_to_vec()).await)
    }

    pub(crate) async fn renew(&self, with: Option<&Identity>, keys: &Keys) -> Result<RenewResponse, String> {
        let stream = self.tls(with).await.expect("connects");
        let request = RenewRequest { version: 1, certificate_request: keys.request() };
        decode(self.post(stream, "/v1/renew", request.encode_to_vec()).await)
    }
}

pub(crate) fn exporter(stream: &TlsStream<TcpStream>) -> [u8; EXPORTER_BYTES] {
    let exported = stream.get_ref().1.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None);
    exported.expect("is connected")
}

fn decode<M: Message + Default>((status, body): (StatusCode, Bytes)) -> Result<M, String> {
    if status == StatusCode::OK {
        return Ok(M::decode(body).expect("decodes"));
    }
    Err(EnrollRefused::decode(body).expect("decodes").code)
}
