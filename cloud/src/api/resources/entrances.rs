use rusqlite::Row;
use serde_json::{Value, json};

use super::{Answer, Filter, Input, show};
use crate::api::conventions::ApiError;
use crate::model::attempts::{self, Device};
use crate::model::{ModelError, Scope, Work, credentials, issues, sql, time};

/// Entrances in one page: more than elsewhere, for pick lists.
const LIMIT_DEFAULT: i64 = 900;

/// One door as found on site.
#[expect(clippy::struct_excessive_bools, reason = "a row: each is a column and they are independent")]
pub(crate) struct Entrance {
    pub(crate) acs_entrance_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) external_id: String,
    display_name: String,
    description: String,
    online: bool,
    with_card: bool,
    with_mobile_key: bool,
    remotely: bool,
    for_reservations: bool,
    audit_on_keys: bool,
    created_at: i64,
    connected_account_id: String,
    kind: String,
}

const SELECT: &str = "SELECT e.acs_entrance_id, e.acs_system_id, e.external_id, e.display_name, e.description, e.online, e.with_card, \
            e.with_mobile_key, e.remotely, e.for_reservations, e.audit_on_keys, e.created_at, s.connected_account_id, \
            s.kind, e.position FROM acs_entrance e JOIN acs_system s USING (acs_system_id)";
const POSITION: usize = 14;

fn read(row: &Row<'_>) -> rusqlite::Result<Entrance> {
    Ok(Entrance {
        acs_entrance_id: row.get(0)?,
        acs_system_id: row.get(1)?,
        external_id: row.get(2)?,
        display_name: row.get(3)?,
        description: row.get(4)?,
        online: row.get(5)?,
        with_card: row.get(6)?,
        with_mobile_key: row.get(7)?,
        remotely: row.get(8)?,
        for_reservations: row.get(9)?,
        audit_on_keys: row.get(10)?,
        created_at: row.get(11)?,
        connected_account_id: row.get(12)?,
        kind: row.get(13)?,
    })
}

/// The entrance with that id, as long as the site has it.
pub(crate) fn find(scope: &Scope<'_>, id: &str) -> Result<Entrance, ModelError> {
    let query = format!("{SELECT} WHERE e.acs_entrance_id = ?1 AND e.workspace_id = ?2 AND e.removed_at IS NULL");
    sql::one(scope.connection, &query, (id, scope.workspace_id), read)?
        .ok_or_else(|| ModelError::not_found("acs_entrance", id))
}

/// The entrance that a request names, as a device that can be opened now.
pub(crate) fn to_unlock(scope: &Scope<'_>, id: &str) -> Result<Device, ApiError> {
    let entrance = find(scope, id)?;
    if !entrance.remotely {
        return Err(ApiError::field("acs_entrance_id", "this entrance cannot be unlocked remotely"));
    }
    Ok(Device {
        id: entrance.acs_entrance_id,
        acs_system_id: entrance.acs_system_id,
        external_id: entrance.external_id,
    })
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("acs_entrance_id");
    input.check()?;
    Ok(json!({"acs_entrance": document(scope, &find(scope, &id)?)?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let mut filter = Filter::workspace(scope, "e.");
    filter.and("e.removed_at IS NULL", [] as [String; 0]);
    filter.and_maybe("e.acs_system_id = ?", input.text("acs_system_id"));
    filter.and_maybe("s.connected_account_id = ?", input.text("connected_account_id"));
    filter.within("e.acs_entrance_id", input.list("acs_entrance_ids"));
    let space = "e.acs_entrance_id IN (SELECT acs_entrance_id FROM space_entrance WHERE space_id = ?)";
    filter.and_maybe(space, input.text("space_id"));
    if let Some(id) = input.text("acs_credential_id") {
        let credential = credentials::get(scope, &id)?;
        filter.and(&accessible(), doors_of(credential.acs_user_id.unwrap_or_default(), scope.now_ms));
    }
    filter.search("e.display_name", input.text("search"));
    let (rows, pagination) = filter.page(scope, input, (SELECT, "e.position", POSITION), LIMIT_DEFAULT, read)?;
    Ok(json!({"acs_entrances": show(scope, &rows, document)?, "pagination": pagination}))
}

/// The doors a holder may open now by what the lock server holds for it: grants in their window, and access groups.
pub(crate) fn accessible_to(scope: &Scope<'_>, acs_user_id: &str) -> Result<Vec<Value>, ApiError> {
    let mut filter = Filter::workspace(scope, "e.");
    filter.and("e.removed_at IS NULL", [] as [String; 0]);
    filter.and(&accessible(), doors_of(acs_user_id.to_owned(), scope.now_ms));
    let rows = filter.all(scope, SELECT, "e.position", read)?;
    show(scope, &rows, document)
}

fn accessible() -> String {
    "(e.acs_entrance_id IN (
         SELECT d.acs_entrance_id FROM grant_part p
         JOIN access_grant g ON g.access_grant_id = p.access_grant_id
         JOIN grant_door d ON d.access_grant_id = p.access_grant_id AND d.acs_system_id = p.acs_system_id
         WHERE p.acs_user_id = ? AND p.synced_revision > 0 AND NOT p.deleting AND NOT d.missing AND NOT d.lost
         AND g.starts_at <= ? AND (g.ends_at IS NULL OR g.ends_at > ?))
      OR e.external_id IN (
         SELECT x.entrance_external_id FROM acs_user_group m
         JOIN acs_access_group a ON a.acs_access_group_id = m.acs_access_group_id
         JOIN acs_access_group_entrance x ON x.acs_access_group_id = m.acs_access_group_id
         WHERE m.acs_user_id = ? AND a.acs_system_id = e.acs_system_id))"
        .to_owned()
}

fn doors_of(acs_user_id: String, now_ms: i64) -> [rusqlite::types::Value; 4] {
    [acs_user_id.clone().into(), now_ms.into(), now_ms.into(), acs_user_id.into()]
}

/// The doors of an access group.
pub(crate) fn of_group(scope: &Scope<'_>, acs_access_group_id: &str) -> Result<Vec<Value>, ApiError> {
    let mut filter = Filter::workspace(scope, "e.");
    filter.and("e.removed_at IS NULL", [] as [String; 0]);
    let condition = "EXISTS (SELECT 1 FROM acs_access_group a
                     JOIN acs_access_group_entrance x ON x.acs_access_group_id = a.acs_access_group_id
                     WHERE a.acs_access_group_id = ? AND a.acs_system_id = e.acs_system_id
                     AND x.entrance_external_id = e.external_id)";
    filter.and(condition, [acs_access_group_id.to_owned()]);
    let rows = filter.all(scope, SELECT, "e.position", read)?;
    show(scope, &rows, document)
}

pub(crate) fn unlock(work: &Work<'_>, input: &Input) -> Answer {
    let entrance_id = input.required("acs_entrance_id");
    let credential_id = input.text("acs_credential_id");
    input.check()?;
    let device = to_unlock(work, &entrance_id)?;
    if let Some(id) = credential_id {
        let credential = credentials::get(work, &id)?;
        let doors = accessible_to(work, credential.acs_user_id.as_deref().unwrap_or_default())?;
        if credential.deleting || !doors.iter().any(|door| door["acs_entrance_id"] == entrance_id.as_str()) {
            return Err(ApiError::field("acs_credential_id", "this credential does not open that entrance now"));
        }
    }
    let attempt = attempts::unlock(work, &device)?;
    Ok(json!({"action_attempt": attempt.document(work.now_ms)?}))
}

fn document(scope: &Scope<'_>, entrance: &Entrance) -> Result<Value, ModelError> {
    let spaces = sql::texts(
        scope.connection,
        "SELECT space_id FROM space_entrance WHERE acs_entrance_id = ?1 ORDER BY space_id",
        [&entrance.acs_entrance_id],
    )?;
    let mut document = json!({
        "acs_entrance_id": entrance.acs_entrance_id,
        "acs_system_id": entrance.acs_system_id,
        "connected_account_id": entrance.connected_account_id,
        "display_name": entrance.display_name,
        "space_ids": spaces,
        "can_unlock_with_card": entrance.with_card,
        "can_unlock_with_code": false,
        "can_unlock_with_mobile_key": entrance.with_mobile_key,
        "can_unlock_with_cloud_key": entrance.remotely,
        "can_belong_to_reservation": entrance.for_reservations,
        "is_online": entrance.online,
        "created_at": time::text(entrance.created_at),
    });
    if entrance.kind == "salto_space"
        && let Some(fields) = document.as_object_mut()
    {
        let metadata = json!({
            "door_id": entrance.external_id,
            "door_name": entrance.display_name,
            "door_description": entrance.description,
            "audit_on_keys": entrance.audit_on_keys,
        });
        fields.insert("salto_space_metadata".to_owned(), metadata);
    }
    issues::render(scope, &entrance.acs_entrance_id, &mut document)?;
    Ok(document)
}
