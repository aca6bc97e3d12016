//! Simulators of lock systems, the harness that starts the real binaries, and what the demo, torture and bench binaries share.
#![forbid(unsafe_code)]

pub mod bench;
pub mod browser;
pub mod demo;
pub mod fault_disk;
pub mod harness;
pub mod machine;
pub mod package;
pub mod simulator;
pub mod torture;
