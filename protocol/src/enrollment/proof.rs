//! Proof that the one who enrolls holds the token, bound to the request and to this TLS session (step 3 of rule H1).

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::signed::sha256;

/// Label of the TLS exporter (RFC 8446, section 7.5) whose value the proof covers; context: none.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-lockbridge-enroll-v1";
/// Length of the exporter value.
pub const EXPORTER_BYTES: usize = 32;

/// The proof does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the enrollment proof does not fit the token, the request and this connection")]
pub struct ProofError;

fn proved_bytes(certificate_request: &[u8], audit_public_key: &[u8], exporter: &[u8; EXPORTER_BYTES]) -> Vec<u8> {
    let request = sha256(&[certificate_request, audit_public_key].concat());
    [b"lockbridge-enroll-v1\0".as_slice(), &request, exporter].concat()
}

/// Signs the request as the holder of the token.
pub fn prove(
    token_key: &SigningKey,
    certificate_request: &[u8],
    audit_public_key: &[u8],
    exporter: &[u8; EXPORTER_BYTES],
) -> Vec<u8> {
    token_key.sign(&proved_bytes(certificate_request, audit_public_key, exporter)).to_bytes().to_vec()
}

/// Checks a proof against the public half of the token.
pub fn verify_proof(
    token_public_key: &[u8],
    certificate_request: &[u8],
    audit_public_key: &[u8],
    exporter: &[u8; EXPORTER_BYTES],
    proof: &[u8],
) -> Result<(), ProofError> {
    let key = VerifyingKey::from_bytes(token_public_key.try_into().map_err(|_| ProofError)?).map_err(|_| ProofError)?;
    let signature = Signature::from_slice(proof).map_err(|_| ProofError)?;
    key.verify_strict(&proved_bytes(certificate_request, audit_public_key, exporter), &signature)
        .map_err(|_| ProofError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_binds_token_request_and_connection() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let public = key.verifying_key().to_bytes();
        let proof = prove(&key, b"request", b"audit", &[5; EXPORTER_BYTES]);
        let check = |public: &[u8], request: &[u8], audit: &[u8], exporter: u8, proof: &[u8]| {
            verify_proof(public, request, audit, &[exporter; EXPORTER_BYTES], proof)
        };
        assert_eq!(check(&public, b"request", b"audit", 5, &proof), Ok(()));
        assert_eq!(check(&public, b"other", b"audit", 5, &proof), Err(ProofError));
        assert_eq!(check(&public, b"request", b"other", 5, &proof), Err(ProofError));
        assert_eq!(check(&public, b"request", b"audit", 6, &proof), Err(ProofError), "replayed on another connection");
        let other = SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes();
        assert_eq!(check(&other, b"request", b"audit", 5, &proof), Err(ProofError));
        assert_eq!(check(&public, b"request", b"audit", 5, b"short"), Err(ProofError));
        assert_eq!(check(b"short", b"request", b"audit", 5, &proof), Err(ProofError));
    }
}
