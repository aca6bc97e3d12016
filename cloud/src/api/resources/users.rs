use serde_json::{Value, json};

use super::user_identities::{email, phone};
use super::{Answer, Filter, Input, entrances, show};
use crate::api::conventions::ApiError;
use crate::api::conventions::page::LIMIT_DEFAULT;
use crate::model::users::{self, COLUMNS, Profile, User};
use crate::model::{ModelError, Scope, Work, grants, groups, identities, issues, systems, time};

const POSITION: usize = 18;

/// Reads `access_schedule`: `None` when absent; an omitted start means now, a null end none.
fn schedule(input: &Input, now_ms: i64) -> Option<(Option<i64>, Option<i64>)> {
    if !input.has("access_schedule") {
        return None;
    }
    let Some(schedule) = input.object("access_schedule") else { return Some((None, None)) };
    let starts_at = schedule.time("starts_at").unwrap_or(now_ms);
    let ends_at = schedule.time("ends_at");
    if ends_at.is_some_and(|ends_at| ends_at <= starts_at) {
        schedule.refuse("ends_at", "must be after starts_at");
    } else if ends_at.is_some_and(|ends_at| ends_at <= now_ms) {
        schedule.refuse("ends_at", "lies in the past");
    }
    input.adopt(&schedule);
    Some((Some(starts_at), ends_at))
}

/// The user a request names by `acs_user_id`, or by `user_identity_id` and `acs_system_id`.
fn named(scope: &Scope<'_>, input: &Input) -> Result<User, ApiError> {
    let (id, identity_id) = (input.text("acs_user_id"), input.text("user_identity_id"));
    if id.is_none() && identity_id.is_none() {
        input.refuse("acs_user_id", "is required (or user_identity_id and acs_system_id)");
    }
    input.check()?;
    if let Some(id) = id {
        return Ok(users::get(scope, &id)?);
    }
    let system_id = input.required("acs_system_id");
    input.check()?;
    let identity_id = identity_id.unwrap_or_default();
    identities::get(scope, &identity_id)?;
    let user = users::of_identity(scope, &systems::get(scope, &system_id)?, &identity_id)?;
    Ok(user.ok_or_else(|| ModelError::not_found("acs_user", &identity_id))?)
}

/// Like [`named`], and it may be changed.
pub(super) fn changeable(scope: &Scope<'_>, input: &Input) -> Result<User, ApiError> {
    Ok(users::live(scope, &named(scope, input)?.acs_user_id)?)
}

pub(crate) fn create(work: &Work<'_>, input: &Input) -> Answer {
    let system_id = input.required("acs_system_id");
    let (starts_at, ends_at) = schedule(input, work.now_ms).unwrap_or_default();
    let profile = Profile {
        full_name: input.required("full_name"),
        email_address: email(input),
        phone_number: phone(input),
        user_identity_id: input.text("user_identity_id"),
        starts_at,
        ends_at,
    };
    let group_ids = input.list("acs_access_group_ids").unwrap_or_default();
    input.check()?;
    let system = systems::get(work, &system_id)?;
    if let Some(identity_id) = &profile.user_identity_id {
        identities::get(work, identity_id)?;
        if let Some(user) = users::of_identity(work, &system, identity_id)? {
            let message = format!("acs_user {} of this system stands for that person already", user.acs_user_id);
            return Err(ModelError::refused("acs_user_already_exists", message).into());
        }
    }
    let user = users::create(work, &system, &profile)?;
    groups::add_members(work, &user, &group_ids)?;
    Ok(json!({"acs_user": document(work, &users::get(work, &user.acs_user_id)?)?}))
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    Ok(json!({"acs_user": document(scope, &named(scope, input)?)?}))
}

pub(crate) fn get_unmanaged(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_user_id");
    input.check()?;
    let user = users::any(scope, &id)?;
    if user.is_managed {
        return Err(ModelError::not_found("acs_user", &id).into());
    }
    Ok(json!({"acs_user": document(scope, &user)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    page(scope, input, true)
}

pub(crate) fn list_unmanaged(scope: &Scope<'_>, input: &Input) -> Answer {
    page(scope, input, false)
}

fn page(scope: &Scope<'_>, input: &Input, managed: bool) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.and("is_managed = ?", [i64::from(managed)]);
    filter.and_maybe("acs_system_id = ?", input.text("acs_system_id"));
    filter.and_maybe("user_identity_id = ?", input.text("user_identity_id"));
    filter.and_maybe("email_address = ?", input.text("user_identity_email_address"));
    filter.and_maybe("phone_number = ?", input.text("user_identity_phone_number"));
    filter.search("full_name", input.text("search"));
    let select = format!("SELECT {COLUMNS}, position FROM acs_user");
    let (rows, pagination) = filter.page(scope, input, (&select, "position", POSITION), LIMIT_DEFAULT, User::read)?;
    Ok(json!({"acs_users": show(scope, &rows, document)?, "pagination": pagination}))
}

pub(crate) fn update(work: &Work<'_>, input: &Input) -> Answer {
    let user = changeable(work, input)?;
    let mut profile = Profile::from(&user);
    if input.has("full_name") {
        profile.full_name = input.required("full_name");
    }
    if input.has("email_address") {
        profile.email_address = email(input);
    }
    if input.has("phone_number") {
        profile.phone_number = phone(input);
    }
    if let Some(window) = schedule(input, work.now_ms) {
        (profile.starts_at, profile.ends_at) = window;
    }
    input.check()?;
    users::update(work, &user, &profile)?;
    Ok(json!({}))
}

pub(crate) fn delete(work: &Work<'_>, input: &Input) -> Answer {
    users::delete(work, &named(work, input)?)?;
    Ok(json!({}))
}

pub(crate) fn suspend(work: &Work<'_>, input: &Input) -> Answer {
    users::suspend(work, &changeable(work, input)?, true)?;
    Ok(json!({}))
}

pub(crate) fn unsuspend(work: &Work<'_>, input: &Input) -> Answer {
    users::suspend(work, &changeable(work, input)?, false)?;
    Ok(json!({}))
}

pub(crate) fn add_to_access_group(work: &Work<'_>, input: &Input) -> Answer {
    let group_id = input.required("acs_access_group_id");
    groups::add_members(work, &changeable(work, input)?, &[group_id])?;
    Ok(json!({}))
}

pub(crate) fn remove_from_access_group(work: &Work<'_>, input: &Input) -> Answer {
    let group_id = input.required("acs_access_group_id");
    let user = changeable(work, input)?;
    groups::remove_member(work, &user, &groups::get(work, &group_id)?)?;
    Ok(json!({}))
}

pub(crate) fn list_accessible_entrances(scope: &Scope<'_>, input: &Input) -> Answer {
    let user = named(scope, input)?;
    Ok(json!({"acs_entrances": entrances::accessible_to(scope, &user.acs_user_id)?}))
}

pub(crate) fn revoke_access_to_all_entrances(work: &Work<'_>, input: &Input) -> Answer {
    let user = changeable(work, input)?;
    groups::remove_all(work, &user)?;
    grants::revoke_all_of_user(work, &user.acs_user_id)?;
    Ok(json!({}))
}

/// The resource as shown, also in lists of other resources.
pub(crate) fn document(scope: &Scope<'_>, user: &User) -> Result<Value, ModelError> {
    let system = systems::get(scope, &user.acs_system_id)?;
    let identity = match &user.user_identity_id {
        Some(id) => Some(identities::get(scope, id)?),
        None => None,
    };
    let schedule = user.starts_at.or(user.ends_at).map(|_| {
        json!({"starts_at": time::text(user.starts_at.unwrap_or(user.created_at)), "ends_at": time::optional_text(user.ends_at)})
    });
    let external_type = if system.kind == "salto_space" { "salto_space_user" } else { "acs_user" };
    let mut document = json!({
        "acs_user_id": user.acs_user_id,
        "acs_system_id": user.acs_system_id,
        "connected_account_id": system.connected_account_id,
        "workspace_id": user.workspace_id,
        "full_name": user.full_name,
        "display_name": user.full_name,
        "email": user.email_address,
        "email_address": user.email_address,
        "phone_number": user.phone_number,
        "external_type": external_type,
        "external_type_display_name": "User",
        "access_schedule": schedule,
        "is_suspended": user.is_suspended,
        "is_managed": user.is_managed,
        "user_identity_id": user.user_identity_id,
        "user_identity_full_name": identity.as_ref().and_then(|identity| identity.full_name.clone()),
        "user_identity_email_address": identity.as_ref().and_then(|identity| identity.email_address.clone()),
        "user_identity_phone_number": identity.as_ref().and_then(|identity| identity.phone_number.clone()),
        "salto_space_metadata": {"user_id": user.external_id},
        "last_successful_sync_at": time::optional_text(user.synced_at),
        "created_at": time::text(user.created_at),
    });
    issues::render(scope, &user.acs_user_id, &mut document)?;
    Ok(document)
}
