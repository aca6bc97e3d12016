//! Renewal (rules H2, H3, H5): at half of its life, give or take a tenth, the certificate is renewed for a fresh key; the
//! new pair waits beside the one in use until a tunnel session has proven it.
//!
//! The task looks at the clocks once a minute instead of setting one long timer, so that a clock that jumps or a machine
//! that slept is noticed (rule N4).

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use lockbridge_protocol::limits::ENROLLMENT_BYTES;
use lockbridge_protocol::proto::tunnel::{EnrollRefused, RenewRequest, RenewResponse};
use prost::Message as _;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::enroll::CONTENT_TYPE;
use super::error::IdentityError;
use super::issued::{self, CertificateTimes, IssuedError};
use super::keys::KeysError;
use super::record::shown_name;
use super::store::Identity;
use crate::clock::Clock;
use crate::health::{Health, ReasonCode, Scope};
use crate::net::{DialError, Dialer, HttpError, TlsConfigError, TlsTime, chain_text, post};

/// How often the clocks are looked at.
const TICK: Duration = Duration::from_secs(60);
/// Between tries while there is time (rule H2).
const RETRY_EARLY: Duration = Duration::from_secs(3600);
/// Between tries when the end is near (rule H2).
const RETRY_LATE: Duration = Duration::from_secs(15 * 60);

/// One try to renew failed; the certificate in use stays.
#[derive(Debug, Error)]
pub enum RenewError {
    /// Keys or files fail.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS client cannot be set up.
    #[error("no TLS client can be set up")]
    Tls(#[from] TlsConfigError),
    /// The tunnel URL leads to no renewal URL.
    #[error("no renewal URL can be made of the tunnel URL")]
    Address(#[from] url::ParseError),
    /// The hub cannot be reached.
    #[error("the cloud cannot be reached")]
    Dial(#[from] DialError),
    /// The exchange broke; the next try asks for the same key, so nothing is lost.
    #[error("the cloud's answer is missing")]
    Exchange(#[from] HttpError),
    /// The hub said no.
    #[error("the cloud refuses the renewal (HTTP {status}, `{code}`): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// The hub's code; empty when it gave none.
        code: String,
        /// The hub's words.
        message: String,
        /// How long to wait at least, when it said so.
        retry_after: Option<Duration>,
    },
    /// What it sent is not an answer.
    #[error("the cloud's answer is not usable: {problem}")]
    Answer {
        /// What is wrong with it.
        problem: String,
    },
    /// What it sent is not certificates.
    #[error("the certificate sent by the cloud is not usable")]
    Certificate(#[from] IssuedError),
}

impl From<KeysError> for RenewError {
    fn from(error: KeysError) -> Self {
        Self::Identity(error.into())
    }
}

/// Renews for as long as the daemon runs; ends with `stop`. Raises [`ReasonCode::Identity`] while the certificate is
/// expired or the hub does not acknowledge this bridge any more. `copied` is told what the hub says when it finds that another
/// renewed this identity before (rule H5). Nothing it meets ends it.
pub async fn run(
    identity: Identity,
    dialer: Dialer,
    time: TlsTime,
    clock: Arc<dyn Clock>,
    health: Health,
    copied: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let (disowned, wait_until) = (None, Duration::ZERO);
    let mut renewal = Renewal { identity, dialer, time, clock, health, copied, disowned, wait_until };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let looked = stop.run_until_cancelled(async {
            ticks.tick().await;
            renewal.look().await;
        });
        if looked.await.is_none() {
            return;
        }
    }
}

pub(super) struct Renewal {
    pub(super) identity: Identity,
    pub(super) dialer: Dialer,
    pub(super) time: TlsTime,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Health,
    pub(super) copied: watch::Sender<Option<String>>,
    /// What the hub said when it last did not know this bridge, or had revoked it.
    pub(super) disowned: Option<String>,
    /// Time since boot before which no further try is made.
    pub(super) wait_until: Duration,
}

impl Renewal {
    /// Looks at the clocks once and does what is due. Whether a try was made.
    pub(super) async fn look(&mut self) -> bool {
        if let Err(error) = self.identity.drop_previous(self.clock.wall_ms()) {
            warn!(error = %chain_text(&error), "Previous certificate not removed.");
        }
        let now = self.time.now_seconds();
        let newest = self.identity.newest();
        self.show(newest.times, now);
        if now < due(newest.times, newest.fingerprint) || self.clock.since_boot() < self.wait_until {
            return false;
        }
        let mut wait = retry_delay(newest.times, now);
        match renew(&self.identity, &self.dialer, &self.time).await {
            Ok(times) => {
                info!(not_after = times.not_after, "Certificate renewed; the next session will prove it.");
                self.disowned = None;
                self.show(times, now);
            }
            Err(error) => {
                if let RenewError::Refused { retry_after, code, .. } = &error {
                    wait = wait.max(retry_after.unwrap_or_default());
                    if code == "generation_stale" {
                        self.copied.send_replace(Some(error.to_string()));
                    }
                    if matches!(code.as_str(), "identity_revoked" | "identity_unknown") {
                        self.disowned = Some(error.to_string());
                        self.show(newest.times, now);
                    }
                }
                warn!(error = %chain_text(&error), wait_seconds = wait.as_secs(), "Renewal failed.");
            }
        }
        self.wait_until = self.clock.since_boot() + wait;
        true
    }

    fn show(&self, times: CertificateTimes, now: i64) {
        if now > times.not_after {
            let end = Timestamp::from_second(times.not_after).unwrap_or(Timestamp::MAX);
            let clock = Timestamp::from_second(now).unwrap_or(Timestamp::MAX);
            let message = format!("the certificate expired at {end}; the clock of this machine says {clock}");
            self.health.raise(Scope::Bridge, ReasonCode::Identity, message);
        } else if let Some(message) = &self.disowned {
            self.health.raise(Scope::Bridge, ReasonCode::Identity, message.clone());
        } else {
            self.health.clear(Scope::Bridge, ReasonCode::Identity);
        }
    }
}

/// Asks once for a certificate and keeps it as the candidate.
pub(super) async fn renew(
    identity: &Identity,
    dialer: &Dialer,
    time: &TlsTime,
) -> Result<CertificateTimes, RenewError> {
    let url = identity.renew_url()?;
    let tls = identity.renewal_client(time)?;
    let request = RenewRequest { version: 1, certificate_request: identity.pending_key()?.certificate_request()? };
    let connection = dialer.connect(&url, tls).await?;
    let answer = post(connection, &url, CONTENT_TYPE, request.encode_to_vec(), ENROLLMENT_BYTES).await?;
    if answer.status != StatusCode::OK {
        let refused = EnrollRefused::decode(answer.body).unwrap_or_default();
        return Err(RenewError::Refused {
            status: answer.status.as_u16(),
            code: shown_name(&refused.code),
            message: shown_name(&refused.message),
            retry_after: answer.retry_after,
        });
    }
    let response =
        RenewResponse::decode(answer.body).map_err(|error| RenewError::Answer { problem: error.to_string() })?;
    let chain = issued::certificates("the chain", response.certificate_chain)?;
    let ca_bundle = issued::certificates("the CA bundle", response.ca_bundle)?;
    Ok(identity.install_candidate(chain, ca_bundle, time.now_seconds())?)
}

/// When a certificate is to be renewed: between 40 % and 60 % of its life. The certificate itself is the dice: each
/// bridge of a fleet has its own moment, and a restart does not throw again.
fn due(times: CertificateTimes, fingerprint: [u8; 32]) -> i64 {
    let dice = i64::from(u16::from_be_bytes([fingerprint[0], fingerprint[1]]));
    let life = times.life();
    let spread = life / 5;
    times.not_before + life * 2 / 5 + spread * dice / i64::from(u16::MAX)
}

/// From one hour, in a straight line over the last quarter of the life, to a quarter of an hour.
fn retry_delay(times: CertificateTimes, now: i64) -> Duration {
    let quarter = (times.life() / 4).max(1);
    let left = times.not_after.saturating_sub(now).clamp(0, quarter);
    let (left, quarter) = (u64::try_from(left).unwrap_or_default(), u64::try_from(quarter).unwrap_or(1));
    let span = RETRY_EARLY.as_secs() - RETRY_LATE.as_secs();
    Duration::from_secs(RETRY_LATE.as_secs() + span * left / quarter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn thirty_days_are_renewed_between_day_12_and_day_18() {
        let times = CertificateTimes { not_before: 0, not_after: 30 * DAY };
        assert_eq!(due(times, [0; 32]), 12 * DAY);
        assert_eq!(due(times, [0xff; 32]), 18 * DAY);
    }

    #[test]
    fn tries_come_closer_near_the_end() {
        let times = CertificateTimes { not_before: 0, not_after: 30 * DAY };
        assert_eq!(retry_delay(times, 15 * DAY), RETRY_EARLY);
        assert_eq!(retry_delay(times, 30 * DAY), RETRY_LATE);
        assert_eq!(retry_delay(times, 40 * DAY), RETRY_LATE);
        let near = retry_delay(times, 28 * DAY);
        assert!(RETRY_LATE < near && near < RETRY_EARLY, "{near:?}");
    }

    proptest! {
        #[test]
        fn any_life_is_renewed_inside_it(
            not_before in 0i64..4_000_000_000, life in 0i64..400 * DAY, fingerprint: [u8; 32], now in 0i64..5_000_000_000,
        ) {
            let times = CertificateTimes { not_before, not_after: not_before + life };
            let due = due(times, fingerprint);
            prop_assert!(times.not_before <= due && due <= times.not_before + life * 3 / 5 + 1);
            let wait = retry_delay(times, now);
            prop_assert!(RETRY_LATE <= wait && wait <= RETRY_EARLY);
        }
    }
}
