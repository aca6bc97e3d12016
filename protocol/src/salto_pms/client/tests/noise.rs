//! Both machines over a line with noise, and any bytes at all: one verdict each, none of them false, nothing done twice.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::line::{ACK, Control, ENQ, NAK};
use crate::salto_pms::request::{Handling, Request};
use crate::salto_pms::server::{Server, ServerAction};

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
