use serde_json::{Value, json};

use super::{Answer, Filter, Input, show};
use crate::api::conventions::ApiError;
use crate::api::conventions::page::LIMIT_DEFAULT;
use crate::model::spaces::{self, COLUMNS, Space};
use crate::model::{ModelError, Scope, Work, events, scope as ids, sql, time};

fn named(scope: &Scope<'_>, input: &Input) -> Result<Space, ApiError> {
    let (id, key) = (input.text("space_id"), input.text("space_key"));
    if id.is_none() && key.is_none() {
        input.refuse("space_id", "is required (or space_key)");
    }
    input.check()?;
    match (id, key) {
        (Some(id), _) => Ok(spaces::get(scope, &id)?),
        (None, key) => Ok(spaces::by_key(scope, &key.unwrap_or_default())?),
    }
}

pub(crate) fn create(work: &Work<'_>, input: &Input) -> Answer {
    let name = input.required("name");
    let key = input.text("space_key");
    let customer_key = input.text("customer_key");
    let entrance_ids = input.list("acs_entrance_ids").unwrap_or_default();
    refuse_devices(input);
    input.check()?;
    spaces::check_key(work, key.as_deref(), "")?;
    let id = ids::new_id();
    sql::change(
        work.connection,
        "INSERT INTO space (space_id, workspace_id, space_key, name, customer_key, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (&id, work.workspace_id, key, name, customer_key, work.now_ms),
    )?;
    events::emit(work, "space.created", work.now_ms, &json!({"space_id": id}))?;
    spaces::add_entrances(work, &id, &entrance_ids)?;
    Ok(json!({"space": document(work, &spaces::get(work, &id)?)?}))
}

fn refuse_devices(input: &Input) {
    if input.list("device_ids").is_some_and(|ids| !ids.is_empty()) {
        input.refuse("device_ids", "this server knows entrances only; use acs_entrance_ids");
    }
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    Ok(json!({"space": document(scope, &named(scope, input)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.and_maybe("space_key = ?", input.text("space_key"));
    filter.and_maybe("customer_key = ?", input.text("customer_key"));
    filter.within("space_id", input.list("space_ids"));
    filter.search("name", input.text("search"));
    let select = format!("SELECT {COLUMNS}, position FROM space");
    let (rows, pagination) = filter.page(scope, input, (&select, "position", 6), LIMIT_DEFAULT, Space::read)?;
    Ok(json!({"spaces": show(scope, &rows, document)?, "pagination": pagination}))
}

pub(crate) fn update(work: &Work<'_>, input: &Input) -> Answer {
    let space = match input.text("space_id") {
        Some(id) => spaces::get(work, &id)?,
        None => named(work, input)?,
    };
    let name = if input.has("name") { input.required("name") } else { space.name.clone() };
    let key = input.change("space_key").unwrap_or_else(|| space.space_key.clone());
    let customer_key = input.change("customer_key").unwrap_or_else(|| space.customer_key.clone());
    let entrance_ids = input.list("acs_entrance_ids");
    refuse_devices(input);
    input.check()?;
    spaces::check_key(work, key.as_deref(), &space.space_id)?;
    sql::change(
        work.connection,
        "UPDATE space SET name = ?2, space_key = ?3, customer_key = ?4 WHERE space_id = ?1",
        (&space.space_id, name, key, customer_key),
    )?;
    if let Some(ids) = entrance_ids {
        spaces::replace_entrances(work, &space.space_id, &ids)?;
    }
    Ok(json!({"space": document(work, &spaces::get(work, &space.space_id)?)?}))
}

pub(crate) fn delete(work: &Work<'_>, input: &Input) -> Answer {
    spaces::delete(work, &named(work, input)?.space_id)?;
    Ok(json!({}))
}

pub(crate) fn add_acs_entrances(work: &Work<'_>, input: &Input) -> Answer {
    let entrance_ids = required_entrances(input);
    spaces::add_entrances(work, &named(work, input)?.space_id, &entrance_ids)?;
    Ok(json!({}))
}

pub(crate) fn remove_acs_entrances(work: &Work<'_>, input: &Input) -> Answer {
    let entrance_ids = required_entrances(input);
    spaces::remove_entrances(work, &named(work, input)?.space_id, &entrance_ids)?;
    Ok(json!({}))
}

fn required_entrances(input: &Input) -> Vec<String> {
    if !input.has("acs_entrance_ids") {
        input.refuse("acs_entrance_ids", "is required");
    }
    input.list("acs_entrance_ids").unwrap_or_default()
}

fn document(scope: &Scope<'_>, space: &Space) -> Result<Value, ModelError> {
    let query = "SELECT count(*) FROM space_entrance WHERE space_id = ?1";
    let count: Option<i64> = sql::one(scope.connection, query, [&space.space_id], |row| row.get(0))?;
    Ok(json!({
        "space_id": space.space_id,
        "workspace_id": space.workspace_id,
        "space_key": space.space_key,
        "name": space.name,
        "display_name": space.name,
        "acs_entrance_count": count.unwrap_or(0),
        "device_count": 0,
        "customer_key": space.customer_key,
        "created_at": time::text(space.created_at),
    }))
}
