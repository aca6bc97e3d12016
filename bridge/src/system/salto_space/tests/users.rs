//! Writing, removing and blocking users.

use std::sync::atomic::{AtomicUsize, Ordering};

use lockbridge_protocol::ship::envelope::Request;

use super::server::{Reply, Server};
use super::*;
use crate::system::{Effect, LockSystem, Operation, Retry, Right, RightTarget};

const CANCELLED: &str = "<GPF5>LOCKBRIDGE KEY CANCELLED</GPF5>";

/// Text of a field of the user in a write request.
fn written(request: &Request, field: &str) -> Option<String> {
    request.params.first()?.child(field).map(|element| element.text.clone())
}

fn is_read(request: &Request) -> bool {
    request.name == "SaltoDBUserList.Read"
}

/// A server that stores nothing: these fields when read, success when written.
async fn with_user(fields: &'static str) -> Server {
    Server::stp(move |request| Reply::Params(if is_read(request) { user_list(fields) } else { String::new() })).await
}

fn last_write(server: &Server) -> Request {
    let mut seen = server.seen().into_iter().map(|seen| seen.request);
    seen.rfind(|request| !is_read(request)).expect("a write")
}

#[tokio::test]
async fn a_user_is_written_whole_in_local_time_and_read_back() {
    let server = with_user(
        "<CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>04bd04229b6684</CurrentROMCode><CurrentKeyStatus>3</CurrentKeyStatus>
         <CurrentKeyPeriod><StartDate>2000-01-01T00:00:00</StartDate><EndDate>2026-11-23T24:00:00</EndDate></CurrentKeyPeriod><Odd>x</Odd>",
    )
    .await;
    let mut wanted = target();
    let window = Window { starts_at_ms: NOW_MS, ends_at_ms: Some(NOW_MS + HOUR_MS) };
    wanted.rights = vec![
        Right { target: RightTarget::Group("G1".to_owned()), window: None },
        Right { target: RightTarget::Entrance("D1".to_owned()), window: Some(window) },
    ];
    let performed = adapter_for(&server).perform(Operation::ApplyUser(wanted), LONG).await.expect("success");
    let document = server.seen().into_iter().find(|seen| !is_read(&seen.request)).expect("a write").document;
    let expected = format!(
        "<RequestName>SaltoDBUser.InsertOrUpdate</RequestName><Params><SaltoDBUser><ExtUserID>{}</ExtUserID><Title/><FirstName>Ada Mary</FirstName><LastName>Lovelace</LastName><UserActivation>2026-11-22T13:00:00</UserActivation><UserExpiration.Enabled>1</UserExpiration.Enabled><UserExpiration>2026-11-23T13:00:00</UserExpiration><IsBanned>0</IsBanned><SaltoDB.AccessPermissionList.User_Door><SaltoDB.AccessPermission.User_Door><ExtDoorID>D1</ExtDoorID><UsePeriod>1</UsePeriod><Period><StartDate>2026-11-22T13:00:00</StartDate><EndDate>2026-11-22T14:00:00</EndDate></Period></SaltoDB.AccessPermission.User_Door></SaltoDB.AccessPermissionList.User_Door><SaltoDB.MembershipList.User_Group><SaltoDB.Membership.User_Group><ExtGroupID>G1</ExtGroupID><UsePeriod>0</UsePeriod></SaltoDB.Membership.User_Group></SaltoDB.MembershipList.User_Group></SaltoDBUser></Params>",
        external_id()
    );
    assert!(document.contains(&expected), "{document}\n{expected}");
    assert_eq!(performed.user_external_id, external_id());
    assert_eq!(performed.card_number, "04BD04229B6684");
    assert!(performed.card_update_needed);
    assert_eq!(performed.key_valid_until_ms, Some(NOW_MS + 35 * HOUR_MS), "24:00 in Berlin is 23:00 UTC");
}

#[tokio::test]
async fn a_user_without_rights_is_written_as_expired_with_empty_lists() {
    let server = with_user("").await;
    let wanted = UserTarget { window: None, suspended: true, ..target() };
    adapter_for(&server).perform(Operation::ApplyUser(wanted), LONG).await.expect("success");
    let write = last_write(&server);
    assert_eq!(written(&write, "UserExpiration.Enabled").as_deref(), Some("1"));
    assert_eq!(written(&write, "UserExpiration").as_deref(), Some("2000-01-03T00:00:00"));
    assert_eq!(written(&write, "IsBanned").as_deref(), Some("1"));
    assert_eq!(written(&write, "SaltoDB.AccessPermissionList.User_Door").as_deref(), Some(""));
    assert_eq!(written(&write, "SaltoDB.MembershipList.User_Group").as_deref(), Some(""));
}

#[tokio::test]
async fn a_server_without_upsert_gets_update_then_insert_and_is_remembered() {
    let server = Server::stp(|request| match request.name.as_str() {
        "SaltoDBUserList.Read" => Reply::Params(user_list("")),
        "SaltoDBUser.InsertOrUpdate" => Reply::Code(502),
        "SaltoDBUser.Update" => Reply::Code(200),
        _ => Reply::Params(String::new()),
    })
    .await;
    let system = adapter_for(&server);
    for _ in 0..2 {
        system.perform(Operation::ApplyUser(target()), LONG).await.expect("success");
    }
    let writes: Vec<String> = server.names().into_iter().filter(|name| name != "SaltoDBUserList.Read").collect();
    let expected = ["InsertOrUpdate", "Update", "Insert", "Update", "Insert"].map(|name| format!("SaltoDBUser.{name}"));
    assert_eq!(writes, expected);
}

#[tokio::test]
async fn a_clash_of_names_is_answered_with_the_same_other_name_each_time() {
    let server = Server::stp(|request| match written(request, "LastName") {
        _ if is_read(request) => Reply::Params(user_list("")),
        Some(name) if name == "Lovelace" => Reply::Code(202),
        _ => Reply::Params(String::new()),
    })
    .await;
    let system = adapter_for(&server);
    let mut names = Vec::new();
    for _ in 0..2 {
        system.perform(Operation::ApplyUser(target()), LONG).await.expect("success");
        names.push(written(&last_write(&server), "LastName").expect("a name"));
    }
    assert_eq!(names[0], names[1]);
    assert!(names[0].starts_with("Lovelace #"), "{names:?}");
}

#[tokio::test]
async fn a_write_that_the_read_back_cannot_confirm_is_doubt() {
    let server =
        Server::stp(
            |request| {
                if is_read(request) { Reply::Params(NO_USERS.to_owned()) } else { Reply::Params(String::new()) }
            },
        )
        .await;
    let error = adapter_for(&server).perform(Operation::ApplyUser(target()), LONG).await.expect_err("not listed");
    assert_eq!((error.effect, error.retry), (Effect::Unknown, Retry::Later));

    // The first read looks for a ban, the second confirms.
    let reads = AtomicUsize::new(0);
    let server = Server::stp(move |request| match is_read(request) {
        true if reads.fetch_add(1, Ordering::SeqCst) > 0 => Reply::Code(201),
        true => Reply::Params(NO_USERS.to_owned()),
        false => Reply::Params(String::new()),
    })
    .await;
    let error = adapter_for(&server).perform(Operation::ApplyUser(target()), LONG).await.expect_err("not read");
    assert_eq!((error.effect, error.vendor_code.as_str()), (Effect::Unknown, "201"));
}

#[tokio::test]
async fn deleting_twice_succeeds() {
    let server = Server::stp(|_| Reply::Code(200)).await;
    let operation = Operation::DeleteUser { user_id: USER.to_owned() };
    let performed = adapter_for(&server).perform(operation, LONG).await.expect("success");
    assert!(performed.detail.contains("did not know"), "{}", performed.detail);
    assert_eq!(server.names(), ["SaltoDBUser.Delete"]);
}

#[tokio::test]
async fn a_cancelled_key_stays_cancelled_when_rights_change_and_not_when_the_ban_was_lifted_by_hand() {
    let server = with_user("<CurrentKeyExists>1</CurrentKeyExists><IsBanned>0</IsBanned>").await;
    let cancel = Operation::CancelKey { user_id: USER.to_owned() };
    adapter_for(&server).perform(cancel.clone(), LONG).await.expect("success");
    let write = last_write(&server);
    assert_eq!(write.name, "SaltoDBUser.Update");
    assert_eq!(written(&write, "IsBanned").as_deref(), Some("1"));
    assert_eq!(written(&write, "GPF5").as_deref(), Some("LOCKBRIDGE KEY CANCELLED"));

    for (fields, banned, mark, told) in [
        (format!("{CANCELLED}<IsBanned>1</IsBanned><CurrentKeyExists>1</CurrentKeyExists>"), "1", None, true),
        (format!("{CANCELLED}<IsBanned>0</IsBanned><CurrentKeyExists>1</CurrentKeyExists>"), "0", Some(""), false),
        (format!("{CANCELLED}<IsBanned>1</IsBanned><CurrentKeyExists>0</CurrentKeyExists>"), "0", Some(""), false),
        ("<GPF5>other</GPF5><IsBanned>1</IsBanned><CurrentKeyExists>1</CurrentKeyExists>".to_owned(), "0", None, false),
    ] {
        let fields: &'static str = Box::leak(fields.into_boxed_str());
        let server = with_user(fields).await;
        let performed = adapter_for(&server).perform(Operation::ApplyUser(target()), LONG).await.expect("success");
        let write = last_write(&server);
        assert_eq!(written(&write, "IsBanned").as_deref(), Some(banned), "{fields}");
        assert_eq!(written(&write, "GPF5").as_deref(), mark, "{fields}");
        assert_eq!(performed.detail.contains("lift the ban"), told, "{fields}");
    }

    let server = with_user("<CurrentKeyExists>0</CurrentKeyExists>").await;
    adapter_for(&server).perform(cancel, LONG).await.expect("success");
    assert_eq!(server.names(), ["SaltoDBUserList.Read"], "nobody is banned for a key that is not there");
}

#[tokio::test]
async fn the_vendors_cancel_request_is_used_and_a_ban_stands_in_when_it_is_not_known() {
    let cancel = Operation::CancelKey { user_id: USER.to_owned() };
    for (code, names) in [
        (0, &["SaltoDBUserList.Read", "SaltoDBUser.CancelKey"][..]),
        (300, &["SaltoDBUserList.Read", "SaltoDBUser.CancelKey"]),
        (502, &["SaltoDBUserList.Read", "SaltoDBUser.CancelKey", "SaltoDBUser.Update"]),
    ] {
        let server = Server::stp(move |request| match request.name.as_str() {
            "SaltoDBUserList.Read" => Reply::Params(user_list("<CurrentKeyExists>1</CurrentKeyExists>")),
            "SaltoDBUser.CancelKey" if code != 0 => Reply::Code(code),
            _ => Reply::Params(String::new()),
        })
        .await;
        let system = adapter_with(&server, |_, space| {
            space.cancel_key = CancelKey::Request("SaltoDBUser.CancelKey".to_owned());
        });
        system.perform(cancel.clone(), LONG).await.expect("success");
        assert_eq!(server.names(), names, "{code}");
    }
}

#[tokio::test]
async fn deleting_to_cancel_writes_the_same_record_anew_and_never_claims_that_nothing_happened() {
    let fields = "<FirstName>Ada</FirstName><CurrentROMCode>04</CurrentROMCode><CurrentKeyExists>1</CurrentKeyExists>
        <SaltoDB.MembershipList.User_Group><SaltoDB.Membership.User_Group><ExtGroupID>G1</ExtGroupID></SaltoDB.Membership.User_Group></SaltoDB.MembershipList.User_Group>";
    let cancel = Operation::CancelKey { user_id: USER.to_owned() };
    let server = with_user(fields).await;
    let system = adapter_with(&server, |_, space| space.cancel_key = CancelKey::DeleteUser);
    system.perform(cancel.clone(), LONG).await.expect("success");
    assert_eq!(server.names(), ["SaltoDBUserList.Read", "SaltoDBUser.Delete", "SaltoDBUser.InsertOrUpdate"]);
    let document = server.seen().pop().expect("a write").document;
    assert!(document.contains("<FirstName>Ada</FirstName>") && document.contains("<ExtGroupID>G1</ExtGroupID>"));
    assert!(!document.contains("CurrentROMCode") && !document.contains("CurrentKeyExists"), "{document}");

    let server = Server::stp(move |request| match request.name.as_str() {
        "SaltoDBUserList.Read" => Reply::Params(user_list(fields)),
        "SaltoDBUser.InsertOrUpdate" => Reply::Code(12),
        _ => Reply::Params(String::new()),
    })
    .await;
    let system = adapter_with(&server, |_, space| space.cancel_key = CancelKey::DeleteUser);
    let error = system.perform(cancel, LONG).await.expect_err("not written");
    assert_eq!(error.effect, Effect::Unknown);
}

#[tokio::test]
async fn a_mobile_key_is_written_and_seen_or_it_is_no_success() {
    let wanted = UserTarget { mobile_key: true, ..target() };
    let server = with_user("").await;
    let error =
        adapter_for(&server).perform(Operation::ApplyUser(wanted.clone()), LONG).await.expect_err("not offered");
    assert_eq!((error.effect, error.retry), (Effect::None, Retry::Never));
    assert!(server.names().is_empty());

    let offered = |_: &mut LockSystemConfig, space: &mut SaltoSpaceConfig| space.mobile_keys = true;
    let error = adapter_with(&server, offered)
        .perform(Operation::ApplyUser(UserTarget { phone_number: String::new(), ..wanted.clone() }), LONG)
        .await
        .expect_err("no phone");
    assert_eq!(error.effect, Effect::None);
    assert!(server.names().is_empty());

    let error = adapter_with(&server, offered)
        .perform(Operation::ApplyUser(wanted.clone()), LONG)
        .await
        .expect_err("the server does not show the key");
    assert_eq!((error.effect, error.retry), (Effect::Unknown, Retry::Later));

    let server =
        with_user("<CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>00000000000000</CurrentROMCode>").await;
    let performed = adapter_with(&server, offered).perform(Operation::ApplyUser(wanted), LONG).await.expect("success");
    assert_eq!(written(&last_write(&server), "PhoneNumber").as_deref(), Some("+15550100"));
    assert_eq!(written(&last_write(&server), "MobileAppType").as_deref(), Some("2"));
    assert_eq!(performed.card_number, "", "zeros are no card");

    adapter_with(&server, offered).perform(Operation::ApplyUser(target()), LONG).await.expect("success");
    assert_eq!(written(&last_write(&server), "PhoneNumber").as_deref(), Some(""));
    assert_eq!(written(&last_write(&server), "MobileAppType").as_deref(), Some("0"));
}

#[tokio::test]
async fn an_observation_tells_card_phone_and_nothing_apart() {
    let card = "<CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>04AB</CurrentROMCode><CurrentKeyStatus>1</CurrentKeyStatus><IsBanned>1</IsBanned><CurrentKeyPeriod><StartDate>2000-01-01T00:00:00</StartDate><EndDate>2026-11-22T13:00:00</EndDate></CurrentKeyPeriod>";
    let seen = adapter_for(&with_user(card).await).observe_user(USER).await.expect("an answer");
    assert!(seen.exists && seen.has_card && seen.card_up_to_date && seen.suspended);
    assert_eq!((seen.card_number.as_str(), seen.key_period_ms), ("04AB", (0, NOW_MS)));

    let phone = "<CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>0000</CurrentROMCode>";
    let seen = adapter_for(&with_user(phone).await).observe_user(USER).await.expect("an answer");
    assert!(seen.exists && !seen.has_card);

    let none = with_user("<CurrentKeyExists>0</CurrentKeyExists>").await;
    let seen = adapter_for(&none).observe_user(USER).await.expect("an answer");
    assert!(seen.exists && !seen.has_card);

    // The first user at or after the start is somebody else.
    let other = Server::stp(|_| {
        Reply::Params(
            "<SaltoDBUserList><SaltoDBUser><ExtUserID>LB-ZZ</ExtUserID></SaltoDBUser></SaltoDBUserList><EOF>0</EOF>"
                .to_owned(),
        )
    })
    .await;
    let seen = adapter_for(&other).observe_user(USER).await.expect("an answer");
    assert!(!seen.exists);
}

#[tokio::test]
async fn a_card_to_be_picked_up_is_announced_by_its_serial() {
    let server = with_user("").await;
    let assign = |number: &str| Operation::AssignCard { user_id: USER.to_owned(), card_number: number.to_owned() };
    let performed = adapter_for(&server).perform(assign("04bd04"), LONG).await.expect("success");
    assert_eq!(performed.card_number, "04BD04");
    assert_eq!(written(&last_write(&server), "AutoKeyEdit.ROMCode").as_deref(), Some("04BD04"));
    let error = adapter_for(&server).perform(assign("card one"), LONG).await.expect_err("no serial");
    assert_eq!((error.effect, error.retry), (Effect::None, Retry::Never));
    assert_eq!(server.names().len(), 1);
}
