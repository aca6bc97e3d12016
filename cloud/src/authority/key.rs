//! The signing key: made at the first start, a file of its own, never in the database.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lockbridge_protocol::proto::tunnel::AuthorityKey;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::store::directory::{DataDirectory, DirectoryError};

const FILE: &str = "authority.key";

/// The signing key cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Its file cannot be read or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its file holds something else.
    #[error("{FILE} in the data directory is not a 32-byte Ed25519 seed: restore it from backup")]
    Damaged,
    /// The system's random source failed.
    #[error("no random bytes for the authority's key")]
    Random,
}

/// Signs commands with one key. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    key: Arc<SigningKey>,
    key_id: Arc<str>,
}

impl Authority {
    /// Takes the key from the data directory, making it first if there is none.
    pub fn open(directory: &DataDirectory) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        if let Some(bytes) = directory.read_secret(FILE)? {
            *seed = bytes.as_slice().try_into().map_err(|_| KeyError::Damaged)?;
        } else {
            SystemRandom::new().fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
            directory.write(FILE, seed.as_slice(), false)?;
        }
        Ok(Self::new(SigningKey::from_bytes(&seed)))
    }

    /// Takes a key in use.
    pub fn new(key: SigningKey) -> Self {
        let key_id = lockbridge_protocol::signed::key_id(key.verifying_key().as_bytes());
        Self { key: Arc::new(key), key_id: key_id.into() }
    }

    /// The key as bridges pin it at enrollment.
    pub fn public(&self) -> AuthorityKey {
        AuthorityKey { key_id: self.key_id.to_string(), public_key: self.key.verifying_key().as_bytes().to_vec() }
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
