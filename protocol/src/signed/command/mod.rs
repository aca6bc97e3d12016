//! Signed commands: what the authority makes and the bridge believes.
//!
//! `table` fixes kind, priority and mode of every body; `checks` refuses impossible values. Neither reads a clock.

mod checks;
mod table;

use std::collections::BTreeMap;

use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;
use thiserror::Error;

pub use table::{kind_of, mode_of, priority_of};

use super::{COMMAND_TYPE, key_id, pre_authentication_encoding, sha256};
use crate::ids::CommandId;
use crate::limits;
use crate::proto::tunnel::command::Body;
use crate::proto::tunnel::{Command, Mode, Priority, Signature, Signed};

/// The version of [`Command`] this code reads and writes.
pub const VERSION: u32 = 1;

/// Longest life of an interactive command, `not_before` (or issue) to expiry, in milliseconds (rule C6).
pub const INTERACTIVE_LIFE_MS: i64 = 120_000;

/// Public keys that may sign commands for one bridge, by key id.
#[derive(Debug, Clone, Default)]
pub struct AuthorityKeys(BTreeMap<String, VerifyingKey>);

impl AuthorityKeys {
    /// Takes raw Ed25519 public keys; `None` if one of them is not a point of the curve or is a weak one.
    pub fn new<'key>(keys: impl IntoIterator<Item = &'key [u8]>) -> Option<Self> {
        keys.into_iter()
            .map(|bytes| {
                let key = VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
                (!key.is_weak()).then(|| (key_id(bytes), key))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Whether there is no key at all: then nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies `signed` as `payload_type`, strictly, with any key of this set; the id of the key that fits.
    pub fn verify<'signed>(&self, payload_type: &str, signed: &'signed Signed) -> Result<&'signed str, CommandError> {
        if signed.payload_type != payload_type {
            return Err(CommandError::PayloadType { found: signed.payload_type.chars().take(80).collect() });
        }
        let [signature] = signed.signatures.as_slice() else {
            return Err(CommandError::SignatureCount { found: signed.signatures.len() });
        };
        let key = self
            .0
            .get(&signature.key_id)
            .ok_or_else(|| CommandError::UnknownKey { key_id: signature.key_id.chars().take(32).collect() })?;
        let bytes = Ed25519Signature::from_slice(&signature.signature).map_err(|_| CommandError::Signature)?;
        key.verify_strict(&pre_authentication_encoding(payload_type, &signed.payload), &bytes)
            .map_err(|_| CommandError::Signature)?;
        Ok(&signature.key_id)
    }
}

/// For whom a command must be meant. Everything outside is another's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// Workspace the bridge was enrolled into.
    pub workspace_id: String,
    /// Site within it.
    pub site_id: String,
    /// This bridge.
    pub bridge_id: String,
}

/// A command that is authentic, whole and meant for this bridge. Says nothing about time, policy or replay.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedCommand {
    /// What was signed.
    pub command: Command,
    /// Its body, never absent.
    pub body: Body,
    /// Its id.
    pub command_id: CommandId,
    /// SHA-256 of the signed payload: same id and same hash is the same command.
    pub hash: [u8; 32],
    /// Name of the body: `put_grant`, ...
    pub kind: &'static str,
    /// From the fixed table, not from the wire.
    pub priority: Priority,
    /// From the fixed table, and equal to what was signed.
    pub mode: Mode,
}

/// Why signed bytes are not a command for this bridge. `code()` is the rejection code on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Over [`limits::COMMAND_BYTES`].
    #[error("the signed command has {bytes} bytes, more than {}", limits::COMMAND_BYTES)]
    TooLarge {
        /// Encoded size.
        bytes: usize,
    },
    /// Another type of payload: a report or witness shown as a command.
    #[error("the payload type is {found:?}, not {COMMAND_TYPE:?}")]
    PayloadType {
        /// What it says, cut.
        found: String,
    },
    /// None, or several.
    #[error("the command carries {found} signatures; exactly one is expected")]
    SignatureCount {
        /// How many.
        found: usize,
    },
    /// Signed by a key that was not given at enrollment.
    #[error("the signing key {key_id:?} is not one of this bridge's authority keys")]
    UnknownKey {
        /// As it came, cut.
        key_id: String,
    },
    /// The signature does not fit the bytes.
    #[error("the signature does not verify over the exact bytes")]
    Signature,
    /// Not a protobuf message of this schema.
    #[error("the signed bytes are not a command: {detail}")]
    Malformed {
        /// The decoder's words.
        detail: String,
    },
    /// Signed content that this code would not have read.
    #[error("the signed bytes hold unknown fields or are not in canonical form; a newer bridge may be needed")]
    NotCanonical,
    /// Another schema version.
    #[error("command version {found} is not supported; this bridge reads version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// Meant for another workspace, site or bridge.
    #[error("the command is meant for another {what}")]
    Foreign {
        /// workspace, site or bridge.
        what: &'static str,
    },
    /// A required field is missing or has an impossible value.
    #[error("field {field}: {problem}")]
    Field {
        /// Dotted path.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl CommandError {
    /// The stable rejection code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::PayloadType { .. } => "payload_type",
            Self::SignatureCount { .. } | Self::UnknownKey { .. } | Self::Signature => "signature_invalid",
            Self::Malformed { .. } => "malformed",
            Self::NotCanonical => "not_canonical",
            Self::Version { .. } => "version_unsupported",
            Self::Foreign { .. } => "foreign_command",
            Self::Field { .. } => "invalid_field",
        }
    }
}

/// Signs `command` as the authority that holds `key`; fills in version and key id.
pub fn sign(key: &SigningKey, command: &Command) -> Signed {
    let key_id = key_id(key.verifying_key().as_bytes());
    let command = Command { version: VERSION, authority_key_id: key_id.clone(), ..command.clone() };
    sign_payload(key, key_id, COMMAND_TYPE, command.encode_to_vec())
}

/// Signs any payload of a type with an Ed25519 key; for witnesses, and for tests that sign what no authority would.
pub fn sign_bytes(key: &SigningKey, payload_type: &str, payload: Vec<u8>) -> Signed {
    sign_payload(key, key_id(key.verifying_key().as_bytes()), payload_type, payload)
}

fn sign_payload(key: &SigningKey, key_id: String, payload_type: &str, payload: Vec<u8>) -> Signed {
    let signature = key.sign(&pre_authentication_encoding(payload_type, &payload));
    Signed {
        payload_type: payload_type.to_owned(),
        payload,
        signatures: vec![Signature { key_id, signature: signature.to_bytes().to_vec() }],
    }
}

/// Verifies, then parses, then checks everything that needs neither clock nor state.
pub fn verify(keys: &AuthorityKeys, audience: &Audience, signed: &Signed) -> Result<VerifiedCommand, CommandError> {
    let bytes = signed.encoded_len();
    if bytes > limits::COMMAND_BYTES {
        return Err(CommandError::TooLarge { bytes });
    }
    let signing_key = keys.verify(COMMAND_TYPE, signed)?;
    let mut verified = parse(&signed.payload)?;
    if verified.command.authority_key_id != signing_key {
        return Err(field("authority_key_id", "is not the key that signed"));
    }
    check_audience(audience, &verified.command)?;
    verified.command.body = Some(verified.body.clone());
    Ok(verified)
}

/// Parses and checks the payload of a command whose origin is already trusted: one given on site, or read back from the
/// bridge's own journal.
pub fn parse(payload: &[u8]) -> Result<VerifiedCommand, CommandError> {
    let command = Command::decode(payload).map_err(|error| CommandError::Malformed { detail: error.to_string() })?;
    if command.version != VERSION {
        return Err(CommandError::Version { found: command.version });
    }
    if command.encode_to_vec() != payload {
        return Err(CommandError::NotCanonical);
    }
    let command_id =
        CommandId::from_bytes(&command.command_id).ok_or_else(|| field("command_id", "must have 16 bytes"))?;
    let body =
        command.body.clone().ok_or_else(|| field("body", "is missing or of a kind this bridge does not know"))?;
    checks::envelope(&command, &body)?;
    checks::body(&body)?;
    Ok(VerifiedCommand {
        command_id,
        hash: sha256(payload),
        kind: kind_of(&body),
        priority: priority_of(&body),
        mode: mode_of(&body),
        body,
        command,
    })
}

fn field(field: &'static str, problem: &'static str) -> CommandError {
    CommandError::Field { field, problem }
}

fn check_audience(audience: &Audience, command: &Command) -> Result<(), CommandError> {
    for (what, found, own) in [
        ("workspace", &command.workspace_id, &audience.workspace_id),
        ("site", &command.site_id, &audience.site_id),
        ("bridge", &command.bridge_id, &audience.bridge_id),
    ] {
        if found != own {
            return Err(CommandError::Foreign { what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
