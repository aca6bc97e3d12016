//! What a reader did not understand, made visible instead of fatal.

use std::collections::BTreeSet;

use super::limits;

/// Names of fields that were unknown or not readable. Names only, never values: those can be people's names or PIN codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    names: BTreeSet<String>,
    dropped: bool,
}

impl Notes {
    /// Remembers `parent/field` once, up to [`limits::NOTES`].
    pub fn add(&mut self, parent: &str, field: &str, what: &str) {
        let line = format!("{parent}/{field} {what}");
        if self.names.len() < limits::NOTES {
            self.names.insert(line);
        } else if !self.names.contains(&line) {
            self.dropped = true;
        }
    }

    /// Nothing was left unread.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Each `parent/field what`, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// There was more than is kept.
    pub fn is_cut(&self) -> bool {
        self.dropped
    }
}
