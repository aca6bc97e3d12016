//! The key that seals state: from the configuration, or made once in the state directory.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::ExposeSecret as _;
use thiserror::Error;
use zeroize::Zeroizing;

use super::error::Hint;
use super::files::{self, FileError};
use crate::config::{SecretError, SecretSource};
use crate::seal::{KEY_BYTES, Sealer};

/// The key file inside the state directory.
const KEY_FILE: &str = "state.key";
/// What is sealed with it first; while this exists, a missing key is a lost key.
const SEALED_FILE: &str = "identity/keys.sealed";

/// There is no usable state key.
#[derive(Debug, Error)]
pub enum StateKeyError {
    /// It cannot be read.
    #[error("the state key cannot be read")]
    Secret(#[from] SecretError),
    /// It cannot be made, or looked at.
    #[error("the state key cannot be kept")]
    File(#[from] FileError),
    /// Others on this machine can read it.
    #[error("state key {} has mode {mode:03o}: others can read it", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key.
    #[error("state key {} is not 64 hexadecimal digits", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
    /// There is sealed state but no key.
    #[error("state key {} is gone, but state sealed with it is still there", path.display())]
    Lost {
        /// Where it was.
        path: PathBuf,
    },
    /// No random bytes for a new one.
    #[error("the system gives no random bytes for a state key")]
    Random,
}

impl Hint for StateKeyError {
    fn hint(&self) -> String {
        match self {
            Self::Secret(_) => "Check `state_key` in the configuration and who may read it.".to_owned(),
            Self::File(error) => format!("Check owner and free space of {}.", error.path.display()),
            Self::Exposed { path, .. } => {
                format!("Run `chmod 600 {}`; if others may have read it, enroll this bridge again.", path.display())
            }
            Self::Malformed { .. } => {
                "Give it as 64 hexadecimal digits, as `openssl rand -hex 32` writes them.".to_owned()
            }
            Self::Lost { .. } => {
                "Restore the key from where it was kept, or move the state directory away and enroll again.".to_owned()
            }
            Self::Random => "Try again; if it stays, this machine has no working random source.".to_owned(),
        }
    }
}

/// Opens the state key of `configured`, or the one inside `state_directory`, made now when the directory is new.
pub fn open_sealer(state_directory: &Path, configured: Option<&SecretSource>) -> Result<Sealer, StateKeyError> {
    if let Some(source) = configured {
        return parse(source);
    }
    let path = state_directory.join(KEY_FILE);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(StateKeyError::Exposed { path, mode });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if state_directory.join(SEALED_FILE).exists() {
                return Err(StateKeyError::Lost { path });
            }
            create(state_directory, &path)?;
        }
        Err(error) => return Err(files::failed("inspected", &path)(error).into()),
    }
    parse(&SecretSource::File(path))
}

fn create(state_directory: &Path, path: &Path) -> Result<(), StateKeyError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new().fill(key.as_mut_slice()).map_err(|_| StateKeyError::Random)?;
    let mut text = Zeroizing::new(HEXLOWER.encode(key.as_slice()));
    text.push('\n');
    files::make_directory(state_directory)?;
    // Two processes at once: the second one goes on with the first one's key.
    files::create_once(path, text.as_bytes())?;
    Ok(())
}

fn parse(source: &SecretSource) -> Result<Sealer, StateKeyError> {
    let text = source.read()?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if text.expose_secret().len() != KEY_BYTES * 2
        || HEXLOWER_PERMISSIVE.decode_mut(text.expose_secret().as_bytes(), key.as_mut_slice()).is_err()
    {
        return Err(StateKeyError::Malformed { path: source.path()? });
    }
    Ok(Sealer::new(&key))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn is_made_once_private_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        let sealed = open_sealer(&state, None).expect("a key").seal("x", b"secret").expect("seals");
        let path = state.join(KEY_FILE);
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state).expect("is there").permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&state).expect("lists").count(), 1, "nothing is left behind");
        let again = open_sealer(&state, None).expect("the same key");
        assert_eq!(again.open("x", &sealed).expect("opens"), b"secret");
        // The same key by configuration.
        let configured = open_sealer(Path::new("/nonexistent"), Some(&SecretSource::File(path))).expect("reads");
        assert_eq!(configured.open("x", &sealed).expect("opens"), b"secret");
    }

    #[test]
    fn the_second_of_two_makers_takes_the_firsts_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(KEY_FILE);
        create(directory.path(), &path).expect("makes");
        let first = fs::read(&path).expect("reads");
        create(directory.path(), &path).expect("leaves it");
        assert_eq!(fs::read(&path).expect("reads"), first);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        open_sealer(directory.path(), None).expect("a key");
        let path = directory.path().join(KEY_FILE);
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changes");
            let error = open_sealer(directory.path(), None).expect_err("refused");
            assert!(matches!(error, StateKeyError::Exposed { mode: seen, .. } if seen == mode), "{error:?}");
            assert!(error.hint().contains("chmod 600"));
        }
    }

    #[test]
    fn a_lost_key_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("identity")).expect("makes");
        fs::write(directory.path().join(SEALED_FILE), b"sealed").expect("writes");
        let error = open_sealer(directory.path(), None).expect_err("refused");
        assert!(matches!(error, StateKeyError::Lost { .. }), "{error:?}");
        assert!(!directory.path().join(KEY_FILE).exists());
    }

    #[test]
    fn what_is_not_a_key_is_refused_without_showing_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        for text in ["secret", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66)] {
            fs::write(&path, text).expect("writes");
            let error = open_sealer(directory.path(), Some(&SecretSource::File(path.clone()))).expect_err("refused");
            assert!(matches!(error, StateKeyError::Malformed { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains(text));
        }
    }
}
