//! One end of a wire that carries records, whichever way they are framed: over TCP without acknowledgements, or by the serial
//! protocol, which some TCP converters carry on as it is.
//!
//! Bytes and time go in; bytes to write and events come out. Records that wait for the acknowledgement of the one before are
//! queued here, so that an owner never meets a busy line.
//!
//! What comes in and what goes out wait in buffers that are used again: reading allocates nothing for a record. `pieces`: such
//! a buffer.

mod pieces;

use std::collections::VecDeque;
use std::time::Duration;

use self::pieces::Pieces;
use super::limits::{READ_BYTES, RECORD_BYTES};
use super::serial::{Delivery, Repeat, SerialAction, SerialLine, SerialSettings, SerialStatistics};
use crate::line::{Checksum, FrameError, FrameReader, LineStatistics, Token, write_frame};

/// Records that wait to be sent; a peer that acknowledges nothing makes no more of them wait.
const WAITING_RECORDS: usize = 64;

/// Names a record to its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordTicket(u64);

/// Why a record was not taken. Certainly nothing of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Too many wait.
    #[error("{WAITING_RECORDS} records wait for acknowledgements of the other side; nothing was sent")]
    Full,
    /// Does not fit into a frame.
    #[error("the record cannot be sent: {0}")]
    Frame(#[from] FrameError),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireEvent<'wire> {
    /// A record came in.
    Record {
        /// The body of its frame.
        body: &'wire [u8],
        /// Perhaps the one before once more, because our acknowledgement got lost.
        is_repeated: bool,
    },
    /// What became of a record of ours, as far as acknowledgements tell. Never where there are none.
    Delivery(RecordTicket, Delivery),
}

/// What happened, in order; the body of a record waits apart.
#[derive(Debug, Clone, Copy)]
enum Event {
    Record { is_repeated: bool },
    Delivery(RecordTicket, Delivery),
}

#[derive(Debug)]
enum Framing {
    /// Nothing is acknowledged.
    Plain(FrameReader),
    Serial(Box<SerialLine>),
}

/// One end.
#[derive(Debug)]
pub struct Wire {
    framing: Framing,
    /// Behind the one that waits for its acknowledgement.
    waiting: VecDeque<(RecordTicket, Vec<u8>, Repeat)>,
    /// The one that waits for its acknowledgement.
    sent: Option<RecordTicket>,
    queues: Queues,
    next: u64,
}

/// What waits for the owner.
#[derive(Debug, Default)]
struct Queues {
    output: Pieces,
    events: VecDeque<Event>,
    bodies: Pieces,
}

impl Queues {
    fn came(&mut self, body: &[u8], is_repeated: bool) {
        self.bodies.push(body);
        self.events.push_back(Event::Record { is_repeated });
    }

    fn take(&mut self, action: SerialAction<'_>, sent: &mut Option<RecordTicket>) {
        match action {
            SerialAction::Control(control) => self.output.push(&[control.byte()]),
            SerialAction::Frame(frame) => self.output.push(frame),
            SerialAction::Record { body, is_repeated } => self.came(body, is_repeated),
            SerialAction::Done(delivery) => {
                if let Some(ticket) = sent.take() {
                    self.events.push_back(Event::Delivery(ticket, delivery));
                }
            }
        }
    }
}

impl Wire {
    /// Frames without checksum and acknowledgements, as over TCP.
    pub fn plain() -> Self {
        Self::new(Framing::Plain(FrameReader::new(Checksum::Absent, READ_BYTES)))
    }

    /// The serial protocol.
    pub fn serial(settings: SerialSettings) -> Self {
        Self::new(Framing::Serial(Box::new(SerialLine::new(settings))))
    }

    fn new(framing: Framing) -> Self {
        Self { framing, waiting: VecDeque::new(), sent: None, queues: Queues::default(), next: 0 }
    }

    /// Takes a record that is to be sent.
    pub fn send(&mut self, record: &[u8], repeat: Repeat, now: Duration) -> Result<RecordTicket, WireError> {
        let mut frame = Vec::new();
        // Refused here, not when its turn comes.
        write_frame(record, Checksum::Absent, RECORD_BYTES, &mut frame)?;
        let ticket = RecordTicket(self.next);
        match &mut self.framing {
            Framing::Plain(_) if self.queues.output.len() >= WAITING_RECORDS => return Err(WireError::Full),
            Framing::Plain(_) => self.queues.output.push(&frame),
            Framing::Serial(_) if self.waiting.len() >= WAITING_RECORDS => return Err(WireError::Full),
            Framing::Serial(_) => self.waiting.push_back((ticket, record.to_vec(), repeat)),
        }
        self.next = self.next.wrapping_add(1);
        self.advance(now);
        Ok(ticket)
    }

    /// Takes bytes that came in: all of them.
    pub fn read(&mut self, mut input: &[u8], now: Duration) {
        match &mut self.framing {
            Framing::Plain(reader) => {
                while let Some(token) = reader.read(&mut input) {
                    // Whatever stands outside of frames means nothing where nothing is acknowledged.
                    if let Token::Frame(body) = token {
                        self.queues.came(body, false);
                    }
                }
            }
            Framing::Serial(line) => {
                while let Some(action) = line.read(&mut input, now) {
                    self.queues.take(action, &mut self.sent);
                }
            }
        }
        self.advance(now);
    }

    /// Acts on deadlines that have passed.
    pub fn tick(&mut self, now: Duration) {
        if let Framing::Serial(line) = &mut self.framing {
            while let Some(action) = line.tick(now) {
                self.queues.take(action, &mut self.sent);
            }
        }
        self.advance(now);
    }

    /// When [`Self::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        match &self.framing {
            Framing::Plain(_) => None,
            Framing::Serial(line) => line.deadline(),
        }
    }

    /// The next bytes to write, whole.
    pub fn output(&mut self) -> Option<&[u8]> {
        self.queues.output.pop()
    }

    /// The next event.
    pub fn event(&mut self) -> Option<WireEvent<'_>> {
        Some(match self.queues.events.pop_front()? {
            Event::Record { is_repeated } => WireEvent::Record { body: self.queues.bodies.pop()?, is_repeated },
            Event::Delivery(ticket, delivery) => WireEvent::Delivery(ticket, delivery),
        })
    }

    /// Whether [`Self::event`] has one.
    pub fn has_event(&self) -> bool {
        !self.queues.events.is_empty()
    }

    /// The line is gone. `unsent`: bytes of the last output that certainly went nowhere; 0 if unsure. Records that were still
    /// waiting were certainly not sent, and nothing is told of them but that: [`Delivery::Refused`].
    pub fn link_lost(&mut self, unsent: usize) {
        if let Framing::Serial(line) = &mut self.framing {
            let lost = line.link_lost(unsent);
            if let (Some(delivery), Some(ticket)) = (lost, self.sent.take()) {
                self.queues.events.push_back(Event::Delivery(ticket, delivery));
            }
            let waiting = self.waiting.drain(..);
            self.queues.events.extend(waiting.map(|(ticket, ..)| Event::Delivery(ticket, Delivery::Refused)));
        }
        self.queues.output.clear();
    }

    /// Deliveries are told: the other side acknowledges.
    pub fn acknowledges(&self) -> bool {
        matches!(self.framing, Framing::Serial(_))
    }

    /// What the reader met.
    pub fn line_statistics(&self) -> LineStatistics {
        match &self.framing {
            Framing::Plain(reader) => reader.statistics(),
            Framing::Serial(line) => line.line_statistics(),
        }
    }

    /// What the sender met.
    pub fn serial_statistics(&self) -> SerialStatistics {
        match &self.framing {
            Framing::Plain(_) => SerialStatistics::default(),
            Framing::Serial(line) => line.statistics(),
        }
    }

    /// Puts the next waiting record on the line if it is free.
    fn advance(&mut self, now: Duration) {
        let Framing::Serial(line) = &mut self.framing else { return };
        while !line.is_busy()
            && let Some((ticket, record, repeat)) = self.waiting.pop_front()
        {
            match line.send(&record, repeat, now) {
                Ok(action) => {
                    self.sent = Some(ticket);
                    self.queues.take(action, &mut self.sent);
                }
                // Checked when it was taken; nothing was sent.
                Err(_) => self.queues.events.push_back(Event::Delivery(ticket, Delivery::Refused)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(wire: &mut Wire) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some(event) = wire.event() {
            if let WireEvent::Record { body, .. } = event {
                found.push(body.to_vec());
            }
        }
        found
    }

    /// Carries bytes both ways until nothing moves.
    fn exchange(left: &mut Wire, right: &mut Wire, now: Duration) {
        loop {
            let mut moved = false;
            while let Some(bytes) = left.output() {
                right.read(bytes, now);
                moved = true;
            }
            while let Some(bytes) = right.output() {
                left.read(bytes, now);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    proptest! {
        #[test]
        fn records_arrive_whole_in_order_and_once(
            serial: bool,
            bodies in prop::collection::vec("[A-Z]{2}\\|[ -z]{0,40}", 1..20),
        ) {
            let make = || if serial { Wire::serial(SerialSettings::default()) } else { Wire::plain() };
            let (mut left, mut right) = (make(), make());
            for body in &bodies {
                left.send(body.as_bytes(), Repeat::OnlyIfRefused, Duration::ZERO).unwrap();
            }
            exchange(&mut left, &mut right, Duration::ZERO);
            let expected: Vec<Vec<u8>> = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();
            prop_assert_eq!(records(&mut right), expected);
            let mut acknowledged = 0;
            while let Some(event) = left.event() {
                prop_assert!(matches!(event, WireEvent::Delivery(_, Delivery::Acknowledged)), "{event:?}");
                acknowledged += 1;
            }
            prop_assert_eq!(acknowledged, if serial { bodies.len() } else { 0 });
        }

        #[test]
        fn any_bytes_are_survived_in_any_pieces(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40)) {
            for mut wire in [Wire::plain(), Wire::serial(SerialSettings::default())] {
                for piece in &pieces {
                    wire.read(piece, Duration::ZERO);
                    while wire.output().is_some() || wire.event().is_some() {}
                }
                wire.tick(Duration::from_secs(5));
            }
        }
    }

    #[test]
    fn what_waits_when_the_line_goes_was_certainly_not_sent_and_the_one_on_it_is_unknown() {
        let mut wire = Wire::serial(SerialSettings::default());
        let first = wire.send(b"KR|", Repeat::OnlyIfRefused, Duration::ZERO).unwrap();
        let second = wire.send(b"KD|", Repeat::OnlyIfRefused, Duration::ZERO).unwrap();
        assert!(wire.output().is_some());
        wire.link_lost(0);
        assert_eq!(wire.event(), Some(WireEvent::Delivery(first, Delivery::Unknown)));
        assert_eq!(wire.event(), Some(WireEvent::Delivery(second, Delivery::Refused)));
        assert_eq!(wire.event(), None);
        assert_eq!(wire.output(), None);
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_makes_the_queue_full_and_not_longer() {
        for mut wire in [Wire::plain(), Wire::serial(SerialSettings::default())] {
            let taken =
                (0..1000).take_while(|_| wire.send(b"GI|", Repeat::AsSpecified, Duration::ZERO).is_ok()).count();
            assert!((WAITING_RECORDS..=WAITING_RECORDS + 1).contains(&taken), "{taken}");
            assert_eq!(wire.send(b"GI|", Repeat::AsSpecified, Duration::ZERO), Err(WireError::Full));
        }
        let bad = Wire::plain().send(b"K\x02", Repeat::AsSpecified, Duration::ZERO);
        assert!(matches!(bad, Err(WireError::Frame(_))));
    }
}
