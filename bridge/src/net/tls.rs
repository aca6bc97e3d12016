//! The one builder of TLS clients towards the cloud (rule G1): TLS 1.3 only, our CA only, ALPN `http/1.1`, no resumption and
//! so no early data.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use thiserror::Error;

use super::certificate::{Anchor, PrivateCaVerifier};
use crate::clock::Clock;

/// A moment before this version was built, 2026-11-01T00:00:00Z: a clock that says less is wrong (rule N2). Written here and
/// moved with each version, so that the same source gives the same binary.
const SOURCE_TIME_SECONDS: i64 = 1_793_491_200;

/// A TLS client could not be set up from what is at hand.
#[derive(Debug, Error)]
pub enum TlsConfigError {
    /// A CA certificate is not one.
    #[error("a certificate of the CA bundle cannot be used")]
    CaBundle(#[source] rustls::Error),
    /// The bundle is empty.
    #[error("the CA bundle is empty")]
    NoCa,
    /// Certificate and key do not belong together, or one cannot be read.
    #[error("the client certificate and its key cannot be used")]
    ClientCertificate(#[source] rustls::Error),
    /// The crypto provider lacks TLS 1.3.
    #[error("TLS 1.3 is not available")]
    Provider(#[source] rustls::Error),
}

/// Time for certificate checks: the wall clock, but never before a moment that is known to have passed. A board that boots
/// in 1970 then still checks validity, and checks it against something sensible. Clones share the floor.
#[derive(Debug, Clone)]
pub struct TlsTime {
    clock: Arc<dyn Clock>,
    floor_seconds: Arc<AtomicI64>,
}

impl TlsTime {
    /// Starts with the age of this version as the floor.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, floor_seconds: Arc::new(AtomicI64::new(SOURCE_TIME_SECONDS)) }
    }

    /// Says that this moment (seconds since the epoch) has passed for certain, because our CA said so. Never lowers.
    pub fn raise_floor(&self, seconds: i64) {
        self.floor_seconds.fetch_max(seconds, Ordering::Relaxed);
    }

    /// Seconds since the epoch: wall time or floor, whichever is later.
    pub fn now_seconds(&self) -> i64 {
        self.clock.wall().as_second().max(self.floor_seconds.load(Ordering::Relaxed))
    }
}

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now_seconds()).unwrap_or_default();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// A client for enrollment: no certificate of its own; the server's chain has to contain, and end in, a CA certificate with
/// `ca_key_hash`, the SHA-256 of its `SubjectPublicKeyInfo`.
pub fn enrollment_client(ca_key_hash: [u8; 32], time: &TlsTime) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(ring::default_provider());
    let config = with_anchor(Anchor::KeyHash(ca_key_hash), provider, time)?.with_no_client_auth();
    Ok(finish(config))
}

/// A client that looks and has no certificate of its own to show: trusts `ca_bundle`.
pub fn anonymous_client(
    ca_bundle: &[CertificateDer<'static>],
    time: &TlsTime,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(ring::default_provider());
    let config = with_anchor(Anchor::Certificates(roots(ca_bundle)?), provider, time)?.with_no_client_auth();
    Ok(finish(config))
}

/// A client for tunnel and renewal: trusts `ca_bundle`, and shows `chain` (leaf first) with its key.
pub fn mutual_client(
    ca_bundle: &[CertificateDer<'static>],
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    time: &TlsTime,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(ring::default_provider());
    let config = with_anchor(Anchor::Certificates(roots(ca_bundle)?), provider, time)?
        .with_client_auth_cert(chain, key)
        .map_err(TlsConfigError::ClientCertificate)?;
    Ok(finish(config))
}

fn roots(ca_bundle: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca_bundle {
        roots.add(certificate.clone()).map_err(TlsConfigError::CaBundle)?;
    }
    if roots.is_empty() { Err(TlsConfigError::NoCa) } else { Ok(Arc::new(roots)) }
}

fn with_anchor(
    anchor: Anchor,
    provider: Arc<CryptoProvider>,
    time: &TlsTime,
) -> Result<ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsConfigError> {
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_details(provider.clone(), Arc::new(time.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsConfigError::Provider)?;
    let verifier: Arc<dyn ServerCertVerifier> = Arc::new(PrivateCaVerifier { anchor, provider });
    // Not a loosening: the verifier is webpki's with a private anchor and better words.
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}
