//! The property software of the site asks this bridge for keys: the bridge is its key system, in FIAS.
//!
//! * `serve`: opens the wire, again and again, and keeps one peer on it.
//! * `session`: one connection: the link, orders, answers, limits.
//! * `request`: what a record asks for; `answer`: what is told about it. Both pure.
//! * `memory`: which answers certainly arrived.
//! * `introduction`: who we say we are and which fields we use.
//!
//! ```text
//!  KR, KD, KM, KZ ──► request ──► engine: journaled commands, any lock system, cloud or not ──► answer ──► KA, KZ
//! ```
//!
//! Promises: an order is answered once, with what is known, and within its time; the same record that may be a repetition
//! is not carried out twice; one peer at a time, with bounded records, orders and queues; nothing personal in logs. Never:
//! decides whether a card may be made (the engine and the local policy do), tells OK of what is not certain.

mod answer;
mod introduction;
mod memory;
mod request;
mod serve;
mod session;

pub use serve::{FrontDesk, run};
