//! FIAS, by which hotel software talks to key systems over TCP or a serial line, in both roles.
//!
//! Two parties, whatever end dialed: the **PMS** asks for keys, the **key system** makes them. Layers, each usable alone:
//!
//! * [`record`], [`id`]: records and fields in the frames of [`line`](crate::line). [`value`], [`code`]: dates, lists, tables.
//! * [`link`], [`key`], [`guest`]: the typed records; [`any`]: all of them, unknown ones kept.
//! * [`serial`]: who acknowledges what on a serial line; over TCP nothing is acknowledged.
//! * [`wire`]: both ways of framing behind one face, with a queue for what waits.
//! * [`session`]: how a link comes up, stays up and ends, for either role.
//! * [`key_table`]: which answer belongs to which key request.
//! * [`cryptogram`]: the optional proof that the key system has the site's key.
//!
//! Promises: strict in what it writes, tolerant in what it reads; fields and records that are not known stay visible; a key
//! request is never repeated by anything in here unless the peer said that it dropped it. Never: waits, reads a clock, takes a
//! missing answer for a failure.
//!
//! The specification is Oracle's "HGBU IFC8 FIAS", 2.20.23. Sites differ in code page, dialing side and liveness, so these are
//! settings.

pub mod any;
pub mod code;
pub mod cryptogram;
pub mod guest;
pub mod id;
pub mod key;
pub mod key_table;
pub mod limits;
pub mod link;
pub mod record;
pub mod serial;
pub mod session;
pub mod value;
pub mod wire;

#[cfg(test)]
mod tests;
