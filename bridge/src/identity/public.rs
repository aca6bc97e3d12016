//! The public keys of an identity on disk, for who has no state key: an auditor.

use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::error::IdentityError;
use super::files;
use super::record::Record;
use super::store::Paths;

/// Public keys as the state directory tells them; what is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicKeys {
    /// The UUID given by the cloud.
    pub bridge_id: String,
    /// P-256, uncompressed points.
    pub audit: Vec<Vec<u8>>,
    /// Ed25519.
    pub authority: Vec<Vec<u8>>,
}

impl PublicKeys {
    /// Reads them; blocks on files, changes nothing.
    pub fn read(state_directory: &Path) -> Result<Self, IdentityError> {
        let paths = Paths::of(state_directory);
        let hex = |text: &str| HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
        let audit = files::read(&paths.audit_key())?.and_then(|bytes| String::from_utf8(bytes).ok());
        let record = Record::load(&paths.record())?;
        Ok(Self {
            bridge_id: record.as_ref().map(|record| record.bridge_id.clone()).unwrap_or_default(),
            audit: audit.and_then(|text| hex(&text)).into_iter().collect(),
            authority: record.iter().flat_map(|record| &record.authority_keys).filter_map(|text| hex(text)).collect(),
        })
    }
}
