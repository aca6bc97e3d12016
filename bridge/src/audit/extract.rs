//! What an entry says, for people and scripts: only what may be read without the state key.

use data_encoding::HEXLOWER;
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Entry, Fact, Received, entry::Body};
use lockbridge_protocol::proto::tunnel::{AuditCheckpoint, CommandState, Signed};
use prost::Message;
use serde_json::{Map, Value, json};

/// Version of the texts; another version may say the same with other words.
pub(super) const TEXT_VERSION: u32 = 1;

/// The readable part of an entry as a JSON object with a `kind`.
pub fn extract(entry: Option<&Entry>) -> Value {
    let Some(body) = entry.and_then(|entry| entry.body.as_ref()) else { return json!({ "kind": "unknown" }) };
    match body {
        Body::Started(it) => json!({
            "kind": "started", "starts": it.boot_counter, "version": it.software_version, "bridge_id": it.bridge_id,
        }),
        Body::Stopped(_) => json!({ "kind": "stopped" }),
        Body::SessionOpened(it) => json!({ "kind": "session_opened", "epoch": it.epoch }),
        Body::Received(it) => received(it),
        Body::Intent(it) => json!({
            "kind": "intent", "command_id": command(&it.command_id), "attempt": it.attempt, "class": class(it.class),
            "device": it.device, "report": it.report_sequence,
        }),
        Body::Outcome(it) => json!({
            "kind": "outcome", "command_id": command(&it.command_id), "attempt": it.attempt, "state": state(it.state),
            "error": it.error_code, "report": it.report_sequence, "facts": facts(&it.facts),
        }),
        Body::Requeued(it) => json!({
            "kind": "requeued", "command_id": command(&it.command_id), "attempt": it.attempt, "error": it.error_code,
            "uncertain": it.uncertain,
        }),
        Body::Resolved(it) => json!({
            "kind": "resolved", "command_id": command(&it.command_id), "state": state(it.state), "means": it.means,
            "who": it.who, "compensation": command(&it.compensation_command_id), "report": it.report_sequence,
        }),
        Body::Reported(it) => json!({
            "kind": "reported", "what": it.kind, "lock_system": it.lock_system, "report": it.report_sequence,
            "signed": !it.signed_checkpoint.is_empty(), "facts": facts(&it.facts),
        }),
        Body::ReportsAcknowledged(it) => json!({ "kind": "reports_acknowledged", "through": it.through }),
        Body::PolicyLoaded(it) => json!({
            "kind": "policy_loaded", "version": it.version, "hash": HEXLOWER.encode(&it.hash),
        }),
        Body::BrakeChanged(it) => json!({ "kind": "brake_changed", "on": it.on, "who": it.who }),
        Body::ClockJumped(it) => json!({ "kind": "clock_jumped", "from_ms": it.from_ms, "to_ms": it.to_ms }),
        Body::Witnessed(it) => {
            let checkpoint = Signed::decode(it.witness.as_slice())
                .and_then(|signed| AuditCheckpoint::decode(signed.payload.as_slice()))
                .unwrap_or_default();
            json!({ "kind": "witnessed", "through": checkpoint.journal_sequence, "report": it.report_sequence })
        }
        Body::LaneMarked(it) => json!({
            "kind": "lane_marked", "lock_system": it.lock_system, "lane": it.lane, "through": it.through,
        }),
        Body::IdentityInUse(it) => json!({
            "kind": "identity_in_use", "occasion": it.occasion, "audit_key": HEXLOWER.encode(&it.audit_public_key),
            "authority_keys": it.authority_public_keys.iter().map(|key| HEXLOWER.encode(key)).collect::<Vec<_>>(),
            "certificate": HEXLOWER.encode(&it.certificate_hash),
        }),
        Body::CommandsLost(it) => json!({
            "kind": "commands_lost", "deliveries": format!("{}-{}", it.first_delivery, it.last_delivery),
            "command_ids": it.commands.iter().map(|lost| command(&lost.command_id)).collect::<Vec<_>>(),
            "unknown": it.commands.iter().filter(|lost| lost.successor_id.is_empty())
                .filter(|lost| lost.state == CommandState::Abandoned as u32)
                .map(|lost| command(&lost.command_id)).collect::<Vec<_>>(),
        }),
        Body::QuarantineChanged(it) => json!({
            "kind": "quarantine_changed", "on": it.on, "reason": it.reason, "who": it.who, "incident": it.incident,
            "confirmed": it.confirmed, "released": it.released,
        }),
    }
}

/// The same as one line for people.
pub fn describe(entry: Option<&Entry>) -> String {
    let extract = extract(entry);
    let empty = Map::new();
    let fields = extract.as_object().unwrap_or(&empty).iter();
    let words = fields.filter(|(name, _)| *name != "kind").filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let tells = !(text.is_empty() || text == "[]" || text == "0");
        tells.then(|| format!("{name}={text}"))
    });
    let kind = extract["kind"].as_str().unwrap_or_default().to_owned();
    std::iter::once(kind).chain(words).collect::<Vec<_>>().join(" ")
}

fn received(it: &Received) -> Value {
    let decision = match (it.acknowledged_duplicate, it.rejection_code.as_str()) {
        (true, _) => "known already".to_owned(),
        (false, "") => "accepted".to_owned(),
        (false, code) => format!("rejected: {code}"),
    };
    json!({
        "kind": "received", "command_id": command(&it.command_id), "command_hash": HEXLOWER.encode(&it.command_hash),
        "decision": decision, "command": it.kind, "lock_system": it.lock_system, "lane": it.lane,
        "lane_sequence": it.lane_sequence, "delivery": it.delivery_sequence, "operator": it.operator,
        "report": it.report_sequence,
    })
}

fn facts(facts: &[Fact]) -> Vec<String> {
    facts.iter().map(|fact| format!("{} {}", fact.kind, fact.id)).collect()
}

fn command(id: &[u8]) -> String {
    CommandId::from_bytes(id).map(|id| id.to_string()).unwrap_or_default()
}

fn class(class: u32) -> &'static str {
    match class {
        1 => "R",
        2 => "Q",
        3 => "B",
        _ => "",
    }
}

fn state(state: u32) -> String {
    let state = i32::try_from(state).ok().and_then(|state| CommandState::try_from(state).ok()).unwrap_or_default();
    state.as_str_name().trim_start_matches("COMMAND_STATE_").to_lowercase()
}
