//! Simulators, black-box tests and benches of Lockbridge.
#![forbid(unsafe_code)]

pub mod bench;
