//! Power cuts in one process: the real journal, fold and engine on a disk in memory, between a scripted hub and a lock
//! server that keep their own count.
//!
//! Every operation of the disk and every mark of the world (acknowledged, told, begun, had its effect) stand in one order.
//! After a run under load, places in that order are drawn; for each, the disk is rebuilt as a power cut there could have
//! left it, hub and lock server as they were, and the daemon is started on it and judged. The next run begins on one of
//! those disks, so recovery is cut too.
//!
//! Owns the world and its checker. Promises: loads, faults and cuts come from the seed that is printed. Never: takes the
//! bridge's word for anything it judges.

mod authority;
pub(super) mod check;
pub(super) mod daemon;
pub(super) mod disk;
mod figures;
pub(super) mod ground;
mod hub;
pub(super) mod image;
pub(super) mod live;
mod load;
mod log;
mod run;
mod site;
pub(super) mod state;
pub(super) mod system;
pub(super) mod truth;

pub use figures::Figures;
pub use run::{Options, power};
