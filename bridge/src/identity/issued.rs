//! Whether a certificate that came back is ours, and signed by our CA (step 5 of rule H1).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Certificates in a chain or bundle.
const CERTIFICATES_MAXIMUM: usize = 8;

/// A certificate is not usable as this bridge's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IssuedError {
    /// Not certificates, none, or too many.
    #[error("{what} is not a list of 1 to {CERTIFICATES_MAXIMUM} certificates")]
    Unreadable {
        /// Chain or bundle.
        what: &'static str,
    },
    /// For another key.
    #[error("it is for another key than the one it was asked for")]
    OtherKey,
    /// For another bridge.
    #[error("it does not name the bridge {expected} as subject and as `lockbridge:bridge:` URI")]
    OtherBridge {
        /// Who it should name.
        expected: String,
    },
    /// The CA of the token is not in the bundle.
    #[error("the CA bundle does not hold the CA that the token names")]
    OtherCa,
    /// The chain does not hold.
    #[error("it is not a client certificate of the CA bundle: {problem}")]
    Chain {
        /// What the verifier said.
        problem: String,
    },
    /// It begins in our future.
    #[error("it is valid from {not_before}, but the clock of this machine says {now}")]
    NotYetValid {
        /// Our time.
        now: Timestamp,
        /// First second of validity.
        not_before: Timestamp,
    },
    /// It is over.
    #[error("it was valid until {not_after}, but the clock of this machine says {now}")]
    Expired {
        /// Our time.
        now: Timestamp,
        /// Last second of validity.
        not_after: Timestamp,
    },
}

/// Validity of a certificate, in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateTimes {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl CertificateTimes {
    /// Length of its life in seconds.
    pub fn life(self) -> i64 {
        self.not_after.saturating_sub(self.not_before).max(0)
    }

    /// Whether `now` (seconds since the epoch) lies in it; which side it is off otherwise.
    pub fn check(self, now: i64) -> Result<(), IssuedError> {
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        if now < self.not_before {
            Err(IssuedError::NotYetValid { now: time(now), not_before: time(self.not_before) })
        } else if now > self.not_after {
            Err(IssuedError::Expired { now: time(now), not_after: time(self.not_after) })
        } else {
            Ok(())
        }
    }
}

/// A chain that passed [`check`].
#[derive(Debug, Clone)]
pub(super) struct Issued {
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) times: CertificateTimes,
    /// Uncompressed point in the leaf.
    pub(super) public_key: Vec<u8>,
    /// SHA-256 of the leaf.
    pub(super) fingerprint: [u8; 32],
}

/// Takes DER certificates as they came.
pub(super) fn certificates(what: &'static str, raw: Vec<Vec<u8>>) -> Result<Vec<CertificateDer<'static>>, IssuedError> {
    let usable = (1..=CERTIFICATES_MAXIMUM).contains(&raw.len())
        && raw.iter().all(|der| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty()));
    if usable { Ok(raw.into_iter().map(CertificateDer::from).collect()) } else { Err(IssuedError::Unreadable { what }) }
}

/// Checks signature chain, purpose and names of a chain. Says nothing about the key and the present time, which are for the
/// caller: an expired certificate on disk is still this bridge's.
pub(super) fn check(
    chain: Vec<CertificateDer<'static>>,
    ca_bundle: &[CertificateDer<'static>],
    bridge_id: &str,
) -> Result<Issued, IssuedError> {
    let unreadable = IssuedError::Unreadable { what: "the chain" };
    let (leaf, behind) = chain.split_first().ok_or_else(|| unreadable.clone())?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| unreadable)?;
    let times = CertificateTimes {
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    };
    let refused = |problem: String| IssuedError::Chain { problem };
    let mut roots = RootCertStore::empty();
    for ca in ca_bundle {
        roots.add(ca.clone()).map_err(|error| refused(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let inside = u64::try_from(i64::midpoint(times.not_before, times.not_after)).unwrap_or_default();
    verifier
        .verify_client_cert(leaf, behind, UnixTime::since_unix_epoch(Duration::from_secs(inside)))
        .map_err(|error| refused(error.to_string()))?;
    if !names_bridge(&parsed, bridge_id) {
        return Err(IssuedError::OtherBridge { expected: bridge_id.to_owned() });
    }
    let public_key = parsed.public_key().subject_public_key.data.to_vec();
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
    Ok(Issued { chain, times, public_key, fingerprint })
}

fn names_bridge(certificate: &X509Certificate<'_>, bridge_id: &str) -> bool {
    let mut subjects = certificate.subject().iter_common_name();
    let subject = subjects.next().and_then(|name| name.as_str().ok()) == Some(bridge_id) && subjects.next().is_none();
    let uri = format!("lockbridge:bridge:{bridge_id}");
    let named = certificate.subject_alternative_name().ok().flatten().is_some_and(|names| {
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(text) if *text == uri))
    });
    subject && named
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};

    use super::*;
    use crate::net::test_support::TestCa;

    const BRIDGE: &str = "7b0c9a52-6f5e-4c1c-9d58-3d7d4f7a1c11";

    fn leaf(
        ca: &TestCa,
        subjects: &[&str],
        uri: &str,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for subject in subjects {
            params.distinguished_name.push(DnType::CommonName, *subject);
        }
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        vec![params.signed_by(&key, &ca.issuer).expect("signs").der().clone()]
    }

    #[test]
    fn subject_uri_purpose_and_ca_all_have_to_fit() {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let (ca, other) = (TestCa::new("Example CA"), TestCa::new("Example CA"));
        let bundle = std::slice::from_ref(&ca.certificate);
        let uri = format!("lockbridge:bridge:{BRIDGE}");
        let judge = |chain| check(chain, bundle, BRIDGE).map(|_| ());
        let foreign = IssuedError::OtherBridge { expected: BRIDGE.to_owned() };
        assert_eq!(judge(leaf(&ca, &[BRIDGE], &uri, ClientAuth)), Ok(()));
        assert_eq!(judge(leaf(&ca, &[BRIDGE], "lockbridge:bridge:other", ClientAuth)), Err(foreign.clone()));
        assert_eq!(judge(leaf(&ca, &["other"], &uri, ClientAuth)), Err(foreign.clone()));
        assert_eq!(judge(leaf(&ca, &[], &uri, ClientAuth)), Err(foreign));
        assert!(matches!(judge(leaf(&ca, &[BRIDGE], &uri, ServerAuth)), Err(IssuedError::Chain { .. })));
        assert!(matches!(judge(leaf(&other, &[BRIDGE], &uri, ClientAuth)), Err(IssuedError::Chain { .. })));
    }

    #[test]
    fn validity_ends_where_it_says() {
        let times = CertificateTimes { not_before: 10, not_after: 20 };
        assert!(matches!(times.check(9), Err(IssuedError::NotYetValid { .. })));
        assert_eq!((times.check(10), times.check(20)), (Ok(()), Ok(())));
        assert!(matches!(times.check(21), Err(IssuedError::Expired { .. })));
        assert_eq!(times.life(), 10);
    }

    #[test]
    fn a_list_is_bounded() {
        let one = TestCa::new("Example CA").certificate.to_vec();
        assert!(certificates("it", vec![one.clone(); CERTIFICATES_MAXIMUM]).is_ok());
        assert!(certificates("it", vec![one; CERTIFICATES_MAXIMUM + 1]).is_err());
        assert!(certificates("it", Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(certificates("it", vec![der.clone()]).is_err());
            prop_assert!(check(vec![der.into()], &[], BRIDGE).is_err());
        }
    }
}
