//! The wire conventions every route shares: verbs, inputs, envelopes, errors, pages.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod page;
pub(crate) mod verbs;

pub(crate) use error::ApiError;
pub(crate) use input::Input;
pub(crate) use page::Filter;
pub(crate) use verbs::Verbs;
