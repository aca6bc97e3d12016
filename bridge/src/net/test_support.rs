//! A private CA and servers on loopback, for the tests of `net` and `identity`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::TlsTime;
use crate::clock::ManualClock;

/// Inside the validity of every certificate of [`TestCa`]: the years 2027 and 2028.
pub(crate) const NOW: &str = "2027-06-01T12:00:00Z";

/// A clock at `text`.
pub(crate) fn clock_at(text: &str) -> Arc<ManualClock> {
    Arc::new(ManualClock::at(text.parse::<Timestamp>().expect("a time").as_millisecond()))
}

/// TLS time at `text`.
pub(crate) fn time_at(text: &str) -> TlsTime {
    TlsTime::new(clock_at(text))
}

/// A private CA.
pub(crate) struct TestCa {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl TestCa {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let certificate = params.self_signed(&key).expect("signs itself").der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// SHA-256 of the public key, taken another way than the code under test does.
    pub(crate) fn key_hash(&self) -> [u8; 32] {
        let key = rcgen::PublicKeyData::subject_public_key_info(self.issuer.key());
        digest(&SHA256, &key).as_ref().try_into().expect("32 bytes")
    }

    /// A server certificate for `names`, with the CA behind it, and its key.
    pub(crate) fn server(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2027, 1, 1);
        params.not_after = date_time_ymd(2029, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).expect("signs").der().clone();
        (vec![leaf, self.certificate.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// A server that speaks TLS 1.3 for `names` and asks no client certificate.
    pub(crate) fn server_config(&self, names: &[&str]) -> ServerConfig {
        server_config(&[&rustls::version::TLS13], self.server(names))
    }
}

/// A server with this certificate.
pub(crate) fn server_config(
    versions: &[&'static rustls::SupportedProtocolVersion],
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("certificate and key");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Listens on loopback and hands each connection to `serve`, one after the other, until dropped.
pub(crate) async fn listen<Serve, Fut>(mut serve: Serve) -> (SocketAddr, AbortOnDropHandle<()>)
where
    Serve: FnMut(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    (address, AbortOnDropHandle::new(task))
}
