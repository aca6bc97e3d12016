use serde_json::{Value, json};

use super::{Answer, Filter, Input, show};
use crate::model::systems::{self, COLUMNS, System};
use crate::model::{ModelError, Scope, issues, sql};

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_system_id");
    input.check()?;
    Ok(json!({"acs_system": document(scope, &systems::get(scope, &id)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "");
    filter.and_maybe("connected_account_id = ?", input.text("connected_account_id"));
    filter.search("name", input.text("search"));
    input.check()?;
    let rows = filter.all(scope, &format!("SELECT {COLUMNS} FROM acs_system"), "position", System::read)?;
    Ok(json!({"acs_systems": show(scope, &rows, document)?}))
}

fn document(scope: &Scope<'_>, system: &System) -> Result<Value, ModelError> {
    let count = |query: &str| -> Result<i64, ModelError> {
        Ok(sql::one(scope.connection, query, [&system.acs_system_id], |row| row.get(0))?.unwrap_or(0))
    };
    let external_type = system.external_type();
    let display = match system.kind.as_str() {
        "salto_space" => "SALTO Space site",
        "salto_pms" => "SALTO hotel keys",
        other => other,
    };
    let mut document = json!({
        "acs_system_id": system.acs_system_id,
        "workspace_id": system.workspace_id,
        "connected_account_id": system.connected_account_id,
        "connected_account_ids": [system.connected_account_id],
        "bridge_id": system.bridge_id,
        "name": system.name,
        "external_type": external_type,
        "external_type_display_name": display,
        "system_type": external_type,
        "system_type_display_name": display,
        "is_credential_manager": false,
        "default_credential_manager_acs_system_id": null,
        "location": {"time_zone": system.time_zone},
        "acs_user_count": count("SELECT count(*) FROM acs_user WHERE acs_system_id = ?1 AND is_managed")?,
        "acs_access_group_count":
            count("SELECT count(*) FROM acs_access_group WHERE acs_system_id = ?1 AND removed_at IS NULL")?,
        "image_url": "",
        "image_alt_text": display,
        "created_at": crate::model::time::text(system.created_at),
    });
    issues::render(scope, &system.acs_system_id, &mut document)?;
    if let Some(fields) = document.as_object_mut() {
        fields.remove("pending_mutations");
    }
    Ok(document)
}
