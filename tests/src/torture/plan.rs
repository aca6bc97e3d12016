//! What will be done in one cycle, drawn from the seed alone.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Encoders of the simulated site.
pub(super) const ENCODERS: [&str; 2] = ["Front desk 1", "Front desk 2"];
/// Doors that grants are made over; besides them everybody gets the main entrance.
pub(super) const ROOMS: [&str; 4] = ["Room 101", "Room 102", "Room 103", "Room 104"];

/// One act. A `pick` chooses among whoever qualifies when the time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Create { room: usize },
    Delete { pick: usize },
    Encode { pick: usize, encoder: usize },
    EncodeOnSite { pick: usize, encoder: usize },
    Cut,
    Mend,
}

/// One cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cycle {
    /// Acts, each after a pause.
    pub(super) acts: Vec<(Duration, Act)>,
    /// From the beginning of the load to the kill; acts that are not reached are left out.
    pub(super) death: Duration,
    /// Wait for a session before the load, so that encodes are accepted; else the load meets a bridge that is starting.
    pub(super) connected_first: bool,
    /// A person settles the doubts found after the restart; else the lock server's evidence may.
    pub(super) person: bool,
}

/// The plans of a seed, one after the other.
#[derive(Debug)]
pub(super) struct Plans(StdRng);

impl Plans {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn next(&mut self) -> Cycle {
        let random = &mut self.0;
        // Each cycle begins with something to encode later and something to encode now.
        let mut acts = vec![(Duration::ZERO, Act::Create { room: random.random_range(0..ROOMS.len()) })];
        for encoder in 0..ENCODERS.len() {
            acts.push((pause(random), Act::Encode { pick: pick(random), encoder }));
        }
        for _ in 0..random.random_range(8..24) {
            let act = match random.random_range(0..100) {
                0..35 => Act::Create { room: random.random_range(0..ROOMS.len()) },
                35..45 => Act::Delete { pick: pick(random) },
                45..78 => Act::Encode { pick: pick(random), encoder: random.random_range(0..ENCODERS.len()) },
                78..90 => Act::EncodeOnSite { pick: pick(random), encoder: random.random_range(0..ENCODERS.len()) },
                90..95 => Act::Cut,
                _ => Act::Mend,
            };
            acts.push((pause(random), act));
        }
        Cycle {
            acts,
            death: Duration::from_millis(random.random_range(20..900)),
            connected_first: random.random_range(0..5) > 0,
            person: random.random_range(0..2) == 0,
        }
    }
}

fn pause(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(0..40))
}

fn pick(random: &mut StdRng) -> usize {
    random.random_range(0..1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_plans_again_and_another_seed_others() {
        let draw = |seed| {
            let mut plans = Plans::new(seed);
            (0..20).map(|_| plans.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
