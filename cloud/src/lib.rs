//! The reference cloud a bridge pairs with, in one process on one SQLite file.
//!
//! * [`store`]: who stores. The database file, its one writer, its readers; the data directory and its secret files.
//! * [`net`]: the way in. TLS servers and the accept loop.
//! * [`enroll`]: who is who. The private CA, enrollment and renewal.
//! * [`hub`]: who routes. Holds the bridges' sessions and moves signed values both ways.
//! * [`api`]: who asks. The HTTP API over the resource model.
//! * [`model`]: what is wanted and known. Resources, and what reports make of them.
//! * [`authority`]: who signs. Turns a wish of the resource model into a signed command in the caller's transaction.
//! * [`cli`]: how it is started and administered.
//!
//! Nothing here knows a vendor: what a lock system makes of a command is the bridge's business.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod api;
pub mod authority;
pub mod cli;
pub mod clock;
pub mod enroll;
pub mod hub;
pub mod model;
pub mod net;
pub mod store;
#[cfg(test)]
mod testing;
