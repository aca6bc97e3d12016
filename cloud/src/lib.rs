//! The reference cloud a bridge pairs with, in one process on one SQLite file.
//!
//! * [`store`]: who stores. The database file, its one writer, its readers; the data directory and its secret files.
//! * [`hub`]: who routes. Holds the bridges' sessions and moves signed values both ways.
//! * [`api`]: who asks. The HTTP API over the resource model.
//! * [`model`]: what is wanted and known. Resources, and what reports make of them.
//! * [`authority`]: who signs. Turns a wish of the resource model into a signed command in the caller's transaction.
//!
//! Nothing here knows a vendor: what a lock system makes of a command is the bridge's business.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod api;
pub mod authority;
pub mod clock;
pub mod hub;
pub mod model;
pub mod store;
