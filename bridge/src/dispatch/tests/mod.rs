//! The engine with a log and a store in memory, a lock system that follows a script, and the runtime's paused clock.

mod audit;
mod authority;
mod bench;
mod desk;
mod front_desk;
mod full;
mod keys;
mod life;
mod loss;
mod memory;
mod order;
mod phones;
mod place;
mod prefix;
mod quarantine;
mod site;
mod system;

use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::Machine;
use lockbridge_protocol::proto::tunnel::{
    CommandState, CommandUpdate, Delivery, InventoryItem, KeyOperation, Medium, ObservedEntrance, ObservedGroup,
    PutGrant, Report, User, command::Body, inventory_item::Kind, report::Body as ReportBody,
};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::authority::{Authority, cancel, delete_grant, encode, grant, unlock};
use self::bench::Bench;
use self::memory::TestLog;
use self::place::{FakeUser, Script};
use self::system::FakeSystem;
use super::*;
use crate::system::{Intake, KeyKind, KeySeen, Retry};

/// When every story begins, ms since the epoch.
const START: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;
