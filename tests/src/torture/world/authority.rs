//! Signs commands for the bridge, as the cloud does.

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{
    Command, DeleteGrant, EncodeCredential, GrantMethod, KeyOperation, Medium, Mode, PutGrant, UnlockEntrance, User,
    command::Body,
};
use lockbridge_protocol::signed::command::{Audience, AuthorityKeys, VERSION, mode_of, sign};
use lockbridge_protocol::signed::key_id;
use std::sync::Arc;

use super::hub::{Issued, Wish};

/// The lock system of this world.
pub(crate) const LOCK_SYSTEM: &str = "tower";
/// When the story begins, ms since the epoch.
pub(crate) const START_MS: i64 = 1_795_000_000_000;
const DAY_MS: i64 = 86_400_000;
const INTERACTIVE_MS: i64 = 120_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// Whom commands are for.
pub(crate) fn audience() -> Audience {
    let id = |byte: u8| uuid::Uuid::from_bytes([byte; 16]).to_string();
    Audience { workspace_id: id(1), site_id: id(2), bridge_id: id(3) }
}

/// Whose signatures the bridge takes.
pub(crate) fn keys() -> anyhow::Result<AuthorityKeys> {
    AuthorityKeys::new([key().verifying_key().as_bytes().as_slice()]).context("the authority's key")
}

/// Signs `wish` for `holder` as number `lane_sequence` of its lane. `id` is unique in a lineage of worlds.
pub(crate) fn issue(id: u128, holder: &str, wish: Wish, encoder: &str, lane_sequence: u64, now_ms: i64) -> Issued {
    let id = CommandId(id.to_be_bytes());
    let (lane, body) = body_of(holder, &wish, encoder, lane_sequence);
    let mode = mode_of(&body);
    let life = if mode == Mode::Interactive { INTERACTIVE_MS } else { 30 * DAY_MS };
    let Audience { workspace_id, site_id, bridge_id } = audience();
    let command = Command {
        version: VERSION,
        command_id: id.0.to_vec(),
        authority_key_id: key_id(key().verifying_key().as_bytes()),
        workspace_id,
        site_id,
        bridge_id,
        lock_system: LOCK_SYSTEM.into(),
        lane: lane.clone(),
        lane_sequence,
        mode: mode.into(),
        not_before_ms: now_ms,
        expires_at_ms: now_ms + life,
        body: Some(body),
        ..Command::default()
    };
    Issued { id, holder: holder.to_owned(), lane, wish, signed: Arc::new(sign(&key(), &command)) }
}

/// Lane and body of a wish.
fn body_of(holder: &str, wish: &Wish, encoder: &str, revision: u64) -> (String, Body) {
    let grant_id = format!("grant-{holder}");
    let credential_id = format!("credential-{holder}");
    let body = match wish {
        Wish::Grant(doors) => Body::PutGrant(PutGrant {
            grant_id,
            revision,
            user: Some(User { user_id: holder.to_owned(), full_name: format!("Guest {holder}"), ..User::default() }),
            entrance_external_ids: doors.clone(),
            starts_at_ms: START_MS,
            ends_at_ms: START_MS + 20 * DAY_MS,
            methods: vec![GrantMethod {
                access_method_id: format!("method-{holder}"),
                credential_id,
                medium: Medium::Card.into(),
            }],
            reservation_key: String::new(),
        }),
        Wish::Revoke => Body::DeleteGrant(DeleteGrant { grant_id, user_id: holder.to_owned() }),
        Wish::Encode => Body::EncodeCredential(EncodeCredential {
            credential_id,
            user_id: holder.to_owned(),
            encoder_external_id: encoder.to_owned(),
            operation: KeyOperation::AssignNew.into(),
        }),
        Wish::Open(door) => Body::UnlockEntrance(UnlockEntrance { entrance_external_id: door.clone() }),
    };
    (lane_of(holder, wish), body)
}

/// The lane a wish for `holder` stands in.
pub(crate) fn lane_of(holder: &str, wish: &Wish) -> String {
    match wish {
        Wish::Open(door) => format!("entrance:{door}"),
        Wish::Grant(_) | Wish::Revoke | Wish::Encode => format!("user:{holder}"),
    }
}
