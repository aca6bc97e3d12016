use std::time::Duration;

use jiff::civil::{date, time};
use proptest::prelude::*;

use super::any::AnyRecord;
use super::code::{KeyType, STATUSES, status};
use super::guest::{GuestRecord, GuestRecordKind};
use super::id::{FieldId, RecordId};
use super::key::{KeyRecord, KeyRecordKind, same_encoder};
use super::key_table::{KeyTable, Match, OpenError};
use super::limits::{DESCRIBED_FIELDS, OPEN_KEYS, OTHER_FIELDS, RECORD_BYTES};
use super::link::{LinkConfiguration, LinkDescription, LinkRecord, moment_record};
use super::record::{Record, RecordWriter, ValueError};
use super::value::{FieldList, read_clock, read_date, read_time, write_date};
use crate::line::{Checksum, CodePage, FrameReader, Token, write_frame};

const PAGE: CodePage = CodePage::Cp850;

fn key(text: &str) -> KeyRecord {
    KeyRecord::read(Record::read(text.as_bytes()).unwrap(), PAGE).expect("a key record")
}

fn any_record(text: &str) -> AnyRecord {
    AnyRecord::read(Record::read(text.as_bytes()).unwrap(), PAGE)
}

#[test]
fn samples_of_the_specification_are_read() {
    let request =
        key("KR|WS9|KC3|RN2781|KTD|KO1 02                |GA991230|GD000105|G#12345|$21000278100012345|SI2788;2790|");
    assert_eq!((request.kind, request.key_type), (KeyRecordKind::Request, Some(KeyType::Duplicate)));
    assert_eq!((request.workstation.as_str(), request.encoder.as_str(), request.room.as_str()), ("9", "3", "2781"));
    assert_eq!(request.options, "1 02                ");
    assert_eq!((request.arrival, request.departure), (Some(date(1999, 12, 30)), Some(date(2000, 1, 5))));
    assert_eq!(request.track_two, "1000278100012345");
    assert_eq!(request.more_rooms, ["2788", "2790"]);
    assert!(request.unread.is_empty() && request.missing().next().is_none());

    let one_shot = key("KR|WS3|KC1|RN2781|KTO|KO1 2 1|GA080312|GD080312|DT12:00|");
    assert_eq!((one_shot.key_type, one_shot.departure_time), (Some(KeyType::OneShot), Some(time(12, 0, 0, 0))));
    let moved = key("KM|WS3|KC1|RN3222|RO2781|GA991229|GD000104|G#11122|SI3012;3013|");
    assert_eq!((moved.old_room.as_str(), moved.room.as_str()), ("2781", "3222"));
    let asked = key("KZ|DA090401|TI125208|KC01|WSFO-PC1|");
    assert_eq!((asked.kind, asked.sent_at), (KeyRecordKind::Read, Some(date(2009, 4, 1).at(12, 52, 8, 0))));
    let read = key(
        "KZ|DA090401|TI125213|KC01|WSFO-PC1|G#12345678|RN11345|GNTest|GD090402|DT12:00|ASOK|CTKey Read OK|KO 1 1 23  1 |SI120,135|",
    );
    assert_eq!((read.kind, read.status.as_str(), read.text.as_str()), (KeyRecordKind::ReadAnswer, "OK", "Key Read OK"));
    assert_eq!((read.options.as_str(), read.more_rooms.len()), (" 1 1 23  1 ", 2));
}

#[test]
fn a_lost_tag_fails_nothing_and_stays_visible() {
    let answer = key("KA|FO-PC1|KC1|$201030FE159|ASOK|");
    assert_eq!((answer.status.as_str(), answer.track_two.as_str()), ("OK", "01030FE159"));
    assert_eq!(answer.unread, [(FieldId(*b"FO"), "-PC1".to_owned())]);
    assert_eq!(answer.missing().collect::<Vec<_>>(), [FieldId::WORKSTATION]);
    let AnyRecord::Fields(fields) = any_record("LRGI|FLRNG#SF|") else { panic!("LR") };
    assert_eq!(fields.record, RecordId::GUEST_IN);
    assert_eq!(fields.fields.fields(), [FieldId::ROOM, FieldId::RESERVATION, FieldId::RESYNC_FLAG]);
    let strange = key("KR|WS3|KC1|RN1|KTX|GA991345|K#2|ZZnew||x|");
    assert_eq!(strange.key_type, None);
    let unread: Vec<String> = strange.unread.iter().map(|(field, text)| format!("{field}{text}")).collect();
    assert_eq!(unread, ["KTX", "GA991345", "K#2", "ZZnew"]);
}

#[test]
fn documented_frames() {
    let mut request = KeyRecord::new(KeyRecordKind::Request);
    request.workstation = "3".to_owned();
    request.encoder = "1".to_owned();
    request.room = "2781".to_owned();
    request.key_type = Some(KeyType::New);
    request.arrival = Some(date(2026, 11, 22));
    request.departure = Some(date(2026, 11, 24));
    request.reservation = "11122".to_owned();
    let body = request.write(None, PAGE).unwrap();
    // The order of fields is free; content and checksum are those of the documented frame.
    let mut fields: Vec<&[u8]> = body.split(|byte| *byte == b'|').collect();
    let mut documented: Vec<&[u8]> =
        b"KR|WS3|KC1|RN2781|KTN|GA261122|GD261124|G#11122|".split(|byte| *byte == b'|').collect();
    fields.sort_unstable();
    documented.sort_unstable();
    assert_eq!(fields, documented);
    let mut frame = Vec::new();
    write_frame(&body, Checksum::Checked, RECORD_BYTES, &mut frame).unwrap();
    assert_eq!(frame.last(), Some(&0x03), "a checksum that looks like ETX");
    let mut reader = FrameReader::new(Checksum::Checked, RECORD_BYTES);
    assert_eq!(reader.read(&mut &frame[..]), Some(Token::Frame(&body)));

    let busy = KeyRecord::answer(&request, "BY", "Encoder busy");
    assert_eq!(busy.write(None, PAGE).unwrap(), b"KA|KC1|WS3|ASBY|G#11122|CTEncoder busy|");
    let start = date(2026, 11, 22).at(9, 0, 0, 0);
    assert_eq!(moment_record(RecordId::LINK_START, start).unwrap(), b"LS|DA261122|TI090000|");
    let description = LinkDescription {
        version: "1.0".to_owned(),
        family: "DL".to_owned(),
        returns: Some(128),
        ..LinkDescription::default()
    };
    let local = date(2026, 11, 22).at(9, 0, 1, 0);
    assert_eq!(description.write(local).unwrap(), b"LD|DA261122|TI090001|V#1.0|IFDL|RT128|");
    let fields = FieldList::new([FieldId::STATUS, FieldId::ENCODER, FieldId::WORKSTATION, FieldId::RESERVATION]);
    let record = LinkRecord { record: RecordId::KEY_ANSWER, fields };
    assert_eq!(record.write().unwrap(), b"LR|RIKA|FLASKCWSG#|");
    let configuration = LinkConfiguration::read(Record::read(b"LC|RP16,ROOM|A060;10|A16.2031|PH1|").unwrap());
    assert_eq!((configuration.key_timeout_seconds, configuration.hotel.as_str()), (Some(10), "1"));
    assert_eq!(LinkConfiguration::read(Record::read(&configuration.write().unwrap()).unwrap()), configuration);
}

#[test]
fn the_peer_gets_only_the_fields_it_described() {
    let request = key("KR|WS3|KC1|RN2781|KTN|GNDoe|GD261124|A0x|SI1;2|");
    let wanted = FieldList::read(b"KCRNWSKTGDA0");
    assert_eq!(request.write(Some(&wanted), PAGE).unwrap(), b"KR|KC1|WS3|RN2781|KTN|GD261124|A0x|");
    let without_room = FieldList::read(b"KC");
    assert_eq!(request.write(Some(&without_room), PAGE).unwrap(), b"KR|KC1|WS3|RN2781|KTN|", "what it needs is sent");
}

#[test]
fn values_that_cannot_be_sent_are_named() {
    let with = |change: &dyn Fn(&mut KeyRecord)| {
        let mut request = key("KR|WS3|KC1|RN2781|KTN|");
        change(&mut request);
        request.write(None, PAGE)
    };
    let (record, room) = (RecordId::KEY_REQUEST, FieldId::ROOM);
    assert_eq!(with(&|key| key.room.clear()), Err(ValueError::Missing { record, field: room }));
    assert_eq!(with(&|key| key.key_type = None), Err(ValueError::Missing { record, field: FieldId::KEY_TYPE }));
    for character in ['|', '\u{2}', '\u{3}', '\n', '\u{7F}', '\u{9F}'] {
        let refused = with(&|key| key.room = format!("1{character}"));
        assert_eq!(refused, Err(ValueError::Character { record, field: room, character }));
    }
    let refused = with(&|key| key.guest_name = "Łoś".to_owned());
    let (field, code_page) = (FieldId::NAME, "cp850");
    assert_eq!(refused, Err(ValueError::CodePage { record, field, character: 'Ł', code_page }));
    assert_eq!(refused.unwrap_err().to_string(), "GN of KR holds 'Ł', which the code page cp850 does not have");
    assert!(with(&|key| key.encoder = "12345678".to_owned()).is_ok());
    let field = FieldId::ENCODER;
    let refused = with(&|key| key.encoder = "123456789".to_owned());
    assert_eq!(refused, Err(ValueError::TooLong { record, field, characters: 9, limit: 8 }));
    assert!(with(&|key| key.departure = Some(date(2070, 1, 1))).is_err());
    assert!(with(&|key| key.more_rooms = vec!["1;2".to_owned()]).is_err());
    assert!(with(&|key| key.more_rooms = vec!["1".to_owned(); 33]).is_err());
    // RECORD_BYTES as a whole: KR| and the four fields take 22 bytes, CT and its separator three.
    assert!(with(&|key| key.text = "x".repeat(RECORD_BYTES - 25)).is_ok());
    let bytes = RECORD_BYTES + 1;
    assert_eq!(with(&|key| key.text = "x".repeat(RECORD_BYTES - 24)), Err(ValueError::RecordTooLong { record, bytes }));
}

#[test]
fn leading_zeros_and_spaces_count_in_rooms_but_not_in_encoders() {
    assert_eq!(key("KR|RN0101|KC01|").room, "0101");
    assert_eq!(key("KR|RN 101|").room, " 101");
    for (first, second, same) in
        [("1", "01", true), ("1", "10", false), ("A1", "A1", true), ("A1", "a1", false), ("", "0", false)]
    {
        assert_eq!(same_encoder(first, second), same, "{first} {second}");
    }
}

#[test]
fn code_pages_change_names_only() {
    let body = b"GI|RN101|GNM\x81ller|SF|GSY|G+77|";
    let guest = GuestRecord::read(Record::read(body).unwrap(), PAGE).unwrap();
    assert_eq!((guest.name.as_str(), guest.is_resync, guest.is_shared), ("Müller", true, Some(true)));
    assert_eq!(guest.other, [(FieldId::PROFILE, "77".to_owned())]);
    let back = guest.write(None, PAGE).unwrap();
    assert_eq!(GuestRecord::read(Record::read(&back).unwrap(), PAGE), Some(guest));
    assert!(back.windows(6).any(|window| window == b"M\x81ller"));
    let latin = GuestRecord::read(Record::read(b"GO|RN101|GNM\xFCller|").unwrap(), CodePage::Cp1252).unwrap();
    assert_eq!((latin.kind, latin.name.as_str()), (GuestRecordKind::Out, "Müller"));
}

#[test]
fn every_record_becomes_something() {
    for id in ["LS", "LA", "LE", "DR", "DS", "DE", "NS", "NE"] {
        let record = any_record(&format!("{id}|DA261122|TI090000|"));
        let AnyRecord::Moment { at, .. } = record else { panic!("{record:?}") };
        assert_eq!(at, Some(date(2026, 11, 22).at(9, 0, 0, 0)));
    }
    assert!(matches!(any_record("LD|IFWW|"), AnyRecord::Description(_)));
    assert!(matches!(any_record("LC|"), AnyRecord::Configuration(_)));
    assert!(matches!(any_record("GC|RN1|RO2|"), AnyRecord::Guest(_)));
    let AnyRecord::Room(room) = any_record("RE|RN1|RS3|MLx|") else { panic!("RE") };
    assert_eq!((room.status, room.other), (Some(3), vec![(FieldId(*b"ML"), "x".to_owned())]));
    let AnyRecord::Room(room) = any_record("RE|RN1|RS9|") else { panic!("RE") };
    assert_eq!((room.status, room.other), (None, vec![(FieldId::ROOM_STATUS, "9".to_owned())]));
    let other = any_record("PS|RN1|TA1200|");
    let AnyRecord::Other { id, fields } = other else { panic!("{other:?}") };
    assert_eq!((id, fields.len()), (RecordId(*b"PS"), 2));
    for bad in ["", "K", "1R|", "|KR|", "K|R|"] {
        assert!(Record::read(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let many = format!("PS|{}", "AAx|".repeat(OTHER_FIELDS + 1));
    let AnyRecord::Other { fields, .. } = any_record(&many) else { panic!("PS") };
    assert_eq!(fields.len(), OTHER_FIELDS);
}

#[test]
fn dates_times_and_lists() {
    assert_eq!(read_date(b"700101"), Some(date(1970, 1, 1)));
    assert_eq!(read_date(b"691231"), Some(date(2069, 12, 31)));
    assert_eq!(write_date(date(1969, 12, 31)), None);
    for bad in [&b""[..], b"26112", b"2611222", b"261332", b"26-1-1", b"+61122"] {
        assert_eq!(read_date(bad), None, "{bad:?}");
    }
    assert_eq!(read_time(b"235959"), Some(time(23, 59, 59, 0)));
    assert_eq!(read_time(b"240000"), None);
    for (text, expected) in [
        (&b"12:30"[..], Some(time(12, 30, 0, 0))),
        (b"1230", Some(time(12, 30, 0, 0))),
        (b"1:30", None),
        (b"12:3", None),
        (b"12300", None),
        (b"", None),
    ] {
        assert_eq!(read_clock(text), expected, "{text:?}");
    }
    let list = FieldList::read(b"WSKC$2G#A");
    assert_eq!(list.write(), "WSKC$2G#");
    assert!(list.contains(FieldId::TRACK_TWO) && !list.contains(FieldId::ROOM));
    assert_eq!(FieldList::read(&b"RN".repeat(DESCRIBED_FIELDS + 1)).fields().len(), DESCRIBED_FIELDS);
}

#[test]
fn statuses_are_careful() {
    for row in STATUSES {
        let certain = ["BY", "UR", "DE", "DN", "NG"].contains(&row.code);
        assert_eq!(row.certainly_no_effect, certain, "{}", row.code);
        assert_eq!(row.is_success, row.code == "OK");
    }
    assert_eq!(STATUSES.len(), 20);
    assert_eq!(status("XX"), None);
}

#[test]
fn guests_stay_out_of_logs() {
    let request = key("KR|WS3|KC1|RN2781|KTN|GNDoe|$2SECRET|");
    let guest = any_record("GI|RN2781|GNDoe|");
    let shown = format!("{request:?} {guest:?}");
    for hidden in ["2781", "Doe", "SECRET"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(30);

#[test]
fn one_request_is_open_for_each_encoder() {
    let mut table = KeyTable::new(GRACE);
    let now = Duration::from_secs(5);
    let first = table.open(&key("KR|WS3|KC1|RN1|KTN|G#7|"), now, MINUTE).unwrap();
    assert_eq!(table.open(&key("KR|WS3|KC01|RN2|KTN|"), now, MINUTE), Err(OpenError::Busy));
    assert_eq!(table.open(&key("KA|WS3|KC2|ASOK|"), now, MINUTE), Err(OpenError::NotARequest));
    let second = table.open(&key("KD|WS4|KC2|RN2|"), now, MINUTE).unwrap();
    for (answer, expected) in [
        ("KA|WS3|KC3|ASOK|", Match::Unsolicited),
        ("KA|WS3|ASOK|", Match::Unsolicited),
        ("KZ|WS3|KC1|ASOK|", Match::Unsolicited),
        ("KA|WSOTHER|KC1|ASOK|", Match::Mismatch(first)),
        ("KA|WS3|KC1|ASOK|G#8|", Match::Mismatch(first)),
        ("KA|WSOTHER|KC001|ASOK|G#7|", Match::Answer(first)),
        ("KA|WS3|KC1|ASOK|G#7|", Match::Unsolicited),
        ("KA|KC2|ASDE|", Match::Answer(second)),
    ] {
        assert_eq!(table.answer(&key(answer), now), expected, "{answer}");
    }
    assert_eq!((table.open_count(), table.deadline()), (0, None));
}

#[test]
fn a_late_answer_never_answers_the_next_request() {
    let mut table = KeyTable::new(GRACE);
    let request = key("KR|WS3|KC1|RN1|KTN|");
    let first = table.open(&request, Duration::ZERO, MINUTE).unwrap();
    assert_eq!(table.deadline(), Some(MINUTE));
    assert_eq!(table.tick(Duration::from_millis(59_999)), []);
    assert_eq!(table.tick(MINUTE), [first]);
    assert_eq!(table.tick(MINUTE), [], "said once");
    let until = MINUTE + GRACE;
    assert_eq!(table.open(&request, MINUTE, MINUTE), Err(OpenError::Held { until }));
    assert!(!table.withdraw(first), "too late");
    assert_eq!(table.answer(&key("KA|WS3|KC1|ASOK|"), MINUTE), Match::Late(first));
    let second = table.open(&request, MINUTE, MINUTE).unwrap();
    assert_ne!(first, second);
    // Without a late answer the hold ends by itself.
    assert_eq!(table.link_lost(MINUTE), [second]);
    assert!(table.open(&request, Duration::from_millis(89_999), MINUTE).is_err());
    let third = table.open(&request, until, MINUTE).unwrap();
    assert!(table.withdraw(third));
    assert!(table.open(&request, until, MINUTE).is_ok());
}

#[test]
fn the_table_is_bounded() {
    let mut table = KeyTable::new(GRACE);
    for encoder in 0..OPEN_KEYS {
        table.open(&key(&format!("KZ|WS3|KC{encoder}|")), Duration::ZERO, MINUTE).unwrap();
    }
    assert_eq!(table.open(&key("KZ|WS3|KCx|"), Duration::ZERO, MINUTE), Err(OpenError::Full));
    assert_eq!(table.link_lost(Duration::ZERO).len(), OPEN_KEYS);
    assert!(table.open(&key("KZ|WS3|KCx|"), GRACE, MINUTE).is_ok(), "holds that ended make room");
}

/// Text that every code page has, without what cannot be sent.
fn text(limit: usize) -> impl Strategy<Value = String> {
    let characters = prop_oneof![Just('ü'), Just('É'), Just('ß'), (b' '..=b'{').prop_map(char::from)];
    prop::collection::vec(characters, 0..=limit).prop_map(String::from_iter)
}

fn name(limit: usize) -> impl Strategy<Value = String> {
    text(limit).prop_map(|text| if text.is_empty() { "0".to_owned() } else { text })
}

fn any_page() -> impl Strategy<Value = CodePage> {
    prop_oneof![Just(CodePage::Utf8), Just(CodePage::Latin1), Just(CodePage::Cp1252), Just(CodePage::Cp850)]
}

prop_compose! {
    fn any_key()(
        kind in prop_oneof![
            Just(KeyRecordKind::Request), Just(KeyRecordKind::Delete), Just(KeyRecordKind::Change),
            Just(KeyRecordKind::ReadAnswer), Just(KeyRecordKind::Answer),
        ],
        (encoder, workstation, room, old_room) in (name(8), name(16), name(20), text(20)),
        (guest_name, user, track_one, answer_text) in (text(200), text(16), text(80), text(60)),
        reservation in "[0-9]{1,10}", options in "( ?[0-9]){0,10}", more_rooms in prop::collection::vec("[0-9A-Z]{1,5}", 0..10),
        days in prop::option::of(0..36_000_i32), minutes in prop::option::of(0..1440_i16), sent in any::<bool>(),
        user_defined in prop::collection::vec(text(10), 0..4), returns in prop::option::of(any::<u16>()),
    ) -> KeyRecord {
        let day = days.map(|days| date(1970, 1, 1) + jiff::Span::new().days(days));
        let clock = minutes.map(|minutes| time(i8::try_from(minutes / 60).unwrap(), i8::try_from(minutes % 60).unwrap(), 0, 0));
        let user_defined = FieldId::USER_DEFINED.into_iter().zip(user_defined).filter(|(_, text)| !text.is_empty()).collect();
        KeyRecord {
            encoder, workstation, room, old_room, guest_name, user, track_one, reservation, options, more_rooms, user_defined, returns,
            text: answer_text, key_type: Some(KeyType::New), status: "OK".to_owned(), arrival: day, departure: day, departure_time: clock,
            sent_at: day.filter(|_| sent).map(|day| day.at(1, 2, 3, 0)), ..KeyRecord::new(kind)
        }
    }
}

proptest! {
    #[test]
    fn key_records_come_back(key in any_key(), page in any_page()) {
        let body = key.write(None, page).unwrap();
        prop_assert!(!body.iter().any(|byte| matches!(byte, 0..0x20 | 0x7F)));
        let back = KeyRecord::read(Record::read(&body).unwrap(), page).unwrap();
        prop_assert!(back == key, "{:?}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'|'), Just(b'K'), Just(b'R'), Just(b'L'), Just(b'1')], 0..200), page in any_page()) {
        if let Ok(record) = Record::read(&bytes) {
            let _any = AnyRecord::read(record, page);
        }
        let prefixed = [&b"KR|"[..], &bytes].concat();
        let request = KeyRecord::read(Record::read(&prefixed).unwrap(), page).unwrap();
        let _any = request.write(None, page);
        prop_assert!(request.unread.len() <= OTHER_FIELDS);
    }

    #[test]
    fn fields_come_back_byte_for_byte(values in prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("no mark", |byte| !matches!(*byte, b'|' | 2 | 3)), 0..20), 0..20)) {
        let mut body = b"XX|".to_vec();
        for value in &values {
            body.extend([&b"F#"[..], value, b"|"].concat());
        }
        let back: Vec<Vec<u8>> = Record::read(&body).unwrap().fields().map(|field| field.value.to_vec()).collect();
        prop_assert_eq!(back, values);
    }

    #[test]
    fn a_writer_never_exceeds_what_may_be_sent(values in prop::collection::vec(text(200), 0..20)) {
        let mut writer = RecordWriter::new(RecordId::GUEST_IN, CodePage::Utf8);
        for value in &values {
            writer.field(FieldId::NAME, value, 200).unwrap();
        }
        let length = 3 + values.iter().map(|value| value.len() + 3).sum::<usize>();
        match writer.finish() {
            Ok(body) => prop_assert!(body.len() == length && length <= RECORD_BYTES),
            Err(error) => prop_assert!(length > RECORD_BYTES, "{}", error),
        }
    }

    #[test]
    fn every_request_ends_once(events in prop::collection::vec((0..4_u8, 0..3_u8, 0..40_u64), 0..60)) {
        let mut table = KeyTable::new(GRACE);
        let mut now = Duration::ZERO;
        let mut open = std::collections::BTreeMap::new();
        for (event, encoder, seconds) in events {
            now += Duration::from_secs(seconds);
            for ended in table.tick(now) {
                prop_assert!(open.remove(&ended).is_some(), "ends once");
            }
            match event {
                0 => if let Ok(ticket) = table.open(&key(&format!("KR|WS1|KC{encoder}|RN1|KTN|")), now, MINUTE) {
                    prop_assert!(!open.values().any(|other| *other == encoder), "one for each encoder");
                    prop_assert!(open.insert(ticket, encoder).is_none());
                },
                1 => match table.answer(&key(&format!("KA|WS1|KC0{encoder}|ASOK|")), now) {
                    Match::Answer(ticket) => prop_assert_eq!(open.remove(&ticket), Some(encoder)),
                    Match::Late(ticket) => prop_assert!(!open.contains_key(&ticket)),
                    Match::Unsolicited => prop_assert!(!open.values().any(|other| *other == encoder)),
                    Match::Mismatch(_) => prop_assert!(false),
                },
                2 => for ended in table.link_lost(now) {
                    prop_assert!(open.remove(&ended).is_some());
                },
                _ => {}
            }
            prop_assert_eq!(table.open_count(), open.len());
        }
    }
}
