//! A daemon without an identity: it serves health and the control socket, and enrolls when somebody gives it a token.
//!
//! The service runs as another user, in a sandbox, with a state key that root's command line does not have; so the process
//! that will use the identity is the one that makes it. The token comes over the control socket, or at the start as a
//! systemd credential. Never: asks the cloud for anything before there is a token.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::doors::Doors;
use super::space::{self, SpaceError};
use super::{AppError, Signals};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{self, Answer, Caller, Desk, Request, SecretText, enrollment_refused};
use crate::health::{self, BridgeStatus, Health, Lines, Observer, ReasonCode, Scope, Sources};
use crate::history::History;
use crate::identity::{self, EnrollError, EnrollOptions, EnrollSummary, Identity, TokenSource};
use crate::limits::ENROLLMENT_RETRY;
use crate::net::{Dialer, chain_text};
use crate::seal::Sealer;
use crate::supervise::{self, Notifier};
use crate::tunnel::TunnelStatus;

/// Tokens given and not yet looked at: one person enrolls one machine.
const TOKENS: usize = 1;

/// What waiting needs of the rest of the daemon.
pub(super) struct Waiting<'daemon> {
    pub(super) config: &'daemon Config,
    pub(super) sealer: &'daemon Sealer,
    pub(super) doors: &'daemon Doors,
    pub(super) notifier: &'daemon Notifier,
    pub(super) health: &'daemon Health,
    pub(super) clock: &'daemon Arc<dyn Clock>,
    pub(super) started_ms: i64,
}

/// A token that somebody gave, and who waits for what comes of it.
struct Asked {
    token: SecretText,
    name: String,
    answer: oneshot::Sender<Answer>,
}

impl Waiting<'_> {
    /// Serves the doors until there is an identity; `None` when told to stop before.
    pub(super) async fn for_identity(self, signals: &mut Signals) -> Result<Option<Identity>, AppError> {
        self.health.raise(Scope::Bridge, ReasonCode::NotEnrolled, "Nobody has given this bridge a token yet.");
        let bridge =
            BridgeStatus { version: env!("CARGO_PKG_VERSION"), started_ms: self.started_ms, ..BridgeStatus::default() };
        let (_, link) = watch::channel(TunnelStatus::default());
        let observer = Observer::new(Sources {
            clock: Arc::clone(self.clock),
            health: self.health.clone(),
            link,
            bridge,
            systems: Vec::new(),
            lines: Lines::default(),
            history: History::default(),
            working: None,
        });
        let (asks, asked) = mpsc::channel(TOKENS);
        let stop = CancellationToken::new();
        let (listener, seen, ended) = (self.doors.health()?, observer.clone(), stop.clone());
        let server = std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || health::server::serve(listener, seen, &ended))
            .map_err(AppError::Runtime)?;
        let desk = WaitingDesk { asks, observer: observer.clone() };
        let health = self.health.clone();
        let control = tokio::spawn(control::serve(Arc::clone(&self.doors.control), desk, health, stop.clone()));
        let (health, notifier) = (self.health.clone(), self.notifier.clone());
        let feeding = tokio::spawn(supervise::feed(notifier.clone(), health, stop.clone()));
        let following = tokio::spawn(supervise::follow(notifier, observer, stop.clone()));
        info!(health_address = %self.doors.health_address, "The bridge waits for its identity.");

        let identity = self.enrolled(asked, signals).await;
        stop.cancel();
        let (control, feeding, following) = tokio::join!(control, feeding, following);
        if control.and(feeding).and(following).is_err() || server.join().is_err() {
            warn!("A local task of the waiting daemon panicked.");
        }
        self.health.clear(Scope::Bridge, ReasonCode::NotEnrolled);
        identity
    }

    async fn enrolled(
        &self,
        mut asked: mpsc::Receiver<Asked>,
        signals: &mut Signals,
    ) -> Result<Option<Identity>, AppError> {
        let credential = TokenSource::credential();
        let mut pause = *ENROLLMENT_RETRY.start();
        let mut next = credential.is_some().then(Instant::now);
        loop {
            let given = tokio::select! {
                () = signals.told_to_stop() => return Ok(None),
                given = asked.recv() => given,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => None,
            };
            let (token, name, answer) = match given {
                Some(Asked { token, name, answer }) => {
                    (TokenSource::Text(SecretString::from(token.expose())), name, Some(answer))
                }
                None => (TokenSource::Credential, identity::machine::host_name(), None),
            };
            let tried = tokio::select! {
                // Given up in the middle, it is finished by the same token at the next start.
                () = signals.told_to_stop() => return Ok(None),
                tried = self.try_token(token, name) => tried,
            };
            if let Err(error) = &tried {
                warn!(error = %error.message(), "The enrollment failed.");
                self.health.raise(Scope::Bridge, ReasonCode::NotEnrolled, error.message());
            }
            if answer.is_none() {
                next = tried.as_ref().err().filter(|error| error.may_pass()).map(|_| Instant::now() + pause);
                pause = (pause * 2).min(*ENROLLMENT_RETRY.end());
            }
            // Whoever asked may have gone; what was reached stays.
            let told = tried.as_ref().map_or_else(NotEnrolled::answer, Answer::done);
            let _gone = answer.map(|answer| answer.send(told));
            if tried.is_ok() {
                return self.load().await;
            }
        }
    }

    async fn try_token(&self, token: TokenSource, display_name: String) -> Result<EnrollSummary, NotEnrolled> {
        space::ensure(self.config)?;
        let options = EnrollOptions {
            state_directory: self.config.state_directory.clone(),
            state_key: self.config.state_key.clone(),
            token,
            display_name,
            dialer: Dialer::new(self.config.proxy.clone()),
            clock: Arc::clone(self.clock),
        };
        Ok(identity::enroll(options).await?)
    }

    async fn load(&self) -> Result<Option<Identity>, AppError> {
        let (directory, sealer) = (self.config.state_directory.clone(), self.sealer.clone());
        let loaded = tokio::task::spawn_blocking(move || Identity::load(&directory, &sealer)).await;
        Ok(loaded.map_err(|error| AppError::Runtime(std::io::Error::other(error)))??)
    }
}

/// Why a token did not make an identity.
#[derive(Debug, thiserror::Error)]
enum NotEnrolled {
    #[error(transparent)]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Enrollment(#[from] EnrollError),
}

impl NotEnrolled {
    fn message(&self) -> String {
        chain_text(self)
    }

    /// Whether the same token may do later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Space(_) => true,
            Self::Enrollment(error) => {
                matches!(
                    error,
                    EnrollError::Dial(_)
                        | EnrollError::AnswerLost(_)
                        | EnrollError::Busy { .. }
                        | EnrollError::ClockSkew { .. }
                )
            }
        }
    }

    fn answer(&self) -> Answer {
        match self {
            Self::Space(error) => Answer::refused_with_hint("disk_low", self.message(), error.hint()),
            Self::Enrollment(error) => enrollment_refused(error),
        }
    }
}

/// The desk of a daemon that waits.
#[derive(Debug, Clone)]
struct WaitingDesk {
    asks: mpsc::Sender<Asked>,
    observer: Observer,
}

impl Desk for WaitingDesk {
    async fn answer(&self, request: Request, caller: Caller) -> Answer {
        let (token, name) = match request {
            Request::Status => return Answer::done(&self.observer.snapshot().await),
            Request::Enroll { .. } if !caller.may_decide() => {
                return Answer::refused("not_allowed", "Only root may enroll this bridge: run it with sudo.");
            }
            Request::Enroll { token, name } => (token, name),
            _ => {
                let code = ReasonCode::NotEnrolled;
                return Answer::refused_with_hint(code.code(), code.sentence(), code.remedy());
            }
        };
        let (answer, told) = oneshot::channel();
        if self.asks.try_send(Asked { token, name, answer }).is_err() {
            return Answer::refused("busy", "Another enrollment is under way; ask again in a minute.");
        }
        told.await.unwrap_or_else(|_| Answer::refused("stopped", "The daemon is stopping."))
    }
}
