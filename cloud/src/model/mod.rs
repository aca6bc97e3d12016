//! What the cloud knows and wants: systems, people, doors, grants, credentials, attempts, events.
//!
//! Owns the resource tables, the rules that turn a wish into signed commands, and the rules that turn a bridge's reports
//! into states. Promises: a resource change and the commands that follow from it are in one transaction; nothing is called
//! done before a report says so; handling the same report twice changes nothing. Never speaks HTTP, never opens the
//! database, never signs or sends by itself (see [`authority`](crate::authority)).
//!
//! Levels of truth: a *wish* is a row; *pending mutations* are wishes without an answer; a credential is *issued* only
//! when the encoder said so. What a lock without a network has learnt is not claimed at all.

pub mod attempts;
pub mod commands;
pub mod credentials;
pub mod error;
pub mod events;
pub mod grants;
pub mod groups;
pub mod identities;
pub mod ingest;
pub mod issues;
pub mod methods;
pub mod scope;
pub mod spaces;
pub(crate) mod sql;
pub mod systems;
pub mod time;
pub mod users;

pub use error::ModelError;
pub use scope::{Scope, Work};
