//! Where an enrollment token comes from: standard input, a file or a systemd credential. Never an argument or the
//! environment, which others on the machine can see.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use lockbridge_protocol::enrollment::{EnrollmentToken, TokenError};
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

use super::error::Hint;
use super::files::{self, FileError};
use crate::config::{SecretError, SecretSource};

/// Name of the systemd credential.
const CREDENTIAL: &str = "lockbridge.token";
/// More than a token has; the rest of a wrongly piped file is not read.
const INPUT_BYTES: usize = 4096;

/// Where the token is.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// Standard input, to its end.
    Stdin,
    /// Here: somebody gave it over the control socket.
    Text(SecretString),
    /// A file; removed once the token is spent.
    File(PathBuf),
    /// The systemd credential `lockbridge.token`; systemd owns it, so it stays.
    Credential,
}

/// The token cannot be had.
#[derive(Debug, Error)]
pub enum TokenReadError {
    /// Standard input failed.
    #[error("the enrollment token cannot be read from standard input")]
    Stdin(#[source] io::Error),
    /// File or credential failed.
    #[error("the enrollment token cannot be read")]
    Secret(#[from] SecretError),
    /// It was read and is not a token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Hint for TokenReadError {
    fn hint(&self) -> String {
        match self {
            Self::Stdin(_) => "Pipe the token in: `lockbridge enroll < token-file`.".to_owned(),
            Self::Secret(_) => "Check the path of the token file and who may read it.".to_owned(),
            Self::Token(_) => "Copy the whole token from the cloud again, as one line.".to_owned(),
        }
    }
}

impl TokenSource {
    /// The systemd credential, when this process was given one.
    pub fn credential() -> Option<Self> {
        let path = SecretSource::Credential(CREDENTIAL.to_owned()).path().ok()?;
        path.exists().then_some(Self::Credential)
    }

    /// Reads and parses the token. Blocks while standard input is open.
    pub fn read(&self) -> Result<EnrollmentToken, TokenReadError> {
        Ok(EnrollmentToken::parse(self.text()?.expose_secret())?)
    }

    /// Reads the token as it stands there. Blocks while standard input is open.
    pub fn text(&self) -> Result<SecretString, TokenReadError> {
        let source = match self {
            Self::Stdin => return read_from(io::stdin().lock()),
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => SecretSource::File(path.clone()),
            Self::Credential => SecretSource::Credential(CREDENTIAL.to_owned()),
        };
        Ok(source.read()?)
    }
}

fn read_from(input: impl io::Read) -> Result<SecretString, TokenReadError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(INPUT_BYTES));
    input.take(INPUT_BYTES as u64).read_to_end(&mut bytes).map_err(TokenReadError::Stdin)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| TokenReadError::Stdin(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(SecretString::from(text.to_owned()))
}

/// Overwrites and removes a token file; one that is gone is fine. On a copy-on-write file system the old bytes may live
/// on, but by now the token is spent at the cloud.
pub fn forget_token(path: &Path) -> Result<(), FileError> {
    let wiped = OpenOptions::new().write(true).open(path).and_then(|mut file| {
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(INPUT_BYTES).min(INPUT_BYTES);
        file.write_all(&vec![b'0'; length])?;
        file.sync_all()
    });
    match wiped {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        wiped => {
            wiped.map_err(files::failed("wiped", path))?;
            files::remove(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        format!("https://cloud.example.com#{}#{}", "01".repeat(32), "A".repeat(43))
    }

    #[test]
    fn is_read_from_a_file_and_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, format!("{}\n", text())).expect("writes");
        let hard_link = directory.path().join("link");
        std::fs::hard_link(&path, &hard_link).expect("links");
        let source = TokenSource::File(path.clone());
        assert_eq!(source.read().expect("a token").hub_url, "https://cloud.example.com");
        forget_token(&path).expect("forgets");
        assert!(!path.exists());
        let left = std::fs::read_to_string(hard_link).expect("reads");
        assert_eq!(left.trim_matches('0'), "", "the bytes are gone, not only the name");
        forget_token(&path).expect("gone is fine");
        assert!(matches!(source.read(), Err(TokenReadError::Secret(_))));
    }

    #[test]
    fn standard_input_is_bounded_and_checked() {
        fn token(input: impl io::Read) -> Result<EnrollmentToken, TokenReadError> {
            TokenSource::Text(read_from(input)?).read()
        }
        assert!(token(text().as_bytes()).is_ok());
        assert!(matches!(token(io::repeat(b'x')), Err(TokenReadError::Token(TokenError::TooLong))));
        assert!(matches!(token(&b"\xff\xfe"[..]), Err(TokenReadError::Stdin(_))));
        assert!(matches!(token(&b""[..]), Err(TokenReadError::Token(TokenError::Empty))));
    }
}
