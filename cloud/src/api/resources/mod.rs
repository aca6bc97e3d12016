//! One file a resource: how it is asked for, changed and shown.

pub(super) mod access_grants;
pub(super) mod access_groups;
pub(super) mod access_methods;
pub(super) mod action_attempts;
pub(super) mod bridges;
pub(super) mod credentials;
pub(super) mod encoders;
pub(super) mod entrances;
pub(super) mod events;
pub(super) mod spaces;
pub(super) mod systems;
pub(super) mod user_identities;
pub(super) mod users;

use serde_json::Value;

use super::conventions::{ApiError, Filter, Input};
use crate::model::{ModelError, Scope};

type Answer = Result<Value, ApiError>;

/// Shows every row.
fn show<T>(
    scope: &Scope<'_>,
    rows: &[T],
    document: impl Fn(&Scope<'_>, &T) -> Result<Value, ModelError>,
) -> Result<Vec<Value>, ApiError> {
    Ok(rows.iter().map(|row| document(scope, row)).collect::<Result<_, _>>()?)
}
