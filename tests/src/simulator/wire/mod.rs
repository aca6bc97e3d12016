//! Bytes and text: the STP frame, a small XML tree, the local times of the server. Knows nothing about users or doors.

pub mod stp;
pub mod time;
pub mod xml;
