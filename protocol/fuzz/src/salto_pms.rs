//! SALTO's PMS protocol.

use std::time::Duration;

use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::answer::{Answer, Expectation};
use lockbridge_protocol::salto_pms::audit::DateOrder;
use lockbridge_protocol::salto_pms::client::{Action, Client, Exchange, Settings};
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::{AuditStep, Handling, Received, Request, Track};

use super::steps::{Step, Steps};

fn requests() -> [Request; 4] {
    let (encoder, handling) = ("1".to_owned(), Handling::Eject);
    [
        Request::CheckOut { room: "101".to_owned() },
        Request::ReadCard { encoder: encoder.clone(), handling },
        Request::ReadTrack { track: Track::One, encoder, handling },
        Request::Audit { step: AuditStep::Next, door: "1".to_owned() },
    ]
}

/// A request that can be sent comes back as it was, and an answer that can be written can be read.
pub(crate) fn message(bytes: &[u8]) {
    let message = Message::read(bytes);
    if let Ok(received) = Received::read(message)
        && let Ok(body) = received.request.write()
    {
        let again = Received::read(Message::read(&body)).expect("our own request can be read");
        assert_eq!(again.request, received.request);
        assert!(again.extra.is_empty());
    }
    for request in requests() {
        let _any = Expectation::of(&request).fit(message);
        let answer = Answer::read(&request, message, DateOrder::DayMonth);
        if let Ok(body) = answer.write(&request, DateOrder::DayMonth) {
            let _any = Answer::read(&request, Message::read(&body), DateOrder::DayMonth);
        }
    }
}

/// A client with a request out: one verdict, and never more than three copies sent.
pub(crate) fn client(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let checksum = if kind & 4 == 0 { Checksum::CheckedUnlessMarked } else { Checksum::Marked };
    let settings = Settings { enquire_first: kind & 8 == 0, ..Settings::default() };
    let request = &requests()[usize::from(kind & 3)];
    let mut client = Client::new(settings, checksum);
    let mut now = Duration::ZERO;
    client.link_up(now);
    let exchange = Exchange::new(request, Exchange::answer_timeout(request)).expect("a request that fits");
    let (mut messages, mut verdicts) = (0, 0);
    let mut note = |action: &Action<'_>| match action {
        Action::Message(_) => messages += 1,
        Action::Done(_) => verdicts += 1,
        _ => {}
    };
    note(&client.submit(exchange, now).expect("idle"));
    let silence = std::iter::repeat_n(Step { bytes: &[], pause: Duration::from_secs(60) }, 20);
    for step in Steps(input).chain(silence) {
        let mut rest = step.bytes;
        while let Some(action) = client.read(&mut rest, now) {
            note(&action);
        }
        now += step.pause;
        while let Some(action) = client.tick(now) {
            note(&action);
        }
    }
    assert!(messages <= 3);
    assert_eq!(verdicts, 1);
    assert!(!client.is_busy());
}
