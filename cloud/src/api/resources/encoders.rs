use rusqlite::Row;
use serde_json::{Value, json};

use super::{Answer, Filter, Input, show};
use crate::api::conventions::ApiError;
use crate::api::conventions::page::LIMIT_DEFAULT;
use crate::model::attempts::{self, Device};
use crate::model::{ModelError, Scope, Work, credentials, identities, methods, sql, systems, time, users};

struct Encoder {
    device: Device,
    display_name: String,
    created_at: i64,
    connected_account_id: String,
}

const SELECT: &str = "SELECT e.acs_encoder_id, e.acs_system_id, e.external_id, e.display_name, e.created_at, \
                      s.connected_account_id, e.position FROM acs_encoder e JOIN acs_system s USING (acs_system_id)";

fn read(row: &Row<'_>) -> rusqlite::Result<Encoder> {
    Ok(Encoder {
        device: Device { id: row.get(0)?, acs_system_id: row.get(1)?, external_id: row.get(2)? },
        display_name: row.get(3)?,
        created_at: row.get(4)?,
        connected_account_id: row.get(5)?,
    })
}

fn find(scope: &Scope<'_>, id: &str) -> Result<Encoder, ModelError> {
    let query = format!("{SELECT} WHERE e.acs_encoder_id = ?1 AND e.workspace_id = ?2 AND e.removed_at IS NULL");
    sql::one(scope.connection, &query, (id, scope.workspace_id), read)?
        .ok_or_else(|| ModelError::not_found("acs_encoder", id))
}

/// The encoder a request names, as a device.
pub(crate) fn device(scope: &Scope<'_>, id: &str) -> Result<Device, ModelError> {
    Ok(find(scope, id)?.device)
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_encoder_id");
    input.check()?;
    Ok(json!({"acs_encoder": document(scope, &find(scope, &id)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "e.");
    filter.and("e.removed_at IS NULL", [] as [String; 0]);
    filter.and_maybe("e.acs_system_id = ?", input.text("acs_system_id"));
    filter.within("e.acs_system_id", input.list("acs_system_ids"));
    filter.within("e.acs_encoder_id", input.list("acs_encoder_ids"));
    let (rows, pagination) = filter.page(scope, input, (SELECT, "e.position", 6), LIMIT_DEFAULT, read)?;
    Ok(json!({"acs_encoders": show(scope, &rows, document)?, "pagination": pagination}))
}

pub(crate) fn encode_credential(work: &Work<'_>, input: &Input) -> Answer {
    let encoder_id = input.required("acs_encoder_id");
    let credential_id = input.text("acs_credential_id");
    let method_id = input.text("access_method_id");
    if credential_id.is_some() == method_id.is_some() {
        input.refuse("acs_credential_id", "give exactly one of acs_credential_id and access_method_id");
    }
    input.check()?;
    let encoder = device(work, &encoder_id)?;
    let credential_id = match (credential_id, method_id) {
        (Some(id), _) => id,
        (None, Some(id)) => super::access_methods::card_of(work, &methods::get(work, &id)?)?,
        (None, None) => return Err(ApiError::field("acs_credential_id", "is required")),
    };
    let attempt = attempts::encode(work, &encoder, &credentials::get(work, &credential_id)?)?;
    Ok(json!({"action_attempt": attempt.document(work.now_ms)?}))
}

pub(crate) fn scan_credential(work: &Work<'_>, input: &Input) -> Answer {
    let encoder_id = input.required("acs_encoder_id");
    input.check()?;
    let attempt = attempts::scan(work, &device(work, &encoder_id)?)?;
    Ok(json!({"action_attempt": attempt.document(work.now_ms)?}))
}

pub(crate) fn scan_to_assign_credential(work: &Work<'_>, input: &Input) -> Answer {
    let encoder_id = input.required("acs_encoder_id");
    let user_id = input.text("acs_user_id");
    let identity_id = input.text("user_identity_id");
    if user_id.is_some() == identity_id.is_some() {
        input.refuse("acs_user_id", "give exactly one of acs_user_id and user_identity_id");
    }
    input.check()?;
    let encoder = device(work, &encoder_id)?;
    let user = match (user_id, identity_id) {
        (Some(id), _) => users::live(work, &id)?,
        (None, identity_id) => {
            let identity_id = identity_id.unwrap_or_default();
            identities::get(work, &identity_id)?;
            let user = users::of_identity(work, &systems::get(work, &encoder.acs_system_id)?, &identity_id)?;
            user.ok_or_else(|| ModelError::not_found("acs_user", &identity_id))?
        }
    };
    let attempt = attempts::scan_to_assign(work, &encoder, &user)?;
    Ok(json!({"action_attempt": attempt.document(work.now_ms)?}))
}

#[expect(clippy::unnecessary_wraps, reason = "lists show every resource through the same signature")]
fn document(scope: &Scope<'_>, encoder: &Encoder) -> Result<Value, ModelError> {
    Ok(json!({
        "acs_encoder_id": encoder.device.id,
        "acs_system_id": encoder.device.acs_system_id,
        "connected_account_id": encoder.connected_account_id,
        "workspace_id": scope.workspace_id,
        "display_name": encoder.display_name,
        "errors": [],
        "created_at": time::text(encoder.created_at),
    }))
}
