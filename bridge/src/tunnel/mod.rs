//! The session with the cloud: dial, upgrade, speak, wait, again; for ever.
//!
//! Owns: the one connection to the hub, the wait between two tries, and the reason the cloud is away
//! ([`Scope::Cloud`](crate::health::Scope::Cloud)). Promises: a delivery goes to the engine in order and is acknowledged only
//! after the engine says that its decision is durable; a report leaves only after it is durable, signed, and again until the
//! cloud has it; every wait has a deadline; the loss of the cloud ends nothing but the session. Never: interprets a command,
//! writes the journal, gives up, or buffers more than 1 MiB for a slow hub.
//!
//! ```text
//!            ┌── wait (backoff, Retry-After, drain; cut short when the local link returns) ◄─┐
//!            ▼                                                                               │
//!  engine: Resume ─► transport ─► websocket upgrade ─► Hello/Welcome ─► engine: SessionOpened │
//!                     (whole try at most 45 s)                                  │            │
//!                                                                               ▼            │
//!            deliveries ─► engine      feed, outbox ─► sign ─► frames     connected ── end ──┘
//! ```

mod actor;
mod connected;
mod engine_link;
mod link;
mod reason;
mod site;
mod status;
mod transport;
mod websocket;
mod writer;

#[cfg(test)]
mod tests;

pub use actor::{Tunnel, TunnelParts};
pub use site::Site;
pub use status::{LastError, TunnelStatus};
pub use transport::{ConnectError, Transport};

use lockbridge_protocol::proto::tunnel::Signed;
use lockbridge_protocol::signed::report::SigningFailed;

/// Signs reports with the bridge's audit key (rule I5); the tunnel never sees the key.
pub trait ReportSigner: std::fmt::Debug + Send + Sync + 'static {
    /// Signs an encoded report.
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed>;
}
