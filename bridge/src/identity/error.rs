//! What can go wrong with an identity, each with its cause and the next step.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::files::FileError;
use super::issued::IssuedError;
use super::keys::KeysError;
use super::state_key::StateKeyError;
use super::token::TokenReadError;
use crate::health::ReasonCode;
use crate::net::{DialError, HttpError, TlsConfigError};

/// The next step after an error: the error itself states the cause only.
pub trait Hint {
    /// One sentence: what to do now, with the command, key or file it needs.
    fn hint(&self) -> String;
}

/// The identity on disk cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file operation failed.
    #[error("the identity cannot be kept or read")]
    File(#[from] FileError),
    /// The private keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A file is there and wrong.
    #[error("{} is not usable: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate does not belong to this bridge and CA.
    #[error("the certificate {} is not usable", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: IssuedError,
    },
}

impl Hint for IdentityError {
    fn hint(&self) -> String {
        match self {
            Self::File(error) => {
                format!("Check owner, mode and free space of {}.", error.path.display())
            }
            Self::Keys(KeysError::Sealed { .. }) => {
                "Restore the state key this directory was made with, or move the directory away and enroll again."
                    .to_owned()
            }
            Self::Keys(_) | Self::Content { .. } | Self::Certificate { .. } => {
                "Restore the identity directory from before the damage, or move it away and enroll again.".to_owned()
            }
        }
    }
}

/// Enrollment did not come to its end. Unless it says that the cloud refused, trying again with the same token is safe:
/// the cloud gives the same identity to the same key.
#[derive(Debug, Error)]
pub enum EnrollError {
    /// There is an identity already, from another token.
    #[error("this bridge is already enrolled as {bridge_id} ({})", directory.display())]
    AlreadyEnrolled {
        /// Who it is.
        bridge_id: String,
        /// Where that stands.
        directory: PathBuf,
    },
    /// The token cannot be had.
    #[error(transparent)]
    Token(#[from] TokenReadError),
    /// No key to seal with.
    #[error(transparent)]
    StateKey(#[from] StateKeyError),
    /// Keys or files fail.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address in the token or the TLS client cannot be used.
    #[error("no TLS client can be set up")]
    Tls(#[from] TlsConfigError),
    /// The address in the token cannot be used.
    #[error("the hub address `{hub_url}` in the token is not a URL")]
    HubUrl {
        /// As it stands in the token.
        hub_url: String,
    },
    /// The hub cannot be reached, or is not who it should be.
    #[error("the cloud cannot be reached")]
    Dial(#[source] DialError),
    /// The hub was reached and the exchange broke: it may or may not have acted.
    #[error("the cloud's answer is missing; it is not known whether it enrolled this bridge")]
    AnswerLost(#[source] HttpError),
    /// The TLS session gave no exporter.
    #[error("the TLS session gives no bytes to prove the token with")]
    Exporter(#[source] rustls::Error),
    /// The token is not known there.
    #[error("the cloud does not know this token: {message}")]
    TokenUnknown {
        /// The hub's words.
        message: String,
    },
    /// The token is too old.
    #[error("the token has expired (the cloud's clock says {hub_time}): {message}")]
    TokenExpired {
        /// When the hub refused.
        hub_time: Timestamp,
        /// The hub's words.
        message: String,
    },
    /// The token was used by another key.
    #[error("the token was already used by another bridge: {message}")]
    TokenUsed {
        /// The hub's words.
        message: String,
    },
    /// Our proof did not convince.
    #[error("the cloud does not accept the proof of the token: {message}")]
    ProofInvalid {
        /// The hub's words.
        message: String,
    },
    /// Our clock is off.
    #[error("the clock of this machine says {our_time}, the cloud's says {hub_time}")]
    ClockSkew {
        /// The hub's time.
        hub_time: Timestamp,
        /// Ours.
        our_time: Timestamp,
    },
    /// Too many at once.
    #[error("the cloud is busy (HTTP {status})")]
    Busy {
        /// The status.
        status: u16,
        /// How long to wait, when it said so.
        retry_after: Option<Duration>,
    },
    /// Refused for another reason.
    #[error("the cloud refuses the enrollment (HTTP {status}, `{code}`): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// The hub's code; empty when it gave none.
        code: String,
        /// The hub's words.
        message: String,
    },
    /// It agreed, and what it sent is not an identity.
    #[error("the cloud's answer is not usable: {problem}")]
    Answer {
        /// What is wrong with it.
        problem: String,
    },
    /// It agreed, and the certificate is not ours or not its.
    #[error("the certificate sent by the cloud is not usable")]
    Certificate(#[source] IssuedError),
}

impl From<KeysError> for EnrollError {
    fn from(error: KeysError) -> Self {
        Self::Identity(error.into())
    }
}

impl From<FileError> for EnrollError {
    fn from(error: FileError) -> Self {
        Self::Identity(error.into())
    }
}

const FRESH_TOKEN: &str = "Make a fresh token in the cloud and run `lockbridge enroll` with it.";
const SET_CLOCK: &str = "Set the clock of this machine (systemd-timesyncd or chrony), then run `lockbridge enroll` again with the same token.";

impl Hint for EnrollError {
    fn hint(&self) -> String {
        match self {
            Self::AlreadyEnrolled { directory, .. } => format!(
                "It stays what it is: see `lockbridge status`. To make it another bridge, stop the daemon, move {} away and \
                 enroll again.",
                directory.display()
            ),
            Self::Token(error) => error.hint(),
            Self::StateKey(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Dial(error) => match error.reason().0 {
                ReasonCode::Clock => SET_CLOCK.to_owned(),
                ReasonCode::TlsIntercepted => "If the issuer is a firewall or proxy, exempt the cloud's host from TLS \
                    inspection. If it is the cloud's own CA, the token is for another cloud: make a fresh one."
                    .to_owned(),
                code => format!("{} Then run `lockbridge enroll` again with the same token.", code.remedy()),
            },
            Self::AnswerLost(_) => {
                "Run `lockbridge enroll` again with the same token: it finishes what was begun.".to_owned()
            }
            Self::TokenUnknown { .. } => {
                "Check that the token is of this cloud and was not withdrawn; else make a fresh one.".to_owned()
            }
            Self::TokenUsed { .. } => format!(
                "If this bridge should have it, its state directory was emptied in between; if not, someone else has the \
                 token: tell the cloud's operator. {FRESH_TOKEN}"
            ),
            Self::HubUrl { .. } | Self::TokenExpired { .. } => FRESH_TOKEN.to_owned(),
            Self::ClockSkew { .. }
            | Self::Certificate(IssuedError::NotYetValid { .. } | IssuedError::Expired { .. }) => SET_CLOCK.to_owned(),
            Self::Busy { retry_after, .. } => match retry_after {
                Some(wait) => format!("Run `lockbridge enroll` again with the same token in {} s.", wait.as_secs()),
                None => "Run `lockbridge enroll` again with the same token in a minute.".to_owned(),
            },
            Self::Tls(_) | Self::Exporter(_) | Self::ProofInvalid { .. } | Self::Refused { .. } => {
                "Check that bridge and cloud are of versions that fit; the cloud's operator can tell why.".to_owned()
            }
            Self::Answer { .. } | Self::Certificate(_) => {
                "Nothing was stored. Tell the cloud's operator; its CA and this answer do not fit.".to_owned()
            }
        }
    }
}
