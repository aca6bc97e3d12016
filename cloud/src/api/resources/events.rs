use rusqlite::Row;
use serde_json::{Map, Value, json};

use super::{Answer, Filter, Input};
use crate::api::conventions::{ApiError, page};
use crate::model::{ModelError, Scope, sql, time};

const SELECT: &str = "SELECT event_id, event_type, workspace_id, occurred_at, created_at, payload FROM event";

/// Fields of the payload by which events can be filtered.
const REFERENCES: [&str; 9] = [
    "access_grant_id",
    "access_method_id",
    "acs_access_group_id",
    "acs_credential_id",
    "acs_encoder_id",
    "acs_entrance_id",
    "acs_system_id",
    "acs_user_id",
    "space_id",
];

fn document(row: &Row<'_>) -> rusqlite::Result<Value> {
    let payload: String = row.get(5)?;
    let mut fields: Map<String, Value> = serde_json::from_str(&payload).unwrap_or_default();
    fields.insert("event_id".to_owned(), json!(row.get::<_, String>(0)?));
    fields.insert("event_type".to_owned(), json!(row.get::<_, String>(1)?));
    fields.insert("workspace_id".to_owned(), json!(row.get::<_, String>(2)?));
    fields.insert("occurred_at".to_owned(), json!(time::text(row.get(3)?)));
    fields.insert("created_at".to_owned(), json!(time::text(row.get(4)?)));
    Ok(Value::Object(fields))
}

pub(crate) fn get(scope: &Scope<'_>, input: &Input) -> Answer {
    let id = input.required("event_id");
    input.check()?;
    let query = format!("{SELECT} WHERE event_id = ?1 AND workspace_id = ?2");
    let event = sql::one(scope.connection, &query, (&id, scope.workspace_id), document)?;
    Ok(json!({"event": event.ok_or_else(|| ModelError::not_found("event", &id))?}))
}

pub(crate) fn list(scope: &Scope<'_>, input: &Input) -> Answer {
    let (from, to) = period(input)?;
    let mut filter = Filter::workspace(scope, "");
    filter.and("created_at >= ?", [from]);
    if let Some(to) = to {
        filter.and("created_at <= ?", [to]);
    }
    filter.and_maybe("event_type = ?", input.text("event_type"));
    filter.within("event_type", input.list("event_types"));
    filter.within("event_id", input.list("event_ids"));
    for field in REFERENCES {
        filter.and_maybe(&format!("json_extract(payload, '$.{field}') = ?"), input.text(field));
        let values = input.list(&format!("{field}s"));
        filter.within(&format!("json_extract(payload, '$.{field}')"), values);
    }
    let limit = input.number("limit", 1..=1000).unwrap_or(page::LIMIT_DEFAULT);
    input.check()?;
    let order = format!("created_at, position LIMIT {limit}");
    Ok(json!({"events": filter.all(scope, SELECT, &order, document)?}))
}

/// `since` or `between`: one of them must be there, so that nobody asks for everything by accident.
fn period(input: &Input) -> Result<(i64, Option<i64>), ApiError> {
    let since = input.time("since");
    let between = input.list("between");
    input.check()?;
    match (since, between) {
        (Some(since), None) => Ok((since, None)),
        (None, Some(between)) => {
            let times: Vec<i64> = between.iter().filter_map(|text| time::parse(text)).collect();
            match times.as_slice() {
                [from, to] if from <= to && between.len() == 2 => Ok((*from, Some(*to))),
                _ => Err(ApiError::field("between", "expected two ISO 8601 times, the earlier first")),
            }
        }
        _ => Err(ApiError::field("since", "give exactly one of since and between")),
    }
}
