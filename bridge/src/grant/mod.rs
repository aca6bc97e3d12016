//! The domain: who may open what, when; and what of it is to stand at a lock system now.
//!
//! Owns the record of a holder ([`Holder`]), the observed doors and groups ([`Catalog`]), the stays in rooms ([`Room`]), and
//! [`plan()`] and [`plan_key()`], which make of them the absolute target of a record, and of a key. Promises: a target never opens a door outside the granted windows, and depends on nothing
//! but its arguments. Never: names a wire format, waits, keeps state.

mod catalog;
mod holder;
mod key;
mod plan;
mod room;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Entrance};
pub use holder::{Credential, Grant, Holder, Method, Person};
pub use key::{NoKey, PlannedKey, plan_key};
pub use plan::{Planned, plan};
pub use room::{Room, RoomEdit, RoomKey, Stay};
