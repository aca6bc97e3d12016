//! Byte lines to front desks and lock systems: TCP, TLS and serial ports behind one type.
//!
//! * `endpoint`: where a line leads, and its limits.
//! * `opener`: makes a line and makes it anew, at a bounded pace; `serial` and `tcp` do the opening.
//! * `line`: an open line: reads, writes whole frames, keeps the pauses.
//! * `error`: what failed, where, and the next step. `statistics`: what a line did, for health and metrics.
//! * `tls`: what makes the certificate of a machine on the site's network acceptable.
//!
//! Owns the device or socket. Promises: every write ends within its limit, and a failed one tells how many bytes certainly
//! went nowhere; a line that failed stays failed; no buffer of its own; a serial port has one user; an attempt to open ends
//! in time, and two attempts are never closer together than the pause between them. Never: looks at what the bytes mean,
//! sends anything by itself, drops or repeats a byte.

pub mod endpoint;
pub mod error;
pub mod line;
pub mod opener;
mod serial;
pub mod statistics;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;

pub use endpoint::{DataBits, Endpoint, FlowControl, Limits, Parity, SerialSettings, StopBits};
pub use error::LineError;
pub use line::{Line, Stream};
pub use opener::Opener;
pub use statistics::{CodecCounts, LineStatus, Meter, Statistics};
