//! Simulators of lock systems, the harness that starts the real binaries, and what the demo, torture and bench binaries share.

pub mod simulator;
