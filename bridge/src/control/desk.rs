//! Who answers at the control socket: the engine, once there is one.

use std::future::Future;

use lockbridge_protocol::enrollment::EnrollmentToken;
use lockbridge_protocol::ids::CommandId;

use super::message::{Answer, EncodeAnswer, Request};
use crate::dispatch::{ControlError, EngineHandle, EngineRequest};
use crate::health::Observer;
use crate::identity::{EnrollError, Hint as _, Identity};
use crate::net::chain_text;

/// Most rows a queue listing gives.
const QUEUE_ROWS: usize = 10_000;

/// Who asks, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
}

impl Caller {
    /// Root, or the daemon's own user, which nobody else is.
    pub fn may_decide(self) -> bool {
        self.uid == 0 || self.uid == nix::unistd::geteuid().as_raw()
    }
}

/// Answers requests; the caller bounds the time.
pub trait Desk: Clone + Send + Sync + 'static {
    /// What came of the request.
    fn answer(&self, request: Request, caller: Caller) -> impl Future<Output = Answer> + Send;
}

/// The desk of a daemon that works.
#[derive(Debug, Clone)]
pub struct EngineDesk {
    engine: EngineHandle,
    observer: Observer,
    identity: Identity,
}

impl EngineDesk {
    /// Joins what it asks.
    pub fn new(engine: EngineHandle, observer: Observer, identity: Identity) -> Self {
        Self { engine, observer, identity }
    }
}

impl Desk for EngineDesk {
    async fn answer(&self, request: Request, caller: Caller) -> Answer {
        let (engine, who) = (&self.engine, format!("uid {}", caller.uid));
        let result = match request {
            Request::Status => return Answer::done(&self.observer.snapshot().await),
            Request::Queue { limit } => {
                let asked = engine.ask(|answer| EngineRequest::Queue(limit.min(QUEUE_ROWS), answer)).await;
                asked.map(|rows| Answer::done(&rows))
            }
            Request::Doubts => engine.ask(EngineRequest::Doubts).await.map(|rows| Answer::done(&rows)),
            Request::Resolve { command_id, verdict } => {
                let Some(command_id) = CommandId::parse(&command_id) else {
                    return Answer::refused("invalid_request", format!("{command_id:?} is not a command id."));
                };
                let asked = engine.ask(|done| EngineRequest::Resolve { command_id, verdict, who, done }).await;
                asked.and_then(|resolved| resolved).map(|()| Answer::done(&true))
            }
            Request::Encode(request) => {
                let asked = engine.ask(|done| EngineRequest::EncodeLocally { request, who, done }).await;
                asked.and_then(|ended| ended).map(|report| Answer::done(&EncodeAnswer::of(&report)))
            }
            Request::EncoderJobs => engine.ask(EngineRequest::EncoderJobs).await.map(|jobs| Answer::done(&jobs)),
            Request::Cancel { command_id } => {
                let Some(command_id) = CommandId::parse(&command_id) else {
                    return Answer::refused("invalid_request", format!("{command_id:?} is not a command id."));
                };
                let asked = engine.ask(|done| EngineRequest::Cancel { command_id, who, done }).await;
                asked.and_then(|cancelled| cancelled).map(|()| Answer::done(&true))
            }
            Request::Brake { on } => {
                engine.ask(|done| EngineRequest::Brake { on, who, done }).await.map(|()| Answer::done(&on))
            }
            Request::LiftQuarantine if !caller.may_decide() => {
                return Answer::refused("not_allowed", "Only root may release a quarantine: run it with sudo.");
            }
            Request::LiftQuarantine => {
                let asked = engine.ask(|done| EngineRequest::LiftQuarantine { who, done }).await;
                asked.and_then(|lifted| lifted).map(|answer| Answer::done(&answer))
            }
            Request::ReloadPolicy => {
                let asked = engine.ask(EngineRequest::ReloadPolicy).await;
                asked.and_then(|reloaded| reloaded).map(|()| Answer::done(&true))
            }
            Request::Enroll { token, .. } => return self.enrolled(token.expose()),
        };
        result.unwrap_or_else(|error| match error {
            ControlError::Stopped => Answer::refused("stopped", "The daemon is stopping."),
            ControlError::Refused { code, message } => Answer::refused(&code, message),
        })
    }
}

impl EngineDesk {
    /// There is an identity: the token that made it is answered as it was then, any other is refused.
    fn enrolled(&self, token: &str) -> Answer {
        let found = EnrollmentToken::parse(token)
            .map_err(|error| EnrollError::Token(error.into()))
            .and_then(|token| self.identity.enrolled_by(&token));
        found.map_or_else(|error| enrollment_refused(&error), |summary| Answer::done(&summary))
    }
}

/// Why a token led to no identity, with the next step.
pub(crate) fn enrollment_refused(error: &EnrollError) -> Answer {
    let code = match error {
        EnrollError::AlreadyEnrolled { .. } => "already_enrolled",
        _ => "enrollment",
    };
    Answer::refused_with_hint(code, chain_text(error), error.hint())
}
