//! How many records of one peer are read in a second.

use std::time::Duration;

use crate::limits::DESK_RECORDS_PER_SECOND;

const SECOND: Duration = Duration::from_secs(1);

/// Whether one more record is read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// `is_first`: of this second.
    No {
        is_first: bool,
    },
}

/// The second that began with the first record in it, and what came in it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    begin: Duration,
    count: u32,
    is_told: bool,
}

impl Pace {
    /// Counts a record if it may be read at `now`, monotonic.
    pub(super) fn admits(&mut self, now: Duration) -> Admission {
        if now >= self.begin.saturating_add(SECOND) {
            *self = Self { begin: now, ..Self::default() };
        }
        if self.count >= DESK_RECORDS_PER_SECOND {
            return Admission::No { is_first: !std::mem::replace(&mut self.is_told, true) };
        }
        self.count = self.count.saturating_add(1);
        Admission::Yes
    }

    /// When the next record is read; `None`: at once.
    pub(super) fn opens_at(&self) -> Option<Duration> {
        (self.count >= DESK_RECORDS_PER_SECOND).then(|| self.begin.saturating_add(SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_number_of_records_and_says_once_that_it_is_full() {
        let mut pace = Pace::default();
        let begin = SECOND * 5;
        for _ in 0..DESK_RECORDS_PER_SECOND {
            assert_eq!(pace.admits(begin), Admission::Yes);
        }
        assert_eq!(pace.admits(begin), Admission::No { is_first: true });
        assert_eq!(pace.admits(begin + SECOND / 2), Admission::No { is_first: false });
        assert_eq!(pace.opens_at(), Some(begin + SECOND));
        assert_eq!(pace.admits(begin + SECOND), Admission::Yes);
        assert_eq!(pace.opens_at(), None);
    }
}
