//! Events: what happened, when at the site, and when the cloud learnt it.

use serde_json::Value;

use super::{ModelError, Work, scope, sql};

/// Stores an event that happened at `occurred_at_ms`; the payload's fields stand beside the common ones.
pub(crate) fn emit(work: &Work<'_>, event_type: &str, occurred_at_ms: i64, payload: &Value) -> Result<(), ModelError> {
    emit_once(work, event_type, occurred_at_ms, payload, None)
}

/// Like [`emit`], unless an event of the same `source` is stored already.
pub(crate) fn emit_once(
    work: &Work<'_>,
    event_type: &str,
    occurred_at_ms: i64,
    payload: &Value,
    source: Option<&str>,
) -> Result<(), ModelError> {
    sql::change(
        work.connection,
        "INSERT INTO event (event_id, workspace_id, event_type, occurred_at, created_at, payload, source)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (source) DO NOTHING",
        (scope::new_id(), work.workspace_id, event_type, occurred_at_ms, work.now_ms, payload.to_string(), source),
    )?;
    Ok(())
}
