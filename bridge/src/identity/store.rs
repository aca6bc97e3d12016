//! The identity in use: loaded and checked at start, changed only by renewal and by the first proven session.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use lockbridge_protocol::enrollment::EnrollmentToken;
use lockbridge_protocol::proto::journal::IdentityInUse;
use lockbridge_protocol::proto::tunnel::Signed;
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys};
use lockbridge_protocol::signed::report::{self, SigningFailed};
use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, KeyPair as _};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tracing::warn;
use url::Url;

use super::enroll::{self, EnrollSummary};
use super::error::{EnrollError, IdentityError};
use super::files;
use super::issued::{self, CertificateTimes, Issued, IssuedError};
use super::keys::Keys;
use super::record::{Parsed, Record};
use crate::net::{TlsConfigError, TlsTime, mutual_client};
use crate::seal::Sealer;

/// Files of an identity.
#[derive(Debug, Clone)]
pub(super) struct Paths(PathBuf);

impl Paths {
    pub(super) fn of(state_directory: &Path) -> Self {
        Self(state_directory.join("identity"))
    }
    pub(super) fn directory(&self) -> &Path {
        &self.0
    }
    pub(super) fn record(&self) -> PathBuf {
        self.0.join("identity.json")
    }
    pub(super) fn keys(&self) -> PathBuf {
        self.0.join("keys.sealed")
    }
    /// Public half of the audit key, hexadecimal.
    pub(super) fn audit_key(&self) -> PathBuf {
        self.0.join("audit-key.pub")
    }
    pub(super) fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }
    pub(super) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }
    pub(super) fn next(&self) -> PathBuf {
        self.0.join("certificate-next.pem")
    }
    pub(super) fn previous(&self) -> PathBuf {
        self.0.join("certificate-previous.pem")
    }
}

/// Who this bridge is. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Identity {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) paths: Paths,
    pub(super) sealer: Sealer,
    parsed: Parsed,
    workspace_name: String,
    audit: EcdsaKeyPair,
    held: Mutex<Held>,
}

/// What renewal changes.
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) keys: Keys,
    pub(super) ca_bundle: Vec<CertificateDer<'static>>,
    pub(super) current: Issued,
    /// Renewed, not yet proven by a session.
    pub(super) candidate: Option<Issued>,
    /// The last session client was given the candidate.
    pub(super) candidate_given: bool,
}

/// A TLS client for one tunnel session, and which certificate it shows.
#[derive(Debug, Clone)]
pub struct SessionClient {
    /// For [`Dialer::connect`](crate::net::Dialer::connect).
    pub config: Arc<ClientConfig>,
    /// SHA-256 of the certificate, for [`Identity::on_session_proven`].
    pub certificate: [u8; 32],
}

impl Identity {
    /// Reads and checks the identity; `None` when this bridge is not enrolled. Time is not checked here: an expired
    /// certificate is still this bridge's, and the clock may be wrong. Blocks on files.
    pub fn load(state_directory: &Path, sealer: &Sealer) -> Result<Option<Self>, IdentityError> {
        let paths = Paths::of(state_directory);
        let Some(record) = Record::load(&paths.record())? else { return Ok(None) };
        let parsed = record.parse().map_err(|problem| IdentityError::Content { path: paths.record(), problem })?;
        let missing = |path: PathBuf| IdentityError::Content { path, problem: "it is missing".to_owned() };
        let keys = Keys::load(&paths.keys(), sealer)?.ok_or_else(|| missing(paths.keys()))?;
        let ca_bundle = read_certificates(&paths.ca())?.ok_or_else(|| missing(paths.ca()))?;
        let read = |path: PathBuf| match read_certificates(&path)? {
            None => Ok(None),
            Some(chain) => check_own(chain, &ca_bundle, &record.bridge_id, &keys)
                .map(Some)
                .map_err(|source| IdentityError::Certificate { path, source }),
        };
        let current = read(paths.certificate())?.ok_or_else(|| missing(paths.certificate()))?;
        // A renewed certificate is a spare: without it, the present one is renewed again.
        let candidate = read(paths.next()).unwrap_or_else(|error| {
            warn!(error = %crate::net::chain_text(&error), "Renewed certificate is not usable; it is left aside.");
            None
        });
        let candidate = candidate.filter(|candidate| candidate.fingerprint != current.fingerprint);
        let audit = keys.audit.signer()?;
        let workspace_name = record.workspace_name.clone();
        let held = Mutex::new(Held { record, keys, ca_bundle, current, candidate, candidate_given: false });
        let shared = Shared { paths, sealer: sealer.clone(), parsed, workspace_name, audit, held };
        Ok(Some(Self { shared: Arc::new(shared) }))
    }

    /// For whom commands must be: workspace, site, this bridge.
    pub fn audience(&self) -> &Audience {
        &self.shared.parsed.audience
    }

    /// The UUID given by the cloud.
    pub fn bridge_id(&self) -> &str {
        &self.shared.parsed.audience.bridge_id
    }

    /// For people.
    pub fn workspace_name(&self) -> &str {
        &self.shared.workspace_name
    }

    /// Who may sign commands.
    pub fn authority_keys(&self) -> &AuthorityKeys {
        &self.shared.parsed.authority_keys
    }

    /// Where the tunnel goes, `wss`.
    pub fn tunnel_url(&self) -> &Url {
        &self.shared.parsed.tunnel_url
    }

    /// What the enrollment with this token led to, when it made this identity; otherwise the refusal that names who this
    /// bridge is.
    pub fn enrolled_by(&self, token: &EnrollmentToken) -> Result<EnrollSummary, EnrollError> {
        let record = &self.held().record;
        if record.token_public_key == HEXLOWER.encode(&token.public_key()) {
            return Ok(enroll::summary(record, None));
        }
        let directory = self.shared.paths.directory().to_path_buf();
        Err(EnrollError::AlreadyEnrolled { bridge_id: record.bridge_id.clone(), directory })
    }

    /// Where the certificate is renewed, `https`: the same hub.
    pub fn renew_url(&self) -> Result<Url, url::ParseError> {
        let tunnel = &self.shared.parsed.tunnel_url;
        Url::parse(&format!("https://{}/v1/renew", tunnel.authority()))
    }

    /// Signs an encoded report with the audit key.
    pub fn sign_report(&self, payload: Vec<u8>) -> Result<Signed, SigningFailed> {
        report::sign(&self.shared.audit, &SystemRandom::new(), payload)
    }

    /// Public half of the audit key, uncompressed point.
    pub fn audit_public_key(&self) -> &[u8] {
        self.shared.audit.public_key().as_ref()
    }

    /// The public halves in use now, for the audit log.
    pub fn in_use(&self) -> IdentityInUse {
        let held = self.held();
        let keys = held.record.authority_keys.iter();
        IdentityInUse {
            occasion: String::new(),
            audit_public_key: self.audit_public_key().to_vec(),
            authority_public_keys: keys.filter_map(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()).collect(),
            certificate_hash: held.current.fingerprint.to_vec(),
            certificate_not_after_ms: held.current.times.not_after.saturating_mul(1000),
        }
    }

    /// Lays the public half of the audit key where an auditor without the state key finds it. Blocks on a flush, once.
    pub fn publish_audit_key(&self) -> Result<(), IdentityError> {
        let (path, content) = (self.shared.paths.audit_key(), HEXLOWER.encode(self.audit_public_key()) + "\n");
        if files::read(&path)?.as_deref() == Some(content.as_bytes()) {
            return Ok(());
        }
        Ok(files::replace(&path, content.as_bytes())?)
    }

    /// Validity of the certificate in use.
    pub fn certificate_times(&self) -> CertificateTimes {
        self.held().current.times
    }

    /// A client for the next tunnel session. With a renewed certificate that is not yet proven, every other session tries
    /// it, so that one the hub refuses cannot keep the bridge out (rule H3).
    pub fn session_client(&self, time: &TlsTime) -> Result<SessionClient, TlsConfigError> {
        let mut held = self.held();
        let current_is_over = held.current.times.check(time.now_seconds()).is_err();
        held.candidate_given = held.candidate.is_some() && (current_is_over || !held.candidate_given);
        let shown = if held.candidate_given { held.candidate.as_ref() } else { None };
        held.client(shown.unwrap_or(&held.current), time)
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        // Memory is changed only after the files, so what a panicking holder left is at worst behind the disk.
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(super) fn client(&self, shown: &Issued, time: &TlsTime) -> Result<SessionClient, TlsConfigError> {
        // Our CA signed this after that moment, so that moment has passed (rule N2).
        time.raise_floor(self.current.times.not_before);
        let key = self
            .keys
            .identity_key(&shown.public_key)
            .ok_or_else(|| TlsConfigError::ClientCertificate(rustls::Error::General("its key is gone".to_owned())))?;
        let config = mutual_client(&self.ca_bundle, shown.chain.clone(), key.for_tls(), time)?;
        Ok(SessionClient { config, certificate: shown.fingerprint })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("audience", self.audience())
            .field("tunnel_url", &self.tunnel_url().as_str())
            .finish_non_exhaustive()
    }
}

/// Checks a chain and that its key is among ours.
pub(super) fn check_own(
    chain: Vec<CertificateDer<'static>>,
    ca_bundle: &[CertificateDer<'static>],
    bridge_id: &str,
    keys: &Keys,
) -> Result<Issued, IssuedError> {
    let issued = issued::check(chain, ca_bundle, bridge_id)?;
    keys.identity_key(&issued.public_key).ok_or(IssuedError::OtherKey)?;
    Ok(issued)
}

pub(super) fn read_certificates(path: &Path) -> Result<Option<Vec<CertificateDer<'static>>>, IdentityError> {
    let Some(content) = files::read(path)? else { return Ok(None) };
    let wrong = |problem: String| IdentityError::Content { path: path.to_path_buf(), problem };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let raw = read.map_err(|error| wrong(format!("it is not PEM: {error}")))?;
    let raw = raw.into_iter().map(|der| der.to_vec()).collect();
    issued::certificates("it", raw).map(Some).map_err(|error| wrong(error.to_string()))
}

/// Certificates as text (RFC 7468).
pub(super) fn pem(certificates: &[CertificateDer<'static>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for (position, character) in BASE64.encode(certificate).chars().enumerate() {
            if position > 0 && position % 64 == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}
