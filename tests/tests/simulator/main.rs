//! The simulator from outside: the real process, its sockets, its data directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod encoders;
mod faults;
mod server;
mod wire;
