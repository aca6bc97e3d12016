//! What may have been done although nobody said so, and how long the line is held for the late answer.

use std::time::Duration;

use super::*;
use crate::line::{ACK, Control, NAK};

#[test]
fn a_refusal_is_not_believed_if_anything_else_came() {
    // A stray byte, an ACK before the ENQ, a damaged frame, half a frame.
    for stray in [&b"x"[..], &[ACK], b"\x02CO\x03\x00", b"\x02CO"] {
        let mut desk = Desk::sent(check_out());
        assert_eq!(desk.hear(&[NAK]), []);
        assert_eq!(desk.hear(stray), []);
        let mut seen = desk.wait();
        if seen.is_empty() {
            seen = desk.wait();
        }
        assert_eq!(seen, [Did::Control(Control::Enquiry)]);
        if stray == b"\x02CO" {
            assert_eq!(desk.wait(), [], "the half frame is given up");
        }
        assert_eq!(desk.hear(&[ACK]), [Did::Unknown(Doubt::AnswerLost)], "{stray:02X?}");
        assert_eq!(desk.client.statistics().messages, 1);
    }
}

#[test]
fn a_server_that_refused_and_stays_busy_may_be_working() {
    let mut desk = Desk::sent(check_out());
    assert_eq!(desk.hear(&[NAK]), []);
    for _ in 0..3 {
        assert_eq!(desk.wait(), [Did::Control(Control::Enquiry)]);
        assert_eq!(desk.hear(&[NAK]), []);
    }
    assert_eq!(desk.wait(), [Did::Unknown(Doubt::NoAnswer)]);
}

#[test]
fn silence_after_the_message_is_doubt() {
    let mut desk = Desk::acknowledged(read_card());
    assert_eq!(desk.wait(), [Did::Unknown(Doubt::NoAnswer)]);
    assert_eq!(desk.now, Duration::from_secs(60));
    let until = desk.client.held_until().expect("held");
    assert_eq!(desk.client.submit(check_out(), desk.now).unwrap_err(), SubmitError::Held { until });
    assert_eq!(desk.hear(&framed("|MC|101|")), [Did::Unsolicited], "cannot be the late one");
    assert_eq!(desk.hear(&framed("|LT|1|LM|")), [Did::Late]);
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
}

#[test]
fn a_hold_ends_by_itself() {
    let mut desk = Desk::acknowledged(read_card());
    assert_eq!(desk.wait(), [Did::Unknown(Doubt::NoAnswer)]);
    assert_eq!(desk.wait(), []);
    assert_eq!(desk.now, Duration::from_secs(120));
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
    assert_eq!(desk.hear(&framed("|LT|1|LM|")), [Did::Unsolicited], "never given to the next request");
}

#[test]
fn a_lost_acknowledgement_is_found_out_by_asking() {
    let mut desk = Desk::sent(read_card());
    assert_eq!(desk.wait(), [], "no ACK within the reply timeout");
    assert_eq!(desk.wait(), [Did::Control(Control::Enquiry)]);
    assert_eq!(desk.hear(&[ACK]), [Did::Unknown(Doubt::AnswerLost)]);
    assert!(desk.now < Duration::from_secs(6), "known long before the answer is due");
}

#[test]
fn an_answer_without_acknowledgement_may_be_an_old_one() {
    let mut desk = Desk::sent(read_card());
    assert_eq!(desk.hear(&framed("|LT|1|LM|")), [Did::Unknown(Doubt::Unacknowledged)]);
}

#[test]
fn the_line_is_lost_at_every_point() {
    let length = framed("|CO|0|101|").len();
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.client.link_lost(0, desk.now), None);
    assert_eq!(desk.client.submit(check_out(), desk.now).unwrap_err(), SubmitError::Down);
    desk.client.link_up(desk.now);
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
    assert_eq!(desk.client.link_lost(0, desk.now).map(did), Some(Did::NotBegun(NotBegun::LinkLost)));
    for unsent in 0..=length {
        let mut desk = Desk::sent(check_out());
        let verdict = desk.client.link_lost(unsent, desk.now).map(did);
        // Checksum and ETX have to stay behind.
        let certain = unsent >= 2;
        let expected = if certain { Did::NotBegun(NotBegun::LinkLost) } else { Did::Unknown(Doubt::LinkLost) };
        assert_eq!(verdict, Some(expected), "{unsent} of {length}");
        desk.client.link_up(desk.now);
        assert_eq!(desk.client.held_until().is_some(), !certain);
    }
    let mut desk = Desk::acknowledged(check_out());
    assert_eq!(desk.client.link_lost(length, desk.now).map(did), Some(Did::Unknown(Doubt::LinkLost)));
}

#[test]
fn a_new_tcp_connection_brings_no_old_answers() {
    let mut client =
        Client::new(Settings { answers_survive_reconnect: false, ..Settings::default() }, Checksum::Marked);
    let now = Duration::from_secs(7);
    client.link_up(now);
    client.submit(check_out(), now).unwrap();
    let mut input = &[ACK, ACK][..];
    while client.read(&mut input, now).is_some() {}
    assert!(matches!(client.link_lost(0, now), Some(Action::Done(Verdict::Unknown(Doubt::LinkLost)))));
    assert!(client.held_until().is_some());
    client.link_up(now);
    assert_eq!(client.held_until(), None);
}
