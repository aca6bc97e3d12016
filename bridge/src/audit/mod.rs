//! The audit of a journal by who was not there: with public keys only, without the daemon, changing nothing (rules J1-J3).
//!
//! Owns the format of audit exports, and what counts as a finding. The journal itself is the log: every entry holds the
//! chain hash of the one before, the bridge signs heads of that chain (checkpoints), and the cloud counter-signs them
//! (witnesses). A chain alone cannot show a cut tail or a history written anew; signatures and a witness kept elsewhere can.
//!
//! Promises: no lock is taken and no file changed, so it may run beside the daemon; every finding says what, where and the
//! next step; nothing is called sound that was not checked. Memory: some 60 bytes an entry, one segment, one line.
//!
//! Never: opens sealed bytes, repairs anything, trusts the lenient reading that recovery is allowed.

mod chain;
mod checkpoint;
mod compare;
mod export;
mod extract;
mod finding;
mod folder;
mod hold;
mod import;
mod keys;
mod segment;
mod signed;
#[cfg(test)]
mod tests;
mod verdict;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use compare::compare;
pub use export::{Exporter, Range};
pub use extract::{describe, extract};
pub use finding::{Code, Finding};
pub use keys::{KeyError, Keys, Origin};
pub use verdict::{Covered, Verdict, Visited};

/// Where a journal is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A state directory.
    Folder(PathBuf),
    /// A file made by `lockbridge audit export`.
    Export(PathBuf),
}

/// The audit could not be done at all.
#[derive(Debug, Error)]
pub enum AuditError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No journal is there.
    #[error("there is no journal in {}", path.display())]
    Nothing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Made by a version this one cannot read.
    #[error("{} cannot be read by this version: {problem}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        problem: String,
    },
    /// The daemon gave up old segments faster than they were read.
    #[error("the journal in {} changed too often while it was read", path.display())]
    Moving {
        /// The state directory.
        path: PathBuf,
    },
    /// The export could not be written.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
}

impl AuditError {
    fn read(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}

/// Checks everything the source holds. `visit` is given each entry that was read, in the order it stands there.
pub fn verify(
    source: &Source,
    keys: &Keys,
    visit: &mut dyn FnMut(&Visited<'_>) -> Result<(), AuditError>,
) -> Result<Verdict, AuditError> {
    match source {
        Source::Folder(path) => folder::verify(path, keys, visit),
        Source::Export(path) => import::verify(path, keys, visit),
    }
}
