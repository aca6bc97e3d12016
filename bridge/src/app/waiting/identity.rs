//! Waiting for an identity: the daemon enrolls when somebody gives it a token.
//!
//! The service runs as another user, in a sandbox, with a state key that root's command line does not have; so the process
//! that will use the identity is the one that makes it. The token comes over the control socket, or at the start as a
//! systemd credential. Never: asks the cloud for anything before there is a token.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::super::AppError;
use super::super::doors::Doors;
use super::super::signals::Signals;
use super::super::space::{self, SpaceError};
use super::Waiting;
use crate::control::{Answer, Caller, Desk, Request, SecretText, enrollment_refused};
use crate::health::{Observer, ReasonCode, Scope};
use crate::identity::{self, EnrollError, EnrollOptions, EnrollSummary, Identity, TokenSource};
use crate::limits::ENROLLMENT_RETRY;
use crate::net::{Dialer, chain_text};

/// Tokens given and not yet looked at: one person enrolls one machine.
const TOKENS: usize = 1;

/// A token that somebody gave, and who waits for what comes of it.
struct Asked {
    token: SecretText,
    name: String,
    answer: oneshot::Sender<Answer>,
}

impl Waiting<'_> {
    /// Serves the doors until there is an identity; `None` when told to stop before.
    pub(in super::super) async fn for_identity(
        &self,
        doors: &Doors,
        signals: &mut Signals,
    ) -> Result<Option<Identity>, AppError> {
        self.health.raise(Scope::Bridge, ReasonCode::NotEnrolled, "Nobody has given this bridge a token yet.");
        let (asks, asked) = mpsc::channel(TOKENS);
        let observer = self.observer();
        let desk = WaitingDesk { asks, observer: observer.clone() };
        let identity = self.serve(doors, observer, desk, self.enrolled(asked, signals)).await?;
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
