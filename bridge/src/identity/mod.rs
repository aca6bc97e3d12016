//! Who this bridge is: its keys, its certificate, whose commands it obeys, and how it gets and renews all that.
//!
//! Owns `<state>/identity/` and the state key. On disk: `identity.json` (ids, tunnel URL, authority keys; written last, so
//! that it is there only when all else is), `certificate.pem` (chain in use), `certificate-next.pem` (renewed, not yet
//! proven), `certificate-previous.pem` (24 h), `ca.pem`, `audit-key.pub` (for
//! auditors), and `keys.sealed`: the audit key and every identity key. A
//! certificate finds its key by the public half; a key without a certificate is one that was asked for and not answered.
//!
//! Promises: keys are durable before the first byte goes out; a file is replaced whole or not at all; a crash at any point
//! leaves one good pair of key and certificate. Never: sends a token or private key, trusts on first use, skips a validity
//! check.

mod enroll;
mod error;
mod files;
mod issued;
mod keys;
pub mod machine;
mod public;
mod record;
pub mod renewal;
mod seen;
mod state_key;
mod store;
mod switch;
#[cfg(test)]
mod test_hub;
#[cfg(test)]
mod tests;
mod token;

pub use enroll::{EnrollOptions, EnrollSummary, enroll};
pub use error::{EnrollError, Hint, IdentityError};
pub use files::FileError;
pub use issued::{CertificateTimes, IssuedError};
pub use keys::KeysError;
pub use public::PublicKeys;
pub use seen::SeenIdentity;
pub use state_key::{StateKeyError, open_sealer};
pub use store::{Identity, SessionClient};
pub use token::{TokenReadError, TokenSource, forget_token};
