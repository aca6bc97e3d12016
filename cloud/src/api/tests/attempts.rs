use super::*;

async fn ready() -> (Hotel, Value, Value) {
    let hotel = Hotel::open().await;
    let person = hotel.person("ada").await;
    let grant = hotel.grant(&person, &["101"]).await;
    hotel.carry_out().await;
    let method = hotel.method(&grant).await;
    (hotel, grant, method)
}

#[tokio::test]
async fn nobody_waits_for_a_bridge_or_lock_server_that_is_away() {
    let (hotel, _, method) = ready().await;
    hotel.link(false).await;
    assert_eq!(hotel.encode(&method).await["error"]["type"], "bridge_disconnected");
    hotel.link(true).await;
    hotel.health(false, false).await;
    assert_eq!(hotel.encode(&method).await["error"]["type"], "bridge_disconnected");
    assert!(hotel.commands().await.is_empty(), "no command was signed");
    hotel.health(true, true).await;
    assert_eq!(hotel.encode(&method).await["status"], "pending");
}

#[tokio::test]
async fn an_attempt_expires_once_and_for_all_but_the_credential_learns_the_truth() {
    let (hotel, _, method) = ready().await;
    let attempt = hotel.encode(&method).await;
    let given = hotel.commands().await;
    hotel.pass(104_999);
    assert_eq!(hotel.attempt(&attempt).await["status"], "pending");
    hotel.pass(1);
    assert_eq!(hotel.attempt(&attempt).await["error"]["type"], "action_attempt_expired");
    hotel.succeed(&given[0]).await;
    assert_eq!(hotel.attempt(&attempt).await["error"]["type"], "action_attempt_expired");
    assert_eq!(hotel.credential(&method).await["is_issued"], true);
    let now = hotel.now();
    hotel
        .store
        .write(move |tx| crate::model::attempts::sweep(tx, now).map_err(|_| StoreError::Damaged("sweep")))
        .await
        .expect("sweeps");
    assert_eq!(hotel.attempt(&attempt).await["error"]["type"], "action_attempt_expired");
}

#[tokio::test]
async fn doubt_is_shown_and_resolved() {
    let (hotel, _, method) = ready().await;
    let attempt = hotel.encode(&method).await;
    let given = hotel.commands().await;
    hotel.update(&given[0], proto::CommandState::InDoubt, proto::Evidence::default(), "").await;
    assert_eq!(hotel.attempt(&attempt).await["status"], "pending");
    let warnings = hotel.credential(&method).await["warnings"].clone();
    assert!(codes(&warnings, "warning_code").contains(&"unknown_issue_with_acs_credential".to_owned()));
    hotel.pass(200_000);
    let ended = hotel.attempt(&attempt).await;
    assert_eq!(ended["error"]["type"], "uncategorized_error");
    assert!(text(&ended["error"]["message"]).contains("in doubt"));
    hotel.succeed(&given[0]).await;
    assert_eq!(hotel.attempt(&attempt).await, ended, "an end never changes");
    let credential = hotel.credential(&method).await;
    assert_eq!((&credential["is_issued"], &credential["warnings"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn failures_keep_their_codes_and_leave_the_method_ready() {
    let (hotel, _, method) = ready().await;
    for (code, shown) in [
        ("no_credential_on_encoder", "no_credential_on_encoder"),
        ("encoder_not_online", "encoder_not_online"),
        ("incompatible_card_format", "incompatible_card_format"),
        ("something_new", "uncategorized_error"),
    ] {
        let attempt = hotel.encode(&method).await;
        let given = hotel.commands().await;
        hotel.update(&given[0], proto::CommandState::Failed, proto::Evidence::default(), code).await;
        hotel.update(&given[0], proto::CommandState::Succeeded, proto::Evidence::default(), "").await;
        let attempt = hotel.attempt(&attempt).await;
        assert_eq!((&attempt["status"], &attempt["error"]["type"]), (&json!("error"), &json!(shown)));
    }
    let method_now = hotel.post("/access_methods/get", json!({"access_method_id": method["access_method_id"]})).await;
    assert_eq!(method_now["access_method"]["is_ready_for_encoding"], true);
    assert_eq!(method_now["access_method"]["is_issued"], false);
}

#[tokio::test]
async fn one_encode_of_a_credential_at_a_time() {
    let (hotel, _, method) = ready().await;
    hotel.encode(&method).await;
    let second = hotel.encode(&method).await;
    assert_eq!(second["error"]["type"], "uncategorized_error");
    assert_eq!(hotel.commands().await.len(), 1);
}

#[tokio::test]
async fn a_blank_card_is_a_successful_scan() {
    let (hotel, _, method) = ready().await;
    let body = json!({"acs_encoder_id": hotel.encoder().await});
    let blank = hotel.post("/acs/encoders/scan_credential", body.clone()).await["action_attempt"].clone();
    let given = hotel.commands().await;
    assert_eq!(given[0].lane, "encoder:Desk");
    let card = proto::CardOnEncoder { blank: true, ..proto::CardOnEncoder::default() };
    let evidence = proto::Evidence { card_on_encoder: Some(card), ..proto::Evidence::default() };
    hotel.update(&given[0], proto::CommandState::Succeeded, evidence, "").await;
    let blank = hotel.attempt(&blank).await;
    assert_eq!((&blank["status"], &blank["result"]["acs_credential_on_encoder"]), (&json!("success"), &Value::Null));

    let scan = hotel.post("/acs/encoders/scan_credential", body).await["action_attempt"].clone();
    let given = hotel.commands().await;
    let card = proto::CardOnEncoder {
        card_number: "04A1".to_owned(),
        credential_id: text(&method["acs_credential_id"]),
        ..proto::CardOnEncoder::default()
    };
    let evidence = proto::Evidence { card_on_encoder: Some(card), ..proto::Evidence::default() };
    hotel.update(&given[0], proto::CommandState::Succeeded, evidence, "").await;
    let result = hotel.attempt(&scan).await["result"].clone();
    assert_eq!(result["acs_credential_on_seam"]["acs_credential_id"], method["acs_credential_id"]);
    assert_eq!(codes(&result["warnings"], "warning_code"), ["acs_credential_on_encoder_out_of_sync"]);
}

#[tokio::test]
async fn a_door_opens_remotely_only_where_it_can() {
    let (hotel, _, _) = ready().await;
    let body = json!({"acs_entrance_id": hotel.door("Gate").await});
    let attempt = hotel.post("/acs/entrances/unlock", body).await["action_attempt"].clone();
    assert_eq!(attempt["action_type"], "UNLOCK_DOOR");
    hotel.carry_out().await;
    assert_eq!(hotel.attempt(&attempt).await["status"], "success");
    assert!(hotel.event_types().await.contains(&"action_attempt.unlock_door.succeeded".to_owned()));
    let (status, _) = hotel.refused("/acs/entrances/unlock", json!({"acs_entrance_id": hotel.door("101").await})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_card_encoded_on_site_without_the_cloud_is_learnt_once() {
    let (hotel, grant, method) = ready().await;
    let credential = hotel.credential(&method).await;
    let update = proto::CommandUpdate {
        command_id: vec![7; 16],
        state: proto::CommandState::Succeeded.into(),
        evidence: Some(proto::Evidence { card_number: "04FF".to_owned(), ..proto::Evidence::default() }),
        local: Some(proto::LocalOrigin {
            operator: "uid 1000".to_owned(),
            lock_system: "space".to_owned(),
            encode_credential: Some(proto::EncodeCredential {
                credential_id: text(&credential["acs_credential_id"]),
                user_id: text(&credential["acs_user_id"]),
                encoder_external_id: "Desk".to_owned(),
                operation: proto::KeyOperation::AssignNew.into(),
            }),
            ..proto::LocalOrigin::default()
        }),
        ..proto::CommandUpdate::default()
    };
    hotel.told(Told::CommandUpdate(update.clone())).await;
    hotel.told(Told::CommandUpdate(update)).await;
    assert_eq!(hotel.method(&grant).await["is_issued"], true);
    assert_eq!(hotel.credential(&method).await["card_number"], "04FF");
    let events = hotel.event_types().await;
    assert_eq!(events.iter().filter(|event| *event == "acs_credential.issued").count(), 1);
    assert_eq!(events.iter().filter(|event| *event == "acs_credential.reissued").count(), 0);
}

#[tokio::test]
async fn a_pending_attempt_shows_its_place_as_its_own_bridge_tells_it() {
    let (hotel, _, method) = ready().await;
    let attempt = hotel.encode(&method).await;
    assert_eq!(attempt["progress"], Value::Null, "nothing was told yet");
    let given = hotel.commands().await;
    hotel.at_encoder(BRIDGE, &given[0], proto::EncoderStage::Waiting, 2).await;
    assert_eq!(hotel.attempt(&attempt).await["progress"], json!({"stage": "waiting", "position": 2}));
    hotel.at_encoder("another-bridge", &given[0], proto::EncoderStage::PresentCard, 0).await;
    assert_eq!(hotel.attempt(&attempt).await["progress"], json!({"stage": "waiting", "position": 2}));
    hotel.at_encoder(BRIDGE, &given[0], proto::EncoderStage::PresentCard, 0).await;
    assert_eq!(hotel.attempt(&attempt).await["progress"], json!({"stage": "present_card", "position": 0}));
    hotel.succeed(&given[0]).await;
    assert_eq!(hotel.attempt(&attempt).await["progress"], Value::Null, "an end has no place");
    hotel.at_encoder(BRIDGE, &given[0], proto::EncoderStage::Waiting, 1).await;
    assert_eq!(hotel.attempt(&attempt).await["progress"], Value::Null);
}

#[tokio::test]
async fn a_cancel_goes_into_the_lane_of_its_target_and_is_refused_after_the_end() {
    let (hotel, _, method) = ready().await;
    let attempt = hotel.encode(&method).await;
    let given = hotel.commands().await;
    let body = json!({"action_attempt_id": attempt["action_attempt_id"]});
    assert_eq!(hotel.post("/action_attempts/cancel", body.clone()).await["action_attempt"]["status"], "pending");
    let cancels = hotel.commands().await;
    let proto::command::Body::CancelCommand(cancel) = &cancels[0].body else { panic!("no cancel") };
    assert_eq!((&cancel.command_id, &cancels[0].lane), (&given[0].id, &given[0].lane));
    hotel.update(&given[0], proto::CommandState::Cancelled, proto::Evidence::default(), "").await;
    let ended = hotel.attempt(&attempt).await;
    assert!(text(&ended["error"]["message"]).contains("cancelled"), "{ended}");
    let (_, refused) = hotel.refused("/action_attempts/cancel", body).await;
    assert_eq!(refused["type"], "action_attempt_ended", "{refused}");
}

#[tokio::test]
async fn what_the_front_desk_did_without_the_cloud_is_shown_once_and_changes_no_resource() {
    let (hotel, grant, _) = ready().await;
    let update = |id: u8, kind: &str, state: proto::CommandState| proto::CommandUpdate {
        command_id: vec![id; 16],
        state: state.into(),
        evidence: Some(proto::Evidence { card_number: "04FF".to_owned(), ..proto::Evidence::default() }),
        local: Some(proto::LocalOrigin {
            operator: "front desk reception".to_owned(),
            lock_system: "space".to_owned(),
            kind: kind.to_owned(),
            desk: Some(proto::DeskOrder {
                desk: "reception".to_owned(),
                act: proto::DeskAct::NewKey.into(),
                reservation: "4711".to_owned(),
                room: "0101".to_owned(),
                entrance_external_ids: vec!["101".to_owned()],
                ..proto::DeskOrder::default()
            }),
            ..proto::LocalOrigin::default()
        }),
        ..proto::CommandUpdate::default()
    };
    hotel.told(Told::CommandUpdate(update(1, "put_grant", proto::CommandState::Succeeded))).await;
    hotel.told(Told::CommandUpdate(update(2, "encode_credential", proto::CommandState::Executing))).await;
    hotel.told(Told::CommandUpdate(update(2, "encode_credential", proto::CommandState::InDoubt))).await;
    hotel.told(Told::CommandUpdate(update(2, "encode_credential", proto::CommandState::Succeeded))).await;
    hotel.told(Told::CommandUpdate(update(2, "encode_credential", proto::CommandState::Succeeded))).await;
    let events = hotel.get("/events/list?since=2026-01-01T00:00:00Z&limit=1000").await;
    let told: Vec<_> = events["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["event_type"] == "lockbridge.front_desk")
        .collect();
    let outcomes: Vec<_> = told.iter().map(|event| text(&event["outcome"])).collect();
    assert_eq!(outcomes, ["in_doubt", "succeeded"]);
    let last = told.last().expect("one");
    assert_eq!(last["acs_entrance_ids"], json!([hotel.door("101").await]));
    assert_eq!(
        (&last["action"], &last["room"], &last["reservation"]),
        (&json!("new_key"), &json!("0101"), &json!("4711"))
    );
    assert_eq!(hotel.method(&grant).await["is_issued"], false);
}
