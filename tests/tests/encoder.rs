//! Encoders through the API: every end an encode can have, and that no card is written twice.
//!
//! The witness is the simulator's durable count of physical effects, not the bridge's own records.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory, Grant};
use lockbridge_tests::harness::{Site, SiteOptions, until};
use serde_json::{Value, json};

const DESK: &str = "Front desk 1";
const ASSIGN: &str = "Encoder.SaltoDBUser.AssignNewKey";

async fn site() -> Result<(Site, Directory)> {
    let simulator = ["--card-wait", "300", "--updating-readers"].map(str::to_owned).to_vec();
    let site = Site::running(SiteOptions { simulator, ..SiteOptions::default() }).await?;
    let directory = Directory::read(&site).await?;
    Ok((site, directory))
}

fn error_type(attempt: &Value) -> &str {
    attempt["error"]["type"].as_str().unwrap_or_default()
}

async fn is_issued(site: &Site, grant: &Grant) -> Result<bool> {
    Ok(guest::method(site, grant, "the method", |_| true).await?["is_issued"] == true)
}

/// The one doubt of the bridge, once there is one.
async fn doubt(site: &Site) -> Result<Value> {
    let found = until("a doubt at the command line", Duration::from_secs(15), async || {
        let (code, stdout, stderr) =
            site.bridge_command(&["doubt", "--json"]).await.map_err(|error| format!("{error:#}"))?;
        let doubts: Value = serde_json::from_str(&stdout).map_err(|error| format!("{code}: {error}: {stderr}"))?;
        match doubts.as_array().map(Vec::as_slice) {
            Some([doubt]) => Ok(doubt.clone()),
            _ => Err(doubts.to_string()),
        }
    });
    Ok(found.await?)
}

async fn resolve(site: &Site, verdict: &str) -> Result<()> {
    let doubt = doubt(site).await?;
    let id = doubt["command"]["command_id"].as_str().with_context(|| format!("no id in {doubt}"))?;
    let (code, stdout, stderr) = site.bridge_command(&["doubt", "resolve", id, verdict]).await?;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (_, left, _) = site.bridge_command(&["doubt", "--json"]).await?;
    assert_eq!(serde_json::from_str::<Value>(&left)?, json!([]));
    Ok(())
}

async fn credential(site: &Site, grant: &Grant) -> Result<Value> {
    let method = guest::method(site, grant, "the method", |_| true).await?;
    let body = json!({ "acs_credential_id": method["acs_credential_id"] });
    Ok(site.api.post("/acs/credentials/get", body).await?["acs_credential"].clone())
}

fn warns_of_doubt(credential: &Value) -> bool {
    let warnings = credential["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    warnings.iter().any(|warning| warning["warning_code"] == "unknown_issue_with_acs_credential")
}

#[tokio::test]
async fn an_encode_that_writes_nothing_says_why_and_may_be_tried_again() -> Result<()> {
    let (site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance", "Room 101"]).await?;

    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(error_type(&attempt), "no_credential_on_encoder", "{attempt}");

    site.simulator.post("/encoders/put", json!({ "encoder": DESK, "format": "wrong" })).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(error_type(&attempt), "incompatible_card_format", "{attempt}");
    guest::lift(&site, DESK).await?;

    let card = guest::put_blank(&site, DESK).await?;
    site.simulator.post("/encoders/plug", json!({ "encoder": DESK, "plugged": false })).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(error_type(&attempt), "encoder_not_online", "{attempt}");
    site.simulator.post("/encoders/plug", json!({ "encoder": DESK, "plugged": true })).await?;

    assert!(!is_issued(&site, &grant).await?, "nothing was written yet");
    assert_eq!(site.simulator.get("/effects").await?["total"], 0);

    // A busy encoder proves that nothing was done: the bridge asks again, and the person notices nothing.
    site.simulator.post("/faults", json!({ "kind": "encoder_busy", "encoder": DESK })).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(site.simulator.get("/faults").await?["faults"], json!([]), "the encoder was busy once");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    assert!(is_issued(&site, &grant).await?);
    guest::lift(&site, DESK).await?;
    assert!(guest::present(&site, &card, "Room 101").await?);
    assert!(!guest::present(&site, &card, "Room 102").await?);
    Ok(())
}

#[tokio::test]
async fn a_card_lifted_in_the_middle_is_in_doubt_until_a_person_says_what_came_of_it() -> Result<()> {
    let (site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::put_blank(&site, DESK).await?;
    site.simulator.post("/faults", json!({ "kind": "card_lifted" })).await?;
    let id = guest::begin_encode(&site, &directory, &grant, DESK).await?;

    let doubt = doubt(&site).await?;
    assert_eq!(doubt["command"]["kind"], "encode_credential", "{doubt}");
    assert_eq!(guest::effects(&site, "card_partly_written").await?, 1);
    assert_eq!(guest::attempt(&site, &id).await?["status"], "pending");
    until("the doubt at the API", Duration::from_secs(10), async || {
        let credential = credential(&site, &grant).await.map_err(|error| format!("{error:#}"))?;
        if warns_of_doubt(&credential) { Ok(()) } else { Err(credential.to_string()) }
    })
    .await?;
    let status = site.status().await?;
    assert_eq!(status["engine"]["in_doubt"], 1, "{status}");

    resolve(&site, "not-done").await?;
    let attempt = guest::attempt_ended(&site, &id).await?;
    assert_eq!(attempt["status"], "error", "{attempt}");
    let credential = credential(&site, &grant).await?;
    assert!(!warns_of_doubt(&credential), "{credential}");
    assert_eq!(credential["is_issued"], false);

    guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_what_the_lock_server_shows_and_the_card_written_once() -> Result<()> {
    let (mut site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let card = guest::put_blank(&site, DESK).await?;
    site.simulator.post("/faults", json!({ "kind": "perform_then_close", "request": ASSIGN })).await?;
    let id = guest::begin_encode(&site, &directory, &grant, DESK).await?;
    until("the write whose answer is lost", Duration::from_secs(10), async || {
        match guest::effects(&site, "card_written").await {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    // Dying now must not lead to a second write either.
    site.kill_bridge().await?;
    site.start_bridge().await?;
    let attempt = guest::attempt_ended(&site, &id).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(attempt["result"]["card_number"].as_str().map(str::to_lowercase), Some(card.to_lowercase()));
    assert!(is_issued(&site, &grant).await?);
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    let credential = credential(&site, &grant).await?;
    assert!(!warns_of_doubt(&credential), "{credential}");
    Ok(())
}

#[tokio::test]
async fn a_doubt_nobody_can_settle_is_given_up_and_never_repeated() -> Result<()> {
    let (site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::put_blank(&site, DESK).await?;
    // Closed before anything was done: "nothing changed" proves nothing while the encoder may still wait for a card.
    site.simulator.post("/faults", json!({ "kind": "close_before_answer", "request": ASSIGN })).await?;
    let id = guest::begin_encode(&site, &directory, &grant, DESK).await?;
    resolve(&site, "unsure").await?;
    let attempt = guest::attempt_ended(&site, &id).await?;
    assert_eq!(attempt["status"], "error", "{attempt}");
    assert_eq!(guest::effects(&site, "card_written").await?, 0, "an encode in doubt is never repeated");
    until("the maybe-card is dealt with", Duration::from_secs(15), async || {
        let (_, queue, _) = site.bridge_command(&["queue", "--json"]).await.map_err(|error| format!("{error:#}"))?;
        let rows: Value = serde_json::from_str(&queue).map_err(|error| error.to_string())?;
        if rows == json!([]) { Ok(()) } else { Err(queue) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_issued_card_is_written_again_only_when_its_rights_changed() -> Result<()> {
    let (site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance", "Room 101"]).await?;
    let card = guest::put_blank(&site, DESK).await?;
    assert_eq!(guest::encode(&site, &directory, &grant, DESK).await?["status"], "success");
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(error_type(&attempt), "credential_cannot_be_reissued", "{attempt}");
    guest::lift(&site, DESK).await?;

    let answer = site.api.post("/access_grants/get", json!({ "access_grant_id": grant.access_grant_id })).await?;
    let person = json!({ "user_identity_id": answer["access_grant"]["user_identity_id"] });
    let more = guest::grant_to(&site, &directory, "Ada Example", person, &["Room 102"]).await?;
    guest::ready_for_encoding(&site, &more).await?;
    assert!(!guest::present(&site, &card, "Room 102").await?, "an offline door decides by the card");
    site.simulator.post("/encoders/put", json!({ "encoder": DESK, "serial": card })).await?;
    let attempt = guest::encode(&site, &directory, &more, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    guest::lift(&site, DESK).await?;
    assert!(guest::present(&site, &card, "Room 102").await?);
    assert!(guest::present(&site, &card, "Room 101").await?, "what the first grant gave stays");
    let counts = (guest::effects(&site, "card_written").await?, guest::effects(&site, "card_updated").await?);
    assert_eq!(counts, (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_scan_tells_no_card_a_blank_and_a_known_card_apart_and_a_deleted_credential_opens_nothing() -> Result<()> {
    let (site, directory) = site().await?;
    let scan = guest::scan(&site, &directory, DESK).await?;
    assert_eq!(error_type(&scan), "no_credential_on_encoder", "{scan}");
    let card = guest::put_blank(&site, DESK).await?;
    let scan = guest::scan(&site, &directory, DESK).await?;
    assert_eq!(scan["status"], "success", "{scan}");
    assert_eq!(scan["result"]["acs_credential_on_seam"], Value::Null, "{scan}");

    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    assert_eq!(guest::encode(&site, &directory, &grant, DESK).await?["status"], "success");
    let scan = guest::scan(&site, &directory, DESK).await?;
    let credential = credential(&site, &grant).await?;
    let seen = &scan["result"];
    assert_eq!(seen["acs_credential_on_seam"]["acs_credential_id"], credential["acs_credential_id"], "{scan}");
    let number = seen["acs_credential_on_encoder"]["card_number"].as_str().map(str::to_lowercase);
    assert_eq!(number, Some(card.to_lowercase()));
    guest::lift(&site, DESK).await?;

    assert!(guest::present(&site, &card, "Main entrance").await?);
    let body = json!({ "acs_credential_id": credential["acs_credential_id"] });
    site.api.post("/acs/credentials/delete", body.clone()).await?;
    until("the online door refuses the card", Duration::from_secs(15), async || {
        match guest::present(&site, &card, "Main entrance").await {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    until("the credential is gone at the API", Duration::from_secs(15), async || {
        match site.api.post("/acs/credentials/get", body.clone()).await {
            Err(error) if error.kind() == "acs_credential_not_found" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}
