//! How a try or session ended: what people are told, and how long to wait.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::RefuseCode;
use lockbridge_protocol::tunnel::backoff::{Ended, needs_people};
use lockbridge_protocol::tunnel::session::BridgeEnd;
use tokio_tungstenite::tungstenite::http::StatusCode;

use super::transport::ConnectError;
use super::websocket::UpgradeError;
use crate::health::ReasonCode;

/// One end, in the words of health and of the backoff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: ReasonCode,
    pub(super) message: String,
    pub(super) ended: Ended,
}

impl Verdict {
    pub(super) fn failed(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ended: Ended::Failed }
    }
}

impl From<ConnectError> for Verdict {
    fn from(error: ConnectError) -> Self {
        Self::failed(error.code, error.message)
    }
}

impl From<UpgradeError> for Verdict {
    fn from(error: UpgradeError) -> Self {
        let message = error.to_string();
        match error {
            UpgradeError::Timeout => Self::failed(ReasonCode::HubSilent, message),
            UpgradeError::Lost(_) => Self::failed(ReasonCode::Internet, message),
            UpgradeError::HeadTooLong | UpgradeError::Protocol(_) => Self::failed(ReasonCode::HubRefused, message),
            UpgradeError::Status { status, retry_after } => {
                let hint = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        "; it does not accept this bridge's certificate"
                    }
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "; it is busy",
                    StatusCode::NOT_FOUND => "; the cloud address may not be that of a hub",
                    _ => "",
                };
                let ended = retry_after.map_or(Ended::Failed, Ended::RetryAfter);
                Self { code: ReasonCode::HubRefused, message: format!("{message}{hint}"), ended }
            }
        }
    }
}

/// The verdict on a session that was open for `up`; `None` if it never opened.
pub(super) fn of_session(end: &BridgeEnd, up: Option<Duration>) -> Verdict {
    let lost = up.map_or(Ended::Failed, Ended::Lost);
    let (code, ended) = match end {
        BridgeEnd::Refused { code, retry_after, .. } => {
            let reason = match code {
                RefuseCode::IdentityUnknown | RefuseCode::IdentityRevoked => ReasonCode::Identity,
                _ => ReasonCode::HubRefused,
            };
            let ended = match retry_after {
                Some(wait) => Ended::RetryAfter(*wait),
                None if needs_people(*code) => Ended::Refused,
                None => lost,
            };
            (reason, ended)
        }
        BridgeEnd::Drained { from, to } => (ReasonCode::HubRefused, Ended::Drained { from: *from, to: *to }),
        BridgeEnd::Silent | BridgeEnd::NoWelcome => (ReasonCode::HubSilent, lost),
        BridgeEnd::CursorMismatch { .. } => (ReasonCode::HubRefused, Ended::Refused),
        BridgeEnd::Violation(_) | BridgeEnd::Unsendable(_) => (ReasonCode::HubRefused, lost),
        BridgeEnd::Disconnected(_) => (ReasonCode::Internet, lost),
        BridgeEnd::Finished => (ReasonCode::Draining, lost),
    };
    Verdict { code, message: end.to_string(), ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Duration = Duration::from_secs(5);

    fn refused(code: RefuseCode, retry_after: Option<Duration>) -> Verdict {
        of_session(&BridgeEnd::Refused { code, message: "no".into(), versions: (1, 1), retry_after }, None)
    }

    #[test]
    fn each_end_has_its_own_reason_and_wait() {
        let revoked = refused(RefuseCode::IdentityRevoked, None);
        assert_eq!((revoked.code, revoked.ended), (ReasonCode::Identity, Ended::Refused));
        let rolled_back = refused(RefuseCode::StateRolledBack, None);
        assert_eq!((rolled_back.code, rolled_back.ended), (ReasonCode::HubRefused, Ended::Refused));
        assert!(rolled_back.message.contains("STATE_ROLLED_BACK"), "{}", rolled_back.message);
        let busy = refused(RefuseCode::Busy, Some(UP));
        assert_eq!(busy.ended, Ended::RetryAfter(UP));
        let mismatch = of_session(&BridgeEnd::CursorMismatch { theirs: 9, first_kept: 1, last: 4 }, None);
        assert_eq!(mismatch.ended, Ended::Refused);
        assert!(mismatch.message.contains('9') && mismatch.message.contains('4'), "{}", mismatch.message);
        let silent = of_session(&BridgeEnd::Silent, Some(UP));
        assert_eq!((silent.code, silent.ended), (ReasonCode::HubSilent, Ended::Lost(UP)));
        let drained = of_session(&BridgeEnd::Drained { from: UP, to: UP * 2 }, Some(UP));
        assert_eq!(drained.ended, Ended::Drained { from: UP, to: UP * 2 });
        assert_eq!(of_session(&BridgeEnd::NoWelcome, None).ended, Ended::Failed);
    }

    #[test]
    fn http_statuses_say_what_to_look_at() {
        let status = |status, retry_after| Verdict::from(UpgradeError::Status { status, retry_after });
        let busy = status(StatusCode::SERVICE_UNAVAILABLE, Some(UP));
        assert_eq!((busy.code, busy.ended), (ReasonCode::HubRefused, Ended::RetryAfter(UP)));
        assert!(status(StatusCode::FORBIDDEN, None).message.contains("certificate"));
        assert!(status(StatusCode::NOT_FOUND, None).message.contains("404"));
        assert_eq!(Verdict::from(UpgradeError::Timeout).code, ReasonCode::HubSilent);
    }
}
