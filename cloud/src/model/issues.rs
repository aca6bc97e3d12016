//! Errors, warnings and pending mutations: the three arrays by which a reader tells a wish from a fact.

use serde_json::{Map, Value, json};

use super::{ModelError, Scope, Work, sql, time};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The resource does not do what it should.
    Error,
    /// It does, with a reservation.
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }

    fn code_field(self) -> &'static str {
        match self {
            Self::Error => "error_code",
            Self::Warning => "warning_code",
        }
    }
}

/// Puts an issue on a resource; one that is there keeps its first time. Answers whether it is new.
pub(crate) fn raise(
    work: &Work<'_>,
    resource_id: &str,
    severity: Severity,
    code: &str,
    message: &str,
    extra: &Value,
) -> Result<bool, ModelError> {
    raise_until(work, resource_id, severity, code, message, extra, None)
}

/// Like [`raise`], and it vanishes by itself at `until` (ms since the epoch).
pub(crate) fn raise_until(
    work: &Work<'_>,
    resource_id: &str,
    severity: Severity,
    code: &str,
    message: &str,
    extra: &Value,
    until: Option<i64>,
) -> Result<bool, ModelError> {
    let known = sql::exists(
        work.connection,
        "SELECT 1 FROM issue WHERE resource_id = ?1 AND severity = ?2 AND code = ?3",
        (resource_id, severity.name(), code),
    )?;
    sql::change(
        work.connection,
        "INSERT INTO issue (resource_id, severity, code, message, extra, until, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (resource_id, severity, code)
         DO UPDATE SET message = excluded.message, extra = excluded.extra, until = excluded.until",
        (resource_id, severity.name(), code, message, extra.to_string(), until, work.now_ms),
    )?;
    Ok(!known)
}

/// Takes an issue away; answers whether it was there.
pub(crate) fn clear(work: &Work<'_>, resource_id: &str, severity: Severity, code: &str) -> Result<bool, ModelError> {
    let rows = sql::change(
        work.connection,
        "DELETE FROM issue WHERE resource_id = ?1 AND severity = ?2 AND code = ?3",
        (resource_id, severity.name(), code),
    )?;
    Ok(rows > 0)
}

/// Raises or clears by a condition.
pub(crate) fn set(
    work: &Work<'_>,
    holds: bool,
    resource_id: &str,
    severity: Severity,
    code: &str,
    message: &str,
    extra: &Value,
) -> Result<(), ModelError> {
    if holds {
        raise(work, resource_id, severity, code, message, extra)?;
    } else {
        clear(work, resource_id, severity, code)?;
    }
    Ok(())
}

/// Everything noted about a resource goes with it.
pub(crate) fn forget(work: &Work<'_>, resource_id: &str) -> Result<(), ModelError> {
    sql::change(work.connection, "DELETE FROM issue WHERE resource_id = ?1", [resource_id])?;
    sql::change(work.connection, "DELETE FROM pending_mutation WHERE resource_id = ?1", [resource_id])?;
    Ok(())
}

/// Whether the resource has an error.
pub(crate) fn has_error(scope: &Scope<'_>, resource_id: &str) -> Result<bool, ModelError> {
    let query = "SELECT 1 FROM issue WHERE resource_id = ?1 AND severity = 'error'";
    Ok(sql::exists(scope.connection, query, [resource_id])?)
}

/// Whether anything about the resource waits for an answer.
pub(crate) fn is_pending(scope: &Scope<'_>, resource_id: &str) -> Result<bool, ModelError> {
    Ok(sql::exists(scope.connection, "SELECT 1 FROM pending_mutation WHERE resource_id = ?1", [resource_id])?)
}

/// The `errors` or `warnings` array.
pub(crate) fn list(scope: &Scope<'_>, resource_id: &str, severity: Severity) -> Result<Vec<Value>, ModelError> {
    let rows = sql::all(
        scope.connection,
        "SELECT code, message, extra, created_at FROM issue
         WHERE resource_id = ?1 AND severity = ?2 AND (until IS NULL OR until > ?3) ORDER BY created_at, code",
        (resource_id, severity.name(), scope.now_ms),
        entry,
    )?;
    rows.into_iter().map(|row| document(severity.code_field(), row)).collect()
}

/// The `pending_mutations` array.
pub(crate) fn pending(scope: &Scope<'_>, resource_id: &str) -> Result<Vec<Value>, ModelError> {
    let rows = sql::all(
        scope.connection,
        "SELECT code, message, extra, max(created_at) FROM pending_mutation WHERE resource_id = ?1
         GROUP BY code ORDER BY 4, code",
        [resource_id],
        entry,
    )?;
    rows.into_iter().map(|row| document("mutation_code", row)).collect()
}

/// Adds the three arrays to a rendered resource.
pub(crate) fn render(scope: &Scope<'_>, resource_id: &str, document: &mut Value) -> Result<(), ModelError> {
    if let Value::Object(fields) = document {
        fields.insert("errors".to_owned(), list(scope, resource_id, Severity::Error)?.into());
        fields.insert("warnings".to_owned(), list(scope, resource_id, Severity::Warning)?.into());
        fields.insert("pending_mutations".to_owned(), pending(scope, resource_id)?.into());
    }
    Ok(())
}

type Entry = (String, String, String, i64);

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn document(code_field: &str, (code, message, extra, created_at): Entry) -> Result<Value, ModelError> {
    let mut fields: Map<String, Value> = serde_json::from_str(&extra)?;
    fields.insert(code_field.to_owned(), json!(code));
    fields.insert("message".to_owned(), json!(message));
    fields.insert("created_at".to_owned(), json!(time::text(created_at)));
    Ok(Value::Object(fields))
}
