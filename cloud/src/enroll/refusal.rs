//! Why an identity was not given.

use hyper::StatusCode;
use lockbridge_protocol::proto::tunnel::EnrollRefused;
use thiserror::Error;

use super::ca::CaError;
use crate::store::StoreError;

/// What the bridge is told, code and sentence.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The body is not what it should be.
    #[error("the request is not valid: {0}")]
    Request(&'static str),
    /// The proof does not fit.
    #[error("the proof does not fit the token, the request and this connection")]
    Proof,
    /// Never issued, or by another cloud.
    #[error("this cloud did not issue the token")]
    TokenUnknown,
    /// Its life ended unused.
    #[error("the token has expired; create a new one")]
    TokenExpired,
    /// Another key, or this key's bridge has long been at work.
    #[error("the token was already used; create a new one, and find out who used it if it was not you")]
    TokenUsed,
    /// The certificate is not one we gave to a bridge.
    #[error("no bridge of this cloud holds this certificate; enroll anew")]
    IdentityUnknown,
    /// The bridge was revoked.
    #[error("this bridge is revoked; enroll anew")]
    IdentityRevoked,
    /// An older certificate asks for another key than the one that was renewed (rule H5): perhaps a copy.
    #[error("the certificate was already renewed for another key; if this identity was copied, revoke the bridge")]
    GenerationStale,
    /// Our fault.
    #[error("the cloud cannot answer now; try again")]
    Unavailable(#[source] UnavailableError),
}

/// What kept the cloud from answering; for its own log.
#[derive(Debug, Error)]
pub enum UnavailableError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA.
    #[error(transparent)]
    Ca(#[from] CaError),
}

impl Refusal {
    /// Stable code of the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request(_) => "request_invalid",
            Self::Proof => "proof_invalid",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::TokenUsed => "token_used",
            Self::IdentityUnknown => "identity_unknown",
            Self::IdentityRevoked => "identity_revoked",
            Self::GenerationStale => "generation_stale",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Proof | Self::TokenUnknown | Self::TokenExpired | Self::IdentityUnknown | Self::IdentityRevoked => {
                StatusCode::FORBIDDEN
            }
            Self::TokenUsed | Self::GenerationStale => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// As the wire carries it.
    pub fn to_wire(&self, now_ms: i64) -> EnrollRefused {
        EnrollRefused { code: self.code().to_owned(), message: self.to_string(), hub_time_ms: now_ms }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(StoreError::from(error).into())
    }
}

impl From<CaError> for Refusal {
    fn from(error: CaError) -> Self {
        Self::Unavailable(error.into())
    }
}
