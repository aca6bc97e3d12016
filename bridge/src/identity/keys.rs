//! Private keys: made here, sealed on disk, never shown.

use std::fmt;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, KeyPair as CertificateKey, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use zeroize::Zeroizing;

use super::files::{self, FileError};
use crate::seal::{SealError, Sealer};

/// Associated data of the sealed file.
const PURPOSE: &str = "identity-keys";
/// First byte of the sealed content.
const FORMAT: u8 = 1;
/// Audit key, and the identity keys in use, asked for, and before.
const KEYS_MAXIMUM: usize = 6;

/// Keys cannot be made, kept or read.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file operation failed.
    #[error("the identity keys cannot be kept")]
    File(#[from] FileError),
    /// The sealed file does not open.
    #[error("the identity keys in {path} cannot be opened")]
    Sealed {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: SealError,
    },
    /// The file opens, and what is in it is not keys of this version.
    #[error("the identity keys in {path} are not in a format this version reads")]
    Format {
        /// The file.
        path: String,
    },
    /// No key could be made.
    #[error("no P-256 key can be made: the system gives no random bytes")]
    Random,
    /// No certificate request could be made.
    #[error("no certificate request can be made: {problem}")]
    Request {
        /// What was refused.
        problem: String,
    },
}

/// One P-256 key as PKCS#8, wiped on drop.
#[derive(Clone)]
pub(super) struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
}

impl PrivateKey {
    pub(super) fn generate() -> Result<Self, KeysError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeysError::Random)?;
        Self::read(pkcs8.as_ref()).ok_or(KeysError::Random)
    }

    fn read(pkcs8: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new()).ok()?;
        Some(Self { pkcs8: Zeroizing::new(pkcs8.to_vec()), public: pair.public_key().as_ref().to_vec() })
    }

    /// Uncompressed point.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// For signing reports.
    pub(super) fn signer(&self) -> Result<EcdsaKeyPair, KeysError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8, &SystemRandom::new())
            .map_err(|_| KeysError::Random)
    }

    /// For TLS.
    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()).into()
    }

    /// PKCS#10 request, DER, without names: the cloud decides what the certificate says.
    pub(super) fn certificate_request(&self) -> Result<Vec<u8>, KeysError> {
        let refused = |error: rcgen::Error| KeysError::Request { problem: error.to_string() };
        let pkcs8 = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        let key = CertificateKey::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&key).map_err(refused)?.der().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(..)")
    }
}

/// All private keys of the bridge.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) audit: PrivateKey,
    /// Oldest first.
    pub(super) identity: Vec<PrivateKey>,
}

impl Keys {
    pub(super) fn generate() -> Result<Self, KeysError> {
        Ok(Self { audit: PrivateKey::generate()?, identity: vec![PrivateKey::generate()?] })
    }

    /// `None` when there is no such file.
    pub(super) fn load(path: &Path, sealer: &Sealer) -> Result<Option<Self>, KeysError> {
        let Some(content) = files::read(path)? else { return Ok(None) };
        let shown = || path.display().to_string();
        let plain = sealer.open(PURPOSE, &content).map_err(|source| KeysError::Sealed { path: shown(), source })?;
        let keys = Self::decode(&Zeroizing::new(plain)).ok_or_else(|| KeysError::Format { path: shown() })?;
        Ok(Some(keys))
    }

    /// The keys of an earlier try, or new ones, durable before this returns. Of two makers at once, both get the first one's.
    pub(super) fn load_or_create(path: &Path, sealer: &Sealer) -> Result<Self, KeysError> {
        if let Some(keys) = Self::load(path, sealer)? {
            return Ok(keys);
        }
        files::create_once(path, &Self::generate()?.sealed(path, sealer)?)?;
        Self::load(path, sealer)?.ok_or_else(|| KeysError::Format { path: path.display().to_string() })
    }

    pub(super) fn save(&self, path: &Path, sealer: &Sealer) -> Result<(), KeysError> {
        Ok(files::replace(path, &self.sealed(path, sealer)?)?)
    }

    fn sealed(&self, path: &Path, sealer: &Sealer) -> Result<Vec<u8>, KeysError> {
        sealer
            .seal(PURPOSE, &self.encode())
            .map_err(|source| KeysError::Sealed { path: path.display().to_string(), source })
    }

    /// The identity key made last.
    pub(super) fn newest_identity(&self) -> Result<&PrivateKey, KeysError> {
        self.identity.last().ok_or(KeysError::Random)
    }

    /// The identity key with this public half.
    pub(super) fn identity_key(&self, public: &[u8]) -> Option<&PrivateKey> {
        self.identity.iter().find(|key| key.public() == public)
    }

    /// Format byte, then each key with two bytes of length before it, the audit key first.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(1024));
        plain.push(FORMAT);
        for key in std::iter::once(&self.audit).chain(&self.identity) {
            let length = u16::try_from(key.pkcs8.len()).unwrap_or_default();
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(&key.pkcs8);
        }
        plain
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (&FORMAT, mut rest) = plain.split_first()? else { return None };
        let mut keys = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (key, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            keys.push(PrivateKey::read(key)?);
            rest = behind;
            if keys.len() > KEYS_MAXIMUM {
                return None;
            }
        }
        if !rest.is_empty() || keys.len() < 2 {
            return None;
        }
        let audit = keys.remove(0);
        Some(Self { audit, identity: keys })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seal::KEY_BYTES;

    #[test]
    fn keys_come_back_sealed_and_only_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.sealed");
        let sealer = Sealer::new(&Zeroizing::new([1; KEY_BYTES]));
        assert!(Keys::load(&path, &sealer).expect("no file is no error").is_none());
        let keys = Keys::generate().expect("keys");
        keys.save(&path, &sealer).expect("saves");
        let read = Keys::load(&path, &sealer).expect("opens").expect("is there");
        assert_eq!(read.audit.public(), keys.audit.public());
        assert_eq!(read.identity[0].public(), keys.identity[0].public());
        let content = std::fs::read(&path).expect("reads");
        assert!(!content.windows(32).any(|window| keys.audit.pkcs8.windows(32).any(|part| part == window)));
        let other = Sealer::new(&Zeroizing::new([2; KEY_BYTES]));
        assert!(matches!(Keys::load(&path, &other), Err(KeysError::Sealed { .. })));
        let plain = keys.encode();
        for length in 0..plain.len() {
            assert!(Keys::decode(&plain[..length]).is_none(), "{length}");
        }
        let mut newer = plain.to_vec();
        newer[0] = FORMAT + 1;
        assert!(Keys::decode(&newer).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Keys::decode(&plain).is_none());
            prop_assert!(Keys::decode(&[&[FORMAT], plain.as_slice()].concat()).is_none());
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = Keys::generate().expect("keys");
        assert_eq!(format!("{keys:?}"), "Keys { audit: PrivateKey(..), identity: [PrivateKey(..)] }");
    }

    #[test]
    fn a_request_is_signed_by_its_own_key() {
        use x509_parser::prelude::{FromDer as _, X509CertificationRequest};
        let key = PrivateKey::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let (rest, parsed) = X509CertificationRequest::from_der(&request).expect("parses");
        assert!(rest.is_empty());
        let info = &parsed.certification_request_info;
        assert_eq!(info.subject_pki.subject_public_key.data.as_ref(), key.public());
        assert_eq!(info.subject.to_string(), "");
        rcgen::CertificateSigningRequestParams::from_der(&request.into()).expect("a CA accepts it");
    }
}
