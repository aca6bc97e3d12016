//! The cloud's part: commands that are signed, numbered and delivered in the order of their lanes.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{
    CancelCommand, Command, DeleteGrant, Delivery, EncodeCredential, GrantMethod, KeyOperation, Medium, PutGrant,
    UnlockEntrance, User, command::Body,
};
use lockbridge_protocol::signed::command::{Audience, VERSION, mode_of, sign};
use tokio::time::Instant;

use super::{HOUR, START};
use crate::dispatch::work;

/// Signs and numbers commands, like the cloud.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    /// When the story began; wall time counts from here, over restarts too.
    pub(super) base: Instant,
    commands: u64,
    pub(super) deliveries: u64,
    pub(super) lanes: BTreeMap<String, u64>,
    pub(super) sent: Vec<(CommandId, Delivery)>,
}

pub(super) fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

pub(super) fn audience() -> Audience {
    let id = |last: u8| uuid::Uuid::from_bytes([last; 16]).to_string();
    Audience { workspace_id: id(1), site_id: id(2), bridge_id: id(3) }
}

impl Authority {
    pub(super) fn new() -> Self {
        Self { base: Instant::now(), commands: 0, deliveries: 0, lanes: BTreeMap::new(), sent: Vec::new() }
    }

    pub(super) fn now_ms(&self) -> i64 {
        START + i64::try_from(self.base.elapsed().as_millis()).expect("short tests")
    }

    fn lane_of(body: &Body) -> String {
        match body {
            Body::UnlockEntrance(unlock) => format!("entrance:{}", unlock.entrance_external_id),
            Body::CancelCommand(_) => "user:u1".into(),
            Body::RefreshInventory(_) | Body::RunDiagnostics(_) => "system".into(),
            Body::ScanCredential(scan) => format!("encoder:{}", scan.encoder_external_id),
            other => format!("user:{}", work::user_of(other).unwrap_or("u1")),
        }
    }

    /// The next command of its lane, as a delivery.
    pub(super) fn command(&mut self, body: Body, change: impl FnOnce(&mut Command)) -> (CommandId, Delivery) {
        let lane = Self::lane_of(&body);
        let now_ms = self.now_ms();
        let sequence = self.lanes.entry(lane.clone()).or_default();
        *sequence += 1;
        self.deliveries += 1;
        let mut id = [0x40; 16];
        self.commands += 1;
        id[..8].copy_from_slice(&self.commands.to_be_bytes());
        let interactive = mode_of(&body) == lockbridge_protocol::proto::tunnel::Mode::Interactive;
        let mut command = Command {
            version: VERSION,
            command_id: id.to_vec(),
            authority_key_id: lockbridge_protocol::signed::key_id(signing_key().verifying_key().as_bytes()),
            workspace_id: audience().workspace_id,
            site_id: audience().site_id,
            bridge_id: audience().bridge_id,
            lock_system: "tower".into(),
            lane,
            lane_sequence: *sequence,
            mode: mode_of(&body) as i32,
            not_before_ms: now_ms,
            expires_at_ms: now_ms + if interactive { 120_000 } else { 24 * HOUR },
            body: Some(body),
            ..Command::default()
        };
        change(&mut command);
        let id = CommandId::from_bytes(&command.command_id).expect("16 bytes");
        let delivery = Delivery { delivery_sequence: self.deliveries, command: Some(sign(&signing_key(), &command)) };
        self.sent.push((id, delivery.clone()));
        (id, delivery)
    }
}

pub(super) fn grant(user: &str, doors: &[&str]) -> Body {
    Body::PutGrant(PutGrant {
        grant_id: format!("grant-{user}"),
        revision: 1,
        user: Some(User { user_id: user.into(), full_name: format!("Guest {user}"), ..User::default() }),
        entrance_external_ids: doors.iter().map(|door| (*door).to_owned()).collect(),
        starts_at_ms: START,
        ends_at_ms: START + 48 * HOUR,
        methods: vec![GrantMethod {
            access_method_id: format!("method-{user}"),
            credential_id: format!("credential-{user}"),
            medium: Medium::Card as i32,
        }],
        reservation_key: String::new(),
    })
}

pub(super) fn encode(user: &str) -> Body {
    Body::EncodeCredential(EncodeCredential {
        credential_id: format!("credential-{user}"),
        user_id: user.into(),
        encoder_external_id: "desk".into(),
        operation: KeyOperation::AssignNew as i32,
    })
}

pub(super) fn delete_grant(user: &str) -> Body {
    Body::DeleteGrant(DeleteGrant { grant_id: format!("grant-{user}"), user_id: user.into() })
}

pub(super) fn unlock(door: &str) -> Body {
    Body::UnlockEntrance(UnlockEntrance { entrance_external_id: door.into() })
}

pub(super) fn cancel(target: CommandId) -> Body {
    Body::CancelCommand(CancelCommand { command_id: target.0.to_vec() })
}
