//! Keys for phones.

use lockbridge_protocol::salto_pms::request::MobileDelivery;

use super::*;

fn send(kind: KeyKind, phone: &str) -> Operation {
    Operation::SendKey { phone: PhoneNumber(phone.into()), key: key(kind) }
}

#[tokio::test(start_paused = true)]
async fn a_phone_gets_what_a_card_would_and_no_encoder_is_named() {
    let (adapter, plug) = adapter(configured("mobile_keys = true\n"));
    let server = serve(&plug, vec![done(), done()]);
    let performed = adapter.perform(send(KeyKind::New, "+34600000000"), LONG).await.expect("sent");
    assert_eq!(performed.key_valid_until_ms, Some(START + 68 * HOUR - 42_000), "whole minutes downwards");
    assert!(performed.detail.contains("not known"), "{}", performed.detail);
    adapter.perform(send(KeyKind::Copy, "+34600000001"), LONG).await.expect("sent");
    let (asked, _line) = server.await.expect("no panic");
    let commands: Vec<_> = asked.iter().map(|request| (request.command(), request.encoder())).collect();
    assert_eq!(commands, [("CNM", None), ("CCM", None)]);
    let Request::Mobile(first) = &asked[0] else { panic!("{:?}", asked[0]) };
    assert_eq!(first.phone, "+34600000000");
    assert_eq!((first.stay.room.as_str(), first.stay.more_rooms.as_slice()), ("101", ["102".to_owned()].as_slice()));
    assert_eq!(first.stay.granted.numbers().collect::<Vec<_>>(), [1, 10]);
    assert_eq!(first.stay.operator, format!("LOCKBRIDGE {MARK}"));
    assert_eq!(first.delivery, MobileDelivery::Phone { text: String::new() });
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_a_phone_is_doubt_and_a_refusal_of_the_table_is_none() {
    let (adapter, plug) = adapter(configured("mobile_keys = true\nhold_s = 0\n"));
    let server = serve(&plug, vec![no("EA"), no("EG"), Play::Silence]);
    let error = adapter.perform(send(KeyKind::Copy, "+341"), LONG).await.expect_err("checked out");
    assert_eq!((error.code, error.effect), ("credential_cannot_be_reissued", Effect::None));
    let error = adapter.perform(send(KeyKind::New, "+341"), LONG).await.expect_err("anything");
    assert_eq!(error.effect, Effect::Unknown, "the text says what, and not whether it was done");
    let error = adapter.perform(send(KeyKind::New, "+341"), LONG).await.expect_err("silence");
    assert_eq!((error.code, error.effect), ("uncategorized_error", Effect::Unknown), "no encoder is to blame");
    assert_eq!(adapter.effect_class(&send(KeyKind::New, "+341")), EffectClass::Blind);
    assert_eq!(server.await.expect("no panic").0.len(), 3, "nothing is sent again");
}

#[tokio::test(start_paused = true)]
async fn a_number_that_the_protocol_cannot_carry_is_refused_before_anything_is_sent() {
    let (adapter, plug) = adapter(configured("mobile_keys = true\n"));
    let (_ours, theirs) = tokio::io::duplex(64);
    plug.try_send(theirs).expect("room");
    for phone in ["0600000000", "+34 600 000 000", "+3460000000000000", "+34ö00000000", ""] {
        let error = adapter.perform(send(KeyKind::New, phone), LONG).await.expect_err("not a number");
        assert_eq!((error.code, error.effect, error.retry), ("invalid_input", Effect::None, Retry::Never), "{phone}");
        assert!(error.message.contains("phone") && error.message.contains("nothing was sent"), "{error}");
        assert!(phone.is_empty() || !error.message.contains(phone), "numbers stay out of messages: {error}");
    }
    assert_eq!(adapter.line().expect("a line").sent_bytes, 0);
    assert!(!format!("{:?}", send(KeyKind::New, "+34600000000")).contains("34600"), "and out of logs");
}

#[tokio::test]
async fn doors_open_to_phones_only_with_the_licence() {
    for (more, expected) in [("", false), ("mobile_keys = true\n", true)] {
        let (adapter, _plug) = adapter(configured(more));
        let told = adapter.inventory().iter().all(|item| match &item.kind {
            Some(Kind::Entrance(seen)) => seen.can_unlock_with_mobile_key == expected,
            _ => true,
        });
        assert!(told, "{more}");
        assert_eq!(adapter.description().keys.as_ref().map(|keys| keys.mobile_keys), Some(expected));
    }
}
