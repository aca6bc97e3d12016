use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::line::{ACK, Control, ENQ, NAK, UNCHECKED, write_frame};
use crate::salto_pms::message::{Message, SEPARATOR};
use crate::salto_pms::request::{Handling, Received, Request};
use crate::salto_pms::server::{Server, ServerAction};

const CHECKSUM: Checksum = Checksum::CheckedUnlessMarked;

fn body(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'|' { SEPARATOR } else { byte }).collect()
}

fn framed(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&body(text), CHECKSUM, MESSAGE_BYTES, &mut out).unwrap();
    out
}

fn check_out() -> Exchange {
    Exchange::new(&Request::CheckOut { room: "101".to_owned() }, Duration::from_secs(15)).unwrap()
}

fn read_card() -> Exchange {
    let request = Request::ReadCard { encoder: "1".to_owned(), handling: Handling::Retain };
    Exchange::new(&request, Exchange::answer_timeout(&request)).unwrap()
}

/// An action that outlives the machine's borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    Control(Control),
    Message,
    Answered(Vec<u8>),
    Ready,
    NotBegun(NotBegun),
    Unknown(Doubt),
    Late,
    Unsolicited,
}

fn did(action: Action<'_>) -> Did {
    match action {
        Action::Control(control) => Did::Control(control),
        Action::Message(_) => Did::Message,
        Action::Done(Verdict::Answered(body)) => Did::Answered(body.to_vec()),
        Action::Done(Verdict::Ready) => Did::Ready,
        Action::Done(Verdict::NotBegun(reason)) => Did::NotBegun(reason),
        Action::Done(Verdict::Unknown(doubt)) => Did::Unknown(doubt),
        Action::Late(_) => Did::Late,
        Action::Unsolicited(_) => Did::Unsolicited,
    }
}

/// A client with a clock.
struct Desk {
    client: Client,
    now: Duration,
}

impl Desk {
    fn new(settings: Settings) -> Self {
        let mut client = Client::new(settings, CHECKSUM);
        client.link_up(Duration::ZERO);
        Self { client, now: Duration::ZERO }
    }

    fn submit(&mut self, exchange: Exchange) -> Did {
        did(self.client.submit(exchange, self.now).expect("taken"))
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Vec<Did> {
        let mut done = Vec::new();
        while let Some(action) = self.client.read(&mut bytes, self.now) {
            done.push(did(action));
        }
        done
    }

    /// Lets time pass to the next deadline.
    fn wait(&mut self) -> Vec<Did> {
        self.now = self.client.deadline().expect("something is waited for");
        let mut done = Vec::new();
        while let Some(action) = self.client.tick(self.now) {
            done.push(did(action));
        }
        done
    }

    /// Up to the acknowledged message.
    fn sent(exchange: Exchange) -> Self {
        let mut desk = Self::new(Settings::default());
        assert_eq!(desk.submit(exchange), Did::Control(Control::Enquiry));
        assert_eq!(desk.hear(&[ACK]), [Did::Message]);
        desk
    }

    fn acknowledged(exchange: Exchange) -> Self {
        let mut desk = Self::sent(exchange);
        assert_eq!(desk.hear(&[ACK]), []);
        desk
    }
}

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

/// A line in both directions, with bytes that noise touches. Each byte takes one millisecond.
struct Noise<'a> {
    damage: &'a mut dyn FnMut() -> u32,
    per_mille: u32,
}

impl Noise<'_> {
    fn carry(&mut self, bytes: &[u8], line: &mut VecDeque<u8>) {
        for byte in bytes {
            if (self.damage)() % 1000 >= self.per_mille {
                line.push_back(*byte);
                continue;
            }
            match (self.damage)() % 4 {
                0 => {}
                1 => line.extend([*byte, *byte]),
                2 => line.push_back(*byte ^ (1 << ((self.damage)() % 8))),
                _ => line.extend([(self.damage)().to_be_bytes()[3], *byte]),
            }
        }
    }
}

/// What one exchange over a noisy line came to.
#[derive(Debug)]
struct Story {
    verdict: Did,
    /// Messages that the server took up since the exchange began, by content.
    taken: Vec<Vec<u8>>,
    answer: Vec<u8>,
    messages: u64,
    resends: u64,
    took: Duration,
}

/// Runs exchanges one after another; every answer is different, so that an old one cannot pass for a new one unseen.
fn simulate(count: usize, per_mille: u32, work: Duration, random: &mut dyn FnMut() -> u32) -> Vec<Story> {
    let mut noise = Noise { damage: random, per_mille };
    let settings =
        Settings { reply_timeout: Duration::from_secs(1), hold: Duration::from_secs(20), ..Settings::default() };
    let mut client = Client::new(settings, CHECKSUM);
    let mut server = Server::new(CHECKSUM);
    let mut now = Duration::ZERO;
    client.link_up(now);
    let (mut to_server, mut to_client) = (VecDeque::new(), VecDeque::new());
    let mut answers: VecDeque<(Duration, Vec<u8>)> = VecDeque::new();
    let mut server_silent_since = now;
    let mut stories = Vec::new();
    for index in 0..count {
        while client.held_until().is_some() {
            now = client.deadline().expect("the hold ends");
            while client.tick(now).is_some() {}
        }
        let request = Request::ReadCard { encoder: "1".to_owned(), handling: Handling::Retain };
        let exchange = Exchange::new(&request, Duration::from_secs(10)).unwrap();
        let wanted = framed("|LT|1|R|");
        let before = client.statistics();
        let began = now;
        let mut taken = Vec::new();
        let answer = body(&format!("|LT|1|{index}|"));
        let mut out = Vec::new();
        match client.submit(exchange, now).expect("idle") {
            Action::Control(control) => out.push(control.byte()),
            Action::Message(bytes) => out.extend_from_slice(bytes),
            other => panic!("{other:?}"),
        }
        noise.carry(&out, &mut to_server);
        let mut verdict = None;
        // What is still on the line when the verdict falls is carried on too.
        while verdict.is_none() || !to_server.is_empty() || !to_client.is_empty() || !answers.is_empty() {
            now += Duration::from_millis(1);
            assert!(now < began + Duration::from_secs(120), "an exchange ends");
            if let Some(byte) = to_server.pop_front() {
                server_silent_since = now;
                let mut input = &[byte][..];
                let mut reply = Vec::new();
                let mut offered = None;
                match server.read(&mut input) {
                    Some(ServerAction::Control(control)) => reply.push(control.byte()),
                    Some(ServerAction::Repeat(bytes)) => reply.extend_from_slice(bytes),
                    Some(ServerAction::Message(message)) => offered = Some(message.to_vec()),
                    None => {}
                }
                if let Some(message) = offered {
                    reply.extend(server.accept().map(Control::byte));
                    taken.push(message);
                    answers.push_back((now + work, answer.clone()));
                }
                noise.carry(&reply, &mut to_client);
            } else if server.is_inside_frame() && now > server_silent_since + Duration::from_millis(500) {
                assert!(server.abandon());
                noise.carry(&[NAK], &mut to_client);
            }
            if answers.front().is_some_and(|(due, _)| *due <= now) {
                let (_, answer) = answers.pop_front().expect("one is due");
                let frame = server.answer(&answer).unwrap().to_vec();
                noise.carry(&frame, &mut to_client);
            }
            let mut out = Vec::new();
            let byte = to_client.pop_front();
            let mut input = byte.as_slice();
            loop {
                let action = if input.is_empty() { client.tick(now) } else { client.read(&mut input, now) };
                match action {
                    Some(Action::Control(control)) => out.push(control.byte()),
                    Some(Action::Message(bytes)) => {
                        assert_eq!(bytes, wanted);
                        out.extend_from_slice(bytes);
                    }
                    Some(done @ Action::Done(_)) => assert_eq!(verdict.replace(did(done)), None, "one verdict"),
                    None if input.is_empty() => break,
                    Some(Action::Late(_) | Action::Unsolicited(_)) | None => {}
                }
            }
            noise.carry(&out, &mut to_server);
        }
        let after = client.statistics();
        stories.push(Story {
            verdict: verdict.expect("the loop ends with one"),
            taken,
            answer,
            messages: after.messages - before.messages,
            resends: after.resends - before.resends,
            took: now.saturating_sub(began),
        });
    }
    stories
}

/// A generator that needs no dependency; its quality does not matter.
fn generator(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).unwrap()
    }
}

fn check(story: &Story) {
    assert!(story.messages <= 3 && story.resends + 1 >= story.messages, "{story:?}");
    assert!(story.took < Duration::from_secs(60), "{story:?}");
    match &story.verdict {
        Did::NotBegun(_) => assert!(story.taken.is_empty(), "not begun, and yet taken up: {story:?}"),
        // A message damaged in a way that its checksum does not show is one that was taken up.
        Did::Answered(answer) if *answer == story.answer => assert_eq!(story.taken.len(), 1, "{story:?}"),
        Did::Answered(_) => {}
        Did::Unknown(_) => assert!(story.taken.len() <= 1, "{story:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_noise_every_exchange_is_answered() {
    for work in [0, 3, 900] {
        let stories = simulate(20, 0, Duration::from_millis(work), &mut generator(1));
        for story in stories {
            check(&story);
            assert_eq!(story.verdict, Did::Answered(story.answer.clone()));
            assert_eq!(story.messages, 1);
        }
    }
}

#[test]
fn a_thousand_requests_over_a_line_with_noise_of_one_per_cent() {
    let stories = simulate(1000, 10, Duration::from_millis(40), &mut generator(20_261_122));
    let answered = stories.iter().filter(|story| matches!(story.verdict, Did::Answered(_))).count();
    stories.iter().for_each(check);
    assert!(answered > 850, "{answered} of 1000 answered");
    assert!(answered < 1000, "the noise does something");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_ever_done_twice_or_denied_though_done(seed in any::<u64>(), per_mille in 0..60_u32, work in 0..1500_u64) {
        for story in simulate(12, per_mille, Duration::from_millis(work), &mut generator(seed)) {
            check(&story);
        }
    }

    #[test]
    fn any_bytes_at_any_time_end_in_one_verdict(
        chunks in prop::collection::vec((prop::collection::vec(prop_oneof![any::<u8>(), Just(ACK), Just(NAK), Just(ENQ), Just(2), Just(3)], 0..20), 0..4000_u64), 0..30),
    ) {
        let mut desk = Desk::new(Settings::default());
        let mut messages = usize::from(desk.submit(check_out()) == Did::Message);
        let mut verdicts = 0;
        let mut steps = 0;
        let mut chunks = chunks.into_iter();
        while desk.client.is_busy() {
            let (bytes, wait) = chunks.next().unwrap_or_default();
            let mut done = desk.hear(&bytes);
            let next = desk.client.deadline().filter(|_| desk.client.is_busy());
            let wanted = desk.now + Duration::from_millis(wait);
            desk.now = next.map_or(wanted, |next| if bytes.is_empty() { next } else { next.min(wanted) });
            while let Some(action) = desk.client.tick(desk.now) {
                done.push(did(action));
            }
            messages += done.iter().filter(|did| **did == Did::Message).count();
            verdicts += done.iter().filter(|did| matches!(did, Did::Answered(_) | Did::NotBegun(_) | Did::Unknown(_))).count();
            steps += 1;
            prop_assert!(steps < 100, "ends in bounded steps");
        }
        prop_assert_eq!(verdicts, 1);
        prop_assert!(messages <= 3);
    }
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
