//! Which answer belongs to which key request, for the PMS's end.
//!
//! Records carry no transaction number, so one request is open for each encoder, and:
//!
//! ```text
//!            open                 answer that fits
//!   free ──────────► open ─────────────────────────────► free
//!                     │ deadline, or the link was lost: unknown, a card may have been written
//!                     ▼            late answer, or the hold ends
//!                   held  ───────────────────────────────► free
//! ```
//!
//! While an encoder is held no request is opened on it: a late answer is evidence for the old request, never the new one's.
//! An answer fits if it names the encoder, and does not name another workstation, unless the reservation proves it.

use std::time::Duration;

use super::key::{KeyRecord, KeyRecordKind, same_encoder};
use super::limits::OPEN_KEYS;

/// Identifies an open request to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Why a request cannot be opened. Nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// One is open.
    #[error("the encoder still works on another key request; nothing was sent")]
    Busy,
    /// A late answer can still come.
    #[error("the encoder may still answer an earlier key request; nothing was sent")]
    Held {
        /// When the hold ends.
        until: Duration,
    },
    /// Answers and reads of the key system are not requests.
    #[error("this record is an answer and cannot be opened as a request")]
    NotARequest,
    /// Too many encoders.
    #[error("{OPEN_KEYS} key requests are open; nothing was sent")]
    Full,
}

/// What an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// To this request, which is closed now.
    Answer(Ticket),
    /// To this request, whose outcome was already reported as unknown: evidence, not an outcome.
    Late(Ticket),
    /// It names an encoder with an open request, but another workstation. The request stays open.
    Mismatch(Ticket),
    /// To none.
    Unsolicited,
}

#[derive(Debug)]
struct Entry {
    ticket: Ticket,
    kind: KeyRecordKind,
    encoder: String,
    workstation: String,
    reservation: String,
    /// `false`: held until the deadline.
    is_open: bool,
    deadline: Duration,
}

/// All requests of one link.
#[derive(Debug)]
pub struct KeyTable {
    entries: Vec<Entry>,
    grace: Duration,
    next: u64,
}

impl KeyTable {
    /// `grace`: how long an encoder is held after an unknown end.
    pub fn new(grace: Duration) -> Self {
        Self { entries: Vec::new(), grace, next: 0 }
    }

    /// Opens a request before it is sent. `timeout`: for its answer; a person with a card needs a minute.
    pub fn open(&mut self, request: &KeyRecord, now: Duration, timeout: Duration) -> Result<Ticket, OpenError> {
        if matches!(request.kind, KeyRecordKind::Answer | KeyRecordKind::ReadAnswer) {
            return Err(OpenError::NotARequest);
        }
        self.entries.retain(|entry| entry.is_open || entry.deadline > now);
        match self.entries.iter().find(|entry| same_encoder(&entry.encoder, &request.encoder)) {
            Some(Entry { is_open: true, .. }) => return Err(OpenError::Busy),
            Some(entry) => return Err(OpenError::Held { until: entry.deadline }),
            None if self.entries.len() >= OPEN_KEYS => return Err(OpenError::Full),
            None => {}
        }
        let ticket = Ticket(self.next);
        self.next = self.next.wrapping_add(1);
        self.entries.push(Entry {
            ticket,
            kind: request.kind,
            encoder: request.encoder.clone(),
            workstation: request.workstation.clone(),
            reservation: request.reservation.clone(),
            is_open: true,
            deadline: now.saturating_add(timeout),
        });
        Ok(ticket)
    }

    /// The request certainly did not reach the key system. `false`: it is not open any more.
    pub fn withdraw(&mut self, ticket: Ticket) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.ticket != ticket || !entry.is_open);
        self.entries.len() < before
    }

    /// Takes an answer of the key system in.
    pub fn answer(&mut self, answer: &KeyRecord, now: Duration) -> Match {
        self.entries.retain(|entry| entry.is_open || entry.deadline > now);
        let place = self.entries.iter().position(|entry| {
            let reads = entry.kind == KeyRecordKind::Read;
            let fits = match answer.kind {
                KeyRecordKind::ReadAnswer => reads,
                KeyRecordKind::Answer => !reads,
                _ => false,
            };
            fits && same_encoder(&entry.encoder, &answer.encoder)
        });
        let Some(entry) = place.and_then(|place| self.entries.get(place)) else { return Match::Unsolicited };
        let (ticket, is_open) = (entry.ticket, entry.is_open);
        let (asked, named) = (entry.workstation.trim(), answer.workstation.trim());
        let same_workstation = named.is_empty() || named.eq_ignore_ascii_case(asked);
        let both_reserved = !entry.reservation.is_empty() && !answer.reservation.is_empty();
        let fits = if both_reserved { entry.reservation.trim() == answer.reservation.trim() } else { same_workstation };
        if !fits {
            return Match::Mismatch(ticket);
        }
        self.entries.retain(|entry| entry.ticket != ticket);
        if is_open { Match::Answer(ticket) } else { Match::Late(ticket) }
    }

    /// Requests whose answer did not come in time: unknown. Their encoders are held from now on.
    pub fn tick(&mut self, now: Duration) -> Vec<Ticket> {
        self.close(now, |entry| entry.deadline <= now)
    }

    /// The link is gone: every open request is unknown. Their encoders are held from now on.
    pub fn link_lost(&mut self, now: Duration) -> Vec<Ticket> {
        self.close(now, |_| true)
    }

    fn close(&mut self, now: Duration, ends: impl Fn(&Entry) -> bool) -> Vec<Ticket> {
        self.entries.retain(|entry| entry.is_open || entry.deadline > now);
        let grace = self.grace;
        let ended = self.entries.iter_mut().filter(|entry| entry.is_open && ends(entry));
        ended
            .map(|entry| {
                entry.is_open = false;
                entry.deadline = now.saturating_add(grace);
                entry.ticket
            })
            .collect()
    }

    /// When [`Self::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.entries.iter().map(|entry| entry.deadline).min()
    }

    /// Requests that wait for their answer.
    pub fn open_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_open).count()
    }
}
