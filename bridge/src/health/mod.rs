//! Health: one registry of reasons that every room reports into, and one loopback server that shows it.
//!
//! Promises: a reason appears with the time it began and leaves when its room clears it. Never: fails liveness for the
//! cloud's absence (rule L2), shows names or secrets, blocks a caller.

pub mod metrics;
mod registry;
pub mod server;
mod snapshot;
mod vitals;

pub use registry::{Health, Reason, ReasonCode, Scope};
pub use snapshot::{BridgeStatus, LockSystemStatus, Observer, ReasonStatus, Snapshot, State};
pub use vitals::{LATE, Pulse, TURN};
