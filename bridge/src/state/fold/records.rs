//! The values in the key/value store. Fields are added, never renumbered.

use lockbridge_protocol::proto::journal::Machine;
use prost::Message;

/// Cursors and counters.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Meta {
    /// Version of keys and values, [`FORMAT`](super::FORMAT).
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// Starts of this journal.
    #[prost(uint64, tag = "2")]
    pub boot_counter: u64,
    /// Every delivery up to here has a decision.
    #[prost(uint64, tag = "3")]
    pub deliveries_through: u64,
    /// Highest report made.
    #[prost(uint64, tag = "4")]
    pub reports_last: u64,
    /// Every report up to here is durable at the cloud.
    #[prost(uint64, tag = "5")]
    pub reports_acknowledged: u64,
    /// Highest session epoch.
    #[prost(uint64, tag = "6")]
    pub epoch: u64,
    /// The local brake.
    #[prost(bool, tag = "7")]
    pub brake: bool,
    /// Of the policy in force.
    #[prost(uint64, tag = "8")]
    pub policy_version: u64,
    /// Commands ended since the journal began.
    #[prost(uint64, tag = "9")]
    pub ended: u64,
    /// Batches of door events in the outbox.
    #[prost(uint64, tag = "10")]
    pub event_batches: u64,
    /// The earliest time a tombstone may go; 0: none waits.
    #[prost(int64, tag = "11")]
    pub next_forgetting_ms: i64,
    /// Of the policy in force.
    #[prost(bytes = "vec", tag = "12")]
    pub policy_hash: Vec<u8>,
    /// Quarantine, while it holds.
    #[prost(message, optional, tag = "20")]
    pub quarantine: Option<QuarantineRecord>,
    /// Highest incident that was left.
    #[prost(uint64, tag = "21")]
    pub quarantine_left: u64,
    /// Interactive commands issued up to here, by the cloud's clock, may have been carried out in a lost part of the journal.
    #[prost(int64, tag = "22")]
    pub replay_before_ms: i64,
    /// The machine that this state belongs to.
    #[prost(message, optional, tag = "23")]
    pub machine: Option<Machine>,
    /// Deliveries that this journal no longer knows and the cloud has not yet answered for, ascending.
    #[prost(message, repeated, tag = "24")]
    pub lost: Vec<LostRange>,
    /// Commands that the cloud named as lost since the journal began.
    #[prost(uint64, tag = "25")]
    pub lost_named: u64,
    /// Those of them of which nobody knows whether they were carried out.
    #[prost(uint64, tag = "26")]
    pub lost_unknown: u64,
    /// Ids of the first of them, at most [`LOST_SHOWN`](super::LOST_SHOWN).
    #[prost(bytes = "vec", repeated, tag = "27")]
    pub lost_shown: Vec<Vec<u8>>,
}

/// Deliveries whose decision stood in a damaged part of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LostRange {
    /// From here.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    /// To here.
    #[prost(uint64, tag = "2")]
    pub last: u64,
}

/// A quarantine that holds.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QuarantineRecord {
    /// Word of the reason.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// One sentence for a person.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Number by the hub; 0: not yet known there.
    #[prost(uint64, tag = "3")]
    pub incident: u64,
    /// Since when, wall time.
    #[prost(int64, tag = "4")]
    pub since_ms: i64,
    /// Released at the site.
    #[prost(bool, tag = "5")]
    pub confirmed: bool,
    /// Released at the cloud.
    #[prost(bool, tag = "6")]
    pub released: bool,
    /// Deliveries up to here repeat what a lost part of the journal knew.
    #[prost(uint64, tag = "7")]
    pub replay_through: u64,
}

/// Phase of a live command, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Phase {
    /// Waits.
    Queued = 0,
    /// Has a durable intent and no outcome.
    Executing = 1,
    /// In doubt.
    InDoubt = 2,
}

/// A live command, without its payload.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CommandRecord {
    /// Journal sequence of its receipt: order of arrival.
    #[prost(uint64, tag = "1")]
    pub order: u64,
    /// SHA-256 of the payload.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    /// Lock system.
    #[prost(string, tag = "3")]
    pub lock_system: String,
    /// Lane.
    #[prost(string, tag = "4")]
    pub lane: String,
    /// 0: given on site, no order but arrival.
    #[prost(uint64, tag = "5")]
    pub lane_sequence: u64,
    /// `tunnel.v1.Priority`.
    #[prost(uint32, tag = "6")]
    pub priority: u32,
    /// `tunnel.v1.Mode`.
    #[prost(uint32, tag = "7")]
    pub mode: u32,
    /// `put_grant`, ...
    #[prost(string, tag = "8")]
    pub kind: String,
    /// What a revoke of it names.
    #[prost(string, tag = "9")]
    pub object: String,
    /// Not to begin before, by wall time.
    #[prost(int64, tag = "10")]
    pub not_before_ms: i64,
    /// Not to begin after, by wall time.
    #[prost(int64, tag = "11")]
    pub expires_at_ms: i64,
    /// From receipt to start.
    #[prost(uint32, tag = "12")]
    pub max_start_delay_ms: u32,
    /// "uid 1000" when given on site; empty: by the cloud.
    #[prost(string, tag = "13")]
    pub operator: String,
    /// When received, wall time.
    #[prost(int64, tag = "14")]
    pub received_ms: i64,
    /// [`Phase`].
    #[prost(enumeration = "Phase", tag = "15")]
    pub phase: i32,
    /// 1 R, 2 Q, 3 B; of the last attempt.
    #[prost(uint32, tag = "16")]
    pub class: u32,
    /// Attempts begun.
    #[prost(uint32, tag = "17")]
    pub attempt: u32,
    /// Attempts that count.
    #[prost(uint32, tag = "18")]
    pub spent: u32,
    /// An earlier attempt may have had an effect.
    #[prost(bool, tag = "19")]
    pub uncertain: bool,
    /// Lock system or encoder of the last attempt.
    #[prost(string, tag = "20")]
    pub device: String,
    /// Sealed observation before the last attempt.
    #[prost(bytes = "vec", tag = "21")]
    pub sealed_before: Vec<u8>,
    /// When the phase began, wall time.
    #[prost(int64, tag = "22")]
    pub since_ms: i64,
    /// Code of the last attempt's error.
    #[prost(string, tag = "23")]
    pub last_error: String,
    /// Not to try again before, wall time.
    #[prost(int64, tag = "24")]
    pub retry_at_ms: i64,
}

/// What is remembered of an ended command.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Tombstone {
    /// SHA-256 of the payload; empty: cancelled before it came.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// `tunnel.v1.CommandState`.
    #[prost(uint32, tag = "2")]
    pub state: u32,
    /// Its report.
    #[prost(uint64, tag = "3")]
    pub report_sequence: u64,
    /// Code of its error.
    #[prost(string, tag = "4")]
    pub error_code: String,
    /// When it may go.
    #[prost(int64, tag = "5")]
    pub forget_at_ms: i64,
}

/// A lane.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LaneRecord {
    /// Lowest sequence that has not ended; 0 counts as 1.
    #[prost(uint64, tag = "1")]
    pub next: u64,
    /// Sequences from `next` on that ended already.
    #[prost(uint64, repeated, tag = "2")]
    pub ended_ahead: Vec<u64>,
    /// Objects that an overtaking revoke made moot.
    #[prost(message, repeated, tag = "3")]
    pub revoked: Vec<Revoked>,
    /// Every sequence below is superseded.
    #[prost(uint64, tag = "4")]
    pub cancels_below: u64,
}

/// An object made moot for older commands of the lane.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Revoked {
    /// `grant:<id>`, `credential:<id>`, `suspension`.
    #[prost(string, tag = "1")]
    pub object: String,
    /// Lane sequence of the revoke.
    #[prost(uint64, tag = "2")]
    pub below: u64,
}

/// A report that waits for the cloud.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OutboxRecord {
    /// `command`, `inventory`, `events`, `event_gap`, `audit_checkpoint`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// The sealed `Report`.
    #[prost(bytes = "vec", tag = "2")]
    pub sealed: Vec<u8>,
}

/// A small number.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Count {
    /// The number.
    #[prost(uint64, tag = "1")]
    pub count: u64,
}
