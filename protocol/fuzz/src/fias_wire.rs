//! One end of a FIAS wire against any bytes, and two ends with a line between them that damages what it carries.

use std::collections::VecDeque;
use std::time::Duration;

use lockbridge_protocol::fias::limits::READ_BYTES;
use lockbridge_protocol::fias::serial::{Delivery, Repeat, SerialSettings};
use lockbridge_protocol::fias::wire::{RecordTicket, Wire, WireEvent};
use lockbridge_protocol::line::Checksum;

use super::steps::{Step, Steps};

/// More waits than every record of a story has: four copies, each asked about three times.
const WAITS: usize = 80;
/// Records that a story sends.
const RECORDS: usize = 2;

/// The first byte picks the framing, what may be repeated, and which of both stories is told.
pub(crate) fn wire(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let repeat = if kind & 4 == 0 { Repeat::OnlyIfRefused } else { Repeat::AsSpecified };
    if kind & 8 == 0 { hostile(kind & 3, repeat, input) } else { noisy(repeat, input) }
}

fn end(kind: u8) -> Wire {
    match kind {
        0 => Wire::plain(),
        1 => Wire::serial(SerialSettings { checksum: Checksum::Absent, ..SerialSettings::default() }),
        _ => Wire::serial(SerialSettings::default()),
    }
}

/// What a wire told so far.
#[derive(Default)]
struct Told {
    frames: usize,
    ended: Vec<RecordTicket>,
}

impl Told {
    /// Takes all there is, which is not much.
    fn take(&mut self, wire: &mut Wire, most: usize) {
        let (mut outputs, mut events) = (0, 0);
        while let Some(bytes) = wire.output() {
            outputs += 1;
            self.frames += usize::from(bytes.len() > 1);
        }
        while let Some(event) = wire.event() {
            events += 1;
            match event {
                WireEvent::Record { body, .. } => assert!(body.len() <= READ_BYTES),
                WireEvent::Delivery(ticket, _) => self.ended.push(ticket),
            }
        }
        assert!(outputs <= most + RECORDS && events <= most, "{outputs} outputs, {events} events");
    }
}

/// Any bytes at any time: nothing grows, one delivery for each record that waits for one, and no more copies than allowed.
fn hostile(kind: u8, repeat: Repeat, input: &[u8]) {
    let mut wire = end(kind);
    let mut now = Duration::ZERO;
    let mut tickets: Vec<RecordTicket> = Vec::new();
    let mut told = Told::default();
    let mut waits = 0;
    // Behind the story all deadlines pass.
    let mut steps = Steps(input);
    while let Some(step) = steps.next().or_else(|| {
        waits += 1;
        let pause = wire.deadline().map(|deadline| deadline.saturating_sub(now));
        let pause = if tickets.len() < RECORDS { Some(pause.unwrap_or_default()) } else { pause };
        pause.map(|pause| Step { bytes: &[], pause })
    }) {
        assert!(waits <= WAITS, "it ends");
        if tickets.len() < RECORDS {
            tickets.push(wire.send(b"KR|KC1|", repeat, now).expect("there is room"));
        }
        if !step.bytes.is_empty() {
            wire.read(step.bytes, now);
        }
        // At most an answer for each byte, and a record or two that became free.
        told.take(&mut wire, step.bytes.len() + RECORDS);
        now += step.pause;
        wire.tick(now);
        told.take(&mut wire, RECORDS);
    }
    assert!(told.frames <= 4 * RECORDS);
    let expected = if wire.acknowledges() { tickets } else { Vec::new() };
    assert_eq!(told.ended, expected, "each once, in order");
}

/// What the line does to a byte.
fn carry(byte: u8, hit: u8, line: &mut VecDeque<u8>) {
    match hit {
        0 => {}
        1 => line.extend([byte, byte]),
        hit @ 2..=9 => line.push_back(byte ^ 1_u8.rotate_left(u32::from(hit) - 2)),
        _ => line.push_back(byte),
    }
}

/// A key request over a line that loses, turns and doubles bytes arrives at most once, and never though it was told as refused;
/// one that is told as acknowledged arrived, unless the checksum could not see the damage.
fn noisy(repeat: Repeat, input: &[u8]) {
    let (mut sender, mut receiver) = (end(2), end(2));
    let mut hits = input.iter().copied();
    let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
    let mut now = Duration::ZERO;
    for index in 0..RECORDS {
        let record = format!("KR|KC{index}|RN101|");
        let ticket = sender.send(record.as_bytes(), repeat, now).expect("idle");
        let (mut arrived, mut others, mut delivery) = (0, 0, None);
        let mut rounds = 0;
        loop {
            while let Some(bytes) = sender.output() {
                for byte in bytes {
                    carry(*byte, hits.next().unwrap_or(255), &mut there);
                }
            }
            while let Some(bytes) = receiver.output() {
                for byte in bytes {
                    carry(*byte, hits.next().unwrap_or(255), &mut back);
                }
            }
            if there.is_empty() && back.is_empty() {
                if delivery.is_some() {
                    break;
                }
                let next = [sender.deadline(), receiver.deadline()].into_iter().flatten().min();
                now = now.max(next.expect("somebody waits"));
            } else {
                now += Duration::from_millis(1);
            }
            rounds += 1;
            assert!(rounds < 10_000, "it ends");
            for (wire, line) in [(&mut receiver, &mut there), (&mut sender, &mut back)] {
                if let Some(byte) = line.pop_front() {
                    wire.read(&[byte], now);
                }
                if wire.deadline().is_some_and(|deadline| deadline <= now) {
                    wire.tick(now);
                }
            }
            while let Some(event) = receiver.event() {
                if let WireEvent::Record { body, .. } = event {
                    if body == record.as_bytes() { arrived += 1 } else { others += 1 }
                }
            }
            while let Some(event) = sender.event() {
                if let WireEvent::Delivery(told, what) = event {
                    assert!(told == ticket && delivery.replace(what).is_none(), "one delivery");
                }
            }
        }
        if repeat == Repeat::OnlyIfRefused {
            assert!(arrived <= 1, "a request for a key arrived {arrived} times");
            assert!(delivery != Some(Delivery::Refused) || arrived == 0, "told as refused, and it arrived");
        }
        assert!(arrived <= 4 && others <= 40);
    }
}
