//! The enrollment token: what an admin carries from the cloud to the bridge, as one line of text.
//!
//! `<hub URL>#<SHA-256 of the CA public key, hex>#<one-time key seed, base64url>`. The seed is an Ed25519 key that proves
//! possession over the TLS session; it never travels. Never: reads files, prints the seed.

mod proof;
mod token;

pub use proof::{EXPORTER_BYTES, EXPORTER_LABEL, ProofError, prove, verify_proof};
pub use token::{EnrollmentToken, TokenError};
