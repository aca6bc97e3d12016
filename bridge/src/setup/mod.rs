//! `lockbridge setup`: from a token and the address of a lock server to configuration files that hold.
//!
//! Owns the questions, their rules and the files that are made of the answers. Promises: the same questions at a terminal
//! and unattended; every answer is checked by itself, all mistakes are told at once, and what was answered is verified
//! against the real cloud and lock server before a file is written; a file that is there is kept unless replacing it was
//! asked for. Never: writes a secret into the configuration, an argument or a log.

mod answers;
mod asking;
mod draft;
mod files;
mod question;
mod secrets;
mod service;
mod terminal;
mod verify;

pub use answers::{Answers, Mistake};
pub use asking::{answer, yes};
pub use draft::{Draft, drafts};
pub use files::{FileError, Scratch, bare_configuration, configuration, write};
pub use question::{Group, Question, questions};
pub use secrets::{Keeping, Sealing, store_secrets};
pub use service::{Service, ServiceError};
pub use terminal::{Console, Terminal};
pub use verify::{read_card, verify};
