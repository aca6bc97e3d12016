use serde_json::{Value, json};

use super::{Answer, Filter, Input, show, user_identities};
use crate::api::conventions::ApiError;
use crate::api::conventions::page::LIMIT_DEFAULT;
use crate::model::grants::{self, COLUMNS, Grant, NewGrant};
use crate::model::{ModelError, Scope, Work, identities, issues, spaces, sql, time};

const MODES: [&str; 4] = ["card", "mobile_key", "code", "cloud_key"];

pub(crate) fn create(work: &Work<'_>, input: &Input) -> Answer {
    let identity_id = input.text("user_identity_id");
    let inline = input.object("user_identity");
    let person = inline.as_ref().map(user_identities::person);
    if let Some(inline) = &inline {
        input.adopt(inline);
    }
    if identity_id.is_some() == inline.is_some() {
        input.refuse("user_identity_id", "give exactly one of user_identity_id and user_identity");
    }
    let mut new = NewGrant {
        access_grant_key: input.text("access_grant_key"),
        name: input.text("name"),
        reservation_key: input.text("reservation_key"),
        customer_key: input.text("customer_key"),
        space_ids: input.list("space_ids").unwrap_or_default(),
        acs_entrance_ids: input.list("acs_entrance_ids").unwrap_or_default(),
        modes: modes(input),
        starts_at: input.time("starts_at").unwrap_or(work.now_ms),
        ends_at: input.time("ends_at"),
        ..NewGrant::default()
    };
    let space_keys = input.list("space_keys").unwrap_or_default();
    if input.list("device_ids").is_some_and(|ids| !ids.is_empty()) {
        input.refuse("device_ids", "this server knows entrances only; use acs_entrance_ids");
    }
    if new.space_ids.is_empty() && new.acs_entrance_ids.is_empty() && space_keys.is_empty() {
        input.refuse("acs_entrance_ids", "give at least one of acs_entrance_ids, space_ids and space_keys");
    }
    input.check()?;
    for key in space_keys {
        new.space_ids.push(spaces::by_key(work, &key)?.space_id);
    }
    new.user_identity_id = match (identity_id, person) {
        (Some(id), _) => id,
        (None, person) => identities::create(work, &person.unwrap_or_default())?.user_identity_id,
    };
    let grant = grants::create(work, &new)?;
    Ok(json!({"access_grant": document(work, &grant)?}))
}

fn modes(input: &Input) -> Vec<String> {
    let Some(requested) = input.objects("requested_access_methods").filter(|requested| !requested.is_empty()) else {
        input.refuse("requested_access_methods", "is required: a list of objects with a mode");
        return Vec::new();
    };
    let mut modes = Vec::new();
    for method in &requested {
        let mode = method.required("mode");
        let known = MODES.contains(&mode.as_str());
        if !mode.is_empty() && !known {
            method.refuse("mode", format!("must be one of {}", MODES.join(", ")));
        }
        if let Some(code) = method.text("code") {
            if mode != "code" {
                method.refuse("code", "only the mode `code` takes a code");
            } else if !(4..=9).contains(&code.len()) || !code.bytes().all(|digit| digit.is_ascii_digit()) {
                method.refuse("code", "must be 4 to 9 digits");
            }
        }
        if known && modes.contains(&mode) {
            method.refuse("mode", "is requested twice; a person has one of each kind at a lock system");
        }
        input.adopt(method);
        modes.push(mode);
    }
    modes
}

fn named(scope: &Scope<'_>, input: &Input) -> Result<Grant, ApiError> {
    let (id, key) = (input.text("access_grant_id"), input.text("access_grant_key"));
    if id.is_none() && key.is_none() {
        input.refuse("access_grant_id", "is required (or access_grant_key)");
    }
    input.check()?;
    match (id, key) {
        (Some(id), _) => Ok(grants::get(scope, &id)?),
        (None, key) => Ok(grants::by_key(scope, &key.unwrap_or_default())?),
    }
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    Ok(json!({"access_grant": document(scope, &named(scope, input)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.within("access_grant_id", input.list("access_grant_ids"));
    filter.and_maybe("access_grant_key = ?", input.text("access_grant_key"));
    filter.and_maybe("user_identity_id = ?", input.text("user_identity_id"));
    filter.and_maybe("reservation_key = ?", input.text("reservation_key"));
    filter.and_maybe("customer_key = ?", input.text("customer_key"));
    let by_door = "access_grant_id IN (SELECT access_grant_id FROM grant_door WHERE acs_entrance_id = ? AND NOT lost)";
    filter.and_maybe(by_door, input.text("acs_entrance_id"));
    let by_system = "access_grant_id IN (SELECT access_grant_id FROM grant_part WHERE acs_system_id = ?)";
    filter.and_maybe(by_system, input.text("acs_system_id"));
    let by_space =
        "access_grant_id IN (SELECT access_grant_id FROM access_grant_target WHERE kind = 'space' AND target_id = ?)";
    filter.and_maybe(by_space, input.text("space_id"));
    let select = format!("SELECT {COLUMNS}, position FROM access_grant");
    let (rows, pagination) = filter.page(scope, input, (&select, "position", 11), LIMIT_DEFAULT, Grant::read)?;
    Ok(json!({"access_grants": show(scope, &rows, document)?, "pagination": pagination}))
}

pub(crate) fn update(work: &Work<'_>, input: &Input) -> Answer {
    let name = input.change("name");
    let starts_at = input.time("starts_at");
    let ends_at = input.has("ends_at").then(|| input.time("ends_at"));
    let grant = named(work, input)?;
    if let Some(name) = name {
        grants::update_name(work, &grant, name.as_deref())?;
    }
    let starts_at = starts_at.unwrap_or(grant.starts_at);
    grants::update_times(work, &grant, starts_at, ends_at.unwrap_or(grant.ends_at))?;
    Ok(json!({}))
}

pub(crate) fn delete(work: &Work<'_>, input: &Input) -> Answer {
    grants::delete(work, &named(work, input)?)?;
    Ok(json!({}))
}

fn document(scope: &Scope<'_>, grant: &Grant) -> Result<Value, ModelError> {
    let id = &grant.access_grant_id;
    let space_ids = sql::texts(
        scope.connection,
        "SELECT target_id FROM access_grant_target WHERE access_grant_id = ?1 AND kind = 'space' ORDER BY target_id",
        [id],
    )?;
    let methods = sql::all(
        scope.connection,
        "SELECT access_method_id, mode, acs_user_id FROM access_method WHERE access_grant_id = ?1 ORDER BY position",
        [id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
    )?;
    let requested = sql::all(
        scope.connection,
        "SELECT mode, created_at FROM requested_method WHERE access_grant_id = ?1 ORDER BY ordinal",
        [id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let requested: Vec<Value> = requested
        .into_iter()
        .map(|(mode, created_at)| {
            let created: Vec<&String> = methods.iter().filter(|(_, of)| *of == mode).map(|(id, _)| id).collect();
            json!({
                "display_name": mode,
                "mode": mode,
                "created_at": time::text(created_at),
                "created_access_method_ids": created,
            })
        })
        .collect();
    let method_ids: Vec<&String> = methods.iter().map(|(id, _)| id).collect();
    let name = grant.name.clone().unwrap_or_else(|| "Access grant".to_owned());
    let mut document = json!({
        "access_grant_id": id,
        "access_grant_key": grant.access_grant_key,
        "workspace_id": grant.workspace_id,
        "user_identity_id": grant.user_identity_id,
        "name": grant.name,
        "display_name": name,
        "customer_key": grant.customer_key,
        "reservation_key": grant.reservation_key,
        "starts_at": time::text(grant.starts_at),
        "ends_at": time::optional_text(grant.ends_at),
        "space_ids": space_ids,
        "location_ids": space_ids,
        "requested_access_methods": requested,
        "access_method_ids": method_ids,
        "created_at": time::text(grant.created_at),
    });
    issues::render(scope, id, &mut document)?;
    Ok(document)
}
