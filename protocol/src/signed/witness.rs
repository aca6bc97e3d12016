//! Witnesses: the authority's counter-signature over a bridge's audit checkpoint (rule J2), and the file in which the cloud
//! hands the last one out, so that a journal can be held against what was seen of it outside (rule J3).

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use prost::Message;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::WITNESS_TYPE;
use super::command::{AuthorityKeys, CommandError};
use crate::proto::tunnel::{AuditCheckpoint, Signed};

/// What the file calls itself.
const FORMAT: &str = "lockbridge-witness";
/// The version of the file this code reads and writes.
const VERSION: u32 = 1;

/// Why bytes are not a witness.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WitnessError {
    /// Not signed by a known authority key.
    #[error(transparent)]
    Signature(#[from] CommandError),
    /// Signed, and not a checkpoint of this schema.
    #[error("the signed bytes are not an audit checkpoint")]
    Content,
    /// Not a witness file, or one of another version.
    #[error("this is no witness file of version {VERSION}: {problem}")]
    File {
        /// What does not fit.
        problem: String,
    },
}

/// Verifies the counter-signature, then parses what it covers.
pub fn verify(keys: &AuthorityKeys, signed: &Signed) -> Result<AuditCheckpoint, WitnessError> {
    keys.verify(WITNESS_TYPE, signed)?;
    let checkpoint = AuditCheckpoint::decode(signed.payload.as_slice()).map_err(|_| WitnessError::Content)?;
    let whole = checkpoint.store_id.len() == 16 && checkpoint.chain_head.len() == 32;
    if whole { Ok(checkpoint) } else { Err(WitnessError::Content) }
}

/// The last witness of one journal, with the public keys that it and the journal are verified by.
#[derive(Debug, Clone, PartialEq)]
pub struct WitnessFile {
    /// Whose journal.
    pub bridge_id: String,
    /// The bridge's audit key: P-256, uncompressed point.
    pub audit_key: Vec<u8>,
    /// The authority's Ed25519 keys.
    pub authority_keys: Vec<Vec<u8>>,
    /// The counter-signed checkpoint.
    pub witness: Signed,
}

/// The file: one line of JSON.
#[derive(Serialize, Deserialize)]
struct Line {
    format: String,
    version: u32,
    bridge_id: String,
    audit_key: String,
    authority_keys: Vec<String>,
    witness: String,
}

impl WitnessFile {
    /// As one line of JSON.
    pub fn to_line(&self) -> String {
        let line = Line {
            format: FORMAT.to_owned(),
            version: VERSION,
            bridge_id: self.bridge_id.clone(),
            audit_key: HEXLOWER.encode(&self.audit_key),
            authority_keys: self.authority_keys.iter().map(|key| HEXLOWER.encode(key)).collect(),
            witness: BASE64.encode(&self.witness.encode_to_vec()),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Reads one line. Nothing is verified yet.
    pub fn parse(line: &str) -> Result<Self, WitnessError> {
        let wrong = |problem: &str| WitnessError::File { problem: problem.to_owned() };
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(&error.to_string()))?;
        if line.format != FORMAT || line.version != VERSION {
            return Err(wrong(&format!("it says {} {}", line.format, line.version)));
        }
        let hex =
            |text: &str| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| wrong("a key is not hexadecimal"));
        let witness = BASE64.decode(line.witness.as_bytes()).map_err(|_| wrong("the witness is not Base64"))?;
        Ok(Self {
            bridge_id: line.bridge_id,
            audit_key: hex(&line.audit_key)?,
            authority_keys: line.authority_keys.iter().map(|key| hex(key)).collect::<Result<_, _>>()?,
            witness: Signed::decode(witness.as_slice()).map_err(|_| wrong("the witness is not a signed value"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::signed::command::sign_bytes;

    fn checkpoint() -> AuditCheckpoint {
        AuditCheckpoint { store_id: vec![1; 16], journal_sequence: 9, chain_head: vec![2; 32], time_ms: 3 }
    }

    fn file(payload: Vec<u8>) -> (WitnessFile, AuthorityKeys) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().as_bytes().to_vec();
        let keys = AuthorityKeys::new([public.as_slice()]).expect("a key");
        let witness = sign_bytes(&key, WITNESS_TYPE, payload);
        let file = WitnessFile { bridge_id: "b".into(), audit_key: vec![4; 65], authority_keys: vec![public], witness };
        (file, keys)
    }

    #[test]
    fn a_witness_comes_back_from_its_line_and_verifies() {
        let (file, keys) = file(checkpoint().encode_to_vec());
        let read = WitnessFile::parse(&file.to_line()).expect("reads");
        assert_eq!(read, file);
        assert_eq!(verify(&keys, &read.witness), Ok(checkpoint()));
    }

    #[test]
    fn a_signed_value_that_is_no_checkpoint_is_none() {
        let short = AuditCheckpoint { chain_head: vec![2; 31], ..checkpoint() };
        let (file, keys) = file(short.encode_to_vec());
        assert_eq!(verify(&keys, &file.witness), Err(WitnessError::Content));
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let line = file(vec![]).0.to_line().replace("\"version\":1", "\"version\":2");
        let refused = WitnessFile::parse(&line).expect_err("is refused").to_string();
        assert!(refused.contains("lockbridge-witness 2"), "{refused}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            prop_assert!(WitnessFile::parse(&text).is_err());
        }

        #[test]
        fn any_flipped_bit_of_the_payload_is_noticed(position in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (mut file, keys) = file(checkpoint().encode_to_vec());
            let at = position.index(file.witness.payload.len());
            file.witness.payload[at] ^= 1 << bit;
            prop_assert!(verify(&keys, &file.witness).is_err());
        }
    }
}
