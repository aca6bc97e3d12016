use serde_json::{Value, json};

use super::{Answer, Filter, Input, encoders, entrances, show};
use crate::api::conventions::ApiError;
use crate::model::methods::{self, Method, QUERY};
use crate::model::{ModelError, Scope, Work, attempts, credentials, grants, issues, sql, time};

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("access_method_id");
    input.check()?;
    Ok(json!({"access_method": document(scope, &methods::get(scope, &id)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "m.");
    filter.and_maybe("m.access_grant_id = ?", input.text("access_grant_id"));
    let by_key = "m.access_grant_id IN (SELECT access_grant_id FROM access_grant WHERE access_grant_key = ?)";
    filter.and_maybe(by_key, input.text("access_grant_key"));
    let by_door =
        "EXISTS (SELECT 1 FROM grant_door d WHERE d.acs_entrance_id = ? AND d.access_grant_id = m.access_grant_id
                   AND d.acs_system_id = m.acs_system_id AND NOT d.lost)";
    filter.and_maybe(by_door, input.text("acs_entrance_id"));
    let by_space = "m.access_grant_id IN (SELECT access_grant_id FROM access_grant_target WHERE target_id = ?)";
    filter.and_maybe(by_space, input.text("space_id"));
    filter.within("m.access_method_id", input.list("access_method_ids"));
    input.check()?;
    let rows = filter.all(scope, QUERY, "m.position", Method::read)?;
    Ok(json!({"access_methods": show(scope, &rows, document)?}))
}

pub(crate) fn delete(work: &Work<'_>, input: &Input) -> Answer {
    let method_id = input.text("access_method_id");
    let grant_id = input.text("access_grant_id");
    let reservation_key = input.text("reservation_key");
    if [&method_id, &grant_id, &reservation_key].into_iter().flatten().count() != 1 {
        let message = "give exactly one of access_method_id, access_grant_id and reservation_key";
        input.refuse("access_method_id", message);
    }
    input.check()?;
    let doomed: Vec<Method> = if let Some(id) = method_id {
        vec![methods::get(work, &id)?]
    } else if let Some(id) = grant_id {
        methods::of_grant(work, &grants::get(work, &id)?.access_grant_id)?
    } else {
        let mut filter = Filter::workspace(work, "m.");
        let by_key = "m.access_grant_id IN (SELECT access_grant_id FROM access_grant WHERE reservation_key = ?)";
        filter.and_maybe(by_key, reservation_key);
        filter.all(work, QUERY, "m.position", Method::read)?
    };
    for method in doomed.iter().filter(|method| !method.deleting) {
        grants::delete_method(work, method)?;
    }
    Ok(json!({}))
}

/// The card credential of a method that is on offer for an encoder.
pub(crate) fn card_of(work: &Work<'_>, method: &Method) -> Result<String, ApiError> {
    let id = &method.access_method_id;
    let Some(credential_id) = method.acs_credential_id.as_ref().filter(|_| method.mode == "card") else {
        return Err(ApiError::field("access_method_id", format!("a {} has no card to write", method.mode)));
    };
    let grant = grants::get(work, &method.access_grant_id)?;
    if grant.has_ended(work.now_ms) {
        let message = "its access grant has ended; extend the grant first";
        return Err(ApiError::field("access_method_id", message));
    }
    if method.is_encoding_required() && !method.at_server {
        let message = format!(
            "access method {id} is not ready for encoding: the lock server does not hold its rights yet; wait for \
             is_ready_for_encoding"
        );
        return Err(ModelError::refused("access_method_not_ready_for_encoding", message).into());
    }
    Ok(credential_id.clone())
}

pub(crate) fn encode(work: &Work<'_>, input: &Input) -> Answer {
    let (method_id, encoder_id) = (input.required("access_method_id"), input.required("acs_encoder_id"));
    input.check()?;
    let method = methods::get(work, &method_id)?;
    let encoder = encoders::device(work, &encoder_id)?;
    if encoder.acs_system_id != method.acs_system_id {
        return Err(ApiError::field("acs_encoder_id", "the encoder is of another acs_system than the access method"));
    }
    let credential = credentials::get(work, &card_of(work, &method)?)?;
    let attempt = attempts::encode(work, &encoder, &credential)?;
    Ok(json!({"action_attempt": attempt.document(work.now_ms)?}))
}

pub(crate) fn assign_card(work: &Work<'_>, input: &Input) -> Answer {
    let (method_id, card_number) = (input.required("access_method_id"), input.required("card_number"));
    if !card_number.is_empty()
        && (card_number.len() > 32 || !card_number.bytes().all(|digit| digit.is_ascii_hexdigit()))
    {
        input.refuse("card_number", "must be the chip serial in hexadecimal, at most 32 digits");
    }
    input.check()?;
    let method = methods::get(work, &method_id)?;
    let credential = credentials::get(work, &card_of(work, &method)?)?;
    let attempt = attempts::assign_card(work, &credential, &card_number.to_ascii_uppercase())?;
    Ok(json!({"action_attempt": attempt.document(work.now_ms)?}))
}

pub(crate) fn unlock_door(work: &Work<'_>, input: &Input) -> Answer {
    let (method_id, entrance_id) = (input.required("access_method_id"), input.required("acs_entrance_id"));
    input.check()?;
    let method = methods::get(work, &method_id)?;
    let grant = grants::get(work, &method.access_grant_id)?;
    let device = entrances::to_unlock(work, &entrance_id)?;
    let query =
        "SELECT 1 FROM grant_door WHERE access_grant_id = ?1 AND acs_entrance_id = ?2 AND NOT lost AND NOT missing";
    let message = if method.deleting || !method.is_issued {
        "is not issued"
    } else if grant.starts_at > work.now_ms || grant.has_ended(work.now_ms) {
        "its access grant does not hold at this time"
    } else if !sql::exists(work.connection, query, (&method.access_grant_id, &entrance_id))? {
        "its access grant does not open that entrance"
    } else {
        let attempt = attempts::unlock(work, &device)?;
        return Ok(json!({"action_attempt": attempt.document(work.now_ms)?}));
    };
    Err(ApiError::field("access_method_id", message))
}

fn document(scope: &Scope<'_>, method: &Method) -> Result<Value, ModelError> {
    let display_name = match method.mode.as_str() {
        "card" => "Card",
        "mobile_key" => "Mobile key",
        "cloud_key" => "Cloud key",
        other => other,
    };
    let mut document = json!({
        "access_method_id": method.access_method_id,
        "workspace_id": method.workspace_id,
        "access_grant_ids": [method.access_grant_id],
        "acs_system_id": method.acs_system_id,
        "acs_credential_id": method.acs_credential_id,
        "display_name": display_name,
        "mode": method.mode,
        "is_issued": method.is_issued,
        "issued_at": time::optional_text(method.issued_at),
        "is_encoding_required": method.is_encoding_required(),
        "is_ready_for_encoding": method.is_ready_for_encoding(),
        "is_assignment_required": false,
        "is_ready_for_assignment": false,
        "code": null,
        "created_at": time::text(method.created_at),
    });
    issues::render(scope, &method.access_method_id, &mut document)?;
    Ok(document)
}
