//! Any bytes as a message of the PMS protocol: no panic, and a request that can be sent comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::salto_pms::answer::{Answer, Expectation};
use lockbridge_protocol::salto_pms::audit::DateOrder;
use lockbridge_protocol::salto_pms::message::Message;
use lockbridge_protocol::salto_pms::request::{AuditStep, Handling, Received, Request, Track};

fuzz_target!(|bytes: &[u8]| {
    let message = Message::read(bytes);
    if let Ok(received) = Received::read(message)
        && let Ok(body) = received.request.write()
    {
        let again = Received::read(Message::read(&body)).expect("our own request can be read");
        assert_eq!(again.request, received.request);
        assert!(again.extra.is_empty());
    }
    let encoder = "1".to_owned();
    let handling = Handling::Eject;
    for request in [
        Request::ReadCard { encoder: encoder.clone(), handling },
        Request::ReadTrack { track: Track::One, encoder, handling },
        Request::Audit { step: AuditStep::Next, door: "1".to_owned() },
        Request::CheckOut { room: "101".to_owned() },
    ] {
        let _any = Expectation::of(&request).fit(message);
        let answer = Answer::read(&request, message, DateOrder::DayMonth);
        if let Ok(body) = answer.write(&request, DateOrder::DayMonth) {
            let _any = Answer::read(&request, Message::read(&body), DateOrder::DayMonth);
        }
    }
});
