//! Who is let in when everybody comes at once (rule G6): a token bucket for new sessions and enrollments.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many new sessions the hub takes on.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionSettings {
    /// Lasting rate; what one hub can resume, with its database work.
    pub sessions_per_second: u32,
    /// At once, after a quiet time.
    pub burst: u32,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self { sessions_per_second: 50, burst: 100 }
    }
}

#[derive(Debug)]
pub(super) struct Admission {
    settings: AdmissionSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Millionths of a session that may start now.
    tokens: u64,
    at: Duration,
    /// Turned away since the bucket was last full: those who will come again.
    backlog: u32,
}

const ONE: u64 = 1_000_000;

impl Admission {
    pub(super) fn new(settings: AdmissionSettings) -> Self {
        let state = State { tokens: u64::from(settings.burst) * ONE, at: Duration::ZERO, backlog: 0 };
        Self { settings, state: Mutex::new(state) }
    }

    /// Lets one in, or says for how many seconds to stay away: between 5 and 5 + 2 x backlog / capacity, by `random`.
    pub(super) fn enter(&self, now: Duration, random: u64) -> Result<(), u32> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full = u64::from(self.settings.burst) * ONE;
        let elapsed = u64::try_from(now.saturating_sub(state.at).as_micros()).unwrap_or(u64::MAX);
        state.tokens =
            full.min(state.tokens.saturating_add(elapsed.saturating_mul(self.settings.sessions_per_second.into())));
        state.at = state.at.max(now);
        if state.tokens == full {
            state.backlog = 0;
        }
        if let Some(left) = state.tokens.checked_sub(ONE) {
            state.tokens = left;
            return Ok(());
        }
        state.backlog = state.backlog.saturating_add(1);
        let spread = state.backlog.saturating_mul(2) / self.settings.sessions_per_second.max(1);
        let wait = 5_u64.saturating_add(random % u64::from(spread.saturating_add(1)));
        // A bridge obeys at most 600 s (rule G5).
        Err(u32::try_from(wait).unwrap_or(u32::MAX).min(600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let admission = Admission::new(AdmissionSettings { sessions_per_second: 2, burst: 3 });
        let at = |milliseconds| admission.enter(Duration::from_millis(milliseconds), 0).is_ok();
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert!(!at(499));
        assert!(at(500));
        assert!(!at(500));
    }

    #[test]
    fn those_turned_away_are_spread_by_their_number() {
        let admission = Admission::new(AdmissionSettings { sessions_per_second: 1, burst: 1 });
        admission.enter(Duration::ZERO, 0).expect("is the burst");
        assert_eq!(admission.enter(Duration::ZERO, 0), Err(5));
        for _ in 0..98 {
            admission.enter(Duration::ZERO, 0).expect_err("nobody is let in");
        }
        assert_eq!(admission.enter(Duration::ZERO, 200), Err(5 + 200), "100 in the backlog, 1 a second, twice");
    }
}
