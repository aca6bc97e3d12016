//! The public keys an audit verifies with, and where they came from: a key taken from the journal's own machine proves less.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use lockbridge_protocol::signed::command::AuthorityKeys;
use lockbridge_protocol::signed::key_id;
use lockbridge_protocol::signed::witness::{WitnessError, WitnessFile};
use serde::Serialize;
use thiserror::Error;

use crate::identity::PublicKeys;

/// No key or witness file is longer.
const FILE_BYTES: u64 = 1024 * 1024;

/// Where keys came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nowhere: there are none.
    #[default]
    None,
    /// From beside the journal: who can write the journal could have put his own there.
    Beside,
    /// From the caller.
    Given,
}

/// Why a key or witness file cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not hold what it should.
    #[error("{} does not hold {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// It is no witness file.
    #[error("{} cannot be used", path.display())]
    Witness {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WitnessError,
    },
}

/// Keys and witnesses for one audit.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    pub(super) audit: Vec<Vec<u8>>,
    pub(super) authority: AuthorityKeys,
    pub(super) audit_origin: Origin,
    pub(super) authority_origin: Origin,
    /// Witnesses kept outside, each with the file it came from.
    pub(super) witnesses: Vec<(PathBuf, WitnessFile)>,
}

impl Keys {
    /// Takes what the caller gives: hexadecimal key files, and witness files, whose keys count as given too.
    pub fn given(bridge: &[PathBuf], authority: &[PathBuf], witnesses: &[PathBuf]) -> Result<Self, KeyError> {
        let mut keys = Self::default();
        for path in bridge {
            let key = read_key(path).filter(|key| key.len() == 65).ok_or_else(|| KeyError::Content {
                path: path.clone(),
                expected: "a P-256 public key as 130 hexadecimal digits",
            })?;
            keys.audit.push(key);
        }
        let mut raw = Vec::new();
        for path in authority {
            let expected = "an Ed25519 public key as 64 hexadecimal digits";
            let key = read_key(path).filter(|key| AuthorityKeys::new([key.as_slice()]).is_some());
            raw.push(key.ok_or_else(|| KeyError::Content { path: path.clone(), expected })?);
        }
        for path in witnesses {
            let text = read(path).map_err(|source| KeyError::Read { path: path.clone(), source })?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let file =
                    WitnessFile::parse(line).map_err(|source| KeyError::Witness { path: path.clone(), source })?;
                keys.audit.push(file.audit_key.clone());
                raw.extend(file.authority_keys.iter().cloned());
                keys.witnesses.push((path.clone(), file));
            }
        }
        keys.set_authority(raw, Origin::Given);
        keys.audit_origin = if keys.audit.is_empty() { Origin::None } else { Origin::Given };
        Ok(keys)
    }

    /// Takes what lies beside the journal for what was not given.
    #[must_use]
    pub fn or_beside(&self, beside: &PublicKeys) -> Self {
        let mut keys = self.clone();
        if keys.audit.is_empty() && !beside.audit.is_empty() {
            keys.audit.clone_from(&beside.audit);
            keys.audit_origin = Origin::Beside;
        }
        if keys.authority.is_empty() {
            keys.set_authority(beside.authority.clone(), Origin::Beside);
        }
        keys
    }

    /// The audit key with this id.
    pub(super) fn audit_key(&self, id: &str) -> Option<&[u8]> {
        self.audit.iter().map(Vec::as_slice).find(|key| key_id(key) == id)
    }

    fn set_authority(&mut self, raw: Vec<Vec<u8>>, origin: Origin) {
        // A weak or malformed key verifies nothing; it is as good as none.
        let raw: Vec<Vec<u8>> = raw.into_iter().filter(|key| AuthorityKeys::new([key.as_slice()]).is_some()).collect();
        self.authority = AuthorityKeys::new(raw.iter().map(Vec::as_slice)).unwrap_or_default();
        self.authority_origin = if raw.is_empty() { Origin::None } else { origin };
    }
}

fn read_key(path: &Path) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(read(path).ok()?.trim().as_bytes()).ok()
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
