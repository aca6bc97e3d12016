//! The one sentence that `systemctl status` shows.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Notifier;
use crate::health::{Observer, Snapshot, State};

/// Reasons come in bursts; one sentence tells them all.
const SETTLE: Duration = Duration::from_millis(500);

/// Tells how the bridge does, now and at every change of health, until `stop`.
pub async fn follow(notifier: Notifier, observer: Observer, stop: CancellationToken) {
    if !notifier.is_heard() {
        return;
    }
    let mut news = observer.health().subscribe();
    loop {
        news.mark_unchanged();
        let Some(snapshot) = stop.run_until_cancelled(observer.snapshot()).await else { return };
        notifier.status(&sentence(&snapshot));
        let changed = async {
            let heard = news.changed().await;
            tokio::time::sleep(SETTLE).await;
            heard
        };
        if !matches!(stop.run_until_cancelled(changed).await, Some(Ok(()))) {
            return;
        }
    }
}

fn sentence(snapshot: &Snapshot) -> String {
    let state = match snapshot.state {
        State::Ready => "Works",
        State::Degraded => "Works, and needs a look",
        State::Unready => "Cannot serve now",
    };
    let more = match snapshot.reasons.len() {
        0 | 1 => String::new(),
        count => format!(" And {} more: see `lockbridge status`.", count - 1),
    };
    match snapshot.reasons.first() {
        Some(reason) => format!("{state}: {}{more}", reason.sentence),
        None if snapshot.cloud.connected => format!("{state}; connected to {}.", snapshot.cloud.workspace_name),
        None => format!("{state}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{BridgeStatus, ReasonCode, ReasonStatus, StorageStatus};
    use crate::tunnel::TunnelStatus;

    fn reason(code: ReasonCode) -> ReasonStatus {
        ReasonStatus {
            scope: "cloud".into(),
            code: code.code(),
            hop: code.hop(),
            sentence: code.sentence(),
            message: String::new(),
            remedy: code.remedy(),
            since_ms: 0,
        }
    }

    #[test]
    fn the_sentence_says_the_state_and_the_first_reason() {
        let cloud = TunnelStatus { connected: true, workspace_name: "Example".into(), ..TunnelStatus::default() };
        let mut snapshot = Snapshot {
            state: State::Ready,
            since_ms: 0,
            now_ms: 0,
            bridge: BridgeStatus::default(),
            cloud,
            lock_systems: Vec::new(),
            lines: Vec::new(),
            engine: None,
            storage: StorageStatus::default(),
            certificate_not_after: 0,
            reasons: Vec::new(),
        };
        assert_eq!(sentence(&snapshot), "Works; connected to Example.");
        snapshot.state = State::Degraded;
        snapshot.reasons = vec![reason(ReasonCode::Dns)];
        assert_eq!(sentence(&snapshot), "Works, and needs a look: The cloud's name does not resolve.");
        snapshot.state = State::Unready;
        snapshot.reasons = vec![reason(ReasonCode::LockServer), reason(ReasonCode::Dns)];
        let text = sentence(&snapshot);
        assert!(text.starts_with("Cannot serve now: The lock server does not answer."), "{text}");
        assert!(text.ends_with("And 1 more: see `lockbridge status`."), "{text}");
    }
}
