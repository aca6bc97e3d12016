use super::*;

#[tokio::test]
async fn the_link_and_the_lock_server_are_told_apart() {
    let hotel = Hotel::open().await;
    let errors = async || codes(&hotel.get("/acs/systems/list").await["acs_systems"][0]["errors"], "error_code");
    assert!(errors().await.is_empty());
    hotel.link(false).await;
    assert_eq!(errors().await, ["bridge_disconnected"]);
    hotel.link(true).await;
    hotel.health(false, false).await;
    assert_eq!(errors().await, ["lock_server_unreachable"]);
    hotel.health(true, false).await;
    assert_eq!(errors().await, ["acs_system_disconnected"]);
    hotel.health(true, true).await;
    assert!(errors().await.is_empty());
    let events = hotel.event_types().await;
    let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
    assert_eq!((count("acs_system.added"), count("acs_system.connected"), count("acs_system.disconnected")), (1, 3, 2));
}

#[tokio::test]
async fn inventory_is_idempotent_and_keeps_ids() {
    let hotel = Hotel::open().await;
    let before = hotel.get("/acs/entrances/list").await;
    let delta = proto::InventoryDelta {
        lock_system: "space".to_owned(),
        items: vec![item("101", false, proto::inventory_item::Kind::Entrance(entrance(false)))],
        scan_complete: true,
    };
    hotel.told(Told::InventoryDelta(delta.clone())).await;
    hotel.told(Told::InventoryDelta(delta)).await;
    assert_eq!(hotel.get("/acs/entrances/list").await, before);
    let events = hotel.event_types().await;
    assert_eq!(events.iter().filter(|event| *event == "acs_entrance.added").count(), 3);
}

#[tokio::test]
async fn a_door_that_vanishes_leaves_its_grants() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101", "102"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&grant).await).await;
    hotel.carry_out().await;
    let gone = item("102", true, proto::inventory_item::Kind::Entrance(proto::ObservedEntrance::default()));
    let delta = proto::InventoryDelta { lock_system: "space".to_owned(), items: vec![gone], scan_complete: false };
    hotel.told(Told::InventoryDelta(delta)).await;
    let given = hotel.commands().await;
    assert!(matches!(&given[0].body, Command::PutGrant(put) if put.entrance_external_ids == ["101"]));
    hotel.succeed(&given[0]).await;
    let events = hotel.event_types().await;
    assert!(events.contains(&"acs_entrance.removed".to_owned()));
    assert_eq!(events.iter().filter(|event| *event == "access_grant.access_to_door_lost").count(), 1);
}

#[tokio::test]
async fn access_events_carry_the_time_of_the_site_and_are_stored_once() {
    let hotel = Hotel::open().await;
    let event = |id: &str, kind: proto::AccessEventKind, reason: &str| proto::AccessEvent {
        event_external_id: id.to_owned(),
        occurred_at_ms: START - 5 * HOUR,
        kind: kind.into(),
        entrance_external_id: "101".to_owned(),
        method: "card".to_owned(),
        denied_reason: reason.to_owned(),
        ..proto::AccessEvent::default()
    };
    let events = proto::AccessEvents {
        lock_system: "space".to_owned(),
        events: vec![
            event("e1", proto::AccessEventKind::Unlocked, ""),
            event("e2", proto::AccessEventKind::Denied, "expired"),
        ],
    };
    hotel.told(Told::AccessEvents(events.clone())).await;
    hotel.told(Told::AccessEvents(events)).await;
    let target = format!("/events/list?since=2026-11-22T00:00:00Z&acs_entrance_id={}", hotel.door("101").await);
    let events = hotel.get(&format!("{target}&event_types=lock.unlocked,lock.access_denied")).await["events"].clone();
    assert_eq!(codes(&events, "event_type"), ["lock.unlocked", "lock.access_denied"]);
    assert_eq!(events[0]["method"], "card");
    assert_eq!(events[0]["occurred_at"], "2026-11-21T21:30:00.000Z");
    assert_eq!(events[0]["created_at"], "2026-11-22T02:30:00.000Z");
    assert_eq!(events[1]["reason"]["reason_code"], "credential_error");
}

#[tokio::test]
async fn news_that_make_no_sense_are_ignored() {
    let hotel = Hotel::open().await;
    let delta = proto::InventoryDelta { lock_system: "unknown".to_owned(), ..proto::InventoryDelta::default() };
    hotel.told(Told::InventoryDelta(delta)).await;
    for id in [vec![], vec![1; 16], vec![1; 40]] {
        let update = proto::CommandUpdate {
            command_id: id,
            state: proto::CommandState::Succeeded.into(),
            ..proto::CommandUpdate::default()
        };
        hotel.told(Told::CommandUpdate(update)).await;
    }
    assert_eq!(hotel.get("/acs/systems/list").await["acs_systems"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_wall_reader_brings_the_card_up_to_date() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&grant).await).await;
    hotel.carry_out().await;
    let ends_at = crate::model::time::text(hotel.now() + 96 * HOUR);
    hotel.post("/access_grants/update", json!({"access_grant_id": grant["access_grant_id"], "ends_at": ends_at})).await;
    let user = text(&hotel.credential(&hotel.method(&grant).await).await["acs_user_id"]);
    let updated = |id: &str, at: i64| {
        Told::AccessEvents(proto::AccessEvents {
            lock_system: "space".to_owned(),
            events: vec![proto::AccessEvent {
                event_external_id: id.to_owned(),
                occurred_at_ms: at,
                kind: proto::AccessEventKind::KeyUpdated.into(),
                user_id: user.clone(),
                ..proto::AccessEvent::default()
            }],
        })
    };
    hotel.told(updated("e1", hotel.now())).await;
    assert_eq!(hotel.method(&grant).await["is_encoding_required"], true, "the server did not hold the change yet");
    hotel.carry_out().await;
    hotel.told(updated("e2", hotel.now() - HOUR)).await;
    assert_eq!(hotel.method(&grant).await["is_encoding_required"], true, "the pass was before the change");
    hotel.pass(HOUR);
    hotel.told(updated("e3", hotel.now())).await;
    assert_eq!(hotel.method(&grant).await["is_encoding_required"], false);
}
