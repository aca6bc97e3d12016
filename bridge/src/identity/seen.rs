//! What an identity on disk shows without the state key: to checks, which may run as another user than the daemon.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use url::Url;

use super::error::IdentityError;
use super::issued::{self, CertificateTimes};
use super::record::Record;
use super::store::{Paths, read_certificates};

/// The public part of an identity.
#[derive(Debug, Clone)]
pub struct SeenIdentity {
    /// The UUID given by the cloud.
    pub bridge_id: String,
    /// For people.
    pub workspace_name: String,
    /// Where the tunnel goes, `wss`.
    pub tunnel_url: Url,
    /// Whom the bridge trusts to be the cloud.
    pub ca_bundle: Vec<CertificateDer<'static>>,
    /// Validity of the certificate in use.
    pub times: CertificateTimes,
    /// A renewed certificate waits for its first session.
    pub is_renewed: bool,
}

impl SeenIdentity {
    /// Reads it; `None` when this bridge is not enrolled. Keys are not looked at, time is not checked. Blocks on files.
    pub fn read(state_directory: &Path) -> Result<Option<Self>, IdentityError> {
        let paths = Paths::of(state_directory);
        let Some(record) = Record::load(&paths.record())? else { return Ok(None) };
        let parsed = record.parse().map_err(|problem| IdentityError::Content { path: paths.record(), problem })?;
        let missing = |path| IdentityError::Content { path, problem: "it is missing".to_owned() };
        let ca_bundle = read_certificates(&paths.ca())?.ok_or_else(|| missing(paths.ca()))?;
        let chain = read_certificates(&paths.certificate())?.ok_or_else(|| missing(paths.certificate()))?;
        let issued = issued::check(chain, &ca_bundle, &record.bridge_id)
            .map_err(|source| IdentityError::Certificate { path: paths.certificate(), source })?;
        Ok(Some(Self {
            bridge_id: record.bridge_id,
            workspace_name: record.workspace_name,
            tunnel_url: parsed.tunnel_url,
            ca_bundle,
            times: issued.times,
            is_renewed: paths.next().exists(),
        }))
    }
}
