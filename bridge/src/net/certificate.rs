//! Whether a server's certificate is acceptable, and if not, why, in words an administrator can act on.
//!
//! Chain, host name and time are judged by webpki; this adds the anchor (our CA, by certificate or by the hash of its key)
//! and takes a refusal apart: a wrong clock, an inspecting middlebox and a wrong name need different people.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How much of a stranger's text is repeated.
const FOREIGN_TEXT_CHARACTERS: usize = 200;

/// Why a server certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateFault {
    /// Not a chain of our CA: an inspecting middlebox, or another server.
    #[error("it was issued by `{issuer}`, not by the CA of this cloud")]
    Foreign {
        /// Issuer of the leaf as written in it.
        issuer: String,
    },
    /// Right in all else, but it begins in our future. Certificates are issued backdated, so our clock is slow.
    #[error("it is valid from {not_before}, but the clock of this machine says {now}: the clock is slow")]
    NotYetValid {
        /// Time used for the check.
        now: Timestamp,
        /// First second of validity.
        not_before: Timestamp,
    },
    /// Right in all else, but over.
    #[error(
        "it was valid until {not_after}, but the clock of this machine says {now}: \
         the clock is fast, or the cloud has not renewed its certificate"
    )]
    Expired {
        /// Time used for the check.
        now: Timestamp,
        /// Last second of validity.
        not_after: Timestamp,
    },
    /// Our CA signed it, for other names.
    #[error("it is for {}, not for {expected}", if presented.is_empty() { "no name" } else { presented })]
    WrongName {
        /// The host dialled.
        expected: String,
        /// The names in it.
        presented: String,
    },
    /// Anything else.
    #[error("it is not valid: {problem}")]
    Invalid {
        /// What the verifier said.
        problem: String,
    },
}

impl CertificateFault {
    /// Finds the fault inside the error of a handshake or of a later read.
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let rustls::Error::InvalidCertificate(refused) = inner else { return None };
        let CertificateError::Other(OtherError(fault)) = refused else {
            return Some(Self::Invalid { problem: refused.to_string() });
        };
        fault.downcast_ref::<Self>().cloned().or_else(|| Some(Self::Invalid { problem: fault.to_string() }))
    }
}

/// What a chain has to end in.
#[derive(Debug)]
pub(super) enum Anchor {
    /// One of these CA certificates.
    Certificates(Arc<RootCertStore>),
    /// A CA certificate, sent by the server, with this SHA-256 of its `SubjectPublicKeyInfo` (DER).
    KeyHash([u8; 32]),
}

/// The only server verifier of the daemon's way to the cloud.
pub(super) struct PrivateCaVerifier {
    pub(super) anchor: Anchor,
    pub(super) provider: Arc<CryptoProvider>,
}

impl PrivateCaVerifier {
    /// Chain, name and time as webpki sees them at `now`.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let roots = match &self.anchor {
            Anchor::Certificates(roots) => roots.clone(),
            Anchor::KeyHash(hash) => {
                let ca = intermediates.iter().find(|certificate| key_hash(certificate) == Some(*hash));
                let ca = ca.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone().into_owned())?;
                Arc::new(roots)
            }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, &[], now).map(|_| ())
    }

    /// Takes a refusal apart. Time is blamed only when the same chain passes at a time inside its validity.
    fn explain(
        &self,
        refused: &rustls::Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> CertificateFault {
        let Ok((_, leaf)) = X509Certificate::from_der(end_entity) else {
            return CertificateFault::Invalid { problem: "it cannot be read".to_owned() };
        };
        let (not_before, not_after) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        let inside = u64::try_from(i64::midpoint(not_before, not_after)).unwrap_or_default();
        let at_a_good_time = UnixTime::since_unix_epoch(Duration::from_secs(inside));
        let timeless = self.check(end_entity, intermediates, server_name, at_a_good_time);
        let (now_seconds, now_time) = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), timestamp(now));
        match timeless.as_ref().err().unwrap_or(refused) {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                CertificateFault::Foreign { issuer: printable(&leaf.issuer().to_string()) }
            }
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => CertificateFault::WrongName {
                expected: server_name.to_str().into_owned(),
                presented: printable(&names_of(&leaf)),
            },
            _ if timeless.is_ok() && now_seconds < not_before => {
                CertificateFault::NotYetValid { now: now_time, not_before: seconds(not_before) }
            }
            _ if timeless.is_ok() && now_seconds > not_after => {
                CertificateFault::Expired { now: now_time, not_after: seconds(not_after) }
            }
            // A certificate that signed itself is no work of our CA, whatever webpki minds first.
            _ if leaf.issuer() == leaf.subject() => {
                CertificateFault::Foreign { issuer: printable(&leaf.issuer().to_string()) }
            }
            other => CertificateFault::Invalid { problem: printable(&other.to_string()) },
        }
    }
}

impl fmt::Debug for PrivateCaVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PrivateCaVerifier").field("anchor", &self.anchor).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PrivateCaVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.check(end_entity, intermediates, server_name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refused) => {
                let fault = self.explain(&refused, end_entity, intermediates, server_name, now);
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault)))))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256 of the `SubjectPublicKeyInfo` of a certificate; `None` when it is not a certificate.
pub(crate) fn key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    digest(&SHA256, parsed.public_key().raw).as_ref().try_into().ok()
}

fn names_of(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return String::new() };
    names.value.general_names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn timestamp(time: UnixTime) -> Timestamp {
    seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

fn seconds(since_epoch: i64) -> Timestamp {
    Timestamp::from_second(since_epoch).unwrap_or(Timestamp::MAX)
}

fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(FOREIGN_TEXT_CHARACTERS).collect()
}
