//! The public part of an identity on disk: `identity.json`.

use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use lockbridge_protocol::proto::tunnel::AuthorityKey;
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys};
use lockbridge_protocol::signed::key_id;
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::IdentityError;
use super::files;

/// The only format of this file so far.
const FORMAT: u32 = 1;
/// Longest id or name taken from the cloud.
const TEXT_CHARACTERS: usize = 200;
/// Keys that may sign commands: the present, the next, and room.
const AUTHORITY_KEYS_MAXIMUM: usize = 16;

/// The file. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) bridge_id: String,
    pub(super) workspace_id: String,
    pub(super) workspace_name: String,
    pub(super) site_id: String,
    pub(super) tunnel_url: String,
    /// Ed25519 public keys, hex.
    pub(super) authority_keys: Vec<String>,
    /// Public half of the token, hex: the same token again is no new enrollment.
    pub(super) token_public_key: String,
    /// Where the token was read from, until it is wiped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_file: Option<PathBuf>,
    /// When the certificate before this one went out of use, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous_since_ms: Option<i64>,
}

/// The one field every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// The parts of a record as types.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) audience: Audience,
    pub(super) authority_keys: AuthorityKeys,
    pub(super) tunnel_url: Url,
}

impl Record {
    pub(super) fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(content) = files::read(path)? else { return Ok(None) };
        let wrong = |problem: String| IdentityError::Content { path: path.to_path_buf(), problem };
        // The format first: a newer file may have fields this version does not know.
        let head: Head = serde_json::from_slice(&content).map_err(|error| wrong(error.to_string()))?;
        if head.format != FORMAT {
            return Err(wrong(format!("its format is {}, this version reads {FORMAT}", head.format)));
        }
        serde_json::from_slice(&content).map(Some).map_err(|error| wrong(error.to_string()))
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let mut content = serde_json::to_vec_pretty(self)
            .map_err(|error| IdentityError::Content { path: path.to_path_buf(), problem: error.to_string() })?;
        content.push(b'\n');
        Ok(files::replace(path, &content)?)
    }

    /// Checks every field; says which one is wrong.
    pub(super) fn parse(&self) -> Result<Parsed, String> {
        if uuid::Uuid::try_parse(&self.bridge_id).is_err() {
            return Err("the bridge id is not a UUID".to_owned());
        }
        for (what, text) in [("workspace id", &self.workspace_id), ("site id", &self.site_id)] {
            if text.is_empty() || text.chars().count() > TEXT_CHARACTERS || text.chars().any(char::is_control) {
                return Err(format!("the {what} is not 1 to {TEXT_CHARACTERS} printable characters"));
            }
        }
        let keys: Option<Vec<Vec<u8>>> =
            self.authority_keys.iter().map(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()).collect();
        let authority_keys = keys
            .filter(|keys| (1..=AUTHORITY_KEYS_MAXIMUM).contains(&keys.len()))
            .and_then(|keys| AuthorityKeys::new(keys.iter().map(Vec::as_slice)))
            .ok_or_else(|| format!("the authority keys are not 1 to {AUTHORITY_KEYS_MAXIMUM} Ed25519 keys"))?;
        let tunnel_url = Url::parse(&self.tunnel_url)
            .ok()
            .filter(|url| url.scheme() == "wss" && url.host().is_some())
            .ok_or("the tunnel URL is not wss://host[:port]/path")?;
        let audience = Audience {
            workspace_id: self.workspace_id.clone(),
            site_id: self.site_id.clone(),
            bridge_id: self.bridge_id.clone(),
        };
        Ok(Parsed { audience, authority_keys, tunnel_url })
    }

    pub(super) const fn format() -> u32 {
        FORMAT
    }
}

/// A name as far as it can be shown.
pub(super) fn shown_name(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(TEXT_CHARACTERS).collect()
}

/// Authority keys of the wire in the form of the record; `None` when an id does not fit its key.
pub(super) fn authority_keys(keys: &[AuthorityKey]) -> Option<Vec<String>> {
    keys.iter().map(|key| (key.key_id == key_id(&key.public_key)).then(|| HEXLOWER.encode(&key.public_key))).collect()
}
