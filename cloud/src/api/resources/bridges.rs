use rusqlite::Row;
use serde_json::{Value, json};

use super::{Answer, Filter, Input};
use crate::model::{ModelError, Scope, sql, time};
use crate::store::workspaces;

const SELECT: &str = "SELECT bridge_id, workspace_id, created_at_ms, display_name, software_version, link_up, last_seen_at_ms \
                      FROM bridges";

fn document(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "bridge_id": row.get::<_, String>(0)?,
        "workspace_id": row.get::<_, String>(1)?,
        "created_at": time::text(row.get(2)?),
        "display_name": row.get::<_, String>(3)?,
        "software_version": row.get::<_, String>(4)?,
        "is_connected": row.get::<_, bool>(5)?,
        "last_seen_at": time::optional_text(row.get(6)?),
    }))
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("bridge_id");
    input.check()?;
    let query = format!("{SELECT} WHERE bridge_id = ?1 AND workspace_id = ?2 AND revoked_at_ms IS NULL");
    let bridge = sql::one(scope.connection, &query, (&id, scope.workspace_id), document)?;
    Ok(json!({"bridge": bridge.ok_or_else(|| ModelError::not_found("bridge", &id))?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    input.check()?;
    let mut filter = Filter::workspace(scope, "");
    filter.and("revoked_at_ms IS NULL", [] as [String; 0]);
    Ok(json!({"bridges": filter.all(scope, SELECT, "created_at_ms, bridge_id", document)?}))
}

/// The workspace that the API key opens.
pub(crate) fn workspace(scope: &Scope<'_>, _input: &Input) -> Answer {
    let name = workspaces::name(scope.connection, scope.workspace_id)?;
    let name = name.ok_or_else(|| ModelError::not_found("workspace", scope.workspace_id))?;
    Ok(json!({"workspace": {
        "workspace_id": scope.workspace_id,
        "name": name,
        "company_name": name,
        "is_sandbox": false,
        "is_suspended": false,
    }}))
}
