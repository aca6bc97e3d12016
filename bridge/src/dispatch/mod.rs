//! The engine: one task that owns the state and decides; effects run beside it and report back.
//!
//! Every change goes the same way: decide -> append to the journal -> fold into the state -> wait until durable -> act
//! (acknowledge, start an effect, report). The next decision never waits for the disk: acts queue up by journal
//! sequence, so one flush carries many commands.
//!
//! Owns lanes, encoder leases, deadlines, retries, doubts and the tasks that watch the lock systems. Promises: nothing is
//! acknowledged and no effect begins before its entry is durable; one command at a time in a lane, in the order of its
//! lane; one job at a time on an encoder. Never: decides vendor semantics, talks to the network, acts before durability.

mod audit;
mod begin;
mod deliver;
mod desk;
mod doubt;
mod effect;
mod engine;
mod finish;
mod front_desk;
mod handle;
mod intake;
mod judge;
mod keys;
mod local;
mod log;
mod loss;
mod parts;
mod phones;
mod quarantine;
mod queue;
mod reading;
mod release;
mod session;
#[cfg(test)]
mod tests;
mod timers;
mod watch;
mod work;

pub use audit::Credentials;
pub use desk::{EncoderJob, EncoderStage};
pub use engine::{EngineError, Identity, State};
pub use front_desk::{DeskAnswer, DeskAnswers, DeskOrderRequest, DeskRoom, DeskWish, Done};
pub use handle::{
    CommandSummary, ControlError, DoubtSummary, DoubtVerdict, EncodeLocally, EngineHandle, EngineRequest, EngineStatus,
    LaneGapNotice, LiftAnswer, OutboxReader, QuarantineStatus, Resume, TunnelFeed,
};
pub use log::{Log, Room};
pub use parts::{EngineParts, build};
