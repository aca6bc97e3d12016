//! SALTO's PMS Industry Standard: hotel software asks for guest keys over TCP or a serial line.
//!
//! Layers, each usable alone; frames come from [`line`](crate::line):
//!
//! * [`message`]: fields between separators. [`text`]: what a field may hold, refused by name before anything is sent.
//! * [`stamp`], [`authorisation`]: dates and the symbols of extra doors.
//! * [`request`]: every command, both ways. [`answer`]: every answer, and which request it can belong to; [`card`],
//!   [`audit`]: the two answers with many fields; [`error_code`]: what a refusal means.
//! * [`client`]: the exchange of one request as a pure machine, with its verdict. [`server`]: the other end, for simulators.
//!
//! Promises: strict in what it writes, tolerant in what it reads; a field or code that is not known stays visible. A request
//! goes on the wire a second time only after the server has said that it dropped the first. Never: waits, reads a clock,
//! takes silence for a failure.
//!
//! SALTO gives the specification to partners only. What stands here follows from public integrations, so doubtful points are
//! settings, and the more cautious reading is the default.

pub mod answer;
pub mod audit;
pub mod authorisation;
pub mod card;
pub mod client;
pub mod error_code;
pub mod limits;
pub mod message;
pub mod request;
pub mod server;
pub mod stamp;
pub mod text;

#[cfg(test)]
mod tests;
