//! Signed values: commands down, reports up.
//!
//! The unit is the exact bytes of a payload and its type, signed over the DSSE pre-authentication encoding of both. A
//! receiver verifies first, then parses *those* bytes, then re-encodes what it parsed and refuses any difference: an
//! unknown field, a field out of order or a default written out would be signed but unread. Never: parses before it
//! verified, re-serialises in order to verify, accepts an unsigned value.

pub mod command;
pub mod report;
pub mod witness;

use ring::digest::{SHA256, digest};

/// Payload type of a [`Command`](crate::proto::tunnel::Command).
pub const COMMAND_TYPE: &str = "application/vnd.lockbridge.command.v1";
/// Payload type of a [`Report`](crate::proto::tunnel::Report).
pub const REPORT_TYPE: &str = "application/vnd.lockbridge.report.v1";
/// Payload type of an [`AuditCheckpoint`](crate::proto::tunnel::AuditCheckpoint) that the authority counter-signs.
pub const WITNESS_TYPE: &str = "application/vnd.lockbridge.witness.v1";

/// The bytes that are signed: DSSE v1 pre-authentication encoding (secure-systems-lab/dsse, `protocol.md`).
///
/// Both lengths stand in front of their field, so no type can be chosen to make one payload look like another.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// SHA-256, used for everything that is signed, pinned or compared across the tunnel.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Names a public key: the first 16 hex digits of its SHA-256.
pub fn key_id(public_key: &[u8]) -> String {
    let mut name = data_encoding::HEXLOWER.encode(&sha256(public_key));
    name.truncate(16);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_the_published_one() {
        // The example of the DSSE specification.
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(pre_authentication_encoding("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn key_ids_are_short_and_stable() {
        assert_eq!(key_id(b""), "e3b0c44298fc1c14");
    }
}
