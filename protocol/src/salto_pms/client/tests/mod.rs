//! The client with a clock that the test moves, and the bytes of a server that says what the test wants.

mod doubt;
mod exchange;
mod noise;

use std::time::Duration;

use super::*;
use crate::line::{ACK, Control, write_frame};
use crate::salto_pms::message::SEPARATOR;
use crate::salto_pms::request::{Handling, Request};

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
