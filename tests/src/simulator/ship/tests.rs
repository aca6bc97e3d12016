use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::refusal::code;
use super::super::site::card::{Card, random_serial};
use super::super::site::effect::EffectKind;
use super::super::site::keys::{self, Write};
use super::super::site::present::{self, Presented};
use super::super::site::{Site, seed};
use super::super::wire::xml::Node;
use super::*;

const RULES: Rules = Rules { strict: true, non_standard: true, card_capacity: 96 };
const UPDATE_KEY: &str = "A1B2C3D4E5F60718293A4B5C6D7E8F90";

fn demo() -> Site {
    let mut site = Site::new(TimeZone::get("Europe/Madrid").unwrap());
    site.fixed_clock = Some("2026-11-22T11:30:20Z".parse().unwrap());
    seed::demo(&mut site);
    site
}

fn ask_with(site: &mut Site, name: &str, params: &str, rules: Rules) -> Result<Node, u16> {
    let body = format!("<RequestCall><RequestName> {name} </RequestName><Params>{params}</Params></RequestCall>");
    let request = Request::parse(body.as_bytes(), rules).map_err(|(_, refusal)| refusal.code)?;
    carry_out(site, &request, rules)
        .map(|children| Node::new("Params").with_all(children))
        .map_err(|refusal| refusal.code)
}

fn ask(site: &mut Site, name: &str, params: &str) -> Result<Node, u16> {
    ask_with(site, name, params, RULES)
}

fn user(fields: &str) -> String {
    format!("<SaltoDBUser>{fields}</SaltoDBUser>")
}

fn put(site: &mut Site, fields: &str) -> Result<Node, u16> {
    ask(site, "SaltoDBUser.InsertOrUpdate", &user(fields))
}

fn ann(site: &mut Site) {
    let door = "<SaltoDB.AccessPermissionList.User_Door><SaltoDB.AccessPermission.User_Door><ExtDoorID>ROOM101</ExtDoorID>\
                </SaltoDB.AccessPermission.User_Door></SaltoDB.AccessPermissionList.User_Door>";
    put(site, &format!("<ExtUserID>ann</ExtUserID><FirstName>Ann</FirstName><LastName>Lee</LastName>{door}")).unwrap();
}

/// A blank card with Ann's key on it.
fn encoded(site: &mut Site) -> String {
    let serial = random_serial();
    site.put_card(Card::blank(serial.clone(), true));
    keys::check_card(site, "ann", &serial, Write::Assign, 96).unwrap();
    keys::write(site, "ann", &serial, Write::Assign, "Front desk 1");
    serial
}

fn at(site: &mut Site, serial: &str, door: &str) -> Presented {
    present::present(site, serial, door, false).unwrap()
}

/// What the user list says about one user's field.
fn shown(site: &mut Site, id: &str, field: &str) -> Option<String> {
    let params = format!("<MaxCount>1</MaxCount><StartingFromExtUserID>{id}</StartingFromExtUserID>");
    let answer = ask(site, "SaltoDBUserList.Read", &params).unwrap();
    let user = &answer.child("SaltoDBUserList").unwrap().children[0];
    assert_eq!(user.child("ExtUserID").unwrap().text, id);
    user.child(field).map(|node| node.text.clone())
}

#[test]
fn pages_start_inclusively_and_tell_the_end() {
    let mut site = demo();
    for number in 1..=5 {
        put(&mut site, &format!("<ExtUserID>p{number}</ExtUserID><LastName>P{number}</LastName>")).unwrap();
    }
    let mut page = |start: &str, most: u32| {
        let params = format!("<MaxCount>{most}</MaxCount><StartingFromExtUserID>{start}</StartingFromExtUserID>");
        let answer = ask(&mut site, "SaltoDBUserList.Read", &params).unwrap();
        let users = answer.child("SaltoDBUserList").unwrap().children.iter();
        let ids: Vec<String> = users.map(|user| user.child("ExtUserID").unwrap().text.clone()).collect();
        (ids, answer.child("EOF").unwrap().text.clone())
    };
    assert_eq!(page("p2", 3), (vec!["p2".to_owned(), "p3".to_owned(), "p4".to_owned()], "0".to_owned()));
    assert_eq!(page("p4", 2), (vec!["p4".to_owned(), "p5".to_owned()], "1".to_owned()));
    assert_eq!(page("p9", 2), (Vec::new(), "1".to_owned()));
    assert_eq!(ask(&mut site, "SaltoDBUserList.Read", "<MaxCount>0</MaxCount>"), Err(code::INVALID));
    assert_eq!(ask(&mut site, "SaltoDBUserList.Read", "<MaxCount>x</MaxCount>"), Err(code::WRONG_TYPE));
}

#[test]
fn lists_come_only_when_asked_for_and_empty_ones_self_closed() {
    let mut site = demo();
    put(&mut site, "<ExtUserID>zed</ExtUserID><LastName>Zed</LastName>").unwrap();
    assert_eq!(shown(&mut site, "zed", "SaltoDB.MembershipList.User_Group"), None);
    let params = "<MaxCount>1</MaxCount><StartingFromExtUserID>zed</StartingFromExtUserID>\
                  <ReturnMembership_User_Group>1</ReturnMembership_User_Group>\
                  <ReturnAccessPermissions_User_Zone>1</ReturnAccessPermissions_User_Zone>";
    let document = answer("X", Ok(ask(&mut site, "SaltoDBUserList.Read", params).unwrap().children)).to_document();
    assert!(document.contains("<SaltoDB.MembershipList.User_Group/>"), "{document}");
    assert!(document.contains("<SaltoDB.AccessPermissionList.User_Zone/>"), "{document}");
    assert!(!document.contains("User_Door"), "{document}");
    assert!(document.contains("<CurrentKeyExists>0</CurrentKeyExists><CurrentKeyStatus>0<"), "{document}");
}

#[test]
fn what_a_real_server_refuses_is_refused() {
    let mut site = demo();
    ann(&mut site);
    let long = "x".repeat(33);
    let period = |start: &str, end: &str| {
        format!(
            "<ExtUserID>new</ExtUserID><LastName>N</LastName><SaltoDB.AccessPermissionList.User_Door>\
             <SaltoDB.AccessPermission.User_Door><ExtDoorID>GYM</ExtDoorID><UsePeriod>1</UsePeriod><Period>\
             <StartDate>{start}</StartDate><EndDate>{end}</EndDate></Period></SaltoDB.AccessPermission.User_Door>\
             </SaltoDB.AccessPermissionList.User_Door>"
        )
    };
    let door = |id: &str| period("2026-1-1T0:0:0", "2027-1-1T0:0:0").replace("GYM", id);
    let group = "<SaltoDB.MembershipList.User_Group><SaltoDB.Membership.User_Group><ExtGroupID>NONE</ExtGroupID>\
                 </SaltoDB.Membership.User_Group></SaltoDB.MembershipList.User_Group>";
    for (fields, expected) in [
        ("<LastName>N</LastName>".to_owned(), code::INVALID),
        (format!("<ExtUserID>{long}</ExtUserID><LastName>N</LastName>"), code::INVALID),
        ("<ExtUserID>new</ExtUserID>".to_owned(), code::INVALID),
        ("<ExtUserID>new</ExtUserID><FirstName>Ann</FirstName><LastName>Lee</LastName>".to_owned(), code::USER_EXISTS),
        (format!("<ExtUserID>new</ExtUserID><FirstName>{}</FirstName>", "x".repeat(41)), code::INVALID),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><Colour>red</Colour>".to_owned(), code::UNEXPECTED_NODES),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><LastName>N</LastName>".to_owned(), code::UNEXPECTED_NODES),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><CurrentKeyStatus>1</CurrentKeyStatus>".to_owned(), code::UNEXPECTED_NODES),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><Office>yes</Office>".to_owned(), code::WRONG_TYPE),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><UserExpiration>soon</UserExpiration>".to_owned(), code::WRONG_TYPE),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><CalendarID>x</CalendarID>".to_owned(), code::WRONG_TYPE),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><PhoneNumber>600</PhoneNumber>".to_owned(), code::INVALID),
        ("<ExtUserID>new</ExtUserID><LastName>N</LastName><KeyIsCancellableThroughBlacklist>0</KeyIsCancellableThroughBlacklist>".to_owned(), code::EXPIRY_TOO_FAR),
        (door("NOWHERE"), code::DOOR_NOT_FOUND),
        (period("2027-1-1T0:0:0", "2026-1-1T0:0:0"), code::INVALID),
        (format!("<ExtUserID>new</ExtUserID><LastName>N</LastName>{group}"), code::NOT_FOUND),
    ] {
        assert_eq!(put(&mut site, &fields), Err(expected), "{fields}");
        assert!(!site.users.contains_key("new"), "{fields}");
    }
    put(&mut site, &door("GYM")).unwrap();
    let ann = user("<ExtUserID>ann</ExtUserID><LastName>Else</LastName>");
    assert_eq!(ask(&mut site, "SaltoDBUser.Insert", &ann), Err(code::USER_EXISTS));
    let nobody = user("<ExtUserID>nobody</ExtUserID><LastName>N</LastName>");
    assert_eq!(ask(&mut site, "SaltoDBUser.Update", &nobody), Err(code::USER_NOT_FOUND));
    assert_eq!(ask(&mut site, "SaltoDBUser.Delete", "<ExtUserID>nobody</ExtUserID>"), Err(code::USER_NOT_FOUND));
    assert_eq!(ask(&mut site, "SaltoDBZone.Insert", ""), Err(code::UNKNOWN_REQUEST));
    assert_eq!(ask(&mut site, "GetInfo", "<X/>"), Err(code::UNEXPECTED_NODES));
    let standard = Rules { non_standard: false, ..RULES };
    for request in ["SaltoDBGroupList.Read", "SaltoDBUser.CancelKey"] {
        assert_eq!(ask_with(&mut site, request, "", standard), Err(code::UNKNOWN_REQUEST));
    }
    let lenient = Rules { strict: false, ..RULES };
    let odd = user("<ExtUserID>odd</ExtUserID><LastName>Odd</LastName><Colour>red</Colour>");
    ask_with(&mut site, "SaltoDBUser.Insert", &odd, lenient).unwrap();
}

#[test]
fn an_update_changes_only_what_it_holds() {
    let mut site = demo();
    ann(&mut site);
    put(&mut site, "<ExtUserID>ann</ExtUserID><GPF1> Jos&#xE9; </GPF1>").unwrap();
    assert_eq!(site.users["ann"].full_name(), "Ann Lee");
    assert_eq!(site.users["ann"].get("GPF1"), "Jos\u{e9}");
    assert_eq!(site.users["ann"].doors.len(), 1);
    put(&mut site, "<ExtUserID>ann</ExtUserID><SaltoDB.AccessPermissionList.User_Door/>").unwrap();
    assert!(site.users["ann"].doors.is_empty());
}

#[test]
fn a_key_shows_its_state_and_a_second_one_is_refused() {
    let mut site = demo();
    ann(&mut site);
    let refused = |outcome: Result<(), Refusal>| outcome.unwrap_err().code;
    assert_eq!(refused(keys::check_user(&site, "ann", Write::Update)), code::NO_KEY);
    assert_eq!(refused(keys::check_user(&site, "nobody", Write::Assign)), code::USER_NOT_FOUND);
    let serial = encoded(&mut site);
    assert_eq!(shown(&mut site, "ann", "CurrentKeyExists").unwrap(), "1");
    assert_eq!(shown(&mut site, "ann", "CurrentROMCode").unwrap(), serial);
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "1");
    let key = site.users["ann"].key.clone().unwrap();
    assert_eq!(key.period.end.print_end(), "2026-12-22T24:00:00");
    assert_eq!(refused(keys::check_user(&site, "ann", Write::Assign)), code::HAS_KEY);

    let other = random_serial();
    site.put_card(Card::blank(other.clone(), true));
    assert_eq!(refused(keys::check_card(&site, "ann", &other, Write::Update, 96)), code::NOT_RECOGNISED);
    assert_eq!(refused(keys::check_card(&site, UPDATE_KEY, &serial, Write::Assign, 96)), code::SERIAL_IN_USE);
    site.put_card(Card::blank("04FFFFFFFFFFFF".to_owned(), false));
    assert_eq!(refused(keys::check_card(&site, UPDATE_KEY, "04FFFFFFFFFFFF", Write::Assign, 96)), code::NOT_RECOGNISED);
    assert_eq!(refused(keys::check_card(&site, UPDATE_KEY, &other, Write::Assign, 1)), code::DOES_NOT_FIT);
    let flag = "<ExtUserID>ann</ExtUserID><KeyIsCancellableThroughBlacklist>0</KeyIsCancellableThroughBlacklist>";
    assert_eq!(put(&mut site, flag), Err(code::CANCELLABLE_FIXED));
}

#[test]
fn key_status_follows_rights_that_come_and_go() {
    let mut site = demo();
    ann(&mut site);
    let serial = encoded(&mut site);
    put(&mut site, "<ExtUserID>ann</ExtUserID><GPF1>note</GPF1>").unwrap();
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "1");
    let member = "<ExtUserID>ann</ExtUserID><SaltoDB.MembershipList.User_Group><SaltoDB.Membership.User_Group>\
                  <ExtGroupID>LEISURE</ExtGroupID></SaltoDB.Membership.User_Group></SaltoDB.MembershipList.User_Group>";
    put(&mut site, member).unwrap();
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "2");
    keys::write(&mut site, "ann", &serial, Write::Update, "Front desk 1");
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "1");
    let clear =
        "<SaltoDBGroup><ExtGroupID>LEISURE</ExtGroupID><SaltoDB.AccessPermissionList.Group_Door/></SaltoDBGroup>";
    ask(&mut site, "SaltoDBGroup.Update", clear).unwrap();
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "3");
    keys::spoil(&mut site, "ann", &serial, "Front desk 1");
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "4");
    assert!(!at(&mut site, &serial, "ROOM101").decision.opened);
    keys::check_card(&site, "ann", &serial, Write::Update, 96).unwrap();
    keys::write(&mut site, "ann", &serial, Write::Update, "Front desk 1");
    assert!(at(&mut site, &serial, "ROOM101").decision.opened);
    site.counters.clock_offset_seconds = 31 * 86_400;
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "5");
    assert_eq!(at(&mut site, &serial, "ROOM101").decision.operation, Some(83));
}

#[test]
fn an_offline_door_knows_only_what_the_card_says() {
    let mut site = demo();
    ann(&mut site);
    let serial = encoded(&mut site);
    assert!(at(&mut site, &serial, "Room 101").decision.opened);
    assert_eq!(at(&mut site, &serial, "ROOM102").decision.operation, Some(84));
    assert_eq!(at(&mut site, &serial, "MAIN").decision.operation, Some(84));
    let doors = "<ExtUserID>ann</ExtUserID><SaltoDB.AccessPermissionList.User_Door>\
                 <SaltoDB.AccessPermission.User_Door><ExtDoorID>ROOM102</ExtDoorID></SaltoDB.AccessPermission.User_Door>\
                 <SaltoDB.AccessPermission.User_Door><ExtDoorID>MAIN</ExtDoorID></SaltoDB.AccessPermission.User_Door>\
                 </SaltoDB.AccessPermissionList.User_Door>";
    put(&mut site, doors).unwrap();
    assert!(at(&mut site, &serial, "ROOM101").decision.opened, "the card still says so");
    assert!(!at(&mut site, &serial, "ROOM102").decision.opened, "the card does not say so yet");
    assert!(at(&mut site, &serial, "MAIN").decision.opened, "an online door asks the server");
    keys::write(&mut site, "ann", &serial, Write::Update, "Front desk 1");
    assert!(!at(&mut site, &serial, "ROOM101").decision.opened);
    assert!(at(&mut site, &serial, "ROOM102").decision.opened);
}

#[test]
fn a_cancelled_key_opens_offline_doors_until_they_hear_of_it() {
    let mut site = demo();
    ann(&mut site);
    let lost = encoded(&mut site);
    ask(&mut site, "SaltoDBUser.CancelKey", "<ExtUserID>ann</ExtUserID>").unwrap();
    assert_eq!(shown(&mut site, "ann", "CurrentKeyExists").unwrap(), "0");
    assert_eq!(at(&mut site, &lost, "MAIN").decision.operation, Some(96));
    assert!(at(&mut site, &lost, "ROOM101").decision.opened);
    let replacement = encoded(&mut site);
    assert!(at(&mut site, &replacement, "ROOM101").decision.opened);
    assert_eq!(at(&mut site, &lost, "ROOM101").decision.operation, Some(96));
    assert_eq!(site.take_changes().1.iter().filter(|effect| effect.kind == EffectKind::KeyCancelled).count(), 1);
}

#[test]
fn a_full_denylist_stops_cancelling_encoding_and_new_users() {
    let mut site = demo();
    ann(&mut site);
    encoded(&mut site);
    site.counters.denylist_capacity = 0;
    assert_eq!(ask(&mut site, "SaltoDBUser.CancelKey", "<ExtUserID>ann</ExtUserID>"), Err(code::BUSINESS_RULE));
    assert!(site.users["ann"].key.is_some());
    assert_eq!(keys::check_user(&site, "ann", Write::Update).unwrap_err().code, code::NO_MORE_KEYS);
    assert_eq!(put(&mut site, "<ExtUserID>n</ExtUserID><LastName>N</LastName>"), Err(code::BUSINESS_RULE));
}

#[test]
fn offline_openings_reach_the_trail_by_card_or_by_hand_once() {
    let mut site = demo();
    ann(&mut site);
    let serial = encoded(&mut site);
    assert!(at(&mut site, &serial, "ROOM101").decision.opened);
    assert!(site.audit.is_empty());
    at(&mut site, &serial, "MAIN");
    let operations: Vec<i32> = site.audit.iter().map(|event| event.operation).collect();
    assert_eq!(operations, [17, 84]);
    assert_eq!(present::collect(&mut site, "ROOM101", None), 0);
    at(&mut site, &serial, "ROOM101");
    assert_eq!(present::collect(&mut site, "ROOM101", None), 1);
    present::deliver(&mut site, &serial);
    assert_eq!(site.audit.len(), 3);
}

#[test]
fn an_updating_reader_rewrites_cards_that_are_due_and_erases_cancelled_ones() {
    let mut site = demo();
    ann(&mut site);
    let serial = encoded(&mut site);
    let doors = "<ExtUserID>ann</ExtUserID><SaltoDB.AccessPermissionList.User_Door/>";
    put(&mut site, doors).unwrap();
    assert!(present::present(&mut site, &serial, "MAIN", true).unwrap().card_changed);
    assert_eq!(shown(&mut site, "ann", "CurrentKeyStatus").unwrap(), "1");
    assert_eq!(at(&mut site, &serial, "ROOM101").decision.operation, Some(84));
    ask(&mut site, "SaltoDBUser.Delete", "<ExtUserID>ann</ExtUserID>").unwrap();
    assert!(present::present(&mut site, &serial, "MAIN", true).unwrap().card_changed);
    assert_eq!(at(&mut site, &serial, "ROOM101").decision.operation, None);
}

#[test]
fn a_lock_goes_by_its_own_clock_and_the_period_on_the_card() {
    let mut site = demo();
    let fields = "<ExtUserID>ann</ExtUserID><LastName>Lee</LastName><SaltoDB.AccessPermissionList.User_Door>\
                  <SaltoDB.AccessPermission.User_Door><ExtDoorID>POOL</ExtDoorID><UsePeriod>1</UsePeriod><Period>\
                  <StartDate>2026-11-22T13:00:00</StartDate><EndDate>2026-11-22T24:00:00</EndDate></Period>\
                  </SaltoDB.AccessPermission.User_Door></SaltoDB.AccessPermissionList.User_Door>";
    put(&mut site, fields).unwrap();
    let serial = encoded(&mut site);
    let mut opens_with_offset = |seconds: i64| {
        let mut door = site.doors["POOL"].clone();
        door.clock_offset_seconds = seconds;
        site.put_door(door);
        at(&mut site, &serial, "POOL").decision.opened
    };
    // It is 12:30:20.
    assert!(!opens_with_offset(0));
    assert!(!opens_with_offset(29 * 60 + 39));
    assert!(opens_with_offset(29 * 60 + 40));
    assert!(opens_with_offset(11 * 3600 + 29 * 60 + 39));
    assert!(!opens_with_offset(11 * 3600 + 29 * 60 + 40));
}

#[test]
fn the_trail_is_filtered_and_paged() {
    let mut site = demo();
    for _ in 0..3 {
        let open = "<ExtDoorIDList><ExtDoorID>MAIN</ExtDoorID></ExtDoorIDList><DoorNameList><DoorID>Gym</DoorID></DoorNameList>";
        ask(&mut site, "OnlineDoor.Open", open).unwrap();
    }
    let mut ids = |params: &str| {
        let answer = ask(&mut site, "SaltoDBAuditTrail.Read", params).unwrap();
        let events = answer.child("SaltoDBAuditTrail").unwrap().children.iter();
        events
            .map(|event| event.child("EventID").unwrap().text.parse::<u64>().unwrap() - 95_000_000)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("<MaxCount>2</MaxCount><StartingFromEventID>95000003</StartingFromEventID>"), [3, 4]);
    let gym = "<MaxCount>9</MaxCount><FilterExpression>(DoorID = 'Gym') AND (Operation &lt;&gt; 17)</FilterExpression>";
    assert_eq!(ids(gym), [1, 3, 5]);
    let newest = "<MaxCount>2</MaxCount><DescendingOrder>1</DescendingOrder>";
    assert_eq!(ids(newest), [6, 5]);
    assert_eq!(ids("<MaxCount>2</MaxCount><StartingFromEventID>95000007</StartingFromEventID>"), [0_u64; 0]);
    let bad = "<MaxCount>2</MaxCount><FilterExpression>Colour = 1</FilterExpression>";
    assert_eq!(ask(&mut site, "SaltoDBAuditTrail.Read", bad), Err(code::INVALID));
}

#[test]
fn door_commands_answer_per_door() {
    let mut site = demo();
    let doors = "<DoorNameList><DoorID>Gym</DoorID><DoorID>Room 101</DoorID><DoorID>Nowhere</DoorID></DoorNameList>";
    let mut codes = |name: &str| {
        let answer = ask(&mut site, name, doors).unwrap();
        let rows = answer.children[0].children.iter();
        rows.map(|row| row.child("ErrorCode").unwrap().text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(codes("OnlineDoor.Open"), ["0", "7", "100"]);
    assert_eq!(codes("OnlineDoor.EmergencyClose"), ["0", "7", "100"]);
    assert_eq!(codes("OnlineDoor.Open"), ["7", "7", "100"]);
    assert_eq!(codes("OnlineDoor.EndOfEmergency"), ["0", "7", "100"]);
    let answer = ask(&mut site, "OnlineDoor.GetOnlineStatusList", doors).unwrap();
    let status = |row: usize| answer.children[0].children[row].child("DoorStatus").unwrap().text.clone();
    assert_eq!((status(0), status(1)), ("1".to_owned(), "-1".to_owned()));
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(request) = Request::parse(&body, RULES) {
            prop_assert!(!request.name.is_empty());
        }
    }

    #[test]
    fn trees_survive_printing_and_reading(texts in proptest::collection::vec("[ -~\u{e9}]{0,20}", 1..8)) {
        let tree = Node::new("A").with_all(texts.iter().map(|text| Node::leaf("B", text.trim())));
        prop_assert_eq!(Node::parse(tree.to_document().as_bytes()).unwrap(), tree);
    }

    #[test]
    fn membership_changes_keep_indexes_and_records_alike(changes in proptest::collection::vec((0..4_u8, 0..3_usize), 1..30)) {
        let mut site = demo();
        let groups = ["RESIDENTS", "LEISURE", "STAFF"];
        for (user, group) in changes {
            let id = format!("u{user}");
            let list = format!("<SaltoDB.MembershipList.User_Group><SaltoDB.Membership.User_Group><ExtGroupID>{}</ExtGroupID></SaltoDB.Membership.User_Group></SaltoDB.MembershipList.User_Group>", groups[group]);
            put(&mut site, &format!("<ExtUserID>{id}</ExtUserID><LastName>{id}</LastName>{list}")).unwrap();
        }
        for group in groups {
            let direct: Vec<String> = site.users.values()
                .filter(|user| user.groups.iter().any(|membership| membership.group == group))
                .map(|user| user.id.clone()).collect();
            prop_assert_eq!(site.members(group), direct);
        }
    }
}
