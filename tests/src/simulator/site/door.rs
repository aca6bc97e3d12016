//! A lock: where it is, whether it is online, and how it decides about a card alone.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::wire::time::LocalTime;
use super::access::Right;
use super::card::{Card, Contents};

/// Log entries an offline lock keeps; the oldest go first.
const LOG_ENTRIES: usize = 3000;

/// Operation codes of the audit trail that locks and server write here.
pub mod operation {
    /// Opened with a key.
    pub const OPENED_KEY: i32 = 17;
    /// Opened by an online command.
    pub const OPENED_ONLINE: i32 = 28;
    /// Start and end of forced opening, start and end of forced closing.
    pub const FORCED_OPENING: i32 = 56;
    pub const FORCED_OPENING_END: i32 = 57;
    pub const FORCED_CLOSING: i32 = 58;
    pub const FORCED_CLOSING_END: i32 = 59;
    /// A key was updated, or deleted, at an online reader.
    pub const KEY_UPDATED: i32 = 76;
    pub const KEY_DELETED: i32 = 78;
    /// Refusals.
    pub const NOT_YET_ACTIVE: i32 = 81;
    pub const EXPIRED: i32 = 82;
    pub const OUT_OF_DATE: i32 = 83;
    pub const NOT_ALLOWED: i32 = 84;
    pub const OUTSIDE_TIME: i32 = 85;
    pub const EMERGENCY: i32 = 95;
    pub const KEY_CANCELLED: i32 = 96;
    /// A key was not completely updated.
    pub const KEY_INCOMPLETE: i32 = 99;
    /// The data on the key are damaged.
    pub const KEY_DAMAGED: i32 = 107;
}

/// Forced states of an online door.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// None.
    #[default]
    No,
    /// Open for everybody.
    Open,
    /// Closed for everybody.
    Closed,
}

/// An entry of a lock's own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Number in this lock's log.
    pub sequence: u64,
    /// By the lock's clock.
    pub at: Timestamp,
    /// Operation code.
    pub operation: i32,
    /// Holder written on the card, if readable.
    pub user: Option<String>,
    /// Chip serial.
    pub serial: String,
}

/// A door and its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// `ExtDoorID`.
    pub id: String,
    /// Name, unique in the site.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Whether the lock is wired to the server.
    pub online: bool,
    /// Whether an online lock answers at present (`CommStatus`).
    pub communication: bool,
    /// `BatteryStatus`: 0 normal, 1 low, 2 very low.
    pub battery: i32,
    /// `TamperStatus`: 0 normal, 1 alarm.
    pub tamper: i32,
    /// Forced state.
    pub forced: Forced,
    /// How far the lock's own clock is ahead of the site's, in seconds.
    pub clock_offset_seconds: i64,
    /// The denylist as of this sequence is known to the lock.
    pub denylist: u64,
    /// Number of the next log entry.
    pub next_sequence: u64,
    /// Entries not yet in the audit trail.
    pub log: VecDeque<LogEntry>,
}

/// What a lock made of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether it opened.
    pub opened: bool,
    /// What goes to the audit trail; a lock does not notice a blank card.
    pub operation: Option<i32>,
    /// For people.
    pub reason: &'static str,
}

impl Decision {
    /// Opened by the card.
    pub const OPENED: Self = Self { opened: true, operation: Some(operation::OPENED_KEY), reason: "opened" };
    /// The lock sees no key at all.
    pub const UNREADABLE: Self = Self { opened: false, operation: None, reason: "no key on the card" };

    /// A refusal that is logged.
    pub const fn refused(operation: i32, reason: &'static str) -> Self {
        Self { opened: false, operation: Some(operation), reason }
    }
}

impl Door {
    /// A closed door in good order.
    pub fn new(id: impl Into<String>, name: impl Into<String>, online: bool) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            description: String::new(),
            online,
            communication: online,
            battery: 0,
            tamper: 0,
            forced: Forced::No,
            clock_offset_seconds: 0,
            denylist: 0,
            next_sequence: 1,
            log: VecDeque::new(),
        }
    }

    /// Whether the server can reach the lock now.
    pub fn reachable(&self) -> bool {
        self.online && self.communication
    }

    /// `DoorStatus` as the status list tells it.
    pub fn status(&self) -> i32 {
        match self.forced {
            _ if !self.reachable() => -1,
            Forced::No => 1,
            Forced::Open => 4,
            Forced::Closed => 5,
        }
    }

    /// The decision of a lock that has nothing but the card, its own clock (`now`) and the denylist it was shown
    /// (`denied` tells whether a key is on it).
    pub fn decide_alone(&self, card: &Card, now: LocalTime, denied: impl Fn(u64) -> bool) -> Decision {
        let key = match &card.contents {
            _ if !card.compatible => return Decision::UNREADABLE,
            Contents::Blank => return Decision::UNREADABLE,
            Contents::Partial => return Decision::refused(operation::KEY_DAMAGED, "the data on the card are damaged"),
            Contents::Key(key) => key,
        };
        if denied(key.key) {
            return Decision::refused(operation::KEY_CANCELLED, "the key is on the denylist of this lock");
        }
        if now < key.valid.start {
            return Decision::refused(operation::NOT_YET_ACTIVE, "the key is not yet active");
        }
        if key.expires.is_some_and(|end| end <= now) {
            return Decision::refused(operation::EXPIRED, "the holder's access has expired");
        }
        if key.valid.end != LocalTime::OPEN && key.valid.end <= now {
            return Decision::refused(operation::OUT_OF_DATE, "the key was not revalidated in time");
        }
        decide_rights(&self.id, &key.rights, now)
    }

    /// Notes a decision in the lock's own log and returns the number of the entry.
    pub fn note(&mut self, at: Timestamp, operation: i32, user: Option<String>, serial: &str) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        if self.log.len() >= LOG_ENTRIES {
            self.log.pop_front();
        }
        self.log.push_back(LogEntry { sequence, at, operation, user, serial: serial.to_owned() });
        sequence
    }
}

/// The last question of every lock: is the door among the rights, and is it time?
pub fn decide_rights(door: &str, rights: &[Right], now: LocalTime) -> Decision {
    let mut known = false;
    for right in rights.iter().filter(|right| right.door == door) {
        known = true;
        if right.period.is_none_or(|period| period.contains(now)) {
            return Decision::OPENED;
        }
    }
    if known {
        Decision::refused(operation::OUTSIDE_TIME, "outside the period of the permission")
    } else {
        Decision::refused(operation::NOT_ALLOWED, "no permission for this door")
    }
}
