//! Frames in a stream of bytes.
//!
//! ```text
//!            STX                 ETX (no trailer): frame
//!   Between ─────► Body ─────────────────────────────────► Between
//!      ▲            │ ▲ STX: cut, start anew                   ▲
//!      │   too long │ └──────                                  │
//!      │            ▼         ETX                one byte, whatever it is
//!      └─────── Skipping   ─────────► Trailer ─────────────────┘
//! ```
//!
//! Inside a frame only STX and ETX mean something: an ENQ, ACK or NAK in there is a damaged data byte, and believing it could
//! acknowledge what nobody received. A frame whose end got lost therefore stays open until another STX, or until its owner
//! calls [`FrameReader::abandon`] because the line fell silent.

use super::control::{Checksum, Control, ETX, STX, UNCHECKED};
use super::statistics::{LineStatistics, count};

/// A body that cannot be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes that mark a frame cannot stand inside one.
    #[error("byte {byte:02X} at position {position} cannot be sent inside a frame")]
    ControlByte {
        /// STX or ETX.
        byte: u8,
        /// From 0.
        position: usize,
    },
    /// Longer than the peer takes.
    #[error("a body of {bytes} bytes does not fit into a frame (at most {limit})")]
    TooLarge {
        /// Size of the body.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
}

/// Appends `STX body ETX trailer` to `out`. Nothing is appended on an error.
pub fn write_frame(body: &[u8], checksum: Checksum, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
    if body.len() > limit {
        return Err(FrameError::TooLarge { bytes: body.len(), limit });
    }
    if let Some((position, &byte)) = body.iter().enumerate().find(|(_, byte)| matches!(**byte, STX | ETX)) {
        return Err(FrameError::ControlByte { byte, position });
    }
    out.reserve(body.len().saturating_add(3));
    out.push(STX);
    out.extend_from_slice(body);
    out.push(ETX);
    out.extend(checksum.trailer(body));
    Ok(())
}

/// Why bytes that began as a frame are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// The trailer does not fit the body.
    Checksum,
    /// No ETX within the limit; everything up to the next ETX or STX is skipped.
    TooLong,
}

/// What a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'reader> {
    /// The body of a good frame.
    Frame(&'reader [u8]),
    /// A control byte between frames.
    Control(Control),
    /// A frame that cannot be used.
    Fault(FrameFault),
    /// A byte between frames that means nothing.
    Noise(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Body,
    /// `overlong`: the body is gone, only the place of the trailer is still known.
    Trailer {
        overlong: bool,
    },
    Skipping,
}

/// What to make of the buffer, decided before it is lent out.
enum Found {
    Frame,
    Control(Control),
    Fault(FrameFault),
    Noise(u8),
}

/// Finds frames and control bytes in a stream that arrives in any pieces. Holds at most one body of `limit` bytes.
#[derive(Debug)]
pub struct FrameReader {
    checksum: Checksum,
    limit: usize,
    state: State,
    pub(super) body: Vec<u8>,
    statistics: LineStatistics,
    /// Real checksums still to be seen before the mark in the place of one is believed no more; `None`: it always is.
    unproven: Option<u8>,
}

/// So many real checksums prove that the other end writes them.
const PROOF: u8 = 3;

impl FrameReader {
    /// Between frames. `limit`: the longest body taken.
    pub fn new(checksum: Checksum, limit: usize) -> Self {
        let statistics = LineStatistics::default();
        Self { checksum, limit, state: State::Between, body: Vec::new(), statistics, unproven: None }
    }

    /// Where the other end may write a mark instead of a checksum: once it has written some checksums it is held to them. Else
    /// every frame whose checksum happens to be the mark would pass whatever noise has made of it.
    pub fn hold_to_checksums(&mut self) {
        self.unproven = Some(PROOF);
    }

    /// The trailer lets the frame in the buffer pass.
    fn passes(&mut self, trailer: u8) -> bool {
        let is_right = Checksum::Checked.accepts(&self.body, trailer);
        if let Some(unproven) = &mut self.unproven
            && is_right
            && trailer != UNCHECKED
        {
            *unproven = unproven.saturating_sub(1);
        }
        is_right || (self.unproven != Some(0) && self.checksum.accepts(&self.body, trailer))
    }

    /// Takes bytes from the front of `input` up to the next thing found. `None`: `input` is used up; until then call again.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<Token<'_>> {
        let before = input.len();
        let found = self.advance(input);
        count(&mut self.statistics.bytes, before.saturating_sub(input.len()));
        Some(match found? {
            Found::Frame => Token::Frame(&self.body),
            Found::Control(control) => Token::Control(control),
            Found::Fault(fault) => Token::Fault(fault),
            Found::Noise(byte) => Token::Noise(byte),
        })
    }

    fn advance(&mut self, input: &mut &[u8]) -> Option<Found> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.state {
                State::Between => {
                    *input = rest;
                    if byte == STX {
                        self.open();
                    } else if let Some(control) = Control::from_byte(byte) {
                        count(&mut self.statistics.controls, 1);
                        return Some(Found::Control(control));
                    } else {
                        count(&mut self.statistics.discarded, 1);
                        return Some(Found::Noise(byte));
                    }
                }
                State::Body => {
                    if let Some(found) = self.fill(input) {
                        return Some(found);
                    }
                }
                State::Trailer { overlong } => {
                    *input = rest;
                    self.state = State::Between;
                    if overlong {
                        count(&mut self.statistics.discarded, 1);
                    } else if self.passes(byte) {
                        count(&mut self.statistics.frames, 1);
                        return Some(Found::Frame);
                    } else {
                        count(&mut self.statistics.bad_checksums, 1);
                        // STX, ETX and the trailer.
                        count(&mut self.statistics.discarded, self.body.len().saturating_add(3));
                        return Some(Found::Fault(FrameFault::Checksum));
                    }
                }
                State::Skipping => {
                    *input = rest;
                    match byte {
                        STX => self.open(),
                        ETX => {
                            count(&mut self.statistics.discarded, 1);
                            self.state = match self.checksum {
                                Checksum::Absent => State::Between,
                                _ => State::Trailer { overlong: true },
                            };
                        }
                        _ => count(&mut self.statistics.discarded, 1),
                    }
                }
            }
        }
        None
    }

    fn open(&mut self) {
        self.body.clear();
        self.state = State::Body;
    }

    /// Moves data into the body, then acts on the STX, the ETX or the limit that ended it.
    fn fill(&mut self, input: &mut &[u8]) -> Option<Found> {
        let room = self.limit.saturating_sub(self.body.len());
        let end = input.iter().take(room).position(|byte| matches!(*byte, STX | ETX));
        let (data, rest) = input.split_at_checked(end.unwrap_or(room)).unwrap_or((*input, &[]));
        self.body.extend_from_slice(data);
        *input = rest;
        let (&byte, rest) = rest.split_first()?;
        match byte {
            STX => {
                *input = rest;
                count(&mut self.statistics.cut, 1);
                count(&mut self.statistics.discarded, self.body.len().saturating_add(1));
                self.open();
                None
            }
            ETX => {
                *input = rest;
                if self.checksum == Checksum::Absent {
                    self.state = State::Between;
                    count(&mut self.statistics.frames, 1);
                    return Some(Found::Frame);
                }
                self.state = State::Trailer { overlong: false };
                None
            }
            _ => {
                count(&mut self.statistics.oversized, 1);
                count(&mut self.statistics.discarded, self.body.len().saturating_add(1));
                self.state = State::Skipping;
                Some(Found::Fault(FrameFault::TooLong))
            }
        }
    }

    /// A frame has begun and not ended: the owner waits for its rest, but not for ever.
    pub fn is_inside_frame(&self) -> bool {
        self.state != State::Between
    }

    /// Forgets a begun frame because its rest did not come in time. `true` if there was one.
    pub fn abandon(&mut self) -> bool {
        let lost = match self.state {
            State::Between => return false,
            State::Body => self.body.len().saturating_add(1),
            State::Trailer { overlong: false } => self.body.len().saturating_add(2),
            State::Trailer { overlong: true } | State::Skipping => 0,
        };
        count(&mut self.statistics.discarded, lost);
        count(&mut self.statistics.cut, usize::from(lost > 0));
        self.state = State::Between;
        self.body.clear();
        true
    }

    /// The body of the frame that [`read`](Self::read) found last, until it is called again.
    pub fn last_frame(&self) -> &[u8] {
        &self.body
    }

    /// What was met so far.
    pub fn statistics(&self) -> LineStatistics {
        self.statistics
    }
}
