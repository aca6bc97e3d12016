//! SHIP, the host interface of SALTO Space: XML requests and answers over raw TCP ("STP") or HTTP, and its event stream.
//!
//! Layers, each usable alone:
//!
//! * [`frame`]: STP frames in a byte stream; [`http`]: what the HTTP variant needs besides the bare XML.
//! * [`xml`]: a tree of elements, read from any layout within hard limits, written as plain ASCII.
//! * [`envelope`]: requests, answers and exceptions.
//! * [`value`], [`enumeration`]: scalars as they stand on the wire.
//! * [`entity`]: users, access levels, doors, events; [`call`]: the typed requests and what their answers say.
//! * [`error_code`]: every code of an exception and what it means for us; [`operation`]: every operation of the audit trail.
//! * [`paging`]: walking a list whose pages overlap by one; [`stream`]: events that Space pushes.
//!
//! Promises: no input panics or makes us hold more than [`limits`] say; a field that is not known or cannot be read is
//! skipped and *named* in [`Notes`], never fatal, because every Space version adds some. Never: sends, waits, retries.
//!
//! SALTO publishes no specification of SHIP. What stands here follows from public integrations and captures, so doubtful
//! points are arguments, not constants.

pub mod call;
pub mod entity;
pub mod enumeration;
pub mod envelope;
pub mod error_code;
pub mod frame;
pub mod http;
pub mod limits;
mod notes;
pub mod operation;
pub mod paging;
pub mod stream;
pub mod value;
pub mod xml;

pub use notes::Notes;
