//! Starts the real binaries as processes in a temporary folder and drives them as their users would.
//!
//! Promises: every wait has a deadline and says what it waited for; every process it started is ended with it, also when
//! this process is killed (children watch their standard input). Never: sleeps for luck, looks inside a process.

mod binaries;
mod command;
mod front_desk;
pub mod guest;
mod http;
pub mod key_service;
mod leaks;
mod link;
pub mod pms_desk;
pub mod pms_server;
mod process;
mod resources;
mod site;
mod tamper;
mod terminal;
mod wait;

pub use binaries::{Binaries, build};
pub(crate) use binaries::{cargo, find, workspace};
pub use front_desk::FiasSimulator;
pub use http::{ApiClient, ApiError};
pub use leaks::{forms, holds};
pub use link::{Link, Passed};
pub use process::{Process, Ready};
pub use resources::{Resources, folder_bytes};
pub use site::{Site, SiteOptions};
pub use tamper::JournalCopy;
pub use terminal::Terminal;
pub use wait::{WaitError, until};
