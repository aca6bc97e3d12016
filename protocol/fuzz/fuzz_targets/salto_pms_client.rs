//! Any bytes at any time to a client with a request out: no panic, one verdict, and never more than three copies sent.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::client::{Action, Client, Exchange, Settings};
use lockbridge_protocol::salto_pms::request::Request;

fuzz_target!(|input: Vec<(u16, Vec<u8>)>| {
    let mut client = Client::new(Settings::default(), Checksum::CheckedUnlessMarked);
    let mut now = Duration::ZERO;
    client.link_up(now);
    let request = Request::CheckOut { room: "101".to_owned() };
    let exchange = Exchange::new(&request, Exchange::answer_timeout(&request)).expect("a request that fits");
    let (mut messages, mut verdicts) = (0, 0);
    let mut note = |action: &Action<'_>| match action {
        Action::Message(_) => messages += 1,
        Action::Done(_) => verdicts += 1,
        _ => {}
    };
    note(&client.submit(exchange, now).expect("idle"));
    for (milliseconds, bytes) in input.into_iter().chain(std::iter::repeat_n((60_000, Vec::new()), 20)) {
        let mut rest = &bytes[..];
        while let Some(action) = client.read(&mut rest, now) {
            note(&action);
        }
        now += Duration::from_millis(milliseconds.into());
        while let Some(action) = client.tick(now) {
            note(&action);
        }
    }
    assert!(messages <= 3);
    assert_eq!(verdicts, 1);
    assert!(!client.is_busy());
});
