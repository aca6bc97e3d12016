//! The session machines of both ends: events and the time in, actions and the next deadline out.
//!
//! Own: what may be said when in one session, and where both flows stand. Promise: every delivery and every report crosses in
//! order, and again after a cut, until the other end says that it is durable; nothing passes a credit or a window; every
//! breach ends the session with a reason. Never: wait, send, read a clock, or remember anything across sessions; what
//! outlives a session is in Hello and Welcome (rule G10).
//!
//! ```text
//!  bridge                                             hub
//!  ┌──────────┐ Hello ────────────────────────────► ┌─────────────┐ none within 10 s ► end
//!  │ Greeting │                                     │ Waiting     │ version not spoken ► Refuse, end
//!  │          │◄── Refuse: end, reason by name ──── │ Admitting   │ `Admit`: cursors do not fit ► Refuse, end
//!  └────┬─────┘ no answer within 10 s ► end         └──────┬──────┘ (its server opens a new epoch meanwhile)
//!       │      ◄────────── Welcome (epoch, cursor up) ─────┘
//!  ┌────▼─────┐ nonce, version, epoch, cursors checked  ┌──────▼──────┐
//!  │ Opening  │ (its engine makes the epoch durable)    │ Open        │
//!  └────┬─────┘                                         │             │
//!  ┌────▼─────┐ Credit, CommandsDurable, Reports ────►  │ resends     │
//!  │ Open     │ LaneGap, Health, Heartbeat ──────────►  │ above the   │
//!  │          │◄────── Deliveries, ReportsDurable ───── │ cursor      │
//!  │          │◄────── Heartbeat, Witness ───────────── │ first       │
//!  └────┬─────┘                                         └──────┬──────┘
//!       │ either: ping each 20 s ± 10 %; 45 s of silence ► end │
//!       │ Draining: no more deliveries, reports still flow ───►│
//!       │◄──── Drain(from, to): bridge stays until the close ──│ closes 5 s later
//!  ┌────▼─────┐                                         ┌──────▼──────┐
//!  │ Ended    │  after the one `Close` action: silence  │ Ended       │
//!  └──────────┘                                         └─────────────┘
//! ```
//!
//! A bridge in quarantine keeps its session: `Admit` with a quarantine opens it although the cursors do not fit, the hub
//! wants nothing new but revokes and background reads, and both ends tell what holds (Welcome and the hub's heartbeat; Hello
//! and health) until both have released it.
//!
//! A frame of another epoch is ignored, both ways, and counted. A frame kind that tunnel version 1 does not know is a
//! breach: a new kind takes a new version, so that nothing is dropped unread.

mod bridge;
mod flow;
mod hub;
mod presence;
mod resume;
mod timers;
mod violation;

pub use bridge::{BridgeAction, BridgeEnd, BridgeEvent, BridgeSession, ReportsWanted, Welcomed};
pub use flow::slot;
pub use hub::{Admission, DeliverError, HubAction, HubEnd, HubEvent, HubSession, HubSettings, Refusal, Wanted};
pub use presence::Presence;
pub use resume::{KnownStore, Suspicion, is_cloud_restored, suspicion};
pub use violation::{Close, Violation};

use crate::proto::tunnel::{Command, Delivery, Priority};
use prost::Message;

/// Priority of a delivery, by the body of its command: both ends count credit by this and by nothing on the wire. What
/// cannot be read counts as convergent, the largest share; the bridge rejects it anyway.
pub fn priority_of(delivery: &Delivery) -> Priority {
    delivery
        .command
        .as_ref()
        .and_then(|signed| Command::decode(signed.payload.as_slice()).ok())
        .and_then(|command| command.body)
        .map_or(Priority::Convergent, |body| crate::signed::command::priority_of(&body))
}

#[cfg(test)]
mod tests;
