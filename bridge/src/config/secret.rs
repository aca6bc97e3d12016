//! Reading secrets where the configuration points to, at the moment of use.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;
use zeroize::Zeroizing;

use super::SecretSource;

/// Longest secret; a larger file is not one.
const SECRET_BYTES: usize = 4096;
/// Where systemd puts the credentials of a unit.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A secret could not be read.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file is missing or unreadable.
    #[error("secret file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A credential was named, but the process was started without credentials.
    #[error(
        "systemd credential `{name}` is not there: CREDENTIALS_DIRECTORY is not set (add LoadCredential= to the unit)"
    )]
    NoCredentials {
        /// Name of the credential.
        name: String,
    },
    /// A credential name that would lead elsewhere.
    #[error("`{name}` is not the name of a systemd credential")]
    CredentialName {
        /// As configured.
        name: String,
    },
    /// Nothing in it.
    #[error("secret file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too much in it.
    #[error("secret file {} is longer than {SECRET_BYTES} bytes: is it the right file?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not text.
    #[error("secret file {} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl SecretSource {
    /// Reads the secret: at most 4096 bytes of UTF-8, one line end at its end taken away.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        read_text(&self.path()?)
    }

    /// The file behind the source.
    pub fn path(&self) -> Result<PathBuf, SecretError> {
        let directory = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
        self.path_in(directory.as_deref())
    }

    fn path_in(&self, credentials: Option<&Path>) -> Result<PathBuf, SecretError> {
        let name = match self {
            Self::File(path) => return Ok(path.clone()),
            Self::Credential(name) => name,
        };
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(SecretError::CredentialName { name: name.clone() });
        }
        match credentials {
            Some(directory) => Ok(directory.join(name)),
            None => Err(SecretError::NoCredentials { name: name.clone() }),
        }
    }
}

fn read_text(path: &Path) -> Result<SecretString, SecretError> {
    let owned = || path.to_path_buf();
    // The whole capacity at once: a buffer that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES + 1));
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| SecretError::Read { path: owned(), source })?;
    if bytes.len() > SECRET_BYTES {
        return Err(SecretError::TooLong { path: owned() });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText { path: owned() })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(SecretError::Empty { path: owned() });
    }
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn read(content: &[u8]) -> Result<SecretString, SecretError> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, content).expect("writes");
        SecretSource::File(path).read()
    }

    #[test]
    fn one_line_end_is_taken_away_and_no_more() {
        for (content, expected) in
            [("pass", "pass"), ("pass\n", "pass"), ("pass\r\n", "pass"), (" pass \n\n", " pass \n")]
        {
            assert_eq!(read(content.as_bytes()).expect("reads").expose_secret(), expected);
        }
    }

    #[test]
    fn bad_files_are_told_apart() {
        assert!(matches!(read(b""), Err(SecretError::Empty { .. })));
        assert!(matches!(read(b"\n"), Err(SecretError::Empty { .. })));
        assert!(matches!(read(&[b'x'; SECRET_BYTES + 1]), Err(SecretError::TooLong { .. })));
        assert!(read(&[b'x'; SECRET_BYTES]).is_ok());
        assert!(matches!(read(&[0xff]), Err(SecretError::NotText { .. })));
        let missing = SecretSource::File("/nonexistent/secret".into()).read();
        assert!(missing.expect_err("not there").to_string().contains("/nonexistent/secret"));
    }

    #[test]
    fn credentials_stay_inside_their_directory() {
        let source = |name: &str| SecretSource::Credential(name.to_owned());
        let directory = Path::new("/run/credentials/unit");
        assert_eq!(source("key").path_in(Some(directory)).expect("a path"), directory.join("key"));
        assert!(matches!(source("key").path_in(None), Err(SecretError::NoCredentials { .. })));
        for name in ["", ".", "..", "../key", "/etc/shadow"] {
            assert!(matches!(source(name).path_in(Some(directory)), Err(SecretError::CredentialName { .. })), "{name}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        assert!(!format!("{:?}", read(b"hunter2")).contains("hunter2"));
    }
}
