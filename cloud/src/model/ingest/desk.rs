//! What the property software at the site asked of its bridge, without the cloud: shown as events, with the time of the site.
//!
//! Such keys are no resources here: the property software owns its stays, and the bridge keeps them.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, CommandUpdate, DeskAct, DeskOrder, LocalOrigin};
use serde_json::json;

use super::system_id;
use crate::model::{ModelError, Work, events, sql, time};

/// Stores an event for each end of an order, and for its doubt. Preparing steps are not told.
pub(super) fn told(
    work: &Work<'_>,
    bridge_id: &str,
    update: &CommandUpdate,
    local: &LocalOrigin,
    order: &DeskOrder,
    occurred_at: i64,
) -> Result<(), ModelError> {
    let Some(action) = action(local, order) else { return Ok(()) };
    let Some(outcome) = outcome(update.state()) else { return Ok(()) };
    let Some(command_id) = CommandId::from_bytes(&update.command_id) else { return Ok(()) };
    let Some(system) = system_id(work, bridge_id, &local.lock_system)? else { return Ok(()) };
    let mut entrances = Vec::with_capacity(order.entrance_external_ids.len());
    for external_id in &order.entrance_external_ids {
        let query = "SELECT acs_entrance_id FROM acs_entrance WHERE acs_system_id = ?1 AND external_id = ?2";
        entrances.extend(sql::texts(work.connection, query, (&system, external_id))?);
    }
    let evidence = update.evidence.clone().unwrap_or_default();
    let error = update.error.clone().unwrap_or_default();
    let moment = |at: i64| time::optional_text(Some(at).filter(|at| *at > 0));
    let present = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let payload = json!({
        "acs_system_id": system,
        "front_desk": order.desk,
        "action": action,
        "outcome": outcome,
        "room": present(&order.room),
        "reservation": present(&order.reservation),
        "acs_entrance_ids": entrances,
        "encoder_external_id": present(&order.encoder_external_id),
        "starts_at": moment(order.starts_at_ms),
        "ends_at": moment(order.ends_at_ms),
        "asked_at": moment(order.asked_at_ms),
        "card_number": present(&evidence.card_number),
        "error_code": present(&error.code),
        "error_message": present(&error.message),
    });
    let source = format!("front_desk:{command_id}:{outcome}");
    events::emit_once(work, "lockbridge.front_desk", occurred_at, &payload, Some(&source))
}

fn action(local: &LocalOrigin, order: &DeskOrder) -> Option<&'static str> {
    match (local.kind.as_str(), order.act()) {
        ("encode_credential", DeskAct::NewKey) => Some("new_key"),
        ("encode_credential", DeskAct::DuplicateKey) => Some("duplicate_key"),
        ("put_grant", DeskAct::ChangeKeys) => Some("key_changed"),
        ("delete_user", _) => Some("key_ended"),
        ("scan_credential", _) => Some("key_read"),
        _ => None,
    }
}

fn outcome(state: CommandState) -> Option<&'static str> {
    match state {
        CommandState::Unspecified | CommandState::Executing => None,
        CommandState::Succeeded => Some("succeeded"),
        CommandState::InDoubt => Some("in_doubt"),
        CommandState::Abandoned => Some("abandoned"),
        CommandState::Failed
        | CommandState::Rejected
        | CommandState::Expired
        | CommandState::Superseded
        | CommandState::Cancelled => Some("failed"),
    }
}
