//! The states of one line. See the drawing in the parent.

use std::time::Duration;

use super::types::{ClientStatistics, Doubt, Exchange, NotBegun, Settings, SubmitError};
use crate::line::{Checksum, Control, Token};
use crate::salto_pms::answer::{Expectation, Fit};
use crate::salto_pms::message::Message;

/// What happens to the machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    Token(Token<'a>),
    /// A begun frame was given up.
    Abandoned,
    Time,
}

/// What it wants done; frames are lent out by the owner of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Control(Control),
    Message,
    Answered,
    Ready,
    NotBegun(NotBegun),
    Unknown(Doubt),
    Late,
    Unsolicited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Idle,
    Held {
        until: Duration,
    },
    /// An ENQ is out, and no message. `refused`: the last reply was NAK.
    Enquiring {
        asked: u32,
        refused: bool,
        deadline: Duration,
    },
    /// Before the next ENQ.
    Pausing {
        asked: u32,
        refused: bool,
        deadline: Duration,
    },
    /// The message is out, and neither ACK nor NAK is in.
    Sent {
        deadline: Duration,
    },
    /// The message may be worked on.
    Awaiting {
        deadline: Duration,
    },
    /// Finding out by ENQ what became of the message.
    Probing(Probe),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    asked: u32,
    /// An ENQ is out; else the pause before it runs.
    is_asking: bool,
    /// The message was refused, and since then nothing came that contradicts it.
    is_refused: bool,
    deadline: Duration,
}

#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    checksum: Checksum,
    state: State,
    /// Of the exchange under way, or of the one that ended in doubt.
    expectation: Option<Expectation>,
    frame: Vec<u8>,
    answer_timeout: Duration,
    /// Of the message that is out.
    answer_deadline: Duration,
    sent: u32,
    /// The server acknowledged the message that is out, and so has forgotten its earlier answer.
    is_acknowledged: bool,
    answer_refusals: u32,
    /// Own bytes came back in this exchange.
    has_echo: bool,
    /// Something came that was not expected: what else is on its way must be flushed out by an ENQ.
    is_unsure: bool,
    /// The hold of a line that went down.
    hold: Option<Duration>,
    statistics: ClientStatistics,
}

fn one_more(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl Machine {
    pub(super) fn new(settings: Settings, checksum: Checksum) -> Self {
        Self {
            settings,
            checksum,
            state: State::Down,
            expectation: None,
            frame: Vec::new(),
            answer_timeout: Duration::ZERO,
            answer_deadline: Duration::ZERO,
            sent: 0,
            is_acknowledged: false,
            answer_refusals: 0,
            has_echo: false,
            is_unsure: false,
            hold: None,
            statistics: ClientStatistics::default(),
        }
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.frame
    }

    pub(super) fn statistics(&self) -> ClientStatistics {
        self.statistics
    }

    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Down | State::Idle | State::Held { .. })
    }

    pub(super) fn held_until(&self) -> Option<Duration> {
        match self.state {
            State::Held { until } => Some(until),
            State::Down => self.hold,
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Down | State::Idle => None,
            State::Held { until } => Some(until),
            State::Enquiring { deadline, .. }
            | State::Pausing { deadline, .. }
            | State::Sent { deadline }
            | State::Awaiting { deadline } => Some(deadline),
            State::Probing(probe) => Some(probe.deadline.min(self.answer_deadline)),
        }
    }

    pub(super) fn link_up(&mut self, now: Duration) {
        if self.state == State::Down {
            self.is_unsure = true;
            self.state = match self.hold.take() {
                Some(until) if until > now && self.settings.answers_survive_reconnect => State::Held { until },
                _ => State::Idle,
            };
        }
    }

    pub(super) fn link_lost(&mut self, unsent: usize, now: Duration) -> Option<Step> {
        let state = std::mem::replace(&mut self.state, State::Down);
        match state {
            State::Down | State::Idle => None,
            State::Held { until } => {
                self.hold = Some(until);
                None
            }
            State::Enquiring { .. } | State::Pausing { .. } => Some(Step::NotBegun(NotBegun::LinkLost)),
            // Without its ETX a message is none, and nothing will complete it: earlier copies were refused for certain.
            State::Sent { .. } if unsent > usize::from(self.checksum != Checksum::Absent) => {
                Some(Step::NotBegun(NotBegun::LinkLost))
            }
            State::Sent { .. } | State::Awaiting { .. } | State::Probing(_) => {
                self.hold = Some(now.saturating_add(self.settings.hold));
                Some(Step::Unknown(Doubt::LinkLost))
            }
        }
    }

    pub(super) fn submit(&mut self, exchange: Exchange, now: Duration) -> Result<Step, SubmitError> {
        self.refuse_unless_idle()?;
        self.frame = exchange.frame(self.checksum)?;
        self.answer_timeout = exchange.answer_timeout;
        self.expectation = Some(exchange.expectation);
        self.sent = 0;
        self.is_acknowledged = false;
        self.answer_refusals = 0;
        self.has_echo = false;
        if self.settings.enquire_first || self.is_unsure {
            return Ok(self.enquire(0, false, now));
        }
        Ok(self.send(now))
    }

    /// An exchange without a message.
    pub(super) fn ask(&mut self, now: Duration) -> Result<Step, SubmitError> {
        self.refuse_unless_idle()?;
        self.frame.clear();
        self.expectation = None;
        self.sent = 0;
        self.is_acknowledged = false;
        self.answer_refusals = 0;
        self.has_echo = false;
        Ok(self.enquire(0, false, now))
    }

    fn refuse_unless_idle(&self) -> Result<(), SubmitError> {
        match self.state {
            State::Idle => Ok(()),
            State::Down => Err(SubmitError::Down),
            State::Held { until } => Err(SubmitError::Held { until }),
            _ => Err(SubmitError::Busy),
        }
    }

    pub(super) fn cancel(&mut self) -> Option<Step> {
        match self.state {
            State::Enquiring { .. } | State::Pausing { .. } => {
                // The reply to an ENQ may still be on its way.
                self.is_unsure = true;
                self.state = State::Idle;
                Some(Step::NotBegun(NotBegun::Cancelled))
            }
            _ => None,
        }
    }

    pub(super) fn handle(&mut self, input: Input<'_>, now: Duration) -> Option<Step> {
        match input {
            Input::Time => self.time(now),
            Input::Token(Token::Frame(body)) => self.frame_came(body, now),
            Input::Token(Token::Control(Control::Enquiry)) => {
                // A server never asks: this is our own ENQ.
                self.has_echo = true;
                one_more(&mut self.statistics.echoes);
                None
            }
            Input::Token(Token::Control(Control::Acknowledge)) => self.acknowledged(now),
            Input::Token(Token::Control(Control::Refuse)) => {
                one_more(&mut self.statistics.refusals);
                self.refused(now)
            }
            Input::Token(Token::Fault(_)) | Input::Abandoned => self.damaged(),
            Input::Token(Token::Noise(_)) => {
                self.contradict();
                None
            }
        }
    }

    /// Something came between a refusal and its confirmation: the refusal is not believed any more.
    fn contradict(&mut self) {
        if let State::Probing(probe) = &mut self.state {
            probe.is_refused = false;
        }
    }

    fn frame_came(&mut self, body: &[u8], now: Duration) -> Option<Step> {
        let own = self.frame.split_first().is_some_and(|(_, sent)| sent.starts_with(body))
            && self.frame.len() == body.len().saturating_add(if self.checksum == Checksum::Absent { 2 } else { 3 });
        let fit = self.expectation.as_ref().map_or(Fit::Foreign, |expected| expected.fit(Message::read(body)));
        let can_repeat = self.expectation.as_ref().is_some_and(Expectation::answer_can_equal_request);
        let is_out = matches!(self.state, State::Sent { .. } | State::Awaiting { .. } | State::Probing(_));
        if is_out && ((own && !(can_repeat && self.is_acknowledged)) || (self.has_echo && !self.is_acknowledged)) {
            self.has_echo = true;
            one_more(&mut self.statistics.echoes);
            return None;
        }
        match self.state {
            _ if is_out && fit != Fit::Foreign && self.is_acknowledged => {
                self.state = State::Idle;
                Some(Step::Answered)
            }
            _ if is_out && fit != Fit::Foreign => Some(self.doubt(Doubt::Unacknowledged, now)),
            State::Held { .. } if fit != Fit::Foreign => {
                self.state = State::Idle;
                self.is_unsure = true;
                one_more(&mut self.statistics.late);
                Some(Step::Late)
            }
            _ => {
                self.contradict();
                self.is_unsure = true;
                one_more(&mut self.statistics.unsolicited);
                Some(Step::Unsolicited)
            }
        }
    }

    /// A frame that cannot be read, perhaps the answer. A server that did not acknowledge would repeat an older answer, so
    /// such a one is not asked.
    fn damaged(&mut self) -> Option<Step> {
        self.contradict();
        let is_waited_for = matches!(self.state, State::Awaiting { .. } | State::Probing(_) | State::Held { .. });
        if !is_waited_for || !self.is_acknowledged || self.answer_refusals >= self.settings.answer_refusals {
            return None;
        }
        self.answer_refusals = self.answer_refusals.saturating_add(1);
        // The repeat, and a repeat too many, are on their way from now on.
        self.is_unsure = true;
        one_more(&mut self.statistics.damaged_answers);
        Some(Step::Control(Control::Refuse))
    }

    fn acknowledged(&mut self, now: Duration) -> Option<Step> {
        match self.state {
            State::Enquiring { .. } => {
                self.is_unsure = false;
                if self.frame.is_empty() {
                    self.state = State::Idle;
                    return Some(Step::Ready);
                }
                Some(self.send(now))
            }
            State::Sent { .. } => {
                self.is_acknowledged = true;
                self.state = State::Awaiting { deadline: self.answer_deadline };
                None
            }
            State::Probing(Probe { is_asking: true, is_refused: true, .. }) => {
                if self.sent <= self.settings.resends {
                    one_more(&mut self.statistics.resends);
                    return Some(self.send(now));
                }
                self.state = State::Idle;
                Some(Step::NotBegun(NotBegun::Refused { times: self.sent }))
            }
            // Idle, and no answer was read: none will come.
            State::Probing(Probe { is_asking: true, is_refused: false, .. }) => {
                Some(self.doubt(Doubt::AnswerLost, now))
            }
            _ => {
                self.contradict();
                None
            }
        }
    }

    fn refused(&mut self, now: Duration) -> Option<Step> {
        match self.state {
            State::Enquiring { asked, .. } => self.pause(asked, true, now),
            State::Sent { .. } => {
                self.probe(true, now);
                None
            }
            // It was acknowledged before: one of the two is noise, so neither is believed.
            State::Awaiting { .. } => {
                self.probe(false, now);
                None
            }
            State::Probing(probe @ Probe { is_asking: true, .. }) => {
                if probe.is_refused && probe.asked < self.settings.enquiries {
                    let deadline = now.saturating_add(self.settings.pause);
                    self.state = State::Probing(Probe { is_asking: false, deadline, ..probe });
                } else {
                    // Busy, perhaps with this very request.
                    self.state = State::Awaiting { deadline: self.answer_deadline };
                }
                None
            }
            _ => {
                self.contradict();
                None
            }
        }
    }

    fn time(&mut self, now: Duration) -> Option<Step> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.state {
            State::Held { .. } => {
                self.is_unsure = true;
                self.state = State::Idle;
                None
            }
            State::Enquiring { asked, .. } => self.pause(asked, false, now),
            State::Pausing { asked, refused, .. } => Some(self.enquire(asked, refused, now)),
            State::Sent { .. } | State::Awaiting { .. } | State::Probing(_) if now >= self.answer_deadline => {
                Some(self.doubt(Doubt::NoAnswer, now))
            }
            State::Sent { .. } => {
                self.probe(false, now);
                None
            }
            State::Probing(probe) if probe.is_asking && probe.asked >= self.settings.enquiries => {
                self.state = State::Awaiting { deadline: self.answer_deadline };
                None
            }
            State::Probing(probe) => {
                let asked = probe.asked.saturating_add(1);
                let deadline = now.saturating_add(self.settings.reply_timeout);
                self.state = State::Probing(Probe { asked, is_asking: true, deadline, ..probe });
                one_more(&mut self.statistics.enquiries);
                Some(Step::Control(Control::Enquiry))
            }
            State::Down | State::Idle | State::Awaiting { .. } => None,
        }
    }

    fn enquire(&mut self, asked: u32, refused: bool, now: Duration) -> Step {
        let deadline = now.saturating_add(self.settings.reply_timeout);
        self.state = State::Enquiring { asked: asked.saturating_add(1), refused, deadline };
        one_more(&mut self.statistics.enquiries);
        Step::Control(Control::Enquiry)
    }

    fn pause(&mut self, asked: u32, refused: bool, now: Duration) -> Option<Step> {
        if asked >= self.settings.enquiries {
            self.is_unsure = true;
            self.state = State::Idle;
            return Some(Step::NotBegun(if refused { NotBegun::NotReady } else { NotBegun::Silent }));
        }
        self.state = State::Pausing { asked, refused, deadline: now.saturating_add(self.settings.pause) };
        None
    }

    fn send(&mut self, now: Duration) -> Step {
        self.sent = self.sent.saturating_add(1);
        self.is_acknowledged = false;
        one_more(&mut self.statistics.messages);
        self.answer_deadline = now.saturating_add(self.answer_timeout);
        self.state =
            State::Sent { deadline: now.saturating_add(self.settings.reply_timeout).min(self.answer_deadline) };
        Step::Message
    }

    fn probe(&mut self, is_refused: bool, now: Duration) {
        self.is_unsure = true;
        let deadline = now.saturating_add(self.settings.pause);
        self.state = State::Probing(Probe { asked: 0, is_asking: false, is_refused, deadline });
    }

    fn doubt(&mut self, doubt: Doubt, now: Duration) -> Step {
        self.is_unsure = true;
        self.state = State::Held { until: now.saturating_add(self.settings.hold) };
        Step::Unknown(doubt)
    }
}
