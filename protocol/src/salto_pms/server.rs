//! The other end: what a SALTO server does on its line. For simulators and tests.
//!
//! ```text
//!   Ready ── good message ──► Offered ── accept: ACK ──► Working ── answer ──► Ready
//!     │ ENQ: ACK                 │ refuse: NAK               │ ENQ, message: NAK
//!     │ damaged message: NAK     └──► Ready                  └ NAK: nothing
//!     └ NAK: the last answer again, a few times
//! ```

use crate::line::{Checksum, Control, FrameError, FrameReader, LineStatistics, Token, write_frame};

use super::limits::MESSAGE_BYTES;

/// Times one answer is repeated for a client that refuses it.
const REPEATS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Offered,
    Working,
}

/// What the owner has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAction<'server> {
    /// Send this one byte.
    Control(Control),
    /// A message came in: call [`Server::accept`] or [`Server::refuse`].
    Message(&'server [u8]),
    /// Send the last answer again.
    Repeat(&'server [u8]),
}

enum Step {
    Control(Control),
    Message,
    Repeat,
}

/// The server's end of one line.
#[derive(Debug)]
pub struct Server {
    reader: FrameReader,
    checksum: Checksum,
    state: State,
    answer: Vec<u8>,
    repeats: u32,
}

impl Server {
    /// At the start of a connection.
    pub fn new(checksum: Checksum) -> Self {
        let reader = FrameReader::new(checksum, MESSAGE_BYTES);
        Self { reader, checksum, state: State::Ready, answer: Vec::new(), repeats: 0 }
    }

    /// Takes bytes from the front of `input` up to the next thing to do. `None`: `input` is used up; until then call again.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<ServerAction<'_>> {
        let step = loop {
            let ready = self.state == State::Ready;
            let step = match self.reader.read(input)? {
                Token::Control(Control::Enquiry) if ready => Some(Step::Control(Control::Acknowledge)),
                Token::Control(Control::Enquiry) | Token::Fault(_) => Some(Step::Control(Control::Refuse)),
                Token::Control(Control::Refuse) if ready && !self.answer.is_empty() && self.repeats < REPEATS => {
                    self.repeats = self.repeats.saturating_add(1);
                    Some(Step::Repeat)
                }
                Token::Control(_) | Token::Noise(_) => None,
                Token::Frame(_) if ready => {
                    self.state = State::Offered;
                    Some(Step::Message)
                }
                Token::Frame(_) => Some(Step::Control(Control::Refuse)),
            };
            if let Some(step) = step {
                break step;
            }
        };
        Some(match step {
            Step::Control(control) => ServerAction::Control(control),
            Step::Message => ServerAction::Message(self.reader.last_frame()),
            Step::Repeat => ServerAction::Repeat(&self.answer),
        })
    }

    /// Takes the offered message up. Send the byte that comes back, if any.
    pub fn accept(&mut self) -> Option<Control> {
        if self.state != State::Offered {
            return None;
        }
        self.state = State::Working;
        self.answer.clear();
        self.repeats = 0;
        Some(Control::Acknowledge)
    }

    /// Drops the offered message. Send the byte that comes back, if any.
    pub fn refuse(&mut self) -> Option<Control> {
        if self.state != State::Offered {
            return None;
        }
        self.state = State::Ready;
        Some(Control::Refuse)
    }

    /// The work is done: the frame to send. It is kept for a client that asks for it again.
    pub fn answer(&mut self, body: &[u8]) -> Result<&[u8], FrameError> {
        let mut frame = Vec::new();
        write_frame(body, self.checksum, MESSAGE_BYTES, &mut frame)?;
        self.answer = frame;
        self.state = State::Ready;
        Ok(&self.answer)
    }

    /// The line fell silent inside a frame. `true`: there was one, and NAK is due.
    pub fn abandon(&mut self) -> bool {
        self.reader.abandon()
    }

    /// A frame has begun and not ended: after a second of silence call [`Self::abandon`].
    pub fn is_inside_frame(&self) -> bool {
        self.reader.is_inside_frame()
    }

    /// What the reader met.
    pub fn statistics(&self) -> LineStatistics {
        self.reader.statistics()
    }
}
