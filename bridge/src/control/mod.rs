//! The control socket: how people on site speak to the running daemon through the CLI.
//!
//! One JSON line asks, one JSON line answers, then the connection closes. Who may ask is decided by the socket's file
//! mode (0660, the daemon's group); who asked is read from the kernel and written into the journal. Never: listens on
//! the network, takes a secret.

mod client;
mod message;
mod server;

pub use client::{CallError, call};
pub use message::{Answer, EncodeAnswer, Request};
pub use server::{bind, serve};
