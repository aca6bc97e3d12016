//! The site's own policy: a local file that has the last word over every command (rules I6 to I9).
//!
//! ```toml
//! version = 1                       # a command may ask for a minimum
//!
//! [systems.tower]                   # one table a lock system; `[systems."*"]` for all without one
//! allow = ["put_grant", "delete_grant", "encode_credential"]   # or ["*"]
//! entrances = ["*"]                 # ids; `*` stands for any characters
//! max_validity_days = 31            # longest grant; 0: no bound, open ends too
//! hours = "06:00-23:00"             # encode and unlock only then, by the site's clock
//! encodes_per_hour = 60             # each encoder
//! encodes_per_day = 300             # each encoder
//! encodes_per_room_per_day = 10     # each room that reservations own
//! grants_per_hour = 600             # further grants wait
//! ```
//!
//! Promises: without a valid file only safety commands pass. Never: bounds a revoke.

mod check;
mod load;
#[cfg(test)]
mod tests;

pub use check::{Facts, Moment, Ruling, subjects};
pub use load::{Mistake, PolicyError};

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Time;
use lockbridge_protocol::proto::tunnel::command::Body;

/// A valid policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Given by whoever maintains the file.
    pub version: u64,
    /// SHA-256 of the file.
    pub hash: [u8; 32],
    /// By lock system; `*` for all others.
    pub systems: BTreeMap<String, SystemPolicy>,
}

/// What is allowed at one lock system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPolicy {
    /// Kinds of command; `None`: every kind.
    pub allow: Option<BTreeSet<String>>,
    /// Patterns of entrance ids.
    pub entrances: Vec<String>,
    /// Longest grant; `None`: no bound.
    pub max_validity_days: Option<u32>,
    /// From and until, by the site's clock.
    pub hours: Option<(Time, Time)>,
    /// Each encoder.
    pub encodes_per_hour: u64,
    /// Each encoder.
    pub encodes_per_day: u64,
    /// Each room that reservations own.
    pub encodes_per_room_per_day: u64,
    /// The whole lock system.
    pub grants_per_hour: u64,
}

impl Policy {
    /// The rules for a lock system, if it is named or all are.
    pub fn system(&self, lock_system: &str) -> Option<&SystemPolicy> {
        self.systems.get(lock_system).or_else(|| self.systems.get("*"))
    }
}

/// Asks the policy in force; `None` when there is no valid file. `rooms` are the rooms an encode opens; `rate(subject,
/// hours)` tells how often something was begun lately.
pub fn check(
    policy: Option<&Policy>,
    moment: Moment,
    facts: Facts<'_>,
    body: &Body,
    rooms: &[String],
    rate: &dyn Fn(&str, u64) -> u64,
) -> Ruling {
    check::check(policy, moment, facts, body, rooms, rate)
}
