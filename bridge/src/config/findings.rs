//! What reading the configuration found: every mistake, and every value in force with its origin.

use std::fmt;

/// One mistake: where, what was found, what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, or "environment"; "(not set)" when something is missing.
    pub origin: String,
    /// Dotted key, as written in the file.
    pub key: String,
    /// What stands there; `None` when it is missing.
    pub found: Option<String>,
    /// What must stand there.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: ", self.origin, self.key)?;
        match &self.found {
            Some(found) => write!(formatter, "found {found}, expected {}", self.expected),
            None => write!(formatter, "missing, expected {}", self.expected),
        }
    }
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Dotted key.
    pub key: String,
    /// As text.
    pub value: String,
    /// File, "environment" or "default".
    pub origin: String,
}

/// Collected while the tree is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) effective: Vec<Effective>,
}
