//! The sending half: one record at a time, and what became of it.

use std::time::Duration;

use super::SerialSettings;
use crate::fias::limits::RECORD_BYTES;
use crate::line::{Checksum, Control, FrameError, write_frame};

/// When a record may go out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// After NAK and after silence.
    AsSpecified,
    /// Only if the peer certainly does not have it.
    OnlyIfRefused,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The peer has it.
    Acknowledged,
    /// The peer certainly does not have it.
    Refused,
    /// The peer may have it.
    Unknown,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Another one is on its way.
    #[error("the line still waits for the acknowledgement of the record before; nothing was sent")]
    Busy,
    /// Does not fit into a frame.
    #[error("the record cannot be sent: {0}")]
    Frame(#[from] FrameError),
}

/// Counts since the line was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SerialStatistics {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records sent again.
    pub repeats: u64,
    /// ENQs sent.
    pub enquiries: u64,
    /// NAKs received.
    pub refusals: u64,
    /// Records given up.
    pub given_up: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Control(Control),
    Frame,
    Done(Delivery),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Sent {
        deadline: Duration,
    },
    /// A NAK came straight after the record. `is_disputed`: and then something else.
    Settling {
        is_disputed: bool,
        deadline: Duration,
    },
    Asking {
        asked: u32,
        deadline: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Sender {
    settings: SerialSettings,
    state: State,
    frame: Vec<u8>,
    repeat: Repeat,
    sends: u32,
    /// When the last copy has left the line, at the latest.
    out_at: Duration,
    /// A byte that means nothing came since the record went out: its reply may be what was damaged.
    is_disturbed: bool,
    /// Every copy so far was answered by NAK, straight away.
    all_refused: bool,
    statistics: SerialStatistics,
}

fn one_more(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl Sender {
    pub(super) fn new(settings: SerialSettings) -> Self {
        Self {
            settings,
            state: State::Idle,
            frame: Vec::new(),
            repeat: Repeat::OnlyIfRefused,
            sends: 0,
            out_at: Duration::ZERO,
            is_disturbed: false,
            all_refused: true,
            statistics: SerialStatistics::default(),
        }
    }

    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    pub(super) fn statistics(&self) -> SerialStatistics {
        self.statistics
    }

    pub(super) fn is_busy(&self) -> bool {
        self.state != State::Idle
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Idle => None,
            State::Sent { deadline } | State::Settling { deadline, .. } | State::Asking { deadline, .. } => {
                Some(deadline)
            }
        }
    }

    pub(super) fn send(&mut self, record: &[u8], repeat: Repeat, now: Duration) -> Result<Step, SendError> {
        if self.is_busy() {
            return Err(SendError::Busy);
        }
        let mut frame = Vec::new();
        write_frame(record, self.settings.checksum, RECORD_BYTES, &mut frame)?;
        self.frame = frame;
        self.repeat = repeat;
        self.sends = 0;
        self.all_refused = true;
        Ok(self.transmit(now))
    }

    /// ACK or NAK came.
    pub(super) fn replied(&mut self, reply: Control, now: Duration) -> Option<Step> {
        let accepted = reply == Control::Acknowledge;
        if !accepted {
            one_more(&mut self.statistics.refusals);
        }
        match self.state {
            State::Idle => None,
            State::Sent { .. } | State::Asking { .. } if accepted => Some(self.done(Delivery::Acknowledged)),
            State::Sent { .. } if self.repeat == Repeat::OnlyIfRefused => {
                // A NAK that comes before the record can be out belongs to an earlier one; the reply to this one is still to come.
                let deadline = now.max(self.out_at).saturating_add(self.settings.settle);
                self.state = State::Settling { is_disputed: self.is_disturbed, deadline };
                None
            }
            State::Sent { .. } => Some(self.again(now)),
            // Any stray byte at the peer makes it answer so: it may have the record all the same.
            State::Asking { .. } => {
                self.all_refused = false;
                Some(if self.repeat == Repeat::AsSpecified { self.again(now) } else { self.done(Delivery::Unknown) })
            }
            State::Settling { deadline, .. } => {
                self.state = State::Settling { is_disputed: true, deadline };
                None
            }
        }
    }

    /// A byte came that is neither ACK nor NAK: perhaps one of them, damaged.
    pub(super) fn disturbed(&mut self, now: Duration) {
        self.is_disturbed = true;
        match &mut self.state {
            // Asking early is allowed; what the line still carries comes first.
            State::Sent { deadline } => *deadline = (*deadline).min(now.saturating_add(self.settings.settle)),
            State::Settling { is_disputed, .. } => *is_disputed = true,
            State::Idle | State::Asking { .. } => {}
        }
    }

    pub(super) fn tick(&mut self, now: Duration) -> Option<Step> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        Some(match self.state {
            State::Idle => return None,
            State::Settling { is_disputed: false, .. } => self.again(now),
            State::Settling { is_disputed: true, .. } => {
                self.all_refused = false;
                self.done(Delivery::Unknown)
            }
            State::Sent { .. } => self.ask(0, now),
            State::Asking { asked, .. } if asked < self.settings.enquiries => self.ask(asked, now),
            State::Asking { .. } => {
                self.all_refused = false;
                if self.repeat == Repeat::AsSpecified { self.again(now) } else { self.done(Delivery::Unknown) }
            }
        })
    }

    /// The last copy counts as sent unless its ETX stayed behind.
    pub(super) fn link_lost(&mut self, unsent: usize) -> Option<Delivery> {
        let trailer = usize::from(self.settings.checksum != Checksum::Absent);
        let delivery = match self.state {
            State::Idle => return None,
            State::Sent { .. } if unsent > trailer => Delivery::Refused,
            _ => Delivery::Unknown,
        };
        let delivery = if self.all_refused { delivery } else { Delivery::Unknown };
        self.done(delivery);
        Some(delivery)
    }

    fn transmit(&mut self, now: Duration) -> Step {
        self.sends = self.sends.saturating_add(1);
        self.is_disturbed = false;
        self.out_at = now.saturating_add(self.settings.transmission(self.frame.len()));
        self.state = State::Sent { deadline: self.out_at.saturating_add(self.settings.reply_timeout) };
        Step::Frame
    }

    fn again(&mut self, now: Duration) -> Step {
        if self.sends < self.settings.sends {
            one_more(&mut self.statistics.repeats);
            return self.transmit(now);
        }
        self.done(if self.all_refused { Delivery::Refused } else { Delivery::Unknown })
    }

    fn ask(&mut self, asked: u32, now: Duration) -> Step {
        let deadline = now.saturating_add(self.settings.reply_timeout);
        self.state = State::Asking { asked: asked.saturating_add(1), deadline };
        one_more(&mut self.statistics.enquiries);
        Step::Control(Control::Enquiry)
    }

    fn done(&mut self, delivery: Delivery) -> Step {
        self.state = State::Idle;
        match delivery {
            Delivery::Acknowledged => one_more(&mut self.statistics.acknowledged),
            Delivery::Refused | Delivery::Unknown => one_more(&mut self.statistics.given_up),
        }
        Step::Done(delivery)
    }
}
