//! The key of an authenticated FIAS link, read where the configuration points to, at the moment of use.

use std::error::Error as _;

use lockbridge_protocol::fias::cryptogram::{KeyError, SiteKey};
use secrecy::ExposeSecret as _;
use thiserror::Error;

use super::{SecretError, SecretSource};

/// The link is set to need a key, and there is none that can be used. Nothing of the key is told.
#[derive(Debug, Error)]
pub enum LinkKeyError {
    /// The file or credential cannot be read.
    #[error("the key of the link cannot be used: {}. Put the vendor's key there, readable by the daemon", chain(.0))]
    Unreadable(#[source] SecretError),
    /// What stands there is no key.
    #[error("the key of the link in {place} cannot be used: {problem}")]
    NoKey {
        /// File or credential.
        place: String,
        /// What is expected, and the next step.
        problem: KeyError,
    },
    /// The daemon is ending.
    #[error("the key of the link was not read: the daemon is ending")]
    Ending,
}

fn chain(error: &SecretError) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Reads the key; `None` where the link needs none.
pub async fn read_link_key(source: Option<&SecretSource>) -> Result<Option<SiteKey>, LinkKeyError> {
    let Some(source) = source.cloned() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || read(&source)).await;
    read.map_err(|_| LinkKeyError::Ending)?.map(Some)
}

fn read(source: &SecretSource) -> Result<SiteKey, LinkKeyError> {
    let secret = source.read().map_err(LinkKeyError::Unreadable)?;
    SiteKey::read(secret.expose_secret()).map_err(|problem| {
        let place = match source {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Credential(name) => format!("the credential {name}"),
        };
        LinkKeyError::NoKey { place, problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a key, and its end.
    const HALVES: [&str; 2] = ["GVDpVnl6qYlT", "QXQJZxXdbw=="];

    #[tokio::test]
    async fn a_key_that_cannot_be_used_is_told_with_its_place_and_without_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("link.key");
        let source = SecretSource::File(path.clone());
        assert!(read_link_key(None).await.expect("none is needed").is_none());
        let missing = read_link_key(Some(&source)).await.expect_err("nothing there").to_string();
        assert!(missing.contains(&path.display().to_string()) && missing.contains("No such file"), "{missing}");

        std::fs::write(&path, format!("FidCrypt0S|{}\n", HALVES.concat())).expect("written");
        assert!(read_link_key(Some(&source)).await.expect("a key").is_some());
        for bad in [HALVES[0], "FidCrypt0S|", &HALVES.concat().repeat(2)] {
            std::fs::write(&path, bad).expect("written");
            let told = read_link_key(Some(&source)).await.expect_err("no key").to_string();
            assert!(told.contains(&path.display().to_string()) && told.contains("FidCrypt0S|"), "{told}");
            assert!(!told.contains(HALVES[0]), "{told}");
        }
    }
}
