//! The private CA: made at the first start, its key a file of its own.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::store::directory::{DataDirectory, DirectoryError};

/// The CA certificate's file, which API clients trust.
pub const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

/// Life of a bridge's certificate (rule H2).
const BRIDGE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Certificates begin before they are made, for bridges whose clock is a little slow (rule H2).
const BACKDATED: Duration = Duration::from_secs(3600);
/// Life of the server's certificate, which is made new at every start.
const SERVER_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// The CA cannot be used or cannot sign.
#[derive(Debug, Error)]
pub enum CaError {
    /// Its files cannot be read or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its files hold something else.
    #[error("{CERTIFICATE_FILE} and {KEY_FILE} in the data directory are not a CA; restore both from backup")]
    Damaged,
    /// A certificate could not be made.
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// The system's random source failed.
    #[error("no random bytes for a serial number")]
    Random,
}

/// Issues the certificates of bridges and of our own servers.
#[derive(Debug)]
pub struct Ca {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued {
    pub(super) der: Vec<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) not_after_ms: i64,
}

/// What our servers show: a chain that ends in the CA, so that a bridge that knows only its key's hash can check it.
#[derive(Debug)]
pub struct ServerIdentity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Ca {
    /// Takes the CA from the data directory, making it first if there is none.
    pub fn open(directory: &DataDirectory) -> Result<Self, CaError> {
        let path = directory.path(CERTIFICATE_FILE);
        let key = match directory.read_secret(KEY_FILE)? {
            Some(bytes) => {
                let text = std::str::from_utf8(&bytes).map_err(|_| CaError::Damaged)?;
                KeyPair::from_pem(text).map_err(|_| CaError::Damaged)?
            }
            None if path.exists() => return Err(CaError::Damaged),
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                directory.write(KEY_FILE, key.serialize_pem().as_bytes(), false)?;
                key
            }
        };
        // The key comes first: a crash in between leaves a key whose certificate is made here, with the same hash.
        if !path.exists() {
            let certificate = ca_params()?.self_signed(&key)?;
            directory.write(CERTIFICATE_FILE, certificate.pem().as_bytes(), true)?;
        }
        let certificate = CertificateDer::from_pem_file(&path).map_err(|_| CaError::Damaged)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| CaError::Damaged)?;
        Ok(Self { certificate, issuer })
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the CA's `SubjectPublicKeyInfo`: what enrollment tokens carry.
    pub fn key_hash(&self) -> [u8; 32] {
        lockbridge_protocol::signed::sha256(&self.issuer.key().subject_public_key_info())
    }

    /// A fresh server certificate and key for these host names and addresses.
    pub fn server_identity(&self, names: &[String]) -> Result<ServerIdentity, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name(names.first().map_or("lockbridge-cloud", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        lifetime(&mut params, SERVER_LIFE);
        serial(&mut params)?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(ServerIdentity {
            chain: vec![leaf.der().clone(), self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// A client certificate for a bridge and its key.
    pub(super) fn bridge_certificate(
        &self,
        bridge_id: &str,
        public_key: &impl PublicKeyData,
    ) -> Result<Issued, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(bridge_id);
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(format!("lockbridge:bridge:{bridge_id}"))?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let end = lifetime(&mut params, BRIDGE_LIFE);
        let serial = serial(&mut params)?;
        let certificate = params.signed_by(public_key, &self.issuer)?;
        let not_after = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Issued {
            der: certificate.der().to_vec(),
            serial,
            not_after_ms: i64::try_from(not_after.as_millis()).unwrap_or(i64::MAX),
        })
    }
}

fn ca_params() -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("Lockbridge private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lifetime(&mut params, CA_LIFE);
    serial(&mut params)?;
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn lifetime(params: &mut CertificateParams, life: Duration) -> SystemTime {
    let now = SystemTime::now();
    let end = now + life;
    params.not_before = (now - BACKDATED).into();
    params.not_after = end.into();
    end
}

/// 128 random bits, positive, without leading zeros.
fn serial(params: &mut CertificateParams) -> Result<Vec<u8>, CaError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CaError::Random)?;
    bytes[0] = bytes[0] & 0x7F | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&bytes));
    Ok(bytes.to_vec())
}
