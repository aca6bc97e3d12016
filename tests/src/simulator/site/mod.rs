//! The database of the server, the locks on the doors and the cards in people's hands.
//!
//! What it owns: every record, the indexes over them, the list of what changed since the last commit ([`store`] writes it
//! to disk). What it promises: a record changes only through the `put_*` and `remove_*` calls, so no change misses the log,
//! and replaying the log gives the same site. What it never does: no input or output but in [`store`].

pub mod access;
pub mod audit;
pub mod card;
pub mod database;
pub mod door;
pub mod effect;
pub mod filter;
pub mod keys;
pub mod present;
pub mod seed;
pub mod store;
pub mod user;

pub use database::{Change, Counters, Encoder, Group, Site};
