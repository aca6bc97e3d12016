use super::*;

#[tokio::test]
async fn a_grant_becomes_a_card_step_by_step_and_nothing_is_said_too_early() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    assert_eq!(codes(&grant["pending_mutations"], "mutation_code"), ["provisioning_access"]);
    let method = hotel.method(&grant).await;
    assert_eq!((&method["is_issued"], &method["is_ready_for_encoding"]), (&json!(false), &json!(false)));

    let body = json!({"access_method_id": method["access_method_id"], "acs_encoder_id": hotel.encoder().await});
    let (status, error) = hotel.refused("/access_methods/encode", body).await;
    assert_eq!((status, &error["type"]), (400, &json!("access_method_not_ready_for_encoding")));

    let given = hotel.commands().await;
    let [put] = given.as_slice() else { panic!("one command, got {}", given.len()) };
    let Command::PutGrant(wish) = &put.body else { panic!("a grant, got {:?}", put.body) };
    assert_eq!(wish.entrance_external_ids, ["101"]);
    assert_eq!(wish.user.as_ref().map(|user| user.full_name.as_str()), Some("ada"));
    assert_eq!(put.lane, format!("user:{}", wish.user.as_ref().expect("a user").user_id));
    assert!(put.expires_at_ms >= hotel.now() + 30 * 24 * HOUR, "a wish outlives a long outage");
    hotel.succeed(put).await;

    let method = hotel.method(&grant).await;
    assert_eq!((&method["is_issued"], &method["is_ready_for_encoding"]), (&json!(false), &json!(true)));
    assert!(!hotel.event_types().await.contains(&"access_grant.access_granted_to_door".to_owned()), "no card yet");

    let attempt = hotel.encode(&method).await;
    assert_eq!((&attempt["status"], &attempt["result"]), (&json!("pending"), &Value::Null));
    let given = hotel.commands().await;
    let Command::EncodeCredential(encode) = &given[0].body else { panic!("an encode") };
    assert_eq!(encode.operation(), proto::KeyOperation::AssignNew);
    assert_eq!(given[0].expires_at_ms, hotel.now() + 60_000);
    hotel.update(&given[0], proto::CommandState::Executing, proto::Evidence::default(), "").await;
    assert_eq!(hotel.attempt(&attempt).await["status"], "pending");
    assert_eq!(hotel.credential(&method).await["is_issued"], false);
    hotel.succeed(&given[0]).await;

    let attempt = hotel.attempt(&attempt).await;
    assert_eq!(attempt["status"], "success");
    assert_eq!(
        (&attempt["result"]["card_number"], &attempt["result"]["is_issued"]),
        (&json!("04A1B2C3"), &json!(true))
    );
    let method = hotel.method(&grant).await;
    assert_eq!((&method["is_issued"], &method["is_encoding_required"]), (&json!(true), &json!(false)));
    let events = hotel.event_types().await;
    for told in ["access_method.issued", "acs_credential.issued", "access_grant.access_granted_to_all_doors"] {
        assert_eq!(events.iter().filter(|event| *event == told).count(), 1, "{told} in {events:?}");
    }
}

#[tokio::test]
async fn a_second_grant_of_the_same_person_updates_the_one_card() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let first = hotel.grant(&person, &["101"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&first).await).await;
    hotel.carry_out().await;

    let second = hotel.grant(&person, &["102"]).await;
    let old = hotel.method(&first).await;
    let new = hotel.method(&second).await;
    assert_eq!(old["acs_credential_id"], new["acs_credential_id"], "one person, one card");
    let warnings = hotel.credential(&old).await["warnings"].clone();
    assert_eq!(codes(&warnings, "warning_code"), ["needs_to_be_reissued"]);
    hotel.carry_out().await;
    assert!(hotel.event_types().await.contains(&"access_method.card_encoding_required".to_owned()));

    hotel.encode(&hotel.method(&second).await).await;
    let given = hotel.commands().await;
    let Command::EncodeCredential(encode) = &given[0].body else { panic!("an encode") };
    assert_eq!(encode.operation(), proto::KeyOperation::UpdateCurrent);
    hotel.succeed(&given[0]).await;
    assert_eq!(hotel.method(&second).await["is_issued"], true);
    assert_eq!(hotel.credential(&old).await["warnings"], json!([]));

    let again = hotel.encode(&hotel.method(&first).await).await;
    assert_eq!(again["error"]["type"], "credential_cannot_be_reissued");
    assert!(hotel.commands().await.is_empty(), "nothing is signed for a card that has everything");
}

#[tokio::test]
async fn changed_times_need_the_card_again() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&grant).await).await;
    hotel.carry_out().await;

    let ends_at = crate::model::time::text(hotel.now() + 96 * HOUR);
    let body = json!({"access_grant_id": grant["access_grant_id"], "ends_at": ends_at});
    hotel.post("/access_grants/update", body).await;
    let target = format!("/access_grants/get?access_grant_id={}", text(&grant["access_grant_id"]));
    let changed = hotel.get(&target).await["access_grant"].clone();
    assert_eq!(changed["ends_at"], ends_at);
    assert_eq!(codes(&changed["pending_mutations"], "mutation_code"), ["updating_access_times"]);
    assert_eq!(changed["pending_mutations"][0]["to"]["ends_at"], ends_at);
    let method = hotel.method(&grant).await;
    assert_eq!((&method["is_encoding_required"], &method["is_ready_for_encoding"]), (&json!(true), &json!(false)));

    hotel.carry_out().await;
    let method = hotel.method(&grant).await;
    assert_eq!((&method["is_issued"], &method["is_ready_for_encoding"]), (&json!(true), &json!(true)));
    hotel.encode(&method).await;
    hotel.carry_out().await;
    let events = hotel.event_types().await;
    assert_eq!(events.iter().filter(|event| *event == "access_method.issued").count(), 1);
    assert_eq!(events.iter().filter(|event| *event == "access_method.reissued").count(), 1);
}

#[tokio::test]
async fn a_change_during_the_encode_is_not_taken_for_written() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&grant).await).await;
    let encode = hotel.commands().await;
    let ends_at = crate::model::time::text(hotel.now() + 96 * HOUR);
    let body = json!({"access_grant_id": grant["access_grant_id"], "ends_at": ends_at});
    hotel.post("/access_grants/update", body).await;
    hotel.succeed(&encode[0]).await;
    let method = hotel.method(&grant).await;
    assert_eq!(method["is_encoding_required"], true, "the card carries the old times");
    let warnings = hotel.credential(&method).await["warnings"].clone();
    assert_eq!(codes(&warnings, "warning_code"), ["needs_to_be_reissued"]);
}

#[tokio::test]
async fn a_space_is_live() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let body = json!({"name": "Floor 1", "space_key": "f1", "acs_entrance_ids": [hotel.door("101").await]});
    let space = hotel.post("/spaces/create", body).await["space"].clone();
    let body = json!({
        "user_identity_id": person, "space_keys": ["f1"], "requested_access_methods": [{"mode": "card"}],
    });
    hotel.post("/access_grants/create", body).await;
    let given = hotel.commands().await;
    let Command::PutGrant(first) = &given[0].body else { panic!("a grant") };
    assert_eq!(first.entrance_external_ids, ["101"]);

    let body = json!({"space_id": space["space_id"], "acs_entrance_ids": [hotel.door("102").await]});
    hotel.post("/spaces/add_acs_entrances", body.clone()).await;
    let given = hotel.commands().await;
    let Command::PutGrant(second) = &given[0].body else { panic!("a grant") };
    assert_eq!(second.entrance_external_ids, ["101", "102"]);
    assert!(second.revision > first.revision);
    hotel.post("/spaces/add_acs_entrances", body).await;
    assert!(hotel.commands().await.is_empty(), "nothing changed, nothing is signed");

    hotel.post("/spaces/delete", json!({"space_id": space["space_id"]})).await;
    let given = hotel.commands().await;
    assert!(given.iter().any(|given| matches!(given.body, Command::DeleteGrant(_))), "no door is left");
}

#[tokio::test]
async fn a_deleted_grant_stays_until_the_lock_system_confirms() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&grant).await).await;
    hotel.carry_out().await;

    hotel.link(false).await;
    let by_id = json!({"access_grant_id": grant["access_grant_id"]});
    hotel.post("/access_grants/delete", by_id.clone()).await;
    hotel.post("/access_grants/delete", by_id.clone()).await;
    let given = hotel.commands().await;
    let kinds: Vec<bool> = given.iter().map(|given| matches!(given.body, Command::DeleteCredential(_))).collect();
    assert_eq!(kinds, [true, false], "the card first, then the rights, each once");
    assert!(matches!(given[1].body, Command::DeleteGrant(_)));
    assert_eq!(given[1].cancels_below, 0, "other grants of the person stay");
    assert_eq!(given[1].lane_sequence, given[0].lane_sequence + 1);
    let shown = hotel.post("/access_grants/get", by_id.clone()).await["access_grant"].clone();
    assert_eq!(codes(&shown["warnings"], "warning_code"), ["being_deleted"]);
    assert_eq!(codes(&shown["pending_mutations"], "mutation_code"), ["deleting"]);

    for command in &given {
        hotel.succeed(command).await;
    }
    let (status, error) = hotel.refused("/access_grants/get", by_id).await;
    assert_eq!((status, &error["type"]), (404, &json!("access_grant_not_found")));
    let events = hotel.event_types().await;
    for told in [
        "access_method.revoked",
        "acs_credential.invalidated",
        "access_grant.access_to_door_lost",
        "access_grant.deleted",
    ] {
        assert_eq!(events.iter().filter(|event| *event == told).count(), 1, "{told} in {events:?}");
    }
    let user = hotel.get(&format!("/acs/users/list?user_identity_id={person}")).await["acs_users"][0].clone();
    assert_eq!(codes(&user["warnings"], "warning_code"), ["revocation_pending_at_offline_locks"]);
}

#[tokio::test]
async fn the_last_of_two_grants_keeps_the_card() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let first = hotel.grant(&person, &["101"]).await;
    let second = hotel.grant(&person, &["102"]).await;
    hotel.carry_out().await;
    hotel.encode(&hotel.method(&first).await).await;
    hotel.carry_out().await;
    assert_eq!(hotel.method(&second).await["is_issued"], true, "one pass wrote both grants");

    hotel.post("/access_grants/delete", json!({"access_grant_id": first["access_grant_id"]})).await;
    let given = hotel.commands().await;
    assert!(given.iter().all(|given| matches!(given.body, Command::DeleteGrant(_))), "the card serves the other grant");
    hotel.succeed(&given[0]).await;
    let method = hotel.method(&second).await;
    assert_eq!((&method["is_issued"], &method["is_encoding_required"]), (&json!(true), &json!(false)));
    let warnings = hotel.credential(&method).await["warnings"].clone();
    assert_eq!(codes(&warnings, "warning_code"), ["needs_to_be_reissued"], "the card still opens 101");
}

#[tokio::test]
async fn a_late_answer_to_an_older_wish_settles_nothing() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    let old = hotel.commands().await;
    let ends_at = crate::model::time::text(hotel.now() + 96 * HOUR);
    hotel.post("/access_grants/update", json!({"access_grant_id": grant["access_grant_id"], "ends_at": ends_at})).await;
    let new = hotel.commands().await;
    hotel.succeed(&old[0]).await;
    assert_eq!(hotel.method(&grant).await["is_ready_for_encoding"], false);
    hotel.succeed(&new[0]).await;
    assert_eq!(hotel.method(&grant).await["is_ready_for_encoding"], true);
}

#[tokio::test]
async fn a_refusal_of_the_lock_system_is_shown_and_tried_again_on_the_next_change() {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    let given = hotel.commands().await;
    hotel.update(&given[0], proto::CommandState::Failed, proto::Evidence::default(), "denylist_full").await;
    let by_id = json!({"access_grant_id": grant["access_grant_id"]});
    let shown = hotel.post("/access_grants/get", by_id).await["access_grant"].clone();
    assert_eq!(shown["errors"][0]["error_code"], "failed_to_provision_access");
    assert_eq!(shown["errors"][0]["reason_code"], "denylist_full");
    let method = hotel.method(&grant).await;
    assert_eq!(codes(&method["errors"], "error_code"), ["failed_to_issue"]);
    assert_eq!(method["is_ready_for_encoding"], false);
}

#[tokio::test]
async fn a_season_of_grants_takes_seconds_and_pages_through() {
    let hotel = Hotel::open().await;
    let door = hotel.door("101").await;
    let start = std::time::Instant::now();
    for number in 0..300 {
        let body = json!({
            "user_identity": {"full_name": format!("Guest {number}")},
            "acs_entrance_ids": [door],
            "requested_access_methods": [{"mode": "card"}],
        });
        hotel.post("/access_grants/create", body).await;
    }
    let took = start.elapsed();
    assert_eq!(hotel.commands().await.len(), 300);
    assert!(took.as_secs() < 60, "300 grants took {took:?}");
    let page = hotel.get("/access_grants/list?limit=60").await;
    let cursor = text(&page["pagination"]["next_page_cursor"]);
    let rest = hotel.get(&format!("/access_grants/list?limit=60&page_cursor={cursor}")).await;
    assert_eq!(rest["access_grants"].as_array().map(Vec::len), Some(60));
}
