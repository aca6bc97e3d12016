//! Signed reports: what the bridge says, so that the relay in between cannot invent outcomes (rule I5).
//!
//! ECDSA P-256 with SHA-256 by the bridge's audit key, fixed-length signatures.

use prost::Message;
use ring::rand::SecureRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use thiserror::Error;

use super::{REPORT_TYPE, key_id, pre_authentication_encoding};
use crate::limits;
use crate::proto::tunnel::{Report, Signature, Signed};

/// The version of [`Report`] this code reads and writes.
pub const VERSION: u32 = 1;

/// Why signed bytes are not a report of this bridge.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReportError {
    /// Over [`limits::REPORT_BYTES`].
    #[error("the signed report has {bytes} bytes, more than {}", limits::REPORT_BYTES)]
    TooLarge {
        /// Encoded size.
        bytes: usize,
    },
    /// Another type of payload, no or several signatures, another key, or a signature that does not fit.
    #[error("the report is not signed by the bridge's audit key")]
    Signature,
    /// Not a protobuf message of this schema.
    #[error("the signed bytes are not a report: {detail}")]
    Malformed {
        /// The decoder's words.
        detail: String,
    },
    /// Another schema version.
    #[error("report version {found} is not supported; this cloud reads version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
}

/// The system's random source failed while signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no random bytes for a report signature")]
pub struct SigningFailed;

/// Signs an encoded [`Report`].
pub fn sign(key: &EcdsaKeyPair, random: &dyn SecureRandom, payload: Vec<u8>) -> Result<Signed, SigningFailed> {
    let signature = key.sign(random, &pre_authentication_encoding(REPORT_TYPE, &payload)).map_err(|_| SigningFailed)?;
    Ok(Signed {
        payload_type: REPORT_TYPE.to_owned(),
        payload,
        signatures: vec![Signature {
            key_id: key_id(key.public_key().as_ref()),
            signature: signature.as_ref().to_vec(),
        }],
    })
}

/// Verifies with the bridge's audit key (uncompressed point), then parses those bytes.
///
/// Unlike a command, a report may hold fields of a newer bridge: it is evidence to keep, not an order to follow.
pub fn verify(audit_key: &[u8], signed: &Signed) -> Result<Report, ReportError> {
    let bytes = signed.encoded_len();
    if bytes > limits::REPORT_BYTES {
        return Err(ReportError::TooLarge { bytes });
    }
    let [signature] = signed.signatures.as_slice() else { return Err(ReportError::Signature) };
    if signed.payload_type != REPORT_TYPE || signature.key_id != key_id(audit_key) {
        return Err(ReportError::Signature);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, audit_key)
        .verify(&pre_authentication_encoding(REPORT_TYPE, &signed.payload), &signature.signature)
        .map_err(|_| ReportError::Signature)?;
    let report = Report::decode(signed.payload.as_slice())
        .map_err(|error| ReportError::Malformed { detail: error.to_string() })?;
    if report.version != VERSION {
        return Err(ReportError::Version { found: report.version });
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;

    use super::*;
    use crate::signed::COMMAND_TYPE;

    fn key() -> EcdsaKeyPair {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("reads back")
    }

    fn report() -> Report {
        Report { version: VERSION, bridge_id: "b".into(), sequence: 4, occurred_at_ms: 5, ..Report::default() }
    }

    #[test]
    fn only_the_own_key_and_type_are_believed() {
        let key = key();
        let signed = sign(&key, &SystemRandom::new(), report().encode_to_vec()).expect("signs");
        let public = key.public_key().as_ref();
        assert_eq!(verify(public, &signed), Ok(report()));
        assert_eq!(verify(tests::key().public_key().as_ref(), &signed), Err(ReportError::Signature));
        let confused = Signed { payload_type: COMMAND_TYPE.into(), ..signed.clone() };
        assert_eq!(verify(public, &confused), Err(ReportError::Signature));
        let unsigned = Signed { signatures: vec![], ..signed };
        assert_eq!(verify(public, &unsigned), Err(ReportError::Signature));
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let key = key();
        let newer = Report { version: 2, ..report() };
        let signed = sign(&key, &SystemRandom::new(), newer.encode_to_vec()).expect("signs");
        assert_eq!(verify(key.public_key().as_ref(), &signed), Err(ReportError::Version { found: 2 }));
    }

    #[test]
    fn a_report_is_read_up_to_its_bound() {
        let key = key();
        let sized = |detail: usize| {
            let report = Report { bridge_id: "b".repeat(detail), ..report() };
            let signed = sign(&key, &SystemRandom::new(), report.encode_to_vec()).expect("signs");
            (signed.encoded_len(), verify(key.public_key().as_ref(), &signed))
        };
        let around = limits::REPORT_BYTES - sized(limits::REPORT_BYTES / 2).0 + limits::REPORT_BYTES / 2;
        let found: Vec<(usize, bool)> = (around - 8..around + 9)
            .map(|detail| {
                let (bytes, verified) = sized(detail);
                assert!(verified.is_ok() || verified == Err(ReportError::TooLarge { bytes }));
                (bytes, verified.is_ok())
            })
            .collect();
        assert!(found.iter().all(|(bytes, verified)| *verified == (*bytes <= limits::REPORT_BYTES)), "{found:?}");
        assert!(found.iter().any(|(bytes, _)| *bytes == limits::REPORT_BYTES), "{found:?}");
        assert!(found.iter().any(|(bytes, _)| *bytes > limits::REPORT_BYTES + 1), "{found:?}");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(position in any::<prop::sample::Index>(), bit in 0u8..8) {
            let key = key();
            let mut signed = sign(&key, &SystemRandom::new(), report().encode_to_vec()).expect("signs");
            let at = position.index(signed.payload.len());
            signed.payload[at] ^= 1 << bit;
            prop_assert_eq!(verify(key.public_key().as_ref(), &signed), Err(ReportError::Signature));
        }
    }
}
