//! The audit trail: numbered events of the whole site, the newest two hundred thousand.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Events kept; a real server purges by age.
const EVENTS_KEPT: usize = 200_000;

/// Who or what an event is about (`SubjectType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// 0: a person with a card.
    Cardholder,
    /// 1: the door itself.
    Door,
    /// 2: somebody, or a host, at the server.
    Operator,
}

impl Subject {
    /// Number on the wire.
    pub const fn code(self) -> i32 {
        match self {
            Self::Cardholder => 0,
            Self::Door => 1,
            Self::Operator => 2,
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `EventID`; rises in the order events reach the server.
    pub id: u64,
    /// When it happened, by the clock of the one who noticed.
    pub at: Timestamp,
    /// Operation code.
    pub operation: i32,
    /// `ExtDoorID`, or the encoder's name.
    pub door: String,
    /// Kind of subject.
    pub subject: Subject,
    /// `ExtUserID`, if a cardholder is known.
    pub user: Option<String>,
    /// The person's name at the time, or the operator.
    pub name: String,
    /// Chip serial, if a card was involved.
    pub serial: Option<String>,
}

/// Appends, keeping the bound. An event that is already there (replay) is ignored.
pub fn append(trail: &mut VecDeque<Event>, event: Event) {
    if trail.back().is_some_and(|last| last.id >= event.id) {
        return;
    }
    if trail.len() >= EVENTS_KEPT {
        trail.pop_front();
    }
    trail.push_back(event);
}
