//! The event stream: messages in any pieces, fields in any form, hostile input.

use jiff::civil::date;
use lockbridge_protocol::ship::limits::{STREAM_DEPTH, STREAM_EVENTS, STREAM_MESSAGE_BYTES};
use lockbridge_protocol::ship::stream::{StreamError, StreamMessage, StreamReader, parse_message};
use proptest::prelude::*;

const EXAMPLE: &str = r#"[{"EventID":"95631414","EventDateTime":"2026-11-22T15:07:23","EventDateTimeUTC":"2026-11-22T14:07:23Z","OperationID":17,"OperationDescription":"Door opened: key","IsExit":false,"UserType":0,"UserName":"Jane Doe","UserExtID":"U1001","DoorName":"Gym","DoorExtID":"D1"}]"#;

#[test]
fn the_example_is_read() {
    let message = parse_message(EXAMPLE.as_bytes()).expect("a message");
    let [event] = &message.events[..] else { panic!("one event: {message:?}") };
    assert_eq!(event.event_id, "95631414");
    assert_eq!(event.local_time, Some(date(2026, 11, 22).at(15, 7, 23, 0)));
    assert_eq!(event.utc_time.map(|time| time.to_string()).as_deref(), Some("2026-11-22T14:07:23Z"));
    assert_eq!((event.operation, event.is_exit, event.user_type), (Some(17), Some(false), Some(0)));
    assert_eq!((event.user_id.as_str(), event.door_id.as_str(), event.door_name.as_str()), ("U1001", "D1", "Gym"));
}

#[test]
fn fields_of_other_types_and_a_bare_object_are_read() {
    let message = parse_message(br#" {"EventID":12,"OperationID":"82","IsExit":1,"New":{"a":[1]},"DoorExtID":null} "#);
    let event = message.expect("a message").events.remove(0);
    assert_eq!((event.event_id.as_str(), event.operation, event.is_exit), ("12", Some(82), Some(true)));
    assert_eq!(event.door_id, "");
    let ansi = parse_message(b"[{\"DoorName\":\"Caf\xE9\"}]").expect("a message in a single-byte encoding");
    assert_eq!(ansi.events[0].door_name, "Café");
}

#[test]
fn what_is_not_an_event_is_counted() {
    let message = parse_message(br#"[1,{"EventID":"1"},"x",[]]"#).expect("a message");
    assert_eq!((message.events.len(), message.skipped), (1, 3));
    let many = format!("[{}{{}}]", "{},".repeat(STREAM_EVENTS));
    let message = parse_message(many.as_bytes()).expect("a message");
    assert_eq!((message.events.len(), message.skipped), (STREAM_EVENTS, 1));
}

#[test]
fn hostile_messages_are_refused() {
    for bad in [&b""[..], b"HELLO", b"17", b"[{", b"[}", b"[{\"a\"}]"] {
        assert_eq!(parse_message(bad), Err(StreamError::NotJson), "{bad:?}");
    }
    assert_eq!(parse_message(&vec![b' '; STREAM_MESSAGE_BYTES + 1]), Err(StreamError::TooLarge));
    let deep = "[".repeat(STREAM_DEPTH + 1);
    assert_eq!(StreamReader::new().read(&mut deep.as_bytes()), Err(StreamError::TooDeep));
    let endless = format!("[\"{}", "x".repeat(STREAM_MESSAGE_BYTES));
    assert_eq!(StreamReader::new().read(&mut endless.as_bytes()), Err(StreamError::TooLarge));
}

#[test]
fn a_bad_message_between_brackets_does_not_lose_the_next() {
    let mut input = &b"junk[{\"a\"}]\r\n[{\"EventID\":\"7\"}]"[..];
    let mut reader = StreamReader::new();
    assert_eq!(reader.read(&mut input), Err(StreamError::NotJson));
    let message = reader.read(&mut input).expect("readable").expect("complete");
    assert_eq!(message.events[0].event_id, "7");
}

fn messages(bytes: &[u8], cuts: &[usize]) -> Vec<Result<StreamMessage, StreamError>> {
    let mut reader = StreamReader::new();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(start, bytes.len());
        let mut input = &bytes[start..end];
        while !input.is_empty() {
            found.extend(reader.read(&mut input).transpose());
        }
        start = end;
    }
    found
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        texts in prop::collection::vec("[a-z\\[\\]{}\"\\\\é]{0,12}", 1..5), separator in "(|\r\n| |,)", mut cuts in prop::collection::vec(0_usize..300, 0..12),
    ) {
        let bytes: Vec<u8> = texts
            .iter()
            .map(|text| format!("[{}]{separator}", serde_json::json!({ "DoorName": text, "EventID": "1" })))
            .collect::<Vec<String>>()
            .concat()
            .into_bytes();
        cuts.sort_unstable();
        let found = messages(&bytes, &cuts);
        let names: Vec<String> = found
            .into_iter()
            .map(|message| message.expect("our own message").events.remove(0).door_name)
            .collect();
        let sent: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
        prop_assert_eq!(names, sent);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'['), Just(b'{'), Just(b'"'), Just(b']')], 0..80)) {
        let _any = parse_message(&bytes);
        let _any = messages(&bytes, &[10, 20]);
    }
}
