//! The domain: who may open what, when; and what of it is to stand at a lock system now.
//!
//! Owns the record of a holder ([`Holder`]), the observed doors and groups ([`Catalog`]) and [`plan()`], which makes the
//! absolute target of both. Promises: a target never opens a door outside the granted windows, and depends on nothing
//! but its arguments. Never: names a wire format, waits, keeps state.

mod catalog;
mod holder;
mod plan;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Entrance};
pub use holder::{Credential, Grant, Holder, Method, Person};
pub use plan::{Planned, plan};
