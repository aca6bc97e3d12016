//! What this process tells the service manager that started it: ready, how it does, that it lives, that it stops.
//!
//! Promises: the watchdog is fed only while every critical task turns its pulse (rule L4); a status line follows health.
//! Outside of systemd all of it is silence. Never: decides anything, waits for anything remote.

mod notify;
mod status;
mod watchdog;

pub use notify::Notifier;
pub use status::follow;
pub use watchdog::feed;
