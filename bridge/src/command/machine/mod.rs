//! The life of one command as a pure function.
//!
//! ```text
//!  Queued ──Begun──► Executing ──Finished(Done)──────────► Ended(Succeeded)
//!    │  ▲                │ ├──Finished(Refused, final)───► Ended(Failed), if no attempt left doubt
//!    │  └──Requeue───────┤ ├──Finished(Lost), class Q ───► Asking ──Answered──► Succeeded | Queued | InDoubt
//!    │                   │ └──Finished(Lost), class B ───► InDoubt
//!    │                   └──Restarted: R ► Queued, Q ► Asking, B ► InDoubt
//!    ├─DeadlinePassed─► Ended(Expired)        InDoubt ──Resolved──► Succeeded | Failed | Abandoned(+compensation)
//!    ├─Superseded─────► Ended(Superseded)
//!    ├─Cancelled──────► Ended(Cancelled)
//!    ├─PolicyBreach───► Ended(Rejected)
//!    └─Settled────────► Ended(Succeeded | Failed): nothing to do, or refused before anything began
//! ```
//!
//! What is not drawn is not possible and comes back as [`Impossible`]; nothing leaves `Ended`.

use thiserror::Error;

use crate::limits::{ATTEMPTS_QUERYABLE, ATTEMPTS_REPEATABLE};
use crate::system::EffectClass;

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Accepted; nothing has begun.
    Queued,
    /// The intent is durable (or about to be); the effect may have happened.
    Executing(EffectClass),
    /// Class Q after silence: the lock system is being asked what came of it.
    Asking,
    /// It is not known whether the effect happened.
    InDoubt(EffectClass),
    /// Over.
    Ended(End),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// With the effect.
    Succeeded,
    /// Certainly without the effect.
    Failed,
    /// Refused by the local policy.
    Rejected,
    /// Too late to begin.
    Expired,
    /// A later command made it moot.
    Superseded,
    /// Taken back before it began.
    Cancelled,
    /// Doubt given up.
    Abandoned,
}

/// All that decides what may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life {
    /// Where it stands.
    pub state: State,
    /// Attempts begun.
    pub attempt: u32,
    /// Attempts that count against the bound of rule B11.
    pub spent: u32,
    /// Queries in a row without an answer.
    pub queries: u32,
    /// An earlier attempt may have had an effect.
    pub uncertain: bool,
}

impl Life {
    /// Of a command just accepted.
    pub const NEW: Self = Self { state: State::Queued, attempt: 0, spent: 0, queries: 0, uncertain: false };
}

/// How one attempt came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptEnd {
    /// The effect is there.
    Done,
    /// Certainly no effect, and another try may help.
    RefusedForNow,
    /// Certainly no effect, because the lock system is away: trying again costs no attempt.
    Unreachable,
    /// Certainly no effect, and another try cannot help.
    RefusedForGood,
    /// Nobody knows.
    Lost,
}

/// What the lock system says when it is asked after silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The effect is there.
    Found,
    /// It is not, and nothing is under way any more.
    Absent,
    /// No answer, or one that does not tell.
    Unknown,
}

/// How a doubt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The effect is there.
    Done,
    /// It is not.
    NotDone,
    /// Nobody knows; the maybe-effect is to be made worthless.
    GivenUp,
}

/// What happened to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// All checks passed: an attempt of this class begins.
    Begun(EffectClass),
    /// Nothing needs doing (`true`), or it cannot be done (`false`); nothing was begun.
    Settled(bool),
    /// The attempt came back. `again`: the mode allows another one.
    Finished {
        /// How.
        end: AttemptEnd,
        /// Convergent commands may run again, interactive ones never.
        again: bool,
    },
    /// The process began anew.
    Restarted,
    /// The lock system was asked.
    Answered(Answer),
    /// Too late to begin.
    DeadlinePassed,
    /// A later command made it moot.
    Superseded,
    /// It was taken back.
    Cancelled,
    /// The local policy forbids it by now.
    PolicyBreach,
    /// Evidence or a person ended the doubt.
    Resolved(Verdict),
}

/// What has to be done for a transition, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Write the intent, and act when it is durable.
    RecordIntent,
    /// Write that the command waits for another attempt; `counted` towards the bound, after backoff.
    RecordRequeue {
        /// Towards the bound of attempts.
        counted: bool,
    },
    /// Write the outcome and report it.
    RecordOutcome(End),
    /// Write the doubt and report it.
    RecordDoubt,
    /// Write how the doubt ended and report it.
    RecordResolution(End),
    /// Ask the lock system.
    Ask,
    /// Give the local command that makes the maybe-effect worthless.
    Compensate,
}

/// An event that cannot happen in a state: a defect of the caller, never of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a command that is {state:?} cannot take {event:?}")]
pub struct Impossible {
    /// Where it stood.
    pub state: State,
    /// What came.
    pub event: Event,
}

/// One step: what the command becomes and what has to be done, or why the event cannot happen.
pub fn step(life: Life, event: Event) -> Result<(Life, Vec<Action>), Impossible> {
    let impossible = Err(Impossible { state: life.state, event });
    let ended = |end| Ok((Life { state: State::Ended(end), ..life }, vec![Action::RecordOutcome(end)]));
    let taken_back = |end| Ok(taken_back(life, end));
    match (life.state, event) {
        (State::Queued, Event::Begun(class)) => {
            let attempt = life.attempt.saturating_add(1);
            Ok((Life { state: State::Executing(class), attempt, queries: 0, ..life }, vec![Action::RecordIntent]))
        }
        (State::Queued, Event::Settled(true)) | (State::Asking, Event::Answered(Answer::Found)) => {
            ended(End::Succeeded)
        }
        (State::Queued, Event::Settled(false)) => taken_back(End::Failed),
        (State::Queued, Event::DeadlinePassed) => taken_back(End::Expired),
        (State::Queued, Event::Superseded) => taken_back(End::Superseded),
        (State::Queued, Event::Cancelled) => taken_back(End::Cancelled),
        (State::Queued, Event::PolicyBreach) => taken_back(End::Rejected),
        (State::Executing(class), Event::Finished { end, again }) => Ok(finished(life, class, end, again)),
        (State::Executing(EffectClass::Repeatable), Event::Restarted) => Ok(requeue(life, false, true)),
        (State::Executing(EffectClass::Queryable) | State::Asking, Event::Restarted) => {
            Ok((Life { state: State::Asking, queries: 0, ..life }, vec![Action::Ask]))
        }
        (State::Executing(EffectClass::Blind), Event::Restarted) => Ok(doubt(life, EffectClass::Blind)),
        (State::Queued | State::InDoubt(_), Event::Restarted) => Ok((life, vec![])),
        (State::Asking, Event::Answered(Answer::Absent)) => Ok(requeue(Life { uncertain: false, ..life }, true, false)),
        (State::Asking, Event::Answered(Answer::Unknown)) => {
            let queries = life.queries.saturating_add(1);
            let life = Life { queries, ..life };
            if queries >= ATTEMPTS_QUERYABLE {
                Ok(doubt(life, EffectClass::Queryable))
            } else {
                Ok((life, vec![Action::Ask]))
            }
        }
        (State::InDoubt(_), Event::Resolved(verdict)) => Ok(resolved(life, verdict)),
        _ => impossible,
    }
}

/// An attempt came back: rule B4 decides by class and certainty.
fn finished(life: Life, class: EffectClass, end: AttemptEnd, again: bool) -> (Life, Vec<Action>) {
    let exhausted = life.spent.saturating_add(1) >= ATTEMPTS_REPEATABLE;
    match (end, class) {
        (AttemptEnd::Done, _) => {
            (Life { state: State::Ended(End::Succeeded), ..life }, vec![Action::RecordOutcome(End::Succeeded)])
        }
        (AttemptEnd::Unreachable, _) if again => requeue(life, false, false),
        (AttemptEnd::RefusedForNow, _) if again && !exhausted => requeue(life, true, false),
        (AttemptEnd::Lost, EffectClass::Repeatable) if again && !exhausted => requeue(life, true, true),
        (AttemptEnd::Lost, EffectClass::Queryable) => {
            (Life { state: State::Asking, uncertain: true, ..life }, vec![Action::Ask])
        }
        (AttemptEnd::Lost, _) => doubt(life, class),
        (AttemptEnd::Unreachable | AttemptEnd::RefusedForNow | AttemptEnd::RefusedForGood, _) => {
            if life.uncertain {
                doubt(life, class)
            } else {
                (Life { state: State::Ended(End::Failed), ..life }, vec![Action::RecordOutcome(End::Failed)])
            }
        }
    }
}

/// Ends a waiting command; one whose earlier attempt may have had its effect cannot say that nothing happened.
fn taken_back(life: Life, end: End) -> (Life, Vec<Action>) {
    if life.uncertain && end != End::Superseded {
        return doubt(life, EffectClass::Repeatable);
    }
    (Life { state: State::Ended(end), ..life }, vec![Action::RecordOutcome(end)])
}

fn requeue(life: Life, counted: bool, uncertain: bool) -> (Life, Vec<Action>) {
    let life = Life {
        state: State::Queued,
        spent: life.spent.saturating_add(u32::from(counted)),
        uncertain: life.uncertain || uncertain,
        ..life
    };
    (life, vec![Action::RecordRequeue { counted }])
}

fn doubt(life: Life, class: EffectClass) -> (Life, Vec<Action>) {
    (Life { state: State::InDoubt(class), uncertain: true, ..life }, vec![Action::RecordDoubt])
}

fn resolved(life: Life, verdict: Verdict) -> (Life, Vec<Action>) {
    let (end, compensate) = match verdict {
        Verdict::Done => (End::Succeeded, false),
        Verdict::NotDone => (End::Failed, false),
        Verdict::GivenUp => (End::Abandoned, true),
    };
    let mut actions = vec![Action::RecordResolution(end)];
    if compensate {
        actions.push(Action::Compensate);
    }
    (Life { state: State::Ended(end), ..life }, actions)
}

#[cfg(test)]
mod tests;
