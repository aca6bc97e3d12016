//! Corruption: state folders as the world's runs leave them, with bytes, files or whole folders damaged, and the core
//! started on them (rule F5).
//!
//! Judged by everything the journal was ever given: whatever is recovered must be that, and whatever is not must be
//! reported by its sequences. Never: counts a refusal to start, a panic or a second start that differs as recovery.

mod figures;
mod judge;
mod run;
mod wound;

pub use figures::Figures;
pub use run::{Options, corrupt};
