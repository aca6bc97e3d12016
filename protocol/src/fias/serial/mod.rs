//! FIAS on a serial line (the specification calls it FIPS): every record is acknowledged, both ends may send at once.
//!
//! ```text
//!  sending:   Idle ── record ──► Sent ── ACK ──────────────────────────────► Idle: acknowledged
//!                                 │ NAK: the record again, four times in all ─► Idle: refused
//!                                 ▼ silence, or another byte
//!                               Asking ── ENQ, three times ── ACK ─────────► Idle: acknowledged
//!                                          │ NAK, silence: the record again, or unknown
//!
//!  receiving: good record ► ACK    damaged ► NAK    ENQ ► the last of these again    any other byte ► the last one is NAK
//! ```
//!
//! **What may be sent twice.** The specification repeats a record after silence, and after a NAK that answers an ENQ. Neither proves
//! that the peer does not have it: its ACK may be what got lost, and any stray byte turns its next answer into NAK. A key request
//! is therefore sent with [`Repeat::OnlyIfRefused`]: again only if a NAK came straight after it and nothing spoke against that NAK
//! for a moment. Everything else is sent with [`Repeat::AsSpecified`].
//!
//! *Acknowledged* means received, not carried out; whether a key was made only its answer tells.

mod sender;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use sender::{Delivery, Repeat, SendError, SerialStatistics};

use super::limits::READ_BYTES;
use crate::line::{Checksum, Control, FrameReader, LineStatistics, Token};
use sender::{Sender, Step};

/// How a serial line is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialSettings {
    /// [`Checksum::Checked`], or [`Checksum::Absent`] where both ends have it switched off.
    pub checksum: Checksum,
    /// For ACK or NAK, behind the time that the record itself takes.
    pub reply_timeout: Duration,
    /// ENQs in a row.
    pub enquiries: u32,
    /// Times a record is sent, the first included.
    pub sends: u32,
    /// How long nothing may speak against a NAK before it is believed for a key request.
    pub settle: Duration,
    /// Bytes of one frame never lie further apart.
    pub silence: Duration,
    /// Bits per second; ten make a byte.
    pub baud: u32,
}

impl Default for SerialSettings {
    fn default() -> Self {
        Self {
            checksum: Checksum::Checked,
            reply_timeout: Duration::from_secs(3),
            enquiries: 3,
            sends: 4,
            settle: Duration::from_millis(300),
            silence: Duration::from_secs(1),
            baud: 9_600,
        }
    }
}

impl SerialSettings {
    /// Twice what the bytes take on the line.
    fn transmission(&self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(20_000);
        Duration::from_millis(bits.checked_div(u64::from(self.baud)).unwrap_or(0))
    }
}

/// What the owner has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialAction<'line> {
    /// Send this one byte, never inside a frame.
    Control(Control),
    /// Send this frame, whole.
    Frame(&'line [u8]),
    /// A record came in, and its ACK was asked for before.
    Record {
        /// The body of its frame.
        body: &'line [u8],
        /// The record before had the same bytes. A peer that did not read our ACK sends again what we already have; so a key
        /// request that is repeated before it was answered is one request, and must not make a second card.
        is_repeated: bool,
    },
    /// What became of the record that was to be sent.
    Done(Delivery),
}

/// One end of a line. Times are monotonic, from any start.
#[derive(Debug)]
pub struct SerialLine {
    settings: SerialSettings,
    reader: FrameReader,
    sender: Sender,
    /// Repeated for an ENQ. NAK before the first record.
    last_reply: Control,
    /// The reader's last frame is to be handed over.
    has_record: bool,
    last_record: Vec<u8>,
    is_repeated: bool,
    frame_deadline: Option<Duration>,
}

impl SerialLine {
    /// A fresh line.
    pub fn new(settings: SerialSettings) -> Self {
        Self {
            reader: FrameReader::new(settings.checksum, READ_BYTES),
            sender: Sender::new(settings),
            settings,
            last_reply: Control::Refuse,
            has_record: false,
            last_record: Vec::new(),
            is_repeated: false,
            frame_deadline: None,
        }
    }

    /// Sends a record when the one before is done.
    pub fn send(&mut self, record: &[u8], repeat: Repeat, now: Duration) -> Result<SerialAction<'_>, SendError> {
        let step = self.sender.send(record, repeat, now)?;
        Ok(self.action(step))
    }

    /// Takes bytes from the front of `input` up to the next thing to do. `None`: `input` is used up; until then call again.
    pub fn read(&mut self, input: &mut &[u8], now: Duration) -> Option<SerialAction<'_>> {
        if std::mem::take(&mut self.has_record) {
            return Some(SerialAction::Record { body: self.reader.last_frame(), is_repeated: self.is_repeated });
        }
        let step = loop {
            let Some(token) = self.reader.read(input) else { break None };
            let step = match token {
                Token::Frame(body) => {
                    self.has_record = true;
                    self.is_repeated = body == self.last_record;
                    body.clone_into(&mut self.last_record);
                    Some(self.reply(Control::Acknowledge))
                }
                Token::Fault(_) => Some(self.reply(Control::Refuse)),
                Token::Control(Control::Enquiry) => Some(Step::Control(self.last_reply)),
                Token::Control(reply) => {
                    if !self.sender.is_busy() {
                        self.last_reply = Control::Refuse;
                    }
                    self.sender.replied(reply, now)
                }
                Token::Noise(_) => {
                    self.last_reply = Control::Refuse;
                    self.sender.disturbed(now);
                    None
                }
            };
            if step.is_some() {
                break step;
            }
        };
        self.frame_deadline = self.reader.is_inside_frame().then(|| now.saturating_add(self.settings.silence));
        step.map(|step| self.action(step))
    }

    /// Acts on deadlines that have passed. Call again until `None`.
    pub fn tick(&mut self, now: Duration) -> Option<SerialAction<'_>> {
        if self.frame_deadline.is_some_and(|deadline| deadline <= now) {
            self.frame_deadline = None;
            if self.reader.abandon() {
                self.last_reply = Control::Refuse;
                self.sender.disturbed(now);
            }
        }
        let step = self.sender.tick(now)?;
        Some(self.action(step))
    }

    /// When [`Self::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        [self.sender.deadline(), self.frame_deadline].into_iter().flatten().min()
    }

    /// The line is gone. `unsent`: how many bytes of the last frame never reached the operating system; 0 if unsure.
    pub fn link_lost(&mut self, unsent: usize) -> Option<Delivery> {
        self.reader.abandon();
        self.frame_deadline = None;
        self.has_record = false;
        self.last_reply = Control::Refuse;
        self.sender.link_lost(unsent)
    }

    /// A record is on its way; the next one has to wait.
    pub fn is_busy(&self) -> bool {
        self.sender.is_busy()
    }

    /// What the sender met.
    pub fn statistics(&self) -> SerialStatistics {
        self.sender.statistics()
    }

    /// What the reader met.
    pub fn line_statistics(&self) -> LineStatistics {
        self.reader.statistics()
    }

    fn reply(&mut self, reply: Control) -> Step {
        self.last_reply = reply;
        Step::Control(reply)
    }

    fn action(&self, step: Step) -> SerialAction<'_> {
        match step {
            Step::Control(control) => SerialAction::Control(control),
            Step::Frame => SerialAction::Frame(self.sender.frame()),
            Step::Done(delivery) => SerialAction::Done(delivery),
        }
    }
}
