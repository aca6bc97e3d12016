//! Errors as callers see them: `{"error": {"type", "message", ...}, "ok": false}`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::authority::IssueError;
use crate::model::ModelError;
use crate::store::StoreError;

/// A request that was not carried out.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {message}")]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// `error.type`.
    pub(crate) kind: String,
    pub(crate) message: String,
    /// Field name to what is wrong with it.
    pub(crate) fields: BTreeMap<String, Vec<String>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, kind: kind.into(), message: message.into(), fields: BTreeMap::new() }
    }

    /// 400: one field cannot be used.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::fields(BTreeMap::from([(field.to_owned(), vec![message.into()])]))
    }

    /// 400: some fields cannot be used.
    pub(crate) fn fields(fields: BTreeMap<String, Vec<String>>) -> Self {
        let told: Vec<String> = fields.iter().map(|(field, wrong)| format!("{field}: {}", wrong.join("; "))).collect();
        let status = StatusCode::BAD_REQUEST;
        Self { status, kind: "invalid_input".to_owned(), message: told.join(". "), fields }
    }

    /// 400: the body or query as a whole cannot be used.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_input", message)
    }

    /// The error envelope.
    pub(crate) fn body(&self) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if !self.fields.is_empty()
            && let Some(object) = error.as_object_mut()
        {
            let mut nested = json!({"_errors": []});
            for (path, wrong) in &self.fields {
                nest(&mut nested, path, wrong);
            }
            object.insert("validation_errors".to_owned(), nested);
        }
        json!({"error": error, "ok": false})
    }
}

/// Writes `a.b` as `{"a": {"_errors": [], "b": {"_errors": wrong}}}`.
fn nest(node: &mut Value, path: &str, wrong: &[String]) {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let Some(object) = node.as_object_mut() else { return };
    let child = object.entry(head).or_insert_with(|| json!({"_errors": []}));
    match rest {
        Some(rest) => nest(child, rest, wrong),
        None => child["_errors"] = json!(wrong),
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "The server is busy; try again shortly.",
            ),
            other => internal(&other),
        }
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::NotFound { resource, .. } => {
                Self::new(StatusCode::NOT_FOUND, format!("{resource}_not_found"), error.to_string())
            }
            ModelError::Invalid { field, message } => Self::field(field, message),
            ModelError::Refused { kind, message } => {
                let conflict = kind.ends_with("_already_exists");
                let status = if conflict { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST };
                Self::new(status, kind, message)
            }
            ModelError::Issue(IssueError::TooLarge { .. }) => Self::input(error.to_string()),
            ModelError::Issue(IssueError::RevokedBridge(_)) => {
                Self::new(StatusCode::BAD_REQUEST, "bridge_revoked", error.to_string())
            }
            ModelError::Issue(IssueError::Store(error)) | ModelError::Store(error) => error.into(),
            other => internal(&other),
        }
    }
}

fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "A request failed inside.");
    let message = "The server could not carry out the request. Nothing was changed; the request id is in the log.";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", message)
}
