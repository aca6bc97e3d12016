//! Why the model refuses a wish.

use crate::store::StoreError;

/// A wish that was not recorded. The transaction is rolled back; nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No such resource in this workspace.
    #[error("no {resource} with id {id} in this workspace")]
    NotFound {
        /// `acs_user`, `space`, ...
        resource: &'static str,
        /// As given by the caller.
        id: String,
    },
    /// A field holds something that cannot be done.
    #[error("{field}: {message}")]
    Invalid {
        /// Name of the request field.
        field: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// The request is well formed, but the state of the resources does not allow it.
    #[error("{message}")]
    Refused {
        /// Machine code, the API's `error.type`.
        kind: &'static str,
        /// What stands in the way, and what to do.
        message: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A command could not be signed.
    #[error(transparent)]
    Issue(#[from] crate::authority::IssueError),
    /// A stored document cannot be read; the row was not written by this version.
    #[error("a stored document cannot be read: {0}")]
    Document(#[from] serde_json::Error),
}

impl From<rusqlite::Error> for ModelError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl ModelError {
    /// No `resource` with `id`.
    pub fn not_found(resource: &'static str, id: &str) -> Self {
        Self::NotFound { resource, id: id.chars().take(100).collect() }
    }

    /// The value of `field` cannot be used.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }

    /// The state of the resources does not allow it.
    pub fn refused(kind: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { kind, message: message.into() }
    }
}
