use super::*;

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused() {
    let hotel = Hotel::empty().await;
    for body in ["{", "[]", "null", "\"text\"", "{\"a\": 1,}"] {
        let (status, answer, _) = hotel.request(hotel.build(Method::POST, "/spaces/list", Body::from(body))).await;
        assert_eq!((status, &answer["error"]["type"]), (400, &json!("invalid_input")), "{body}");
    }
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(300 * 1024));
    let (status, answer, _) = hotel.request(hotel.build(Method::POST, "/spaces/create", Body::from(large))).await;
    assert_eq!((status, &answer["error"]["type"]), (413, &json!("payload_too_large")));
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let hotel = Hotel::open().await;
    let body = json!({
        "user_identity_id": 5,
        "user_identity": {"email_address": "nowhere", "phone_number": "123"},
        "acs_entrance_ids": "101",
        "starts_at": "tomorrow",
        "requested_access_methods": [{"mode": "key"}, {"mode": "code", "code": "12"}, 7],
    });
    let (status, error) = hotel.refused("/access_grants/create", body).await;
    assert_eq!((status, &error["type"]), (400, &json!("invalid_input")));
    let wrong = &error["validation_errors"];
    for pointer in [
        "/user_identity_id",
        "/user_identity/email_address",
        "/user_identity/phone_number",
        "/acs_entrance_ids",
        "/starts_at",
        "/requested_access_methods/0/mode",
        "/requested_access_methods/1/code",
        "/requested_access_methods/2",
    ] {
        assert!(wrong.pointer(&format!("{pointer}/_errors/0")).is_some(), "{pointer} in {wrong}");
    }
}

#[tokio::test]
async fn unknown_ids_are_not_found_by_their_resource() {
    let hotel = Hotel::open().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (path, field, resource) in [
        ("/acs/systems/get", "acs_system_id", "acs_system"),
        ("/acs/entrances/get", "acs_entrance_id", "acs_entrance"),
        ("/acs/encoders/get", "acs_encoder_id", "acs_encoder"),
        ("/acs/users/get", "acs_user_id", "acs_user"),
        ("/acs/users/suspend", "acs_user_id", "acs_user"),
        ("/acs/access_groups/get", "acs_access_group_id", "acs_access_group"),
        ("/acs/credentials/delete", "acs_credential_id", "acs_credential"),
        ("/spaces/get", "space_id", "space"),
        ("/user_identities/get", "user_identity_id", "user_identity"),
        ("/access_grants/delete", "access_grant_id", "access_grant"),
        ("/access_methods/get", "access_method_id", "access_method"),
        ("/action_attempts/get", "action_attempt_id", "action_attempt"),
        ("/events/get", "event_id", "event"),
        ("/bridges/get", "bridge_id", "bridge"),
    ] {
        let (status, error) = hotel.refused(path, json!({field: unknown})).await;
        assert_eq!((status, error["type"].clone()), (404, json!(format!("{resource}_not_found"))), "{path}");
        let (status, error) = hotel.refused(path, json!({field: 7})).await;
        assert_eq!((status, &error["type"]), (400, &json!("invalid_input")), "{path}");
        assert!(error["validation_errors"][field]["_errors"][0].is_string(), "{path}");
    }
}

#[tokio::test]
async fn windows_that_cannot_be_are_refused() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let door = hotel.door("101").await;
    let windows = [
        (json!("2026-11-20T10:00:00Z"), json!("2026-11-21T10:00:00Z")),
        (json!("2026-12-02T10:00:00Z"), json!("2026-12-01T10:00:00Z")),
        (json!("2026-12-02T10:00:00Z"), json!("2026-12-02T10:00:00Z")),
    ];
    for (starts_at, ends_at) in windows {
        let body = json!({
            "user_identity_id": person, "acs_entrance_ids": [door], "requested_access_methods": [{"mode": "card"}],
            "starts_at": starts_at, "ends_at": ends_at,
        });
        let (status, error) = hotel.refused("/access_grants/create", body).await;
        assert_eq!(status, 400);
        assert!(error["validation_errors"]["ends_at"]["_errors"][0].is_string(), "{error}");
    }
    assert_eq!(hotel.get("/access_grants/list").await["access_grants"], json!([]));
    assert!(hotel.commands().await.is_empty());
}

#[tokio::test]
async fn who_where_and_how_must_make_sense() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let door = hotel.door("101").await;
    let good = json!({
        "user_identity_id": person, "acs_entrance_ids": [door], "requested_access_methods": [{"mode": "card"}],
    });
    let changes = [
        (json!({"user_identity_id": null}), "invalid_input"),
        (json!({"user_identity": {"full_name": "Bob"}}), "invalid_input"),
        (json!({"user_identity_id": "nobody"}), "user_identity_not_found"),
        (json!({"acs_entrance_ids": []}), "invalid_input"),
        (json!({"acs_entrance_ids": ["nowhere"]}), "acs_entrance_not_found"),
        (json!({"space_ids": ["nowhere"]}), "space_not_found"),
        (json!({"device_ids": ["lock"]}), "invalid_input"),
        (json!({"requested_access_methods": []}), "invalid_input"),
        (json!({"requested_access_methods": [{"mode": "card"}, {"mode": "card"}]}), "invalid_input"),
        (json!({"reservation_key": "R1"}), "reservation_key_not_supported"),
    ];
    for (change, kind) in changes {
        let mut body = good.clone();
        for (field, value) in change.as_object().expect("an object") {
            body[field] = value.clone();
        }
        let (_, error) = hotel.refused("/access_grants/create", body).await;
        assert_eq!(error["type"], kind, "{change}");
    }
    let mut keyed = good;
    keyed["access_grant_key"] = json!("stay-1");
    hotel.post("/access_grants/create", keyed.clone()).await;
    let (status, error) = hotel.refused("/access_grants/create", keyed).await;
    assert_eq!((status, &error["type"]), (409, &json!("access_grant_key_already_exists")));
}

#[tokio::test]
async fn a_mode_no_door_supports_is_an_error_on_the_grant() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let body = json!({
        "user_identity_id": person, "acs_entrance_ids": [hotel.door("101").await],
        "requested_access_methods": [{"mode": "code", "code": "1234"}],
    });
    let grant = hotel.post("/access_grants/create", body).await["access_grant"].clone();
    assert_eq!(codes(&grant["errors"], "error_code"), ["cannot_create_requested_access_methods"]);
    assert!(hotel.commands().await.is_empty());
    let body = json!({
        "user_identity_id": person, "acs_entrance_ids": [hotel.door("101").await, hotel.door("Gate").await],
        "requested_access_methods": [{"mode": "cloud_key"}],
    });
    let grant = hotel.post("/access_grants/create", body).await["access_grant"].clone();
    assert_eq!(codes(&grant["warnings"], "warning_code"), ["underprovisioned_access"]);
}

#[tokio::test]
async fn events_need_a_period() {
    let hotel = Hotel::open().await;
    for body in [
        json!({}),
        json!({"since": "yesterday"}),
        json!({"between": ["2026-11-22T00:00:00Z"]}),
        json!({"between": ["2026-11-23T00:00:00Z", "2026-11-22T00:00:00Z"]}),
    ] {
        assert_eq!(hotel.refused("/events/list", body.clone()).await.0, 400, "{body}");
    }
    let both = json!({"between": ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"], "event_type": "acs_entrance.added"});
    assert_eq!(hotel.post("/events/list", both).await["events"].as_array().map(Vec::len), Some(3));
}
