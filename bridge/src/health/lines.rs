//! The byte lines of this bridge, as health shows them.

use std::fmt;

use crate::link::LineStatus;

/// Figures of one line; `None` while it has none.
type Source = Box<dyn Fn() -> Option<LineStatus> + Send + Sync>;

/// Where the figures of every line come from. Filled once, at the start.
#[derive(Default)]
pub struct Lines(Vec<Source>);

impl Lines {
    /// One more line. `source` must not block.
    pub fn add(&mut self, source: impl Fn() -> Option<LineStatus> + Send + Sync + 'static) {
        self.0.push(Box::new(source));
    }

    /// The figures now, in the order of [`add`](Self::add).
    pub fn statuses(&self) -> Vec<LineStatus> {
        self.0.iter().filter_map(|source| source()).collect()
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Lines").field(&self.0.len()).finish()
    }
}
