use serde_json::json;

use super::{Answer, Filter, Input, entrances, show};
use crate::api::conventions::ApiError;
use crate::api::conventions::page::LIMIT_DEFAULT;
use crate::model::credentials::{self, COLUMNS, Credential, document};
use crate::model::users::{self, Profile, User};
use crate::model::{ModelError, Scope, Work, identities, systems};

/// The holder a request names: `acs_user_id`, or `user_identity_id` at a system, where the user is made if needed.
fn holder(work: &Work<'_>, input: &Input, acs_system_id: Option<String>) -> Result<User, ApiError> {
    let (id, identity_id) = (input.text("acs_user_id"), input.text("user_identity_id"));
    if id.is_some() == identity_id.is_some() {
        input.refuse("acs_user_id", "give exactly one of acs_user_id and user_identity_id");
    }
    if identity_id.is_some() && acs_system_id.is_none() {
        input.refuse("acs_system_id", "is required together with user_identity_id");
    }
    input.check()?;
    match (id, identity_id, acs_system_id) {
        (Some(id), ..) => Ok(users::live(work, &id)?),
        (None, Some(identity_id), Some(system_id)) => {
            let identity = identities::get(work, &identity_id)?;
            let system = systems::get(work, &system_id)?;
            if let Some(user) = users::of_identity(work, &system, &identity_id)? {
                return Ok(user);
            }
            let user = users::for_identity(work, &system, &identity)?;
            if user.synced_at.is_none() {
                users::announce(work, &system, &user)?;
            }
            Ok(user)
        }
        _ => Err(ApiError::field("acs_user_id", "is required")),
    }
}

pub(crate) fn create(work: &Work<'_>, input: &Input) -> Answer {
    let mode = input.required("access_method");
    match mode.as_str() {
        "" | "card" => {}
        "mobile_key" if input.flag("is_multi_phone_sync_credential") == Some(true) => {}
        "mobile_key" => input.refuse("is_multi_phone_sync_credential", "must be true for mobile keys of this system"),
        "code" | "cloud_key" => {
            input.refuse("access_method", format!("{mode} credentials are not offered by this system"));
        }
        _ => input.refuse("access_method", "must be one of code, card, mobile_key, cloud_key"),
    }
    if input.list("allowed_acs_entrance_ids").is_some_and(|ids| !ids.is_empty()) {
        let message = "this system keeps rights on the user, not on the credential; use access groups or access grants";
        input.refuse("allowed_acs_entrance_ids", message);
    }
    for field in ["starts_at", "ends_at"] {
        if input.time(field).is_some() {
            let message = "this system keeps validity on the user; set the access_schedule of the acs_user";
            input.refuse(field, message);
        }
    }
    let user = holder(work, input, input.text("acs_system_id"))?;
    let system = systems::get(work, &user.acs_system_id)?;
    if mode == "mobile_key" && user.phone_number.is_none() {
        return Err(ApiError::field("acs_user_id", "the user needs a phone_number for a mobile key"));
    }
    let credential = credentials::create(work, &system, &user, &mode)?;
    Ok(json!({"acs_credential": document(work, &credential)?}))
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_credential_id");
    input.check()?;
    Ok(json!({"acs_credential": document(scope, &credentials::get(scope, &id)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.and_maybe("acs_system_id = ?", input.text("acs_system_id"));
    filter.and_maybe("acs_user_id = ?", input.text("acs_user_id"));
    let person = "acs_user_id IN (SELECT acs_user_id FROM acs_user WHERE user_identity_id = ?)";
    filter.and_maybe(person, input.text("user_identity_id"));
    filter.and_maybe("access_method = ?", input.text("access_method"));
    if let Some(multi) = input.flag("is_multi_phone_sync_credential") {
        filter.and("(access_method = 'mobile_key') = ?", [i64::from(multi)]);
    }
    let select = format!("SELECT {COLUMNS}, position FROM acs_credential");
    let (rows, pagination) = filter.page(scope, input, (&select, "position", 15), LIMIT_DEFAULT, Credential::read)?;
    Ok(json!({"acs_credentials": show(scope, &rows, document)?, "pagination": pagination}))
}

/// The end of a credential is the end of its holder's schedule, as long as no grant has a say in it.
pub(crate) fn update(work: &Work<'_>, input: &Input) -> Answer {
    let id = input.required("acs_credential_id");
    if input.text("code").is_some() {
        input.refuse("code", "only code credentials have a code");
    }
    let ends_at = input.has("ends_at").then(|| input.time("ends_at"));
    input.check()?;
    let credential = credentials::get(work, &id)?;
    let Some(ends_at) = ends_at else { return Ok(json!({})) };
    if credential.made_by_grant {
        return Err(ApiError::field("ends_at", "this credential follows its access grants; update their ends_at"));
    }
    let Some(user_id) = &credential.acs_user_id else {
        return Err(ApiError::field("ends_at", "this credential has no acs_user whose schedule could end"));
    };
    let user = users::live(work, user_id)?;
    let starts_at = user.starts_at.unwrap_or(work.now_ms);
    if ends_at.is_some_and(|ends_at| ends_at <= starts_at.max(work.now_ms)) {
        return Err(ApiError::field("ends_at", "must be after the start and in the future"));
    }
    users::update(work, &user, &Profile { starts_at: Some(starts_at), ends_at, ..Profile::from(&user) })?;
    Ok(json!({}))
}

pub(crate) fn delete(work: &Work<'_>, input: &Input) -> Answer {
    let id = input.required("acs_credential_id");
    input.check()?;
    credentials::delete(work, &credentials::get(work, &id)?)?;
    Ok(json!({}))
}

fn changeable(work: &Work<'_>, input: &Input) -> Result<Credential, ApiError> {
    let id = input.required("acs_credential_id");
    input.check()?;
    let credential = credentials::get(work, &id)?;
    if credential.deleting {
        let message = format!("credential {id} is being deleted");
        return Err(ModelError::refused("credential_deleted", message).into());
    }
    Ok(credential)
}

pub(crate) fn assign(work: &Work<'_>, input: &Input) -> Answer {
    let credential = changeable(work, input)?;
    let user = holder(work, input, Some(credential.acs_system_id.clone()))?;
    credentials::assign(work, &credential, &user)?;
    Ok(json!({}))
}

pub(crate) fn unassign(work: &Work<'_>, input: &Input) -> Answer {
    let credential = changeable(work, input)?;
    let (user_id, identity_id) = (input.text("acs_user_id"), input.text("user_identity_id"));
    input.check()?;
    if let Some(id) = &credential.acs_user_id {
        let user = users::get(work, id)?;
        let other_user = user_id.is_some_and(|given| given != user.acs_user_id);
        if other_user || identity_id.is_some_and(|given| Some(given) != user.user_identity_id) {
            return Err(ApiError::field("acs_user_id", "the credential does not belong to that user"));
        }
    }
    credentials::unassign(work, &credential)?;
    Ok(json!({}))
}

pub(crate) fn list_accessible_entrances(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_credential_id");
    input.check()?;
    let credential = credentials::get(scope, &id)?;
    let user_id = credential.acs_user_id.unwrap_or_default();
    Ok(json!({"acs_entrances": entrances::accessible_to(scope, &user_id)?}))
}
