//! Inventory and events.

use std::sync::atomic::{AtomicI64, Ordering};

use lockbridge_protocol::proto::tunnel::inventory_item::Kind;
use lockbridge_protocol::proto::tunnel::{AccessEvent, AccessEventKind, InventoryItem};
use lockbridge_protocol::ship::envelope::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::server::{Reply, Server};
use super::*;
use crate::config::{AccessLevelConfig, EventStreamConfig};
use crate::system::salto_space::stream::StreamListener;
use crate::system::{Intake, LockSystem, OperationError};

fn param(request: &Request, name: &str) -> Option<String> {
    request.params.iter().find(|param| param.name == name).map(|param| param.text.clone())
}

const DOORS: [&str; 2] = [
    "<SaltoDBDoorList><SaltoDBDoor><ExtDoorID>D1</ExtDoorID><Name>Gym</Name><SaltoDB.MembershipList.Door_Zone><SaltoDB.Membership.Door_Zone><ExtDoorID>D1</ExtDoorID><ExtZoneID>Z1</ExtZoneID></SaltoDB.Membership.Door_Zone></SaltoDB.MembershipList.Door_Zone></SaltoDBDoor><SaltoDBDoor><ExtDoorID>D2</ExtDoorID><Name>Pool</Name></SaltoDBDoor></SaltoDBDoorList><EOF>0</EOF>",
    "<SaltoDBDoorList><SaltoDBDoor><ExtDoorID>D2</ExtDoorID><Name>Pool</Name></SaltoDBDoor><SaltoDBDoor><ExtDoorID>D3</ExtDoorID><Name>Room</Name></SaltoDBDoor></SaltoDBDoorList><EOF>1</EOF>",
];
const STATUS: &str = "<OnlineDoorStatusList><OnlineDoorStatus><DoorID>Gym</DoorID><CommStatus>1</CommStatus></OnlineDoorStatus><OnlineDoorStatus><DoorID>Pool</DoorID><CommStatus>0</CommStatus></OnlineDoorStatus><OnlineDoorStatus><DoorID>Room</DoorID><CommStatus>-1</CommStatus></OnlineDoorStatus></OnlineDoorStatusList>";
const GROUPS: &str = "<SaltoDBGroupList><SaltoDBGroup><ExtGroupID>G1</ExtGroupID><Name>Leisure</Name><SaltoDB.AccessPermissionList.Group_Door><SaltoDB.AccessPermission.Group_Door><ExtDoorID>D2</ExtDoorID></SaltoDB.AccessPermission.Group_Door></SaltoDB.AccessPermissionList.Group_Door><SaltoDB.AccessPermissionList.Group_Zone><SaltoDB.AccessPermission.Group_Zone><ExtZoneID>Z1</ExtZoneID></SaltoDB.AccessPermission.Group_Zone></SaltoDB.AccessPermissionList.Group_Zone></SaltoDBGroup></SaltoDBGroupList><EOF>1</EOF>";

fn site(request: &Request) -> Reply {
    Reply::Params(match request.name.as_str() {
        "OnlineDoor.GetOnlineStatusList" => STATUS.to_owned(),
        "SaltoDBDoorList.Read" => match param(request, "StartingFromExtDoorID").as_deref() {
            None => DOORS[0].to_owned(),
            Some("D2") => DOORS[1].to_owned(),
            Some(other) => panic!("a page from {other}"),
        },
        "SaltoDBGroupList.Read" => GROUPS.to_owned(),
        "SaltoDBUserList.Read" => user_list(
            "<Title>Dr</Title><LastName>Lee</LastName><IsBanned>1</IsBanned><CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>04AB</CurrentROMCode><CurrentKeyStatus>2</CurrentKeyStatus>",
        ),
        other => panic!("request {other}"),
    })
}

async fn scan(system: &SaltoSpace) -> (Vec<InventoryItem>, bool, Result<(), OperationError>) {
    let (sender, mut receiver) = mpsc::channel(64);
    let result = system.scan(sender).await;
    let (mut items, mut complete) = (Vec::new(), false);
    while let Some(intake) = receiver.recv().await {
        match intake {
            Intake::Observed(seen) => items.extend(seen),
            Intake::ScanComplete => complete = true,
            Intake::Events { .. } => panic!("a scan brings no events"),
        }
    }
    (items, complete, result)
}

fn groups(items: &[InventoryItem]) -> Vec<(String, Vec<String>)> {
    let group = |item: &InventoryItem| match &item.kind {
        Some(Kind::Group(group)) => Some((item.external_id.clone(), group.entrance_external_ids.clone())),
        _ => None,
    };
    items.iter().filter_map(group).collect()
}

#[tokio::test]
async fn a_scan_sees_every_object_once_and_says_when_it_saw_all() {
    let server = Server::stp(site).await;
    let (items, complete, result) = scan(&adapter_for(&server)).await;
    result.expect("success");
    assert!(complete);
    let ids: Vec<&str> = items.iter().map(|item| item.external_id.as_str()).collect();
    assert_eq!(ids, ["D1", "D2", "D3", "G1", &external_id(), "Desk"]);
    let doors: Vec<(bool, bool)> = items
        .iter()
        .filter_map(|item| match &item.kind {
            Some(Kind::Entrance(door)) => Some((door.online, door.can_unlock_remotely)),
            _ => None,
        })
        .collect();
    assert_eq!(doors, [(true, true), (false, true), (false, false)]);
    assert_eq!(
        groups(&items),
        [("G1".to_owned(), vec!["D1".to_owned(), "D2".to_owned()])],
        "with the doors of its zone"
    );
    assert_eq!(items[4].display_name, "Dr Lee");
    let Some(Kind::User(user)) = &items[4].kind else { panic!("a user: {:?}", items[4]) };
    assert_eq!((user.user_id.as_str(), user.card_number.as_str()), (USER, "04AB"));
    assert!(user.suspended && user.has_card && user.card_update_needed);
    assert_eq!(items[5].display_name, "Front desk");
}

#[tokio::test]
async fn servers_that_do_not_list_levels_or_online_doors_are_scanned_with_what_the_configuration_says() {
    let server = Server::stp(|request| match request.name.as_str() {
        "SaltoDBGroupList.Read" | "OnlineDoor.GetOnlineStatusList" => Reply::Code(502),
        _ => site(request),
    })
    .await;
    let system = adapter_with(&server, |_, space| {
        space.access_levels = vec![AccessLevelConfig {
            external_id: "G7".to_owned(),
            name: "Staff".to_owned(),
            entrances: vec!["D3".to_owned()],
        }];
    });
    let (items, complete, result) = scan(&system).await;
    result.expect("success");
    assert!(complete);
    assert_eq!(groups(&items), [("G7".to_owned(), vec!["D3".to_owned()])]);
    assert!(items.iter().all(|item| !matches!(&item.kind, Some(Kind::Entrance(door)) if door.can_unlock_remotely)));
}

#[tokio::test]
async fn a_level_whose_zones_are_not_known_is_shown_without_doors() {
    let server = Server::stp(|request| match request.name.as_str() {
        "SaltoDBGroupList.Read" if request.params.len() > 1 => Reply::Code(501),
        "SaltoDBGroupList.Read" => Reply::Params(GROUPS.replace("Group_Zone", "Group_Other")),
        _ => site(request),
    })
    .await;
    let (items, complete, result) = scan(&adapter_for(&server)).await;
    result.expect("success");
    assert!(complete);
    assert_eq!(groups(&items), [("G1".to_owned(), Vec::new())]);
}

#[tokio::test]
async fn a_scan_that_breaks_off_is_never_complete() {
    let stuck = |request: &Request| match request.name.as_str() {
        "SaltoDBDoorList.Read" => Reply::Params(DOORS[0].to_owned()),
        _ => site(request),
    };
    let failing = |request: &Request| match request.name.as_str() {
        "SaltoDBUserList.Read" => Reply::Code(1),
        _ => site(request),
    };
    for server in [Server::stp(stuck).await, Server::stp(failing).await] {
        let (_, complete, result) = scan(&adapter_for(&server)).await;
        assert!(result.is_err() && !complete);
    }
}

/// An audit trail that ends at `last`, three events long at most.
fn trail(request: &Request, last: i64) -> Reply {
    assert_eq!(request.name, "SaltoDBAuditTrail.Read");
    let start: i64 = param(request, "StartingFromEventID").map_or(1, |start| start.parse().expect("a number"));
    let max: usize = param(request, "MaxCount").expect("a bound").parse().expect("a number");
    let mut numbers: Vec<i64> = (start.max(1)..=last).collect();
    if param(request, "DescendingOrder").as_deref() == Some("1") {
        numbers.reverse();
    }
    let events: Vec<String> = numbers
        .into_iter()
        .take(max)
        .map(|id| format!("<SaltoDBAuditTrailEvent><EventID>{id}</EventID><EventDateTime>2026-11-22T13:00:0{}</EventDateTime><Operation>{}</Operation><IsExit>1</IsExit><DoorID>D1</DoorID><SubjectType>0</SubjectType><SubjectID>{}</SubjectID></SaltoDBAuditTrailEvent>", id % 10, 80 + id, external_id()))
        .collect();
    Reply::Params(format!("<SaltoDBAuditTrail>{}</SaltoDBAuditTrail>", events.concat()))
}

async fn next(receiver: &mut mpsc::Receiver<Intake>) -> (Vec<AccessEvent>, String) {
    let intake = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await.expect("in time");
    let Some(Intake::Events { events, cursor }) = intake else { panic!("events: {intake:?}") };
    (events, cursor)
}

#[tokio::test]
async fn events_are_read_from_now_on_and_then_from_the_cursor() {
    let last = Arc::new(AtomicI64::new(1));
    let shown = last.clone();
    let server = Server::stp(move |request| trail(request, shown.load(Ordering::SeqCst))).await;
    let system = Arc::new(adapter_for(&server));
    let (sender, mut receiver) = mpsc::channel(8);
    let reading = system.clone();
    let task = tokio::spawn(async move { reading.events(String::new(), sender).await });
    assert_eq!(next(&mut receiver).await, (Vec::new(), "2".to_owned()), "what was before is history");
    last.store(2, Ordering::SeqCst);
    let (events, cursor) = next(&mut receiver).await;
    assert_eq!(cursor, "3");
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    assert_eq!((event.event_external_id.as_str(), event.occurred_at_ms), ("2", NOW_MS + 2000));
    assert_eq!((event.kind(), event.denied_reason.as_str()), (AccessEventKind::Denied, "expired"));
    assert_eq!((event.entrance_external_id.as_str(), event.user_id.as_str(), event.operation), ("D1", USER, 82));
    assert!(event.is_exit);
    drop(receiver);
    task.await.expect("no panic").expect("ends when nobody listens");

    last.store(4, Ordering::SeqCst);
    let (sender, mut receiver) = mpsc::channel(8);
    let reading = system.clone();
    let task = tokio::spawn(async move { reading.events("3".to_owned(), sender).await });
    let (events, cursor) = next(&mut receiver).await;
    let ids: Vec<&str> = events.iter().map(|event| event.event_external_id.as_str()).collect();
    assert_eq!((ids, cursor.as_str()), (vec!["3", "4"], "5"));
    task.abort();
}

#[tokio::test]
async fn a_trail_that_was_set_back_is_read_on_from_its_end() {
    let server = Server::stp(|request| trail(request, 3)).await;
    let system = adapter_for(&server);
    let (sender, mut receiver) = mpsc::channel(8);
    let reading = system.events("5000".to_owned(), sender);
    let ((), cursor) = tokio::select! {
        result = reading => panic!("ended: {result:?}"),
        (events, cursor) = next(&mut receiver) => (assert!(events.is_empty()), cursor),
    };
    assert_eq!(cursor, "4");
}

#[tokio::test]
async fn a_server_that_ignores_the_start_is_an_error_and_no_endless_loop() {
    let server = Server::stp(|request| {
        let mut request = request.clone();
        request.params.retain(|param| param.name != "StartingFromEventID");
        match param(&request, "DescendingOrder").as_deref() {
            Some("1") => trail(&request, 300),
            _ => trail(&request, 150),
        }
    })
    .await;
    let (sender, _receiver) = mpsc::channel(8);
    let error = adapter_for(&server).events("200".to_owned(), sender).await.expect_err("old events only");
    assert!(error.message.contains("older"), "{error}");
}

#[tokio::test]
async fn the_event_stream_makes_the_trail_be_read_at_once() {
    let last = Arc::new(AtomicI64::new(1));
    let shown = last.clone();
    let server = Server::stp(move |request| trail(request, shown.load(Ordering::SeqCst))).await;
    let reserved = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let listen = reserved.local_addr().expect("bound");
    drop(reserved);
    let system = adapter_with(&server, |_, space| {
        space.audit_interval = Duration::from_secs(3600);
        space.event_stream = Some(EventStreamConfig { listen, udp: true, from: listen.ip() });
    });
    let (sender, mut receiver) = mpsc::channel(8);
    let task = tokio::spawn(async move { system.events(String::new(), sender).await });
    next(&mut receiver).await;
    // The first read of the trail comes after the cursor was told.
    eventually("the first read", || server.names().len() == 2).await;
    last.store(2, Ordering::SeqCst);
    let space = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    space.send_to(br#"[{"EventID":"2"}]"#, listen).await.expect("sends");
    let (events, _) = next(&mut receiver).await;
    assert_eq!(events.len(), 1);
    task.abort();
}

async fn hears(listener: &mut StreamListener, limit: Duration) -> bool {
    tokio::time::timeout(limit, listener.event()).await.is_ok()
}

#[tokio::test]
async fn only_the_named_peer_and_only_events_are_heard() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let local = "127.0.0.1".parse().expect("an address");
    let other = "192.0.2.7".parse().expect("an address");
    let short = Duration::from_millis(200);
    for (from, message, heard) in [
        (local, &b"[{\"EventID\":\"1\"}]"[..], true),
        (local, b"[]", false),
        (local, b"garbage", false),
        (other, b"[{\"EventID\":\"1\"}]", false),
    ] {
        let limit = if heard { Duration::from_secs(10) } else { short };
        for udp in [true, false] {
            let config = EventStreamConfig { listen: any, udp, from };
            let mut listener = StreamListener::open(&config).await.expect("listens");
            let address = listener.local_address().expect("bound");
            let socket = UdpSocket::bind(any).await.expect("a free port");
            let mut stream = None;
            if udp {
                socket.send_to(message, address).await.expect("sends");
            } else {
                let mut connected = TcpStream::connect(address).await.expect("connects");
                connected.write_all(message).await.expect("sends");
                stream = Some(connected);
            }
            assert_eq!(hears(&mut listener, limit).await, heard, "udp {udp}: {}", String::from_utf8_lossy(message));
            drop(stream);
        }
    }
}

#[tokio::test]
async fn a_stream_in_pieces_is_heard_and_a_new_connection_replaces_a_dead_one() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let local = "127.0.0.1".parse().expect("an address");
    let config = EventStreamConfig { listen: any, udp: false, from: local };
    let mut listener = StreamListener::open(&config).await.expect("listens");
    let address = listener.local_address().expect("bound");
    let mut dead = TcpStream::connect(address).await.expect("connects");
    dead.write_all(b"[{\"EventID\"").await.expect("sends");
    assert!(!hears(&mut listener, Duration::from_millis(100)).await);
    dead.write_all(b":\"1\"}]").await.expect("sends");
    assert!(hears(&mut listener, Duration::from_secs(10)).await);
    let mut fresh = TcpStream::connect(address).await.expect("connects");
    fresh.write_all(b"[{\"EventID\":\"2\"}]").await.expect("sends");
    assert!(hears(&mut listener, Duration::from_secs(10)).await);
    drop(dead);
}
