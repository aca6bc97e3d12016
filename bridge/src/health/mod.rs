//! Health: one registry of reasons that every room reports into, and one loopback server that shows it.
//!
//! Promises: a reason appears with the time it began and leaves when its room clears it. Never: fails liveness for the
//! cloud's absence (rule L2), shows names or secrets, blocks a caller.

mod hop;
mod lines;
pub mod metrics;
mod registry;
pub mod server;
mod snapshot;
mod vitals;
mod watch;

pub use hop::Hop;
pub use lines::Lines;
pub use registry::{Health, Reason, ReasonCode, Scope};
pub use snapshot::{
    BridgeStatus, LockSystemStatus, Observer, ReasonStatus, Snapshot, Sources, State, StorageStatus, Waiting, Working,
};
pub use vitals::{LATE, Pulse, TURN};
pub use watch::watch;
