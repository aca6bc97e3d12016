use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::line::{ACK, ENQ, NAK, STX, write_frame};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    Control(Control),
    Frame,
    Record(Vec<u8>),
    Done(Delivery),
}

fn did(action: SerialAction<'_>) -> Did {
    match action {
        SerialAction::Control(control) => Did::Control(control),
        SerialAction::Frame(_) => Did::Frame,
        SerialAction::Record { body, .. } => Did::Record(body.to_vec()),
        SerialAction::Done(delivery) => Did::Done(delivery),
    }
}

struct End {
    line: SerialLine,
    now: Duration,
}

impl End {
    fn new() -> Self {
        Self { line: SerialLine::new(SerialSettings::default()), now: Duration::ZERO }
    }

    /// With this record on its way.
    fn sending(repeat: Repeat) -> Self {
        let mut end = Self::new();
        let action = end.line.send(b"KR|KC1|", repeat, end.now).unwrap();
        assert_eq!(action, SerialAction::Frame(&framed(b"KR|KC1|")[..]));
        end
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Vec<Did> {
        let mut done = Vec::new();
        while let Some(action) = self.line.read(&mut bytes, self.now) {
            done.push(did(action));
        }
        done
    }

    fn wait(&mut self) -> Vec<Did> {
        self.now = self.line.deadline().expect("something is waited for");
        let mut done = Vec::new();
        while let Some(action) = self.line.tick(self.now) {
            done.push(did(action));
        }
        done
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(body, Checksum::Checked, READ_BYTES, &mut out).unwrap();
    out
}

const ACKNOWLEDGED: Did = Did::Done(Delivery::Acknowledged);
const REFUSED: Did = Did::Done(Delivery::Refused);
const UNKNOWN: Did = Did::Done(Delivery::Unknown);
const ENQUIRY: Did = Did::Control(Control::Enquiry);

#[test]
fn a_record_is_acknowledged_and_handed_over() {
    let mut end = End::new();
    let seen = end.hear(&[&framed(b"LS|")[..], &framed(b"LA|")].concat());
    let record = |body: &[u8]| Did::Record(body.to_vec());
    let accepted = Did::Control(Control::Acknowledge);
    assert_eq!(seen, [accepted.clone(), record(b"LS|"), accepted, record(b"LA|")]);
}

#[test]
fn a_peer_that_did_not_read_our_ack_is_found_out() {
    let mut end = End::new();
    let mut repeated = Vec::new();
    let bytes = [b"KR|KC1|", b"KR|KC1|", b"KR|KC2|", b"KR|KC1|"].map(|body| framed(body)).concat();
    let mut rest = &bytes[..];
    while let Some(action) = end.line.read(&mut rest, end.now) {
        if let SerialAction::Record { is_repeated, .. } = action {
            repeated.push(is_repeated);
        }
    }
    assert_eq!(repeated, [false, true, false, false]);
}

#[test]
fn an_enquiry_repeats_the_last_reply() {
    let mut end = End::new();
    let refused = [Did::Control(Control::Refuse)];
    assert_eq!(end.hear(&[ENQ]), refused, "before the first record");
    end.hear(&framed(b"LS|"));
    assert_eq!(end.hear(&[ENQ, ENQ]), [Did::Control(Control::Acknowledge), Did::Control(Control::Acknowledge)]);
    assert_eq!(end.hear(b"\x02LS|\x03\x00"), refused);
    assert_eq!(end.hear(&[ENQ]), refused);
    for stray in [&b"x"[..], &[ACK], &[NAK]] {
        end.hear(&framed(b"LS|"));
        assert_eq!(end.hear(stray), []);
        assert_eq!(end.hear(&[ENQ]), refused, "{stray:02X?}");
    }
    end.hear(&framed(b"LS|"));
    assert_eq!(end.hear(b"\x02half"), []);
    assert_eq!(end.wait(), []);
    assert_eq!(end.hear(&[ENQ]), refused, "a half record is not the one acknowledged before");
}

#[test]
fn without_checksums_everything_is_acknowledged() {
    let settings = SerialSettings { checksum: Checksum::Absent, ..SerialSettings::default() };
    let mut end = End { line: SerialLine::new(settings), now: Duration::ZERO };
    assert_eq!(end.hear(b"\x02LS|\x03"), [Did::Control(Control::Acknowledge), Did::Record(b"LS|".to_vec())]);
}

#[test]
fn refusals_end_after_four_copies() {
    for repeat in [Repeat::AsSpecified, Repeat::OnlyIfRefused] {
        let mut end = End::sending(repeat);
        for copy in 1..=4 {
            let mut seen = end.hear(&[NAK]);
            if repeat == Repeat::OnlyIfRefused {
                assert_eq!(seen, [], "it settles first");
                seen = end.wait();
            }
            assert_eq!(seen, [if copy < 4 { Did::Frame } else { REFUSED }], "{copy}");
        }
        assert_eq!((end.line.statistics().repeats, end.line.is_busy()), (3, false));
    }
}

#[test]
fn a_disputed_refusal_of_a_key_request_is_unknown() {
    for dispute in [&[ACK][..], &[NAK], b"x", &[STX]] {
        let mut end = End::sending(Repeat::OnlyIfRefused);
        assert_eq!(end.hear(&[NAK]), []);
        assert_eq!(end.hear(dispute), []);
        let mut seen = end.wait();
        if dispute == [STX] {
            // A begun frame proves nothing against the NAK before its silence shows that it was noise; by then the record is out.
            assert_eq!(seen, [Did::Frame]);
            continue;
        }
        assert_eq!(seen.pop(), Some(UNKNOWN), "{dispute:02X?}");
    }
    // The reply itself may be what was damaged.
    let mut end = End::sending(Repeat::OnlyIfRefused);
    assert_eq!(end.hear(&[b'x', NAK]), []);
    assert_eq!(end.wait(), [UNKNOWN]);
}

#[test]
fn silence_is_asked_about_three_times() {
    let mut end = End::sending(Repeat::AsSpecified);
    for copy in 1..=4 {
        for _ in 0..3 {
            assert_eq!(end.wait(), [ENQUIRY]);
        }
        assert_eq!(end.wait(), [if copy < 4 { Did::Frame } else { UNKNOWN }]);
    }
    let mut end = End::sending(Repeat::OnlyIfRefused);
    for _ in 0..3 {
        assert_eq!(end.wait(), [ENQUIRY]);
    }
    assert_eq!(end.wait(), [UNKNOWN], "a key request is not sent again");
    let mut end = End::sending(Repeat::OnlyIfRefused);
    assert_eq!(end.wait(), [ENQUIRY]);
    assert_eq!(end.hear(&[ACK]), [ACKNOWLEDGED]);
}

#[test]
fn a_refusal_after_an_enquiry_proves_nothing() {
    let mut end = End::sending(Repeat::AsSpecified);
    assert_eq!(end.wait(), [ENQUIRY]);
    assert_eq!(end.hear(&[NAK]), [Did::Frame]);
    let mut end = End::sending(Repeat::OnlyIfRefused);
    assert_eq!(end.hear(b"x"), [], "a damaged reply");
    assert_eq!(end.wait(), [ENQUIRY]);
    assert!(end.now < Duration::from_secs(1), "asked early");
    assert_eq!(end.hear(&[NAK]), [UNKNOWN]);
}

#[test]
fn both_ends_send_at_once() {
    let mut end = End::sending(Repeat::OnlyIfRefused);
    assert_eq!(end.line.send(b"LA|", Repeat::AsSpecified, end.now).unwrap_err(), SendError::Busy);
    let seen = end.hear(&[&framed(b"KA|KC9|")[..], &[ACK]].concat());
    assert_eq!(seen, [Did::Control(Control::Acknowledge), Did::Record(b"KA|KC9|".to_vec()), ACKNOWLEDGED]);
}

#[test]
fn the_line_is_lost_at_every_byte() {
    let length = framed(b"KR|KC1|").len();
    for unsent in 0..=length {
        let mut end = End::sending(Repeat::OnlyIfRefused);
        let expected = if unsent >= 2 { Delivery::Refused } else { Delivery::Unknown };
        assert_eq!(end.line.link_lost(unsent), Some(expected), "{unsent}");
        assert_eq!(end.line.link_lost(unsent), None);
    }
}

/// Carries bytes with damage; `hits` decides for each byte.
fn carry(bytes: &[u8], line: &mut VecDeque<u8>, hits: &mut impl Iterator<Item = u8>) {
    for byte in bytes {
        match hits.next().unwrap_or(255) {
            0 => {}
            1 => line.extend([*byte, *byte]),
            hit @ 2..=9 => line.push_back(*byte ^ (1 << (hit - 2))),
            10 => line.extend([NAK, *byte]),
            _ => line.push_back(*byte),
        }
    }
}

/// One byte, if any, and the clock.
fn step(line: &mut SerialLine, byte: Option<u8>, now: Duration) -> Vec<Did> {
    let mut done = Vec::new();
    let mut input = byte.as_slice();
    while let Some(action) = line.read(&mut input, now) {
        done.push(did(action));
    }
    while let Some(action) = line.tick(now) {
        done.push(did(action));
    }
    done
}

proptest! {
    #[test]
    fn a_key_request_arrives_at_most_once_and_never_though_refused(hits in prop::collection::vec(prop_oneof![1 => 0..11_u8, 12 => Just(255_u8)], 0..400)) {
        let mut hits = hits.into_iter();
        let mut sender = SerialLine::new(SerialSettings::default());
        let mut receiver = SerialLine::new(SerialSettings::default());
        let (mut there, mut back) = (VecDeque::new(), VecDeque::new());
        let mut now = Duration::ZERO;
        for index in 0..6 {
            let record = format!("KR|KC{index}|RN101|");
            let mut arrived = 0;
            let SerialAction::Frame(frame) = sender.send(record.as_bytes(), Repeat::OnlyIfRefused, now).unwrap() else { panic!("a frame") };
            carry(frame, &mut there, &mut hits);
            let mut delivery = None;
            let started = now;
            while delivery.is_none() || !there.is_empty() || !back.is_empty() {
                now += Duration::from_millis(1);
                prop_assert!(now < started + Duration::from_secs(60), "ends");
                for done in step(&mut receiver, there.pop_front(), now) {
                    match done {
                        Did::Control(control) => carry(&[control.byte()], &mut back, &mut hits),
                        Did::Record(body) => arrived += usize::from(body == record.as_bytes()),
                        other => panic!("{other:?}"),
                    }
                }
                for done in step(&mut sender, back.pop_front(), now) {
                    match done {
                        Did::Control(control) => carry(&[control.byte()], &mut there, &mut hits),
                        Did::Frame => carry(&framed(record.as_bytes()), &mut there, &mut hits),
                        Did::Done(done) => prop_assert_eq!(delivery.replace(done), None),
                        Did::Record(_) => {}
                    }
                }
            }
            prop_assert!(arrived <= 1, "{} arrived {} times", record, arrived);
            prop_assert!(delivery != Some(Delivery::Refused) || arrived == 0, "refused, and yet it arrived");
        }
    }

    #[test]
    fn any_bytes_at_any_time_end_in_one_delivery(
        specified in any::<bool>(),
        chunks in prop::collection::vec((prop::collection::vec(prop_oneof![any::<u8>(), Just(ACK), Just(NAK), Just(ENQ), Just(2), Just(3)], 0..20), 0..4000_u64), 0..40),
    ) {
        let mut end = End::sending(if specified { Repeat::AsSpecified } else { Repeat::OnlyIfRefused });
        let (mut frames, mut done, mut steps) = (1, 0, 0);
        let mut chunks = chunks.into_iter();
        while end.line.is_busy() {
            let (bytes, wait) = chunks.next().unwrap_or_default();
            let mut seen = end.hear(&bytes);
            let next = end.line.deadline().unwrap_or(end.now);
            let wanted = end.now + Duration::from_millis(wait);
            end.now = if bytes.is_empty() { next } else { next.min(wanted) };
            while let Some(action) = end.line.tick(end.now) {
                seen.push(did(action));
            }
            frames += seen.iter().filter(|did| **did == Did::Frame).count();
            done += seen.iter().filter(|did| matches!(did, Did::Done(_))).count();
            steps += 1;
            prop_assert!(steps < 150, "ends in bounded steps");
        }
        prop_assert_eq!(done, 1);
        prop_assert!(frames <= 4);
    }
}
