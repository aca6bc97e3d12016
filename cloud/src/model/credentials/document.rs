//! A credential as the API shows it.

use serde_json::{Value, json};

use super::Credential;
use crate::model::issues;
use crate::model::{ModelError, Scope, sql, systems, time};

/// The whole resource.
pub(crate) fn document(scope: &Scope<'_>, credential: &Credential) -> Result<Value, ModelError> {
    let system = systems::get(scope, &credential.acs_system_id)?;
    let holder = match &credential.acs_user_id {
        Some(acs_user_id) => holder(scope, acs_user_id)?,
        None => None,
    };
    let (full_name, user_identity_id) = holder.unwrap_or_default();
    let (starts_at, ends_at) = window(scope, credential.acs_user_id.as_deref())?;
    let pending = issues::is_pending(scope, &credential.acs_credential_id)?;
    let synced = credential.synced_at.is_some() && !pending;
    let mut document = json!({
        "acs_credential_id": credential.acs_credential_id,
        "acs_system_id": credential.acs_system_id,
        "connected_account_id": system.connected_account_id,
        "workspace_id": credential.workspace_id,
        "acs_user_id": credential.acs_user_id,
        "user_identity_id": user_identity_id,
        "parent_acs_credential_id": null,
        "display_name": if full_name.is_empty() { "Unassigned credential".to_owned() } else { full_name },
        "access_method": credential.access_method,
        "external_type": "salto_space_key",
        "external_type_display_name": "SALTO Space key",
        "code": null,
        "card_number": credential.card_number,
        "is_issued": credential.is_issued,
        "issued_at": time::optional_text(credential.issued_at),
        "starts_at": time::optional_text(starts_at),
        "ends_at": time::optional_text(ends_at),
        "is_managed": true,
        "is_multi_phone_sync_credential": credential.access_method == "mobile_key",
        "is_one_time_use": false,
        "is_latest_desired_state_synced_with_provider": synced,
        "latest_desired_state_synced_with_provider_at": time::optional_text(credential.synced_at),
        "created_at": time::text(credential.created_at),
    });
    if !credential.is_card()
        && let Some(fields) = document.as_object_mut()
    {
        fields.remove("card_number");
    }
    issues::render(scope, &credential.acs_credential_id, &mut document)?;
    Ok(document)
}

type Holder = (String, Option<String>);

fn holder(scope: &Scope<'_>, acs_user_id: &str) -> Result<Option<Holder>, ModelError> {
    let query = "SELECT full_name, user_identity_id FROM acs_user WHERE acs_user_id = ?1";
    Ok(sql::one(scope.connection, query, [acs_user_id], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Validity lives on the holder: its own schedule, else the hull of its live grants.
fn window(scope: &Scope<'_>, acs_user_id: Option<&str>) -> Result<(Option<i64>, Option<i64>), ModelError> {
    let Some(id) = acs_user_id else { return Ok((None, None)) };
    let row = sql::one(
        scope.connection,
        "SELECT u.starts_at, u.ends_at, min(g.starts_at),
                CASE WHEN count(*) = count(g.ends_at) THEN max(g.ends_at) END
         FROM acs_user u
         LEFT JOIN grant_part p ON p.acs_user_id = u.acs_user_id AND NOT p.deleting
         LEFT JOIN access_grant g ON g.access_grant_id = p.access_grant_id
         WHERE u.acs_user_id = ?1",
        [id],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let (starts_at, ends_at, first, last): (Option<i64>, Option<i64>, Option<i64>, Option<i64>) =
        row.unwrap_or_default();
    Ok(if starts_at.is_some() || ends_at.is_some() { (starts_at, ends_at) } else { (first, last) })
}
