use super::*;

async fn user(hotel: &Hotel) -> Value {
    let body = json!({"acs_system_id": hotel.system().await, "full_name": "Ada", "email_address": "ada@example.com"});
    hotel.post("/acs/users/create", body).await["acs_user"].clone()
}

#[tokio::test]
async fn a_user_is_pending_until_the_lock_server_holds_it() {
    let hotel = Hotel::open().await;
    let user = user(&hotel).await;
    assert_eq!(codes(&user["pending_mutations"], "mutation_code"), ["creating"]);
    assert_eq!(hotel.wakes.0.load(Ordering::SeqCst), 1, "the hub is woken after the commit");
    assert_eq!(hotel.carry_out().await, 1);
    let by_id = json!({"acs_user_id": user["acs_user_id"]});
    let user = hotel.post("/acs/users/get", by_id.clone()).await["acs_user"].clone();
    assert_eq!(user["pending_mutations"], json!([]));
    assert!(user["last_successful_sync_at"].is_string());

    hotel.post("/acs/users/suspend", by_id.clone()).await;
    let user = hotel.post("/acs/users/get", by_id.clone()).await["acs_user"].clone();
    assert_eq!(codes(&user["pending_mutations"], "mutation_code"), ["updating_suspension_state"]);
    let given = hotel.commands().await;
    assert!(matches!(&given[0].body, Command::SuspendUser(suspend) if suspend.suspended));
    hotel.succeed(&given[0]).await;

    hotel.post("/acs/users/delete", by_id.clone()).await;
    let given = hotel.commands().await;
    assert!(matches!(given[0].body, Command::DeleteUser(_)));
    assert_eq!(given[0].cancels_below, given[0].lane_sequence);
    assert_eq!(hotel.refused("/acs/users/suspend", by_id.clone()).await.1["type"], "acs_user_being_deleted");
    hotel.succeed(&given[0]).await;
    assert_eq!(hotel.refused("/acs/users/get", by_id).await.0, 404);
}

#[tokio::test]
async fn group_membership_is_told_as_a_whole() {
    let hotel = Hotel::open().await;
    let user = user(&hotel).await;
    hotel.carry_out().await;
    let group = hotel.get("/acs/access_groups/list").await["acs_access_groups"][0].clone();
    let body = json!({"acs_user_id": user["acs_user_id"], "acs_access_group_id": group["acs_access_group_id"]});
    hotel.post("/acs/access_groups/add_user", body.clone()).await;
    hotel.post("/acs/users/add_to_access_group", body.clone()).await;
    let given = hotel.commands().await;
    assert_eq!(given.len(), 1, "being a member already changes nothing");
    assert!(matches!(&given[0].body, Command::SetGroupMembership(set) if set.group_external_ids == ["Pool"]));
    let target = format!("/acs/users/list_accessible_entrances?acs_user_id={}", text(&user["acs_user_id"]));
    assert_eq!(hotel.get(&target).await["acs_entrances"][0]["display_name"], "Gate");
    let target = format!("/acs/access_groups/list_users?acs_access_group_id={}", text(&group["acs_access_group_id"]));
    assert_eq!(hotel.get(&target).await["acs_users"][0]["acs_user_id"], user["acs_user_id"]);
    let target = format!(
        "/acs/users/remove_from_access_group?acs_user_id={}&acs_access_group_id={}",
        text(&user["acs_user_id"]),
        text(&group["acs_access_group_id"])
    );
    let (status, _, _) = hotel.request(hotel.build(Method::DELETE, &target, Body::empty())).await;
    assert_eq!(status, 200);
    let given = hotel.commands().await;
    assert!(matches!(&given[0].body, Command::SetGroupMembership(set) if set.group_external_ids.is_empty()));
}

#[tokio::test]
async fn a_grant_takes_the_user_with_the_same_email() {
    let hotel = Hotel::open().await;
    let user = user(&hotel).await;
    let body = json!({"full_name": "Ada", "email_address": "ada@example.com"});
    let person = text(&hotel.post("/user_identities/create", body).await["user_identity"]["user_identity_id"]);
    let grant = hotel.grant(&person, &["101"]).await;
    let credential = hotel.credential(&hotel.method(&grant).await).await;
    assert_eq!(credential["acs_user_id"], user["acs_user_id"]);
    let users = hotel.get("/acs/users/list").await["acs_users"].clone();
    assert_eq!(users.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_card_for_a_user_without_grants_and_never_a_second_one() {
    let hotel = Hotel::open().await;
    let user = user(&hotel).await;
    let body = json!({"acs_user_id": user["acs_user_id"], "access_method": "card"});
    let credential = hotel.post("/acs/credentials/create", body.clone()).await["acs_credential"].clone();
    let (status, error) = hotel.refused("/acs/credentials/create", body.clone()).await;
    assert_eq!((status, &error["type"]), (400, &json!("credential_cannot_be_reissued")));
    let encode = json!({"acs_credential_id": credential["acs_credential_id"], "acs_encoder_id": hotel.encoder().await});
    let (_, error) = hotel.refused("/acs/encoders/encode_credential", encode.clone()).await;
    assert_eq!(error["type"], "credential_not_ready_for_encoding");
    assert_eq!(hotel.carry_out().await, 2);
    hotel.post("/acs/encoders/encode_credential", encode).await;
    hotel.carry_out().await;
    let shown = hotel.credential(&credential).await;
    assert_eq!(
        (&shown["is_issued"], &shown["is_latest_desired_state_synced_with_provider"]),
        (&json!(true), &json!(true))
    );

    hotel.post("/acs/credentials/delete", json!({"acs_credential_id": credential["acs_credential_id"]})).await;
    hotel.post("/acs/credentials/create", body).await;
    let given = hotel.commands().await;
    assert!(matches!(given[0].body, Command::DeleteCredential(_)), "the lost card is cancelled first");
    assert!(matches!(given[1].body, Command::PutCredential(_)));
}

#[tokio::test]
async fn users_found_on_site_are_shown_apart_and_never_changed() {
    let hotel = Hotel::open().await;
    let observed = proto::ObservedUser { has_card: true, ..proto::ObservedUser::default() };
    let delta = proto::InventoryDelta {
        lock_system: "space".to_owned(),
        items: vec![item("U1", false, proto::inventory_item::Kind::User(observed))],
        scan_complete: true,
    };
    hotel.told(Told::InventoryDelta(delta)).await;
    assert_eq!(hotel.get("/acs/users/list").await["acs_users"], json!([]));
    let user = hotel.get("/acs/users/unmanaged/list").await["acs_users"][0].clone();
    assert_eq!(user["is_managed"], false);
    for path in ["/acs/users/get", "/acs/users/delete", "/acs/users/suspend", "/acs/users/update"] {
        let (status, error) = hotel.refused(path, json!({"acs_user_id": user["acs_user_id"]})).await;
        assert_eq!((status, &error["type"]), (404, &json!("acs_user_not_found")), "{path}");
    }
}
