//! Typed requests and answers of SHIP, scalars, tables and paging.
#![allow(clippy::expect_used, reason = "helpers of tests")]

use jiff::civil::{DateTime, date};
use lockbridge_protocol::proto::tunnel::AccessEventKind;
use lockbridge_protocol::ship::call::{
    Call, CallError, DoorSelection, GetInfo, ReadAuditTrail, ReadKey, ReadOnlineStatus, ReadUsers, Upsert, WriteUser,
};
use lockbridge_protocol::ship::entity::{Entity, Group, User, UserDoorPermission, UserGroupMembership};
use lockbridge_protocol::ship::enumeration::{
    CommunicationStatus, CurrentKeyStatus, DoorStatus, DoorType, MobileAppType, ShowDoorIdAs, ShowUserIdAs, SubjectType,
};
use lockbridge_protocol::ship::envelope::{Answer, EnvelopeError, Exception};
use lockbridge_protocol::ship::paging::{Page, PageRequest, Pager, PagingError};
use lockbridge_protocol::ship::value::{Period, Personal, chip_serial, format_datetime, parse_datetime};
use lockbridge_protocol::ship::xml::Element;
use lockbridge_protocol::ship::{Notes, error_code, http, limits, operation};
use proptest::prelude::*;

fn answer(name: &str, params: &str) -> Vec<u8> {
    format!("<?xml version='1.0' encoding='utf-8'?>\n<RequestResponse>\n <RequestName> {name} </RequestName>\n <Params>{params}</Params>\n</RequestResponse>")
        .into_bytes()
}

fn users(page: PageRequest) -> ReadUsers {
    ReadUsers { page, groups: true, doors: true, zones: false }
}

const FIRST: PageRequest = PageRequest { max_count: 100, starting_from: None };

#[test]
fn a_list_of_users_as_servers_write_it_is_read() {
    let document = answer(
        "SaltoDBUserList.Read",
        "<SaltoDBUserList><SaltoDBUser><ExtUserID>U1</ExtUserID><Title/><FirstName>Ann</FirstName><LastName>Lee</LastName>
        <CurrentROMCode>04BD04229B6684</CurrentROMCode><UserActivation>2020-8-5T0:00:00</UserActivation>
        <UserExpiration.Enabled>1</UserExpiration.Enabled><UserExpiration>2020-08-05T24:00:00</UserExpiration>
        <CurrentKeyExists>1</CurrentKeyExists>
        <CurrentKeyPeriod><StartDate>2000-01-01T00:00:00</StartDate><EndDate>2020-08-05T24:00:00</EndDate></CurrentKeyPeriod>
        <CurrentKeyStatus>3</CurrentKeyStatus><IsBanned>0</IsBanned><MobileAppType>7</MobileAppType>
        <SaltoDB.AccessPermissionList.User_Door/>
        <SaltoDB.MembershipList.User_Group><SaltoDB.Membership.User_Group><ExtUserID>U1</ExtUserID><ExtGroupID>G1</ExtGroupID>
          <UsePeriod>0</UsePeriod></SaltoDB.Membership.User_Group></SaltoDB.MembershipList.User_Group>
        <Colour>red</Colour><CalendarID>many</CalendarID></SaltoDBUser></SaltoDBUserList><EOF>0</EOF><Extra/>",
    );
    let mut notes = Notes::default();
    let page = users(FIRST).parse_answer(&document, &mut notes).expect("an answer");
    assert_eq!(page.is_last, Some(false));
    let [user] = &page.items[..] else { panic!("one user: {page:?}") };
    assert_eq!(user.external_id.as_deref(), Some("U1"));
    assert_eq!(user.title, Some(Personal(String::new())));
    assert_eq!(user.expiration, Some(date(2020, 8, 6).at(0, 0, 0, 0)));
    assert_eq!(user.current_key_period.map(|period| period.end), Some(date(2020, 8, 6).at(0, 0, 0, 0)));
    assert_eq!(user.current_key_status, Some(CurrentKeyStatus::UpdateRequired));
    assert_eq!(user.mobile_app, Some(MobileAppType::Other(7)));
    assert_eq!(user.doors, Some(Vec::new()), "asked for and empty");
    assert_eq!(user.zones, None, "not asked for");
    assert_eq!(user.groups.as_ref().and_then(|groups| groups[0].group_id.as_deref()), Some("G1"));
    let lines: Vec<&str> = notes.iter().collect();
    assert_eq!(
        lines,
        ["Params/Extra is not known", "SaltoDBUser/CalendarID cannot be read", "SaltoDBUser/Colour is not known"]
    );
}

#[test]
fn notes_are_bounded_and_say_so() {
    let fields: Vec<String> = (0..limits::NOTES + 5).map(|number| format!("<New{number}/>")).collect();
    let mut notes = Notes::default();
    users(FIRST)
        .parse_answer(&answer("SaltoDBUserList.Read", &fields.concat()), &mut notes)
        .expect("unknown fields are not fatal");
    assert_eq!(notes.iter().count(), limits::NOTES);
    assert!(notes.is_cut());
}

#[test]
fn names_and_codes_of_people_stay_out_of_debug_output() {
    let user =
        User { first_name: Some(Personal("Ann".into())), pin_code: Some(Personal("4711".into())), ..User::default() };
    let shown = format!("{user:?}");
    assert!(!shown.contains("Ann") && !shown.contains("4711"), "{shown}");
}

#[test]
fn a_written_user_has_the_documented_order_and_no_read_only_field() {
    let user = User {
        external_id: Some("U1".into()),
        first_name: Some(Personal("A & B".into())),
        current_rom_code: Some("04".into()),
        current_key_exists: Some(true),
        current_key_status: Some(CurrentKeyStatus::UpToDate),
        expiration: Some(date(2026, 11, 22).at(8, 5, 9, 0)),
        is_banned: Some(false),
        groups: Some(Vec::new()),
        doors: Some(vec![UserDoorPermission { door_id: Some("D1".into()), ..UserDoorPermission::default() }]),
        ..User::default()
    };
    let call = WriteUser { upsert: Upsert::InsertOrUpdate, user };
    let document = call.to_document();
    let params = document.split("<Params>").nth(1).and_then(|rest| rest.split("</Params>").next());
    assert_eq!(
        params,
        Some(
            "<SaltoDBUser><ExtUserID>U1</ExtUserID><FirstName>A &amp; B</FirstName><UserExpiration>2026-11-22T08:05:09</UserExpiration><IsBanned>0</IsBanned><SaltoDB.AccessPermissionList.User_Door><SaltoDB.AccessPermission.User_Door><ExtDoorID>D1</ExtDoorID></SaltoDB.AccessPermission.User_Door></SaltoDB.AccessPermissionList.User_Door><SaltoDB.MembershipList.User_Group/></SaltoDBUser>"
        )
    );
}

#[test]
fn exceptions_and_answers_to_something_else_are_told_apart() {
    let mut notes = Notes::default();
    let exception = |name: &str| {
        let outcome = Err(Exception { code: 500, message: "bad".into() });
        Answer { name: name.into(), outcome }.to_document().into_bytes()
    };
    for name in ["GetInfo", ""] {
        let result = GetInfo.parse_answer(&exception(name), &mut notes);
        assert_eq!(result, Err(CallError::Exception(Exception { code: 500, message: "bad".into() })), "{name:?}");
    }
    for document in [exception("OnlineDoor.Open"), answer("OnlineDoor.Open", ""), answer("", "")] {
        assert!(matches!(GetInfo.parse_answer(&document, &mut notes), Err(CallError::OtherRequest { .. })));
    }
    assert!(matches!(GetInfo.parse_answer(b"HELLO", &mut notes), Err(CallError::Unreadable(EnvelopeError::Xml(_)))));
}

#[test]
fn get_info_reads_an_unpadded_clock() {
    let params =
        "<ProtocolID>SHIP</ProtocolID><ProtocolVersion>1.0</ProtocolVersion><DateTime>2004-9-2T12:30:20</DateTime>";
    let info = GetInfo.parse_answer(&answer("GetInfo", params), &mut Notes::default()).expect("an answer");
    assert_eq!(info.time, Some(date(2004, 9, 2).at(12, 30, 20, 0)));
    assert_eq!((info.version.as_str(), info.language.as_str()), ("1.0", ""));
}

#[test]
fn the_serial_is_read_by_name_or_place() {
    let call = ReadKey { encoder: "E".into() };
    let read =
        |params: &str| call.parse_answer(&answer("Encoder.ReadKey", params), &mut Notes::default()).expect("an answer");
    assert_eq!(read("<Anything>04bd04229b6684</Anything>").rom_code.as_deref(), Some("04BD04229B6684"));
    assert_eq!(read("<X>1</X><ROMCode>AB</ROMCode>").rom_code.as_deref(), Some("AB"));
    assert_eq!(read("").rom_code, None);
    assert_eq!(read("<ROMCode>not hex</ROMCode>").rom_code, None);
    assert_eq!(read("<ROMCode>AB</ROMCode><ExtUserID>U1</ExtUserID>").user_id.as_deref(), Some("U1"));
    assert_eq!(chip_serial("00000000000000"), None, "stands for a mobile key");
}

#[test]
fn both_forms_of_the_status_list_are_read() {
    let params = "<OnlineDoorStatusList><OnlineDoorStatus><DoorID>Gym</DoorID><DoorType>0</DoorType><CommStatus>1</CommStatus><DoorStatus>1</DoorStatus></OnlineDoorStatus><OnlineDoorStatus><DoorID>Room</DoorID><DoorType>-1</DoorType><CommStatus>-1</CommStatus></OnlineDoorStatus></OnlineDoorStatusList>";
    let mut notes = Notes::default();
    let all = ReadOnlineStatus::default();
    let doors = all.parse_answer(&answer("OnlineDoor.GetOnlineStatusList", params), &mut notes).expect("an answer");
    assert_eq!(doors[0].communication, Some(CommunicationStatus::Communicating));
    assert_eq!(doors[0].status, Some(DoorStatus::Closed));
    assert_eq!(doors[1].door_type, Some(DoorType::Unknown));
    let wired = ReadOnlineStatus { doors: DoorSelection::default(), wired_only: true };
    let params = "<OnlineIPDoorStatusList><OnlineIPDoorStatus><DoorID>Gym</DoorID><CommStatus>0</CommStatus></OnlineIPDoorStatus></OnlineIPDoorStatusList>";
    let doors = wired.parse_answer(&answer("OnlineIPDoor.GetOnlineStatusList", params), &mut notes).expect("an answer");
    assert_eq!(doors[0].communication, Some(CommunicationStatus::None));
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn the_audit_trail_is_asked_for_and_read() {
    let call = ReadAuditTrail {
        max_count: 100,
        starting_from: Some(4_294_967_297),
        filter: Some("(Operation <> 115)".into()),
        doors_as: ShowDoorIdAs::ExternalId,
        users_as: ShowUserIdAs::ExternalId,
        descending: false,
        in_utc: true,
    };
    assert!(call.to_document().contains(
        "<Params><MaxCount>100</MaxCount><StartingFromEventID>4294967297</StartingFromEventID><FilterExpression>(Operation &lt;&gt; 115)</FilterExpression><ShowDoorIDAs>1</ShowDoorIDAs><ShowUserIDAs>1</ShowUserIDAs><DescendingOrder>0</DescendingOrder><ShowTimeInUTC>1</ShowTimeInUTC></Params>"
    ));
    let params = "<SaltoDBAuditTrail><SaltoDBAuditTrailEvent><EventID>4294967297</EventID><EventDateTime>2026-11-22T15:07:23</EventDateTime><Operation>17</Operation><IsExit>0</IsExit><DoorID>D1</DoorID><SubjectType>0</SubjectType><SubjectID>U1</SubjectID></SaltoDBAuditTrailEvent></SaltoDBAuditTrail>";
    let events =
        call.parse_answer(&answer("SaltoDBAuditTrail.Read", params), &mut Notes::default()).expect("an answer");
    assert_eq!(events[0].event_id, Some(4_294_967_297));
    assert_eq!(events[0].subject_type, Some(SubjectType::Cardholder));
    let empty = call.parse_answer(&answer("SaltoDBAuditTrail.Read", "<SaltoDBAuditTrail/>"), &mut Notes::default());
    assert_eq!(empty, Ok(Vec::new()));
}

#[test]
fn datetimes_are_read_leniently_and_nonsense_is_not() {
    let day = date(2026, 11, 22);
    for (text, expected) in [
        ("2026-11-22T08:05:09", Some(day.at(8, 5, 9, 0))),
        ("2026-11-22T8:5:9", Some(day.at(8, 5, 9, 0))),
        ("2026-11-22 08:05:09.250", Some(day.at(8, 5, 9, 0))),
        ("2026-11-22", Some(day.at(0, 0, 0, 0))),
        ("2026-11-22T24:00:00", Some(date(2026, 11, 23).at(0, 0, 0, 0))),
        ("2026-12-31T24:00:00", Some(date(2027, 1, 1).at(0, 0, 0, 0))),
        ("9999-12-31T24:00:00", None),
        ("2026-11-22T24:00:01", None),
        ("2026-11-22T25:00:00", None),
        ("2026-02-30T00:00:00", None),
        ("2026-11", None),
        ("2026-11-22T08:05", None),
        ("-026-11-22T08:05:09", None),
        ("", None),
    ] {
        assert_eq!(parse_datetime(text), expected, "{text}");
    }
}

#[test]
fn the_error_table_is_sorted_and_says_what_the_reference_says() {
    assert!(error_code::TABLE.is_sorted_by(|a, b| a.code < b.code));
    let retryable: Vec<i64> = error_code::TABLE.iter().filter(|row| row.retryable).map(|row| row.code).collect();
    assert_eq!(retryable, [1, 101, 201, 401, 402, 403]);
    let uncertain: Vec<i64> =
        error_code::TABLE.iter().filter(|row| !row.certainly_no_effect).map(|row| row.code).collect();
    assert_eq!(uncertain, [0, 1, 4, 5, 6, 404, 405]);
    let unknown = error_code::lookup(4711);
    assert_eq!((unknown.code, unknown.retryable, unknown.certainly_no_effect), (4711, false, false));
}

#[test]
fn operations_become_events() {
    assert!(operation::TABLE.is_sorted_by(|a, b| a.code < b.code));
    for (code, kind, method, reason) in [
        (17, AccessEventKind::Unlocked, "card", ""),
        (16, AccessEventKind::Unlocked, "manual", ""),
        (26, AccessEventKind::Unlocked, "keycode", ""),
        (28, AccessEventKind::Unlocked, "remote", ""),
        (82, AccessEventKind::Denied, "", "expired"),
        (89, AccessEventKind::Denied, "", "cancelled"),
        (76, AccessEventKind::KeyUpdated, "", ""),
        (78, AccessEventKind::KeyDeleted, "", ""),
        (104, AccessEventKind::KeyDeleted, "", ""),
        (115, AccessEventKind::Unspecified, "", ""),
        (31_337, AccessEventKind::Unspecified, "", ""),
    ] {
        let found = operation::lookup(code);
        assert_eq!((found.code, found.kind, found.method, found.denied_reason), (code, kind, method, reason));
    }
    for row in operation::TABLE {
        assert_eq!(row.kind == AccessEventKind::Denied, !row.denied_reason.is_empty(), "{row:?}");
        assert_eq!(row.kind == AccessEventKind::Unlocked, !row.method.is_empty(), "{row:?}");
    }
}

#[test]
fn basic_authorization_is_base64_of_the_pair() {
    assert_eq!(http::basic_authorization("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

/// A server with these identifiers, in order; `EOF` as it should be.
fn serve(all: &[String], request: &PageRequest) -> Page<String> {
    let start = request.starting_from.as_ref().map_or(0, |from| all.partition_point(|id| id < from));
    let rest = &all[start..];
    let count = usize::try_from(request.max_count).expect("small").min(rest.len());
    Page { items: rest[..count].to_vec(), is_last: Some(count == rest.len()) }
}

fn walk(pager: &mut Pager, mut page: impl FnMut(&PageRequest) -> Page<String>) -> Result<Vec<String>, PagingError> {
    let mut seen = Vec::new();
    while let Some(request) = pager.next_request() {
        seen.extend(pager.accept(page(&request), |id| Some(id))?);
    }
    Ok(seen)
}

#[test]
fn a_walk_survives_the_deletion_of_the_item_it_goes_on_from() {
    let mut all: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let mut pager = Pager::new(2);
    let seen = walk(&mut pager, |request| {
        if request.starting_from.as_deref() == Some("b") {
            all.retain(|id| id != "b");
        }
        serve(&all, request)
    });
    assert_eq!(seen, Ok(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec()));
}

#[test]
fn a_server_that_repeats_itself_is_found_out() {
    let page = || Page { items: vec!["a".to_owned(), "b".to_owned()], is_last: Some(false) };
    assert_eq!(walk(&mut Pager::new(2), |_| page()), Err(PagingError::Stuck { page: 2 }));
    let mut number = 0_u32;
    let endless = walk(&mut Pager::new(2), |_| {
        number += 1;
        Page { items: vec![number.to_string()], is_last: Some(false) }
    });
    assert_eq!(endless, Err(PagingError::TooLong));
    let nameless = Pager::new(2).accept(Page { items: vec![()], is_last: Some(false) }, |()| None);
    assert_eq!(nameless, Err(PagingError::NoIdentifier { page: 1 }));
}

#[test]
fn a_server_without_end_mark_ends_with_a_page_that_is_not_full() {
    let all: Vec<String> = (b'a'..b'k').map(|letter| char::from(letter).to_string()).collect();
    let seen = walk(&mut Pager::new(3), |request| Page { is_last: None, ..serve(&all, request) });
    assert_eq!(seen, Ok(all));
}

fn datetime() -> impl Strategy<Value = DateTime> {
    (1900_i16..2100, 1_i8..=12, 1_i8..=28, 0_i8..24, 0_i8..60, 0_i8..60)
        .prop_map(|(year, month, day, hour, minute, second)| date(year, month, day).at(hour, minute, second, 0))
}

prop_compose! {
    fn user()(
        id in "[A-Z0-9-]{1,32}", names in prop::option::of(("[a-zé]{0,9}", "[a-zß]{0,9}")), banned in prop::option::of(any::<bool>()),
        number in prop::option::of(any::<i64>()), start in datetime(), end in datetime(), status in -3_i64..9,
        doors in prop::option::of(prop::collection::vec("[A-Z0-9]{1,8}", 0..4)), groups in prop::option::of(prop::collection::vec("[A-Z0-9]{1,8}", 0..4)),
    ) -> User {
        let period = Period { start, end };
        User {
            external_id: Some(id),
            first_name: names.clone().map(|(first, _)| Personal(first)),
            last_name: names.map(|(_, last)| Personal(last)),
            is_banned: banned,
            calendar_id: number,
            activation: Some(start),
            current_key_period: Some(period),
            current_key_status: Some(status.into()),
            mobile_app: Some(status.into()),
            doors: doors.map(|doors| doors.into_iter().map(|door| UserDoorPermission {
                door_id: Some(door), use_period: Some(true), period: Some(period), ..UserDoorPermission::default()
            }).collect()),
            groups: groups.map(|groups| groups.into_iter().map(|group| UserGroupMembership {
                group_id: Some(group), ..UserGroupMembership::default()
            }).collect()),
            ..User::default()
        }
    }
}

proptest! {
    #[test]
    fn users_survive_writing_and_reading(user in user()) {
        let document = user.to_element().to_document("");
        let mut notes = Notes::default();
        let read = User::read(&Element::parse(document.as_bytes()).expect("our own document"), &mut notes);
        prop_assert_eq!(read, user);
        prop_assert!(notes.is_empty());
    }

    #[test]
    fn any_element_is_a_user_or_a_group_without_panic(text in "(<(ExtUserID|UserExpiration|CurrentKeyPeriod|IsBanned|New)>[0-9T:-]{0,8}</(ExtUserID|New)>){0,6}") {
        if let Ok(element) = Element::parse(format!("<a>{text}</a>").as_bytes()) {
            User::read(&element, &mut Notes::default());
            Group::read(&element, &mut Notes::default());
        }
    }

    #[test]
    fn datetimes_survive(datetime in datetime()) {
        prop_assert_eq!(parse_datetime(&format_datetime(datetime)), Some(datetime));
    }

    #[test]
    fn datetime_parser_never_panics(text in "[0-9T: .-]{0,24}") {
        let _any = parse_datetime(&text);
    }

    #[test]
    fn a_walk_sees_everything_once(count in 0_usize..60, page_size in 0_u32..12) {
        let all: Vec<String> = (0..count).map(|number| format!("{number:04}")).collect();
        prop_assert_eq!(walk(&mut Pager::new(page_size), |request| serve(&all, request)), Ok(all.clone()));
    }
}
