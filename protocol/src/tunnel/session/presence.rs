//! Whether the hub calls a bridge online, across its sessions (rule G3: offline after 60 s without a sign of life).

use std::time::Duration;

/// Silence after which a bridge is offline. Longer than the silence that kills a session, so that a quick reconnect shows
/// nobody a flicker.
const OFFLINE_AFTER: Duration = Duration::from_secs(60);

/// Signs of life of one bridge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    last_heard: Option<Duration>,
}

impl Presence {
    /// A frame or pong arrived; feed it [`HubSession::last_heard`](super::HubSession::last_heard).
    pub fn heard(&mut self, at: Duration) {
        self.last_heard = Some(self.last_heard.map_or(at, |held| held.max(at)));
    }

    /// Whether the bridge counts as online.
    pub fn is_online(&self, now: Duration) -> bool {
        self.offline_at().is_some_and(|at| now < at)
    }

    /// When it goes offline unless heard again; `None` if it was never heard.
    pub fn offline_at(&self) -> Option<Duration> {
        self.last_heard.map(|at| at.saturating_add(OFFLINE_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offline_sixty_seconds_after_the_last_sign() {
        let mut presence = Presence::default();
        assert!(!presence.is_online(Duration::ZERO));
        presence.heard(Duration::from_secs(10));
        presence.heard(Duration::from_secs(9));
        assert!(presence.is_online(Duration::from_millis(69_999)));
        assert!(!presence.is_online(Duration::from_secs(70)));
    }
}
