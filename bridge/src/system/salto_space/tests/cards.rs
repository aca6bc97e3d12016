//! Cards at encoders, and doors.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{Reply, Server};
use super::*;
use crate::system::{Effect, EffectClass, KeyKind, KeyTarget, LockSystem, Operation};

fn encode(kind: KeyKind) -> Operation {
    let key = KeyTarget { kind, rooms: vec![], areas: vec![], window: None, stay: String::new(), mark: String::new() };
    Operation::Encode { user_id: USER.to_owned(), encoder: "Desk".to_owned(), key }
}

const READ: Operation = Operation::ReadCard { encoder: String::new() };

fn is_encoder(name: &str) -> bool {
    name.starts_with("Encoder.")
}

#[tokio::test]
async fn after_an_encode_serial_and_end_are_read_from_the_user() {
    for (operation, request) in [
        (KeyKind::First, "Encoder.SaltoDBUser.AssignNewKey"),
        (KeyKind::Update, "Encoder.SaltoDBUser.UpdateCurrentKey"),
    ] {
        let server = Server::stp(|request| {
            Reply::Params(if is_encoder(&request.name) {
                "<Whatever>1</Whatever>".to_owned()
            } else {
                user_list("<CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>04AB</CurrentROMCode><CurrentKeyStatus>1</CurrentKeyStatus><CurrentKeyPeriod><StartDate>2000-01-01T00:00:00</StartDate><EndDate>2026-11-22T24:00:00</EndDate></CurrentKeyPeriod>")
            })
        })
        .await;
        let performed = adapter_for(&server).perform(encode(operation), LONG).await.expect("success");
        assert_eq!(server.names(), [request, "SaltoDBUserList.Read"]);
        assert!(server.seen()[0].document.contains(&format!(
            "<Params><ExtUserID>{}</ExtUserID><EncoderID>Desk</EncoderID></Params>",
            external_id()
        )));
        assert_eq!((performed.card_number.as_str(), performed.card_update_needed), ("04AB", false));
        assert_eq!(performed.key_valid_until_ms, Some(NOW_MS + 11 * HOUR_MS));
    }
}

#[tokio::test]
async fn a_written_card_is_a_success_even_if_the_user_cannot_be_read_afterwards() {
    let server = Server::stp(|request| {
        if is_encoder(&request.name) { Reply::Params("<ROMCode>04cd</ROMCode>".to_owned()) } else { Reply::Code(4) }
    })
    .await;
    let performed = adapter_for(&server).perform(encode(KeyKind::First), LONG).await.expect("success");
    assert_eq!((performed.card_number.as_str(), performed.key_valid_until_ms), ("04CD", None));
    assert!(performed.detail.contains("could not be read"), "{}", performed.detail);
}

#[tokio::test]
async fn a_busy_encoder_is_asked_again_and_only_that_answer_is() {
    let tries = AtomicUsize::new(0);
    let server = Server::stp(move |request| match is_encoder(&request.name) {
        true if tries.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Code(402),
        true => Reply::Code(404),
        false => Reply::Params(user_list("")),
    })
    .await;
    let error = adapter_for(&server).perform(encode(KeyKind::First), LONG).await.expect_err("card lifted");
    assert_eq!((error.code, error.effect), ("encoding_interrupted", Effect::Unknown));
    assert_eq!(server.names().len(), 2);

    let server = Server::stp(|_| Reply::Code(402)).await;
    let limit = Duration::from_millis(300);
    let error = adapter_for(&server).perform(encode(KeyKind::First), limit).await.expect_err("busy");
    assert_eq!((error.code, error.effect, error.vendor_code.as_str()), ("uncategorized_error", Effect::None, "402"));
}

#[tokio::test]
async fn database_calls_go_on_while_an_encoder_waits_for_a_card() {
    let server =
        Server::stp(|request| if is_encoder(&request.name) { Reply::Silence } else { Reply::Params(user_list("")) })
            .await;
    let system = Arc::new(adapter_with(&server, |config, _| config.connections = 1));
    let at_encoder = system.clone();
    let waiting = tokio::spawn(async move { at_encoder.perform(encode(KeyKind::First), LONG).await });
    eventually("the encoder request", || server.names().len() == 1).await;
    let observed = tokio::time::timeout(Duration::from_secs(5), system.observe_user(USER)).await;
    assert!(observed.expect("not held up").expect("an answer").exists);
    waiting.abort();
}

#[tokio::test]
async fn a_scan_tells_what_the_server_tells() {
    let server = Server::stp(|request| {
        Reply::Params(if is_encoder(&request.name) {
            format!("<ROMCode>04ab</ROMCode><ExtUserID>{}</ExtUserID>", external_id())
        } else {
            user_list("<CurrentKeyExists>1</CurrentKeyExists><CurrentROMCode>04AB</CurrentROMCode><CurrentKeyStatus>1</CurrentKeyStatus><CurrentKeyPeriod><StartDate>2026-11-22T13:00:00</StartDate><EndDate>2026-11-22T14:00:00</EndDate></CurrentKeyPeriod>")
        })
    })
    .await;
    let card = adapter_for(&server).perform(READ, LONG).await.expect("success").card_on_encoder.expect("a card");
    assert_eq!((card.card_number.as_str(), card.user_id.as_str()), ("04AB", USER));
    assert_eq!((card.starts_at_ms, card.ends_at_ms, card.up_to_date), (NOW_MS, NOW_MS + HOUR_MS, true));

    let server = Server::stp(|_| Reply::Params("<Serial>04AB</Serial>".to_owned())).await;
    let card = adapter_for(&server).perform(READ, LONG).await.expect("success").card_on_encoder.expect("a card");
    assert_eq!((card.card_number.as_str(), card.user_external_id.as_str()), ("04AB", ""));
    assert_eq!(server.names(), ["Encoder.ReadKey"]);

    let server = Server::stp(|_| Reply::Code(403)).await;
    let error = adapter_for(&server).perform(READ, LONG).await.expect_err("no card");
    assert_eq!((error.code, error.effect), ("no_credential_on_encoder", Effect::None));
}

#[tokio::test]
async fn a_door_is_open_only_when_the_server_says_so_of_this_door() {
    let unlock = Operation::Unlock { entrance: "D1".to_owned() };
    let result = |code: &str| {
        format!(
            "<OnlineDoorActionResultList><OnlineDoorActionResult><DoorID>Gym</DoorID>{code}<ErrorMessage>text</ErrorMessage></OnlineDoorActionResult></OnlineDoorActionResultList>"
        )
    };
    let params = result("<ErrorCode>0</ErrorCode>");
    let server = Server::stp(move |_| Reply::Params(params.clone())).await;
    adapter_for(&server).perform(unlock.clone(), LONG).await.expect("success");

    for (params, effect, vendor_code) in [
        (result("<ErrorCode>100</ErrorCode>"), Effect::None, "100"),
        (result("<ErrorCode>4</ErrorCode>"), Effect::Unknown, "4"),
        (result(""), Effect::Unknown, ""),
        (result("<ErrorCode>fine</ErrorCode>"), Effect::Unknown, ""),
        (String::new(), Effect::Unknown, ""),
    ] {
        let sent = params.clone();
        let server = Server::stp(move |_| Reply::Params(sent.clone())).await;
        let error = adapter_for(&server).perform(unlock.clone(), LONG).await.expect_err("not opened");
        assert_eq!((error.effect, error.vendor_code.as_str()), (effect, vendor_code), "{params}");
    }
}

#[tokio::test]
async fn an_unlock_is_never_sent_on_a_connection_that_may_be_dead() {
    let server =
        Server::stp(
            |request| {
                if request.name == "OnlineDoor.Open" { Reply::Close } else { Reply::Params(user_list("")) }
            },
        )
        .await;
    let system = adapter_for(&server);
    system.observe_user(USER).await.expect("an answer");
    let error = system.perform(Operation::Unlock { entrance: "D1".to_owned() }, LONG).await.expect_err("cut");
    assert_eq!(error.effect, Effect::Unknown);
    assert_eq!((server.names().len(), server.connections()), (2, 2), "one try, on a fresh connection");
}

#[tokio::test]
async fn cards_and_doors_are_blind_and_records_are_repeatable() {
    let system = adapter(config(ShipTransport::Stp { host: "192.0.2.1".to_owned(), port: 8050 }));
    let user_id = USER.to_owned();
    for (operation, class) in [
        (encode(KeyKind::First), EffectClass::Blind),
        (encode(KeyKind::Update), EffectClass::Blind),
        (Operation::Unlock { entrance: "D1".to_owned() }, EffectClass::Blind),
        (READ, EffectClass::Repeatable),
        (Operation::ApplyUser(target()), EffectClass::Repeatable),
        (Operation::DeleteUser { user_id: user_id.clone() }, EffectClass::Repeatable),
        (Operation::CancelKey { user_id }, EffectClass::Repeatable),
    ] {
        assert_eq!(system.effect_class(&operation), class, "{operation:?}");
    }
}
