//! The Lockbridge daemon as a library; `main.rs` is a thin binary over [`cli`].
//!
//! A command is a *wish with a class*. The bridge makes it durable, acknowledges it, turns it into lock-system operations
//! and reports one honest outcome. Rooms, each with what it owns and never does in its own `mod.rs`:
//!
//! `cli` -> `app` -> {`tunnel`, `dispatch`, `system`, `health`, `control`, `identity`} -> {`journal`, `state`, `command`,
//! `grant`, `link`, `net`} -> {`config`, `clock`, `seal`}.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod app;
pub mod audit;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod dispatch;
pub mod front_desk;
pub mod grant;
pub mod health;
pub mod history;
pub mod identity;
pub mod journal;
pub mod limits;
pub mod link;
pub mod net;
pub mod page;
pub mod seal;
pub mod setup;
pub mod state;
pub mod supervise;
pub mod system;
pub mod telemetry;
pub mod tunnel;
