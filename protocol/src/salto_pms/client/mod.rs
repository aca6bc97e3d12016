//! One request at a time over a line to a SALTO server, and what became of it.
//!
//! ```text
//!           submit          ENQ answered ACK            ACK                    answer
//!   Idle ──────────► Enquiring ────────────► Sent ─────────────► Awaiting ──────────────► Idle
//!    ▲                │ NAK or silence:       │ NAK, silence        │ NAK       answered
//!    │                │ pause, ENQ again      ▼                     │
//!    │  ◄─────────────┘ too often          Probing ◄────────────────┘
//!    │   not begun         ACK: not begun ◄─┤ │  pause, then ENQ
//!    │                  or sent once more   │ └──► Awaiting, when the server is busy: perhaps with this request
//!    │ late answer, or                      ▼
//!    │ the hold ends      Held ◄──── unknown: no answer came, or the link was lost
//!    └──────────────────────┘
//! ```
//!
//! **The verdict.** *Answered*: the message was acknowledged, and an answer that fits was read. *Certainly not begun*, in two cases only: the ETX of the message
//! never went out; or the server refused the message (NAK) and, asked again after a pause, was ready (ACK), with not one other
//! byte in between. The second half is what tells a refusal from an acknowledgement that noise turned into one: a server that
//! accepted is busy, or sends its answer. *Unknown*: everything else. Silence is never taken for "not done".
//!
//! **Sending twice.** The same two conditions, and no others, let a message go out again, at most [`Settings::resends`] times.
//!
//! **Answers count behind an acknowledgement only.** One flipped bit makes a NAK of an ENQ, upon which a server may repeat an
//! *earlier* answer. Having acknowledged a message, it has forgotten that one.
//!
//! **Late answers.** Nothing in an answer names its request. After an unknown end the line is held: no new request is sent until
//! the late answer came or the hold has passed, and what arrives is given to the owner as evidence, never to the next request.
//!
//! **Checksums that say "not checked".** The byte that stands for that can be a checksum, too. A request is written so that its own
//! is another one; of an answer it is believed until the server has shown that it writes checksums.
//!
//! **Echo.** A line that returns our own bytes would answer `CN` with `CN`. A frame that equals the message, before the server
//! acknowledged it, is an echo; once the line has echoed, only what follows an acknowledgement is believed.

mod machine;
mod types;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use types::{Action, ClientStatistics, Doubt, Exchange, NotBegun, Settings, SubmitError, Verdict};

use crate::line::{Checksum, FrameReader, LineStatistics};
use machine::{Input, Machine, Step};

use super::limits::MESSAGE_BYTES;

/// A line to a server: finds frames in what arrives and says what to send. Times are monotonic, from any start.
#[derive(Debug)]
pub struct Client {
    reader: FrameReader,
    machine: Machine,
    silence: Duration,
    /// When the frame in hand is given up.
    frame_deadline: Option<Duration>,
}

impl Client {
    /// A line that is not connected yet. `checksum`: [`Checksum::CheckedUnlessMarked`], or [`Checksum::Marked`] for a site
    /// that has the check switched off.
    pub fn new(settings: Settings, checksum: Checksum) -> Self {
        let silence = settings.silence;
        let machine = Machine::new(settings, checksum);
        let mut reader = FrameReader::new(checksum, MESSAGE_BYTES);
        reader.hold_to_checksums();
        Self { reader, machine, silence, frame_deadline: None }
    }

    /// The line is up: bytes may flow.
    pub fn link_up(&mut self, now: Duration) {
        self.reader.abandon();
        // Perhaps it is another server now.
        self.reader.hold_to_checksums();
        self.frame_deadline = None;
        self.machine.link_up(now);
    }

    /// The line is gone. `unsent`: how many bytes of the last message never reached the operating system; 0 if unsure.
    pub fn link_lost(&mut self, unsent: usize, now: Duration) -> Option<Action<'_>> {
        self.reader.abandon();
        self.frame_deadline = None;
        let step = self.machine.link_lost(unsent, now)?;
        Some(self.action(step))
    }

    /// Begins an exchange. Only after this returned `Ok` may anything of it go out.
    pub fn submit(&mut self, exchange: Exchange, now: Duration) -> Result<Action<'_>, SubmitError> {
        let step = self.machine.submit(exchange, now)?;
        Ok(self.action(step))
    }

    /// Asks whether the server is there, without a request behind it. Ends with [`Verdict::Ready`] or
    /// [`Verdict::NotBegun`], whose reason tells a busy server from a silent one.
    pub fn enquire(&mut self, now: Duration) -> Result<Action<'_>, SubmitError> {
        let step = self.machine.ask(now)?;
        Ok(self.action(step))
    }

    /// Ends an exchange of which nothing was sent yet. `None`: too late, or there is none; the protocol has no way to cancel.
    pub fn cancel(&mut self) -> Option<Action<'_>> {
        let step = self.machine.cancel()?;
        Some(self.action(step))
    }

    /// Takes bytes from the front of `input` up to the next thing to do. `None`: `input` is used up; until then call again.
    pub fn read(&mut self, input: &mut &[u8], now: Duration) -> Option<Action<'_>> {
        let step = loop {
            let Some(token) = self.reader.read(input) else { break None };
            if let Some(step) = self.machine.handle(Input::Token(token), now) {
                break Some(step);
            }
        };
        self.frame_deadline = self.reader.is_inside_frame().then(|| now.saturating_add(self.silence));
        step.map(|step| self.action(step))
    }

    /// Acts on deadlines that have passed. Call again until `None`.
    pub fn tick(&mut self, now: Duration) -> Option<Action<'_>> {
        if self.frame_deadline.is_some_and(|deadline| deadline <= now) {
            self.frame_deadline = None;
            if self.reader.abandon()
                && let Some(step) = self.machine.handle(Input::Abandoned, now)
            {
                return Some(self.action(step));
            }
        }
        let step = self.machine.handle(Input::Time, now)?;
        Some(self.action(step))
    }

    /// When [`Self::tick`] has to be called at the latest; `None`: nothing is waited for.
    pub fn deadline(&self) -> Option<Duration> {
        [self.machine.deadline(), self.frame_deadline].into_iter().flatten().min()
    }

    /// An exchange is under way.
    pub fn is_busy(&self) -> bool {
        self.machine.is_busy()
    }

    /// Until when an unknown end holds the line, if it does.
    pub fn held_until(&self) -> Option<Duration> {
        self.machine.held_until()
    }

    /// What the exchanges met.
    pub fn statistics(&self) -> ClientStatistics {
        self.machine.statistics()
    }

    /// What the reader met.
    pub fn line_statistics(&self) -> LineStatistics {
        self.reader.statistics()
    }

    fn action(&self, step: Step) -> Action<'_> {
        match step {
            Step::Control(control) => Action::Control(control),
            Step::Message => Action::Message(self.machine.message()),
            Step::Answered => Action::Done(Verdict::Answered(self.reader.last_frame())),
            Step::Ready => Action::Done(Verdict::Ready),
            Step::NotBegun(reason) => Action::Done(Verdict::NotBegun(reason)),
            Step::Unknown(doubt) => Action::Done(Verdict::Unknown(doubt)),
            Step::Late => Action::Late(self.reader.last_frame()),
            Step::Unsolicited => Action::Unsolicited(self.reader.last_frame()),
        }
    }
}
