//! How long to wait before the next try (rules G4, G5). Pure: the random number is an argument.
//!
//! ```text
//!  a session of 60 s or more ended ── U(0, W) ──► try ──failed──► U(2 s, 3 × previous), at most max(120 s, W) ─┐
//!                                                   ▲                                                           │
//!                                                   └───────────────────────────────────────────────────────────┘
//!  the hub named a time: Retry-After + 0..20 %; drain U(from, to).  A refusal only people can lift: 15 min ± 20 %.
//! ```
//!
//! There is no last try. A session shorter than [`PROVEN`] resets nothing, or a hub that accepts and drops would be hammered.

use std::time::Duration;

use crate::proto::tunnel::RefuseCode;

/// A session this long proves that the way works; only then the backoff starts anew.
pub const PROVEN: Duration = Duration::from_secs(60);
/// Spread of the first retry when no hub ever named one.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(15);
/// Longest wait a hub may ask for.
pub const RETRY_AFTER_MAXIMUM: Duration = Duration::from_secs(600);
const WINDOW_MINIMUM: Duration = Duration::from_secs(2);
const WINDOW_MAXIMUM: Duration = Duration::from_secs(300);
const STEP_MINIMUM: Duration = Duration::from_secs(2);
const CAP_MINIMUM: Duration = Duration::from_secs(120);
const REFUSED_MINIMUM: Duration = Duration::from_secs(12 * 60);
const REFUSED_MAXIMUM: Duration = Duration::from_secs(18 * 60);

/// How the last try or session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No session came of it.
    Failed,
    /// A session was up this long, and was lost.
    Lost(Duration),
    /// The hub said when to come back.
    RetryAfter(Duration),
    /// The hub stops, and spreads its bridges between two times.
    Drained {
        /// Earliest.
        from: Duration,
        /// Latest.
        to: Duration,
    },
    /// Refused for a reason that only people can lift.
    Refused,
    /// This machine's own link was down and came back.
    LinkRestored,
}

/// The wait of one bridge: what the hub asked for, and how far the steps have grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    window: Duration,
    previous: Option<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { window: WINDOW_DEFAULT, previous: None }
    }
}

impl Backoff {
    /// Takes the spread that a Welcome names, in seconds, within 2 to 300; 0 means that the hub names none.
    pub fn welcomed(&mut self, reconnect_window_s: u32) {
        self.window = match reconnect_window_s {
            0 => WINDOW_DEFAULT,
            seconds => Duration::from_secs(seconds.into()).clamp(WINDOW_MINIMUM, WINDOW_MAXIMUM),
        };
    }

    /// The wait before the next try. `random` is uniform over all of `u64`.
    pub fn after(&mut self, ended: Ended, random: u64) -> Duration {
        match ended {
            Ended::Lost(up) if up >= PROVEN || self.previous.is_none() => {
                let wait = between(random, Duration::ZERO, self.window);
                self.previous = if up >= PROVEN { None } else { Some(wait.max(STEP_MINIMUM)) };
                wait
            }
            Ended::Lost(_) | Ended::Failed => {
                let previous = self.previous.unwrap_or(STEP_MINIMUM);
                let cap = self.window.max(CAP_MINIMUM);
                let wait = between(random, STEP_MINIMUM, previous.saturating_mul(3)).min(cap);
                self.previous = Some(wait);
                wait
            }
            Ended::RetryAfter(wait) => {
                let wait = wait.min(RETRY_AFTER_MAXIMUM);
                between(random, wait, wait.saturating_add(wait.checked_div(5).unwrap_or_default()))
            }
            Ended::Drained { from, to } => {
                between(random, from.min(to).min(RETRY_AFTER_MAXIMUM), from.max(to).min(RETRY_AFTER_MAXIMUM))
            }
            Ended::Refused => between(random, REFUSED_MINIMUM, REFUSED_MAXIMUM),
            Ended::LinkRestored => between(random, Duration::ZERO, Duration::from_secs(2)),
        }
    }
}

/// Whether only people can lift a refusal, so that trying soon again is no use.
pub fn needs_people(code: RefuseCode) -> bool {
    match code {
        RefuseCode::VersionUnsupported
        | RefuseCode::IdentityUnknown
        | RefuseCode::IdentityRevoked
        | RefuseCode::StateRolledBack => true,
        RefuseCode::Unspecified | RefuseCode::DuplicateSession | RefuseCode::ProtocolViolation | RefuseCode::Busy => {
            false
        }
    }
}

/// A time between two, to the microsecond, by a number uniform over `u64`.
pub fn between(random: u64, from: Duration, to: Duration) -> Duration {
    let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
    let share = u128::from(span).wrapping_mul(u128::from(random)) >> 64;
    from.saturating_add(Duration::from_micros(u64::try_from(share).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn only_a_proven_session_starts_the_backoff_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.after(Ended::Failed, u64::MAX);
        }
        assert!(backoff.after(Ended::Failed, u64::MAX) > seconds(119), "grown to its cap");
        assert!(backoff.after(Ended::Lost(seconds(59)), u64::MAX) > seconds(119), "59 s prove nothing");
        assert!(backoff.after(Ended::Lost(seconds(60)), u64::MAX) < seconds(15));
        assert!(backoff.after(Ended::Failed, u64::MAX) < seconds(6), "steps start anew");
    }

    #[test]
    fn short_sessions_do_not_hammer() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.after(Ended::Lost(seconds(1)), u64::MAX)).collect();
        assert!(waits[0] < seconds(15) && waits[7] > seconds(119), "{waits:?}");
    }

    #[test]
    fn refusals_of_people_are_told_from_busy() {
        assert!(needs_people(RefuseCode::IdentityRevoked));
        assert!(!needs_people(RefuseCode::Busy));
    }

    proptest! {
        #[test]
        fn waits_stay_inside_the_rules(randoms in proptest::collection::vec(any::<u64>(), 1..40), window in 0_u32..1000) {
            let mut backoff = Backoff::default();
            backoff.welcomed(window);
            let clamped = if window == 0 { 15 } else { u64::from(window).clamp(2, 300) };
            for random in randoms {
                let before = backoff.previous.unwrap_or(STEP_MINIMUM);
                let failed = backoff.after(Ended::Failed, random);
                prop_assert!(failed >= seconds(2) && failed <= seconds(clamped.max(120)));
                prop_assert!(failed <= (before * 3).max(seconds(2)));
                let asked = backoff.clone().after(Ended::RetryAfter(seconds(100)), random);
                prop_assert!((seconds(100)..=seconds(120)).contains(&asked));
                let asked = backoff.clone().after(Ended::RetryAfter(seconds(9999)), random);
                prop_assert!((seconds(600)..=seconds(720)).contains(&asked));
                let drained = backoff.clone().after(Ended::Drained { from: seconds(5), to: seconds(35) }, random);
                prop_assert!((seconds(5)..=seconds(35)).contains(&drained));
                let refused = backoff.clone().after(Ended::Refused, random);
                prop_assert!((seconds(720)..=seconds(1080)).contains(&refused));
                let first = backoff.clone().after(Ended::Lost(PROVEN), random);
                prop_assert!(first <= seconds(clamped));
                prop_assert!(backoff.clone().after(Ended::LinkRestored, random) <= seconds(2));
            }
        }

        #[test]
        fn between_is_inside_and_reaches_both_ends(random: u64, from in 0_u64..1000, span in 0_u64..1000) {
            let (low, high) = (seconds(from), seconds(from + span));
            prop_assert!((low..=high).contains(&between(random, low, high)));
            prop_assert_eq!(between(0, low, high), low);
            prop_assert!(between(u64::MAX, low, high) + Duration::from_micros(1) >= high);
        }
    }
}
