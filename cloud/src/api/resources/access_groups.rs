use serde_json::{Value, json};

use super::{Answer, Filter, Input, entrances, show, users as user_routes};
use crate::model::groups::{self, COLUMNS, Group};
use crate::model::users::{self, User};
use crate::model::{ModelError, Scope, Work, issues, systems, time};

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_access_group_id");
    input.check()?;
    Ok(json!({"acs_access_group": document(scope, &groups::get(scope, &id)?)?}))
}

/// Every group is found on site, so the same ones are listed as unmanaged.
pub(crate) fn get_unmanaged(scope: &Scope<'_>, input: &Input) -> Answer {
    get(scope, input)
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.and("removed_at IS NULL", [] as [String; 0]);
    filter.and_maybe("acs_system_id = ?", input.text("acs_system_id"));
    let member = "acs_access_group_id IN (SELECT acs_access_group_id FROM acs_user_group WHERE acs_user_id = ?)";
    filter.and_maybe(member, input.text("acs_user_id"));
    filter.search("display_name", input.text("search"));
    input.check()?;
    let rows = filter.all(scope, &format!("SELECT {COLUMNS} FROM acs_access_group"), "position", Group::read)?;
    Ok(json!({"acs_access_groups": show(scope, &rows, document)?}))
}

pub(crate) fn list_unmanaged(scope: &Scope<'_>, input: &Input) -> Answer {
    list(scope, input)
}

pub(crate) fn add_user(work: &Work<'_>, input: &Input) -> Answer {
    user_routes::add_to_access_group(work, input)
}

pub(crate) fn remove_user(work: &Work<'_>, input: &Input) -> Answer {
    user_routes::remove_from_access_group(work, input)
}

pub(crate) fn list_users(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_access_group_id");
    input.check()?;
    groups::get(scope, &id)?;
    let mut filter = Filter::workspace(scope, "");
    filter.and("is_managed = ?", [1_i64]);
    filter.and("acs_user_id IN (SELECT acs_user_id FROM acs_user_group WHERE acs_access_group_id = ?)", [id]);
    let rows = filter.all(scope, &format!("SELECT {} FROM acs_user", users::COLUMNS), "position", User::read)?;
    Ok(json!({"acs_users": show(scope, &rows, user_routes::document)?}))
}

pub(crate) fn list_accessible_entrances(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_access_group_id");
    input.check()?;
    groups::get(scope, &id)?;
    Ok(json!({"acs_entrances": entrances::of_group(scope, &id)?}))
}

fn document(scope: &Scope<'_>, group: &Group) -> Result<Value, ModelError> {
    let system = systems::get(scope, &group.acs_system_id)?;
    let external_type = if system.kind == "salto_space" { "salto_space_group" } else { "acs_access_group" };
    let mut document = json!({
        "acs_access_group_id": group.acs_access_group_id,
        "acs_system_id": group.acs_system_id,
        "connected_account_id": system.connected_account_id,
        "workspace_id": group.workspace_id,
        "name": group.display_name,
        "display_name": group.display_name,
        "external_type": external_type,
        "external_type_display_name": "Access group",
        "access_group_type": external_type,
        "access_group_type_display_name": "Access group",
        "is_managed": false,
        "created_at": time::text(group.created_at),
    });
    issues::render(scope, &group.acs_access_group_id, &mut document)?;
    Ok(document)
}
