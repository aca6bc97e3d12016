//! Which HTTP methods a route takes: POST always, and the one its verb means.

use axum::http::Method;

/// The kind of a route by its last path segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbs {
    /// get, list: also GET with a query.
    Read,
    /// create, and acts such as suspend or encode: only POST.
    Act,
    /// update, assign, unassign: also PATCH.
    Update,
    /// add_*: also PUT.
    Add,
    /// delete, remove_*: also DELETE with a query.
    Remove,
}

impl Verbs {
    /// The method besides POST.
    pub(crate) fn semantic(self) -> Option<Method> {
        match self {
            Self::Read => Some(Method::GET),
            Self::Act => None,
            Self::Update => Some(Method::PATCH),
            Self::Add => Some(Method::PUT),
            Self::Remove => Some(Method::DELETE),
        }
    }

    /// Whether the route takes that method.
    pub(crate) fn allow(self, method: &Method) -> bool {
        *method == Method::POST || self.semantic().as_ref() == Some(method)
    }

    /// For the `Allow` header.
    pub(crate) fn allowed(self) -> String {
        self.semantic().map_or_else(|| "POST".to_owned(), |method| format!("POST, {method}"))
    }
}

/// Whether that method carries its parameters in the query string.
pub(crate) fn reads_query(method: &Method) -> bool {
    method == Method::GET || method == Method::DELETE
}
