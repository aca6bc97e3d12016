//! The tunnel between one bridge and its hub, without the network.
//!
//! Owns: the frame codec with its size limits ([`frame`]), the session machines of both ends ([`session`]), how long to
//! wait between sessions ([`backoff`]), and the words of a quarantine ([`quarantine`]). Promises: no input makes it panic, nothing it holds grows without a bound, and every
//! refusal says what was wrong. Never: opens a socket, reads a clock, draws a random number, verifies or reads a command
//! beyond its priority.

pub mod backoff;
pub mod frame;
pub mod quarantine;
pub mod session;
