//! A histogram of times from received to outcome, with one fixed scale for the page and for metrics.

/// Upper bounds, ms; what lies above the last has a place of its own. Finest where a person waits.
pub const BOUNDS_MS: [u32; 21] = [
    5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000,
    300_000, 3_600_000,
];

/// Counts by [`BOUNDS_MS`], the last for everything above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latencies<Count> {
    /// Not cumulative.
    pub counts: [Count; BOUNDS_MS.len() + 1],
    /// Sum of all, ms.
    pub sum_ms: u64,
}

impl<Count: Default + Copy> Default for Latencies<Count> {
    fn default() -> Self {
        Self { counts: [Count::default(); BOUNDS_MS.len() + 1], sum_ms: 0 }
    }
}

/// Index of the first bound that is not below `took_ms`.
fn place(took_ms: u64) -> usize {
    BOUNDS_MS.partition_point(|bound| u64::from(*bound) < took_ms)
}

macro_rules! counted_in {
    ($count:ty) => {
        impl Latencies<$count> {
            /// Counts one; a full counter stays full.
            pub fn add(&mut self, took_ms: u64) {
                if let Some(count) = self.counts.get_mut(place(took_ms)) {
                    *count = count.saturating_add(1);
                }
                self.sum_ms = self.sum_ms.saturating_add(took_ms);
            }

            /// Adds all of another.
            pub fn merge(&mut self, other: &Self) {
                for (count, more) in self.counts.iter_mut().zip(other.counts) {
                    *count = count.saturating_add(more);
                }
                self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
            }
        }
    };
}

counted_in!(u16);
counted_in!(u64);
