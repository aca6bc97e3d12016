//! How a bridge gets its identity, keeps it fresh, and proves it.
//!
//! Owns the private CA, enrollment (rule H1, step 4) and renewal (rule H5). Promises: one token makes one bridge for one
//! key, whatever is lost on the way; every refusal has a code and a sentence; what should never happen is recorded as an
//! alarm. Never: sees a token's secret half, or loosens TLS.

mod ca;
mod enrollment;
mod peer;
mod refusal;
mod renewal;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lockbridge_protocol::proto::tunnel::AuthorityKey;

pub use ca::{CERTIFICATE_FILE, Ca, CaError, ServerIdentity};
pub use peer::Peer;
pub use refusal::Refusal;

use crate::store::Store;

/// Answers `/v1/enroll` and `/v1/renew`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Enroller {
    store: Store,
    ca: Arc<Ca>,
    authority: AuthorityKey,
    tunnel_url: Arc<str>,
}

impl Enroller {
    /// `tunnel_url` is what bridges will dial: `wss://host:port/v1/tunnel`.
    pub fn new(store: Store, ca: Arc<Ca>, authority: AuthorityKey, tunnel_url: &str) -> Self {
        Self { store, ca, authority, tunnel_url: tunnel_url.into() }
    }
}
