use jiff::civil::{DateTime, date};
use proptest::prelude::*;

use super::answer::{Answer, Expectation, Fit};
use super::audit::{AuditCard, AuditRecord, DateOrder, Incident};
use super::authorisation::Authorisations;
use super::card::{CardRead, CopyNumber, GuestCard};
use super::limits::{CODE_CHARACTERS, MESSAGE_BYTES, OPERATOR_CHARACTERS, ROOM_CHARACTERS, TEXT_CHARACTERS};
use super::message::{Message, SEPARATOR};
use super::request::{
    AuditStep, CardKey, Handling, KeyKind, MobileDelivery, MobileKey, Received, Request, ReturnSerial, Stay, Track,
};
use super::stamp::{read_stamp, write_stamp};
use super::text::FieldError;
use super::{error_code, request};
use crate::line::{Checksum, ETX, STX, write_frame};

fn arrival() -> DateTime {
    date(2026, 11, 22).at(15, 0, 0, 0)
}

fn departure() -> DateTime {
    date(2026, 11, 25).at(11, 0, 0, 0)
}

fn stay() -> Stay {
    Stay {
        room: "101".to_owned(),
        granted: Authorisations::from_numbers([1, 10]).unwrap(),
        start: Some(arrival()),
        end: Some(departure()),
        operator: "FRONT1".to_owned(),
        ..Stay::default()
    }
}

fn card(kind: KeyKind, cards: Option<u8>) -> CardKey {
    CardKey {
        kind,
        cards,
        encoder: "1".to_owned(),
        handling: Handling::Eject,
        stay: stay(),
        tracks: Default::default(),
        serial: ReturnSerial::Unsaid,
    }
}

fn mobile() -> MobileKey {
    MobileKey {
        kind: KeyKind::CheckIn,
        phone: "+34600000000".to_owned(),
        stay: Stay { granted: Authorisations::from_numbers([1]).unwrap(), ..stay() },
        delivery: MobileDelivery::Phone { text: "Welcome".to_owned() },
    }
}

/// `|` stands for the separator.
fn body(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'|' { SEPARATOR } else { byte }).collect()
}

fn framed(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&body(text), Checksum::CheckedUnlessMarked, MESSAGE_BYTES, &mut out).unwrap();
    out
}

#[test]
fn documented_frames() {
    let modify = Request::ModifyStay {
        room: "101".to_owned(),
        new_room: String::new(),
        end: Some(date(2026, 11, 26).at(12, 0, 0, 0)),
        code: String::new(),
    };
    let read = Request::ReadCard { encoder: "1".to_owned(), handling: Handling::Eject };
    let audit = Request::Audit { step: AuditStep::First, door: "Entrance".to_owned() };
    for (request, text, checksum) in [
        (Request::Card(card(KeyKind::CheckIn, Some(1))), "|CN1|1|E|101||||1a||1500221126|1100251126|FRONT1|", 0xEB),
        (Request::Mobile(mobile()), "|CNM|+34600000000|101||||1||1500221126|1100251126|FRONT1||||Welcome|", 0x71),
        (modify, "|MC|101||1200261126|", 0x8D),
        (Request::CheckOut { room: "101".to_owned() }, "|CO|0|101|", 0x0F),
        (read, "|LT|1|E|", 0x6F),
        (audit, "|WF|Entrance|", 0x85),
    ] {
        assert_eq!(request.write().unwrap(), body(text), "{text}");
        let frame = framed(text);
        assert_eq!((frame[0], frame[frame.len() - 2], frame[frame.len() - 1]), (STX, ETX, checksum), "{text}");
        let received = Received::read(Message::read(&body(text))).unwrap();
        assert_eq!(received, Received { request, extra: Vec::new() });
    }
}

#[test]
fn documented_answers() {
    let new_card = Request::Card(card(KeyKind::CheckIn, None));
    for (text, checksum, code) in
        [("|OV|1|", 0x98, "OV"), ("|TD|1|", 0x91, "TD"), ("|EG|1|General failure|", 0x26, "EG")]
    {
        assert_eq!(framed(text).last(), Some(&checksum));
        let answer = Answer::read(&new_card, Message::read(&body(text)), DateOrder::DayMonth);
        let Answer::Refused(refusal) = answer else { panic!("{answer:?}") };
        assert_eq!((refusal.code.as_str(), refusal.known.map(|row| row.code)), (code, Some(code)));
        assert_eq!(refusal.is_certainly_without_effect(), code != "EG");
        assert_eq!(refusal.text, if code == "EG" { "General failure" } else { "" });
    }
    let done = Answer::read(&new_card, Message::read(&body("|CN|1|04A2B3|")), DateOrder::DayMonth);
    assert_eq!(done, Answer::Done { about: "1".to_owned(), more: vec!["04A2B3".to_owned()] });

    let read = Request::ReadCard { encoder: "1".to_owned(), handling: Handling::Eject };
    let staff = Answer::read(&read, Message::read(&body("|LT|1|LM|")), DateOrder::DayMonth);
    assert_eq!(staff, Answer::Card { about: "1".to_owned(), card: CardRead::Staff });
    let text = "|LT|1|101||||CI|0|1a|1500221126|1100251126|FRONT1|";
    assert_eq!(framed(text).last(), Some(&0xB0));
    let guest = Answer::read(&read, Message::read(&body(text)), DateOrder::DayMonth);
    let expected = GuestCard {
        room: "101".to_owned(),
        checked_in: Some(true),
        copy: Some(CopyNumber::Original),
        granted: Authorisations::from_numbers([1, 10]).unwrap(),
        start: Some(arrival()),
        end: Some(departure()),
        operator: "FRONT1".to_owned(),
        ..GuestCard::default()
    };
    assert_eq!(guest, Answer::Card { about: "1".to_owned(), card: CardRead::Guest(Box::new(expected)) });
    assert_eq!(guest.write(&read, DateOrder::DayMonth).unwrap(), body(text));

    let audit = Request::Audit { step: AuditStep::Next, door: "Entrance".to_owned() };
    assert_eq!(framed("|WO|Entrance|").last(), Some(&0x8C));
    assert_eq!(Answer::read(&audit, Message::read(&body("|WO|Entrance|")), DateOrder::DayMonth), Answer::AuditEnd);
}

#[test]
fn unknown_parts_of_answers_stay_visible() {
    let read = Request::ReadCard { encoder: "1".to_owned(), handling: Handling::Eject };
    let text = "|LT|1|101||||XX|9|1Z|99|1100251126|FRONT1|new|";
    let answer = Answer::read(&read, Message::read(&body(text)), DateOrder::DayMonth);
    let Answer::Card { card: CardRead::Guest(guest), .. } = answer else { panic!("{answer:?}") };
    assert_eq!(guest.unread, ["6: XX", "7: 9", "8: 1Z", "9: 99", "new"]);
    assert_eq!((guest.checked_in, guest.copy, guest.start, guest.end), (None, None, None, Some(departure())));
    let strange = Answer::read(&read, Message::read(&body("|EX|1|why|")), DateOrder::DayMonth);
    let Answer::Refused(refusal) = strange else { panic!("{strange:?}") };
    assert_eq!((refusal.code.as_str(), refusal.text.as_str(), refusal.known), ("EX", "why", None));
    assert!(!refusal.is_certainly_without_effect());
}

#[test]
fn an_audit_record_means_the_latest_past_date() {
    let text = body("|WN|Entrance|22/11|15:07|0|I|STAFF   |#D|Jane|");
    let record = AuditRecord::read(Message::read(&text), DateOrder::DayMonth);
    assert_eq!((record.card.clone(), record.copy.as_str(), record.user.as_str()), (AuditCard::Staff, "#D", "Jane"));
    assert_eq!((record.incident.clone(), record.is_exit), (Incident::Opened, Some(false)));
    let at = date(2026, 11, 22).at(15, 7, 0, 0);
    assert_eq!(record.at(at), Some(at));
    assert_eq!(record.at(date(2026, 11, 22).at(15, 6, 0, 0)), Some(date(2025, 11, 22).at(15, 7, 0, 0)));
    let next = Request::Audit { step: AuditStep::Next, door: "Entrance".to_owned() };
    assert_eq!(Answer::Audit(Box::new(record)).write(&next, DateOrder::DayMonth).unwrap(), text);
    let swapped = AuditRecord::read(Message::read(&text), DateOrder::MonthDay);
    assert_eq!(swapped.month_day, None, "there is no month 22");
    let leap = AuditRecord::read(Message::read(&body("|WN|D|29/02|00:00|7|?|        |")), DateOrder::DayMonth);
    assert_eq!((leap.card.clone(), leap.incident.clone()), (AuditCard::Special, Incident::Other("7".to_owned())));
    assert_eq!(leap.at(arrival()), Some(date(2024, 2, 29).at(0, 0, 0, 0)));
}

#[test]
fn answers_fit_only_what_was_asked() {
    let expected = |request: &Request| Expectation::of(request);
    let new_card = expected(&Request::Card(card(KeyKind::CheckIn, Some(2))));
    let copy = expected(&Request::Card(card(KeyKind::Copy, None)));
    let phone = expected(&Request::Mobile(mobile()));
    let trail = expected(&Request::Audit { step: AuditStep::First, door: "Gym".to_owned() });
    for (expectation, text, fit) in [
        (&new_card, "|CN|1|", Fit::Success),
        (&new_card, "|CN2|1|", Fit::Success),
        (&new_card, "|CN|01|", Fit::Success),
        (&new_card, "|CN|", Fit::Success),
        (&new_card, "|CN|2|", Fit::Foreign),
        (&new_card, "|CC|1|", Fit::Foreign),
        (&new_card, "|CNM|1|", Fit::Foreign),
        (&new_card, "|OV|7|", Fit::Refusal),
        (&new_card, "|WO|1|", Fit::Foreign),
        (&new_card, "|QQ|1|", Fit::Unknown),
        (&new_card, "", Fit::Unknown),
        (&copy, "|CC|1|", Fit::Success),
        (&copy, "|CN|1|", Fit::Success),
        (&copy, "|CA|1|", Fit::Foreign),
        (&phone, "|CNM|+34600000000|", Fit::Success),
        (&phone, "|CNM|+34600000001|", Fit::Foreign),
        (&phone, "|CN|+34600000000|", Fit::Foreign),
        (&trail, "|WF|gym|22/11|", Fit::Success),
        (&trail, "|WN|Gym|22/11|", Fit::Foreign),
        (&trail, "|WE|Gym|", Fit::Refusal),
    ] {
        assert_eq!(expectation.fit(Message::read(&body(text))), fit, "{expectation:?} {text}");
    }
}

#[test]
fn fields_are_refused_by_name_at_the_limit() {
    let with = |change: &dyn Fn(&mut CardKey)| {
        let mut key = card(KeyKind::CheckIn, None);
        change(&mut key);
        Request::Card(key).write()
    };
    let long = |count: usize| "x".repeat(count);
    assert!(with(&|key| key.stay.room = long(ROOM_CHARACTERS)).is_ok());
    assert_eq!(
        with(&|key| key.stay.room = long(ROOM_CHARACTERS + 1)),
        Err(FieldError::TooLong { field: "room", characters: 25, limit: 24 })
    );
    assert!(with(&|key| key.stay.operator = long(OPERATOR_CHARACTERS + 1)).is_err());
    assert!(with(&|key| key.stay.code = long(CODE_CHARACTERS)).is_ok());
    assert!(with(&|key| key.stay.code = long(CODE_CHARACTERS + 1)).is_err());
    assert!(with(&|key| key.tracks[2] = long(TEXT_CHARACTERS + 1)).is_err());
    assert_eq!(with(&|key| key.stay.room.clear()), Err(FieldError::Missing { field: "room" }));
    assert_eq!(with(&|key| key.stay.end = None), Err(FieldError::Missing { field: "end" }));
    assert!(with(&|key| (key.kind, key.stay.end, key.stay.start) = (KeyKind::OneShot, None, None)).is_ok());
    assert!(with(&|key| key.stay.end = key.stay.start).is_err());
    assert!(with(&|key| key.stay.denied = Authorisations::from_numbers([10]).unwrap()).is_err());
    assert!(with(&|key| key.stay.more_rooms = vec!["102".to_owned(); 3]).is_ok());
    assert!(with(&|key| key.stay.more_rooms = vec!["102".to_owned(); 4]).is_err());
    assert!(with(&|key| key.cards = Some(9)).is_ok());
    assert!(with(&|key| key.cards = Some(10)).is_err());
    assert!(with(&|key| key.cards = Some(0)).is_err());
    assert!(with(&|key| key.stay.room = " 101".to_owned()).is_err());
    for bad in ['\u{2}', '\u{3}', '\r', '\u{2502}', 'é', '\u{7F}', '\u{B3}'] {
        let refused = with(&|key| key.stay.operator = format!("F{bad}"));
        assert_eq!(refused, Err(FieldError::Character { field: "operator", character: bad, position: 2 }));
    }
    for bad in ["", "+", "34600000000", "+3460000000012345", "+34 600"] {
        let key = MobileKey { phone: bad.to_owned(), ..mobile() };
        assert!(Request::Mobile(key).write().is_err(), "{bad:?}");
    }
}

#[test]
fn requests_that_cannot_be_read_name_the_field() {
    let error = |text: &str| Received::read(Message::read(&body(text))).unwrap_err().to_string();
    assert_eq!(error("|PC|1|"), "the command \"PC\" is not known");
    assert_eq!(error("|CN|1|X|101|"), "field 2 (card handling) of CN cannot be read");
    assert_eq!(error("|CN||E|101|"), "field 1 (encoder) of CN cannot be read");
    assert_eq!(error("|CN|1|E|101||||A|"), "field 7 (authorisations) of CN cannot be read");
    assert_eq!(error("|CN|1|E|101||||||9900221126|"), "field 9 (start) of CN cannot be read");
    assert_eq!(error("|MC|101||2460221126|"), "field 3 (new end) of MC cannot be read");
    assert_eq!(error("||"), "the command \"\" is not known");
    let more = Received::read(Message::read(&body("|CO|0|101|x||y|"))).unwrap();
    assert_eq!(more.extra, ["x", "", "y"]);
    let bar = Received::read(Message::read_either(b"|CO|0|101|")).unwrap();
    assert_eq!(bar.request, Request::CheckOut { room: "101".to_owned() });
    assert!(Received::read(Message::read(b"|CO|0|101|")).is_err(), "only the DOS bar separates");
}

#[test]
fn symbols_of_authorisations() {
    let all = Authorisations::from_numbers(1..=62).unwrap();
    assert_eq!(all.write().len(), 62);
    for (number, symbol) in
        [(1, b'1'), (9, b'9'), (10, b'a'), (35, b'z'), (36, b'!'), (37, b'#'), (56, b'['), (62, b'}')]
    {
        assert_eq!(Authorisations::from_numbers([number]).unwrap().write(), [symbol]);
    }
    assert!(Authorisations::from_numbers([0]).is_err() && Authorisations::from_numbers([63]).is_err());
    assert_eq!(Authorisations::read(b"1A\"1"), (Authorisations::from_numbers([1]).unwrap(), b"A\"".to_vec()));
}

#[test]
fn debug_output_keeps_guests_to_itself() {
    let mut key = mobile();
    key.stay.code = "s3cret".to_owned();
    let shown = format!("{key:?} {:?}", Request::Mobile(key.clone()));
    for hidden in ["34600", "s3cret", "101", "FRONT1"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[test]
fn the_table_of_errors_is_complete_and_careful() {
    let codes: Vec<&str> = error_code::TABLE.iter().map(|row| row.code).collect();
    assert_eq!(codes, ["ES", "NC", "NF", "OV", "EP", "EF", "EV", "TD", "ED", "EA", "OS", "EO", "EG"]);
    for row in error_code::TABLE {
        let doubtful = ["NC", "NF", "EP", "EG"].contains(&row.code);
        assert_eq!(row.certainly_no_effect, !doubtful, "{}", row.code);
    }
    assert_eq!(error_code::lookup(b"EN"), None);
}

fn any_text(limit: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(b' '..=b'~', 0..=limit).prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}

fn any_name(limit: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(b'!'..=b'~', 1..=limit).prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}

prop_compose! {
    fn any_stay()(
        room in any_name(ROOM_CHARACTERS), more_rooms in prop::collection::vec(any_name(ROOM_CHARACTERS), 0..=3),
        granted in prop::collection::vec(1..=31_u8, 0..5), denied in prop::collection::vec(32..=62_u8, 0..5),
        days in prop::option::of(0..20_000_i64), operator in any_text(OPERATOR_CHARACTERS), code in any_text(CODE_CHARACTERS),
    ) -> Stay {
        let end = date(2099, 12, 31).at(23, 59, 0, 0);
        let start = days.map(|days| date(2001, 1, 1).at(0, 30, 0, 0) + jiff::Span::new().days(days));
        let (granted, denied) = (Authorisations::from_numbers(granted).unwrap(), Authorisations::from_numbers(denied).unwrap());
        Stay { room, more_rooms, granted, denied, start, end: Some(end), operator, code }
    }
}

fn any_handling() -> impl Strategy<Value = Handling> {
    prop_oneof![Just(Handling::Eject), Just(Handling::Retain), Just(Handling::RearEject)]
}

fn any_request() -> impl Strategy<Value = Request> {
    let kind = prop_oneof![Just(KeyKind::CheckIn), Just(KeyKind::Copy), Just(KeyKind::OneShot)];
    let serial = prop_oneof![
        Just(ReturnSerial::Unsaid),
        Just(ReturnSerial::No),
        Just(ReturnSerial::Last),
        Just(ReturnSerial::All)
    ];
    let tracks = [any_text(9), any_text(TEXT_CHARACTERS), any_text(9)];
    let card = (kind, prop::option::of(1..=9_u8), any_name(64), any_handling(), any_stay(), tracks, serial).prop_map(
        |(kind, cards, encoder, handling, stay, tracks, serial)| {
            Request::Card(CardKey { kind, cards, encoder, handling, stay, tracks, serial })
        },
    );
    let phone = (any::<bool>(), "\\+[0-9]{1,15}", any_stay(), any_text(TEXT_CHARACTERS)).prop_map(
        |(copy, phone, stay, text)| {
            let kind = if copy { KeyKind::Copy } else { KeyKind::CheckIn };
            Request::Mobile(MobileKey { kind, phone, stay, delivery: MobileDelivery::Phone { text } })
        },
    );
    let returned = (any::<bool>(), "(\\+[0-9]{1,15})?", any_stay()).prop_map(|(installation, phone, stay)| {
        let stay = Stay { code: String::new(), ..stay };
        let delivery = MobileDelivery::Returned { installation };
        Request::Mobile(MobileKey { kind: KeyKind::Copy, phone, stay, delivery })
    });
    let track = prop_oneof![Just(Track::One), Just(Track::Two), Just(Track::Three)];
    let others = (any_name(24), any_handling(), track, any_text(40), any_stay(), 0..7_u8).prop_map(
        |(name, handling, track, text, stay, which)| match which {
            0 => Request::ModifyStay { room: name, new_room: stay.room, end: stay.end, code: stay.code },
            1 => Request::CheckOut { room: name },
            2 => Request::ReadCard { encoder: name, handling },
            3 => Request::ReadTrack { track, encoder: name, handling },
            4 => Request::WriteTrack { track, encoder: name, handling, text },
            5 => Request::Audit { step: AuditStep::Repeat, door: name },
            _ => Request::Information,
        },
    );
    prop_oneof![card, phone, returned, others]
}

proptest! {
    #[test]
    fn requests_come_back(request in any_request()) {
        let bytes = request.write().unwrap();
        prop_assert!(bytes.len() <= MESSAGE_BYTES);
        prop_assert!(bytes.iter().all(|byte| *byte == SEPARATOR || (b' '..=b'~').contains(byte)));
        let received = Received::read(Message::read(&bytes)).unwrap();
        prop_assert_eq!(received, Received { request, extra: Vec::new() });
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(SEPARATOR), Just(b'C'), Just(b'N')], 0..200), request in any_request()) {
        let message = Message::read(&bytes);
        let _any: Result<Received, request::RequestError> = Received::read(message);
        let _any = Answer::read(&request, message, DateOrder::DayMonth);
        let _any = Message::read_either(&bytes).rest(2).count();
    }

    #[test]
    fn stamps_come_back(minutes in 0..52_000_000_i64) {
        let at = date(2000, 1, 1).at(0, 0, 0, 0) + jiff::Span::new().minutes(minutes);
        let text = write_stamp("start", at).unwrap();
        prop_assert_eq!(read_stamp(text.as_bytes()), Some(at));
        prop_assert!(write_stamp("start", at.with().year(1999).day(1).build().unwrap()).is_err());
    }
}
