//! The engine: one task that owns the state and decides; effects run beside it and report back.
//!
//! Every change goes the same way: decide -> append to the journal -> fold into the state -> wait until durable -> act
//! (acknowledge, start an effect, report). Never: decides vendor semantics, talks to the network, acts before durability.

mod handle;

pub use handle::{
    CommandSummary, ControlError, DoubtSummary, DoubtVerdict, EncodeLocally, EngineHandle, EngineRequest, EngineStatus,
    LaneGapNotice, OutboxReader, Resume, TunnelFeed,
};
