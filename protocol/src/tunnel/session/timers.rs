//! When to ping, when to say more than a ping, and when to call the peer dead (rule G3).

use std::time::Duration;

use crate::limits::{PING_INTERVAL, SILENCE};
use crate::tunnel::backoff::between;

/// A small generator for jitter, seeded by the caller: spread is all that is asked of it, not secrecy.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `SplitMix64`: every seed, 0 included, gives a good spread.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// `interval` ± 10 %.
    fn around(&mut self, interval: Duration) -> Duration {
        let tenth = interval.checked_div(10).unwrap_or_default();
        between(self.next(), interval.saturating_sub(tenth), interval.saturating_add(tenth))
    }
}

/// What is due now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) dead: bool,
    pub(super) ping: bool,
    pub(super) heartbeat: bool,
}

/// The three timers of one session.
#[derive(Debug)]
pub(super) struct Liveness {
    heard: Duration,
    ping_at: Duration,
    heartbeat: Option<(Duration, Duration)>,
    jitter: Jitter,
}

impl Liveness {
    pub(super) fn new(seed: u64, now: Duration) -> Self {
        let mut jitter = Jitter::new(seed);
        let ping_at = now.saturating_add(jitter.around(PING_INTERVAL));
        Self { heard: now, ping_at, heartbeat: None, jitter }
    }

    /// Anything arrived.
    pub(super) fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// When anything last arrived.
    pub(super) fn last_heard(&self) -> Duration {
        self.heard
    }

    /// Heartbeats begin: one at once, then one each `interval`.
    pub(super) fn start_heartbeat(&mut self, interval: Duration, now: Duration) {
        self.heartbeat = Some((now, interval));
    }

    /// Takes what is due and sets the next times.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        let mut due = Due { dead: now >= self.heard.saturating_add(SILENCE), ..Due::default() };
        if now >= self.ping_at {
            due.ping = true;
            self.ping_at = now.saturating_add(self.jitter.around(PING_INTERVAL));
        }
        if let Some((at, interval)) = self.heartbeat
            && now >= at
        {
            due.heartbeat = true;
            self.heartbeat = Some((now.saturating_add(interval), interval));
        }
        due
    }

    /// When [`due`](Self::due) has something next.
    pub(super) fn deadline(&self) -> Duration {
        let next = self.ping_at.min(self.heard.saturating_add(SILENCE));
        self.heartbeat.map_or(next, |(at, _)| next.min(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Duration = Duration::from_secs(100);

    #[test]
    fn dead_after_45_seconds_of_silence_and_not_before() {
        let mut timers = Liveness::new(1, START);
        timers.heard(START + Duration::from_secs(3));
        assert!(!timers.due(START + Duration::from_millis(47_999)).dead);
        assert!(timers.due(START + Duration::from_secs(48)).dead);
    }

    #[test]
    fn heartbeat_at_once_and_then_each_interval() {
        let mut timers = Liveness::new(1, START);
        assert!(!timers.due(START).heartbeat);
        timers.start_heartbeat(Duration::from_secs(60), START);
        assert_eq!(timers.deadline(), START);
        assert!(timers.due(START).heartbeat);
        assert!(!timers.due(START + Duration::from_secs(59)).heartbeat);
        assert!(timers.due(START + Duration::from_secs(60)).heartbeat);
    }

    proptest! {
        #[test]
        fn pings_are_18_to_22_seconds_apart(seed: u64) {
            let mut timers = Liveness::new(seed, START);
            let mut last = START;
            for _ in 0..20 {
                let at = timers.ping_at;
                prop_assert!(!timers.due(at.saturating_sub(Duration::from_micros(1))).ping);
                prop_assert!(timers.due(at).ping);
                let apart = at.saturating_sub(last);
                prop_assert!((18_000..=22_000).contains(&apart.as_millis()), "{apart:?}");
                last = at;
            }
        }
    }
}
