//! The control socket: how people on site speak to the running daemon through the CLI.
//!
//! One JSON line asks, one JSON line answers, then the connection closes. Who may ask is decided by the socket's file
//! mode (0660, the daemon's group); who asked is read from the kernel and written into the journal. Never: listens on
//! the network, keeps a secret: the enrollment token passes through once and is wiped.

mod client;
mod desk;
mod message;
mod server;

pub use client::{CallError, call};
pub(crate) use desk::enrollment_refused;
pub use desk::{Caller, Desk, EngineDesk};
pub use message::{Answer, EncodeAnswer, Request, SecretText};
pub use server::{bind, serve};
