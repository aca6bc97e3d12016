//! One exchange and what is certain of it: answered, or not begun.

use std::time::Duration;

use super::*;
use crate::line::{ACK, Control, ENQ, NAK, UNCHECKED};
use crate::salto_pms::message::Message;
use crate::salto_pms::request::{Received, Request};
use crate::salto_pms::server::{Server, ServerAction};

#[test]
fn an_exchange_without_trouble() {
    let mut desk = Desk::acknowledged(check_out());
    assert!(desk.client.is_busy());
    assert_eq!(desk.client.submit(read_card(), desk.now).unwrap_err(), SubmitError::Busy);
    assert_eq!(desk.hear(&framed("|CO|0|101|")), [Did::Answered(body("|CO|0|101|"))]);
    assert!(!desk.client.is_busy());
    assert_eq!(desk.client.deadline(), None);
}

#[test]
fn the_message_is_the_frame() {
    let mut desk = Desk::new(Settings { enquire_first: false, ..Settings::default() });
    // The first exchange of a connection asks all the same: what is on its way is not known.
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
    let mut input = &[ACK][..];
    assert_eq!(desk.client.read(&mut input, desk.now), Some(Action::Message(&framed("|CO|0|101|")[..])));
    assert_eq!(desk.hear(&[ACK]), []);
    assert_eq!(desk.hear(&framed("|TD|0|")), [Did::Answered(body("|TD|0|"))]);
    assert_eq!(desk.submit(check_out()), Did::Message, "now it need not ask");
}

#[test]
fn a_server_that_never_answers_or_never_is_ready() {
    for (reply, verdict) in [(None, NotBegun::Silent), (Some(NAK), NotBegun::NotReady)] {
        let mut desk = Desk::new(Settings::default());
        assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
        for round in 1..=3 {
            let ended = match reply {
                Some(byte) => desk.hear(&[byte]),
                None => desk.wait(),
            };
            if round < 3 {
                assert_eq!(ended, []);
                assert_eq!(desk.wait(), [Did::Control(Control::Enquiry)]);
            } else {
                assert_eq!(ended, [Did::NotBegun(verdict)]);
            }
        }
        assert_eq!(desk.client.held_until(), None);
    }
}

#[test]
fn a_confirmed_refusal_is_sent_again_and_then_given_up() {
    let mut desk = Desk::sent(check_out());
    for _ in 0..2 {
        assert_eq!(desk.hear(&[NAK]), []);
        assert_eq!(desk.wait(), [Did::Control(Control::Enquiry)]);
        assert_eq!(desk.hear(&[ACK]), [Did::Message]);
    }
    assert_eq!(desk.hear(&[NAK]), []);
    assert_eq!(desk.wait(), [Did::Control(Control::Enquiry)]);
    assert_eq!(desk.hear(&[ACK]), [Did::NotBegun(NotBegun::Refused { times: 3 })]);
    assert_eq!((desk.client.statistics().messages, desk.client.statistics().resends), (3, 2));
}

#[test]
fn a_damaged_answer_is_asked_for_again() {
    let mut desk = Desk::acknowledged(read_card());
    let mut damaged = framed("|LT|1|LM|");
    damaged[4] ^= 1;
    for _ in 0..2 {
        assert_eq!(desk.hear(&damaged), [Did::Control(Control::Refuse)]);
    }
    assert_eq!(desk.hear(&damaged), [], "not for ever");
    assert_eq!(desk.hear(&framed("|LT|1|LM|")), [Did::Answered(body("|LT|1|LM|"))]);
    // Half an answer, then silence.
    let mut desk = Desk::acknowledged(read_card());
    assert_eq!(desk.hear(b"\x02\xB3LT"), []);
    assert_eq!(desk.wait(), [Did::Control(Control::Refuse)]);
    assert_eq!(desk.now, Settings::default().silence);
}

#[test]
fn an_echo_is_no_answer() {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
    assert_eq!(desk.hear(&[ENQ, ACK]), [Did::Message]);
    assert_eq!(desk.hear(&framed("|CO|0|101|")), [], "the echo");
    assert_eq!(desk.hear(&[ACK]), []);
    assert_eq!(desk.hear(&framed("|CO|0|101|")), [Did::Answered(body("|CO|0|101|"))], "the answer");
    // A late echo of a command whose answer never looks like its request.
    let mut desk = Desk::acknowledged(read_card());
    assert_eq!(desk.hear(&framed("|LT|1|R|")), []);
    assert_eq!(desk.client.statistics().echoes, 1);
}

#[test]
fn no_request_goes_out_with_a_checksum_that_means_not_checked() {
    let mut changed = Vec::new();
    for room in 100..=999_u16 {
        let request = Request::CheckOut { room: room.to_string() };
        let frame = Exchange::new(&request, Duration::from_secs(15)).unwrap().frame(CHECKSUM).unwrap();
        assert_ne!(frame.last(), Some(&UNCHECKED), "{room}");
        let plain = framed(&format!("|CO|0|{room}|"));
        if plain.last() == Some(&UNCHECKED) {
            changed.push(room);
        } else {
            assert_eq!(frame, plain);
        }
        // A server reads the same request.
        let mut server = Server::new(CHECKSUM);
        let Some(ServerAction::Message(body)) = server.read(&mut &frame[..]) else { panic!("a message of {room}") };
        let received = Received::read(Message::read(body)).unwrap();
        assert_eq!(received.request, request);
        assert!(received.extra.iter().all(String::is_empty));
    }
    assert_eq!(changed[..3], [103, 112, 121]);
    // Where the site has the check switched off, nothing is checked anyway.
    let off = Exchange::new(&Request::CheckOut { room: "103".to_owned() }, Duration::from_secs(15)).unwrap();
    assert_eq!(off.frame(Checksum::Marked).unwrap().last(), Some(&UNCHECKED));
}

#[test]
fn cancel_works_until_the_message_is_out() {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.client.cancel(), None);
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry));
    assert_eq!(desk.client.cancel().map(did), Some(Did::NotBegun(NotBegun::Cancelled)));
    assert_eq!(Desk::sent(check_out()).client.cancel(), None);
}

#[test]
fn an_enquiry_alone_tells_idle_busy_and_silent_apart_and_sends_no_message() {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(did(desk.client.enquire(desk.now).expect("taken")), Did::Control(Control::Enquiry));
    assert_eq!(desk.client.enquire(desk.now), Err(SubmitError::Busy));
    assert_eq!(desk.hear(&[ACK]), [Did::Ready]);
    assert!(!desk.client.is_busy());
    for (answer, end) in [(Some(NAK), NotBegun::NotReady), (None, NotBegun::Silent)] {
        let mut last = did(desk.client.enquire(desk.now).expect("taken"));
        for _ in 0..100 {
            if let Did::NotBegun(_) = last {
                break;
            }
            if let Some(byte) = answer
                && last == Did::Control(Control::Enquiry)
                && let Some(ended) = desk.hear(&[byte]).pop()
            {
                last = ended;
                continue;
            }
            desk.now = desk.client.deadline().expect("waits");
            last = desk.client.tick(desk.now).map_or(Did::Late, did);
        }
        assert_eq!(last, Did::NotBegun(end));
    }
    assert_eq!(desk.submit(check_out()), Did::Control(Control::Enquiry), "the line is free again");
}
