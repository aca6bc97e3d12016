//! The text form, and errors that say which part of it is wrong.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use ed25519_dalek::SigningKey;
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest token text accepted: a long host name fits, a pasted file does not.
const TEXT_BYTES: usize = 512;

/// What the text holds.
pub struct EnrollmentToken {
    /// `https://host[:port]`, without a path.
    pub hub_url: String,
    /// SHA-256 of the CA certificate's `SubjectPublicKeyInfo`, DER.
    pub ca_key_hash: [u8; 32],
    /// The one-time key. Wiped on drop.
    pub key: SigningKey,
}

/// Which part of a token is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Nothing but white space.
    #[error("the enrollment token is empty")]
    Empty,
    /// More than a token can be.
    #[error("the enrollment token is longer than {TEXT_BYTES} bytes; is this the right file?")]
    TooLong,
    /// Not three parts.
    #[error("the enrollment token has {found} parts separated by '#'; it needs 3: hub address, CA key hash, secret")]
    Parts {
        /// How many.
        found: usize,
    },
    /// The first part.
    #[error("hub address of the enrollment token: {problem}")]
    HubUrl {
        /// What is wrong.
        problem: &'static str,
    },
    /// The second part.
    #[error("CA key hash of the enrollment token: it must be 64 hexadecimal digits")]
    CaKeyHash,
    /// The third part.
    #[error("secret of the enrollment token: it must be 43 base64url characters; was the line cut when copying?")]
    Secret,
}

impl EnrollmentToken {
    /// Reads the text; surrounding white space does not matter.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > TEXT_BYTES {
            return Err(TokenError::TooLong);
        }
        let parts: Vec<&str> = text.split('#').map(str::trim).collect();
        let [hub_url, hash, secret] = parts.as_slice() else {
            return Err(TokenError::Parts { found: parts.len() });
        };
        check_url(hub_url)?;
        let ca_key_hash = HEXLOWER_PERMISSIVE
            .decode(hash.as_bytes())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or(TokenError::CaKeyHash)?;
        let seed = BASE64URL_NOPAD.decode(secret.as_bytes()).map(Zeroizing::new).map_err(|_| TokenError::Secret)?;
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.as_slice().try_into().map_err(|_| TokenError::Secret)?);
        Ok(Self { hub_url: hub_url.trim_end_matches('/').to_owned(), ca_key_hash, key: SigningKey::from_bytes(&seed) })
    }

    /// The public half, which names the token at the cloud.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The text form, secret included: print it to the one admin who asked, nowhere else.
    pub fn reveal(&self) -> Zeroizing<String> {
        let hash = data_encoding::HEXLOWER.encode(&self.ca_key_hash);
        let secret = Zeroizing::new(BASE64URL_NOPAD.encode(Zeroizing::new(self.key.to_bytes()).as_slice()));
        Zeroizing::new(format!("{}#{hash}#{}", self.hub_url, secret.as_str()))
    }
}

fn check_url(text: &str) -> Result<(), TokenError> {
    let wrong = |problem| Err(TokenError::HubUrl { problem });
    let Some(rest) = text.strip_prefix("https://") else { return wrong("it must begin with https://") };
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() {
        return wrong("the host name is missing");
    }
    if authority.contains(['/', '?', '@']) {
        return wrong("only a host and a port are expected after https://");
    }
    if !authority.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | ':' | '[' | ']'))
    {
        return wrong("the host name holds a character that host names cannot have");
    }
    match authority.rsplit_once(':') {
        Some((_, port)) if !authority.ends_with(']') && port.parse::<u16>().is_err() => {
            wrong("the port must be a number from 1 to 65535")
        }
        _ => Ok(()),
    }
}

// The secret stays out of logs and panics.
impl fmt::Debug for EnrollmentToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EnrollmentToken").field("hub_url", &self.hub_url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> EnrollmentToken {
        EnrollmentToken {
            hub_url: "https://cloud.example.com:8443".into(),
            ca_key_hash: [0xAB; 32],
            key: SigningKey::from_bytes(&[7; 32]),
        }
    }

    #[test]
    fn text_round_trips_and_forgives_white_space() {
        let text = token().reveal();
        let read = EnrollmentToken::parse(&format!("  {}\n", text.as_str())).expect("reads");
        assert_eq!(read.hub_url, "https://cloud.example.com:8443");
        assert_eq!(read.ca_key_hash, [0xAB; 32]);
        assert_eq!(read.public_key(), token().public_key());
    }

    #[test]
    fn errors_name_the_wrong_part() {
        let good = token().reveal();
        let [url, hash, secret] = good.split('#').collect::<Vec<_>>().try_into().expect("three parts");
        let error = |text: &str| EnrollmentToken::parse(text).expect_err("refused");
        assert_eq!(error(" \n"), TokenError::Empty);
        assert_eq!(error(&"x".repeat(TEXT_BYTES + 1)), TokenError::TooLong);
        assert_eq!(error(&format!("{url}#{hash}")), TokenError::Parts { found: 2 });
        assert_eq!(error(&format!("{url}#{hash}00#{secret}")), TokenError::CaKeyHash);
        assert_eq!(error(&format!("{url}#{}z#{secret}", hash.get(..63).expect("ascii"))), TokenError::CaKeyHash);
        assert_eq!(error(&format!("{url}#{hash}#{}", secret.get(..42).expect("ascii"))), TokenError::Secret);
        for bad in [
            "http://cloud.example.com",
            "https://",
            "https://user@cloud.example.com",
            "https://cloud.example.com/path",
            "https://cloud.example.com:99999",
            "https://cloud example.com",
        ] {
            assert!(matches!(error(&format!("{bad}#{hash}#{secret}")), TokenError::HubUrl { .. }), "{bad}");
        }
        assert!(EnrollmentToken::parse(&format!("https://[::1]:8443/#{hash}#{secret}")).is_ok());
        assert!(EnrollmentToken::parse(&format!("https://[::1]#{hash}#{secret}")).is_ok());
    }

    #[test]
    fn the_secret_is_not_in_debug_output() {
        let token = token();
        let text = token.reveal();
        let secret = text.rsplit('#').next().expect("a last part").to_owned();
        assert!(!format!("{token:?}").contains(&secret));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _either = EnrollmentToken::parse(&text);
        }
    }
}
