//! The encoder desk: several people want cards at once, each sees how far it is, and one changes her mind.
//!
//! The witness is the simulator's durable count of physical effects.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory, Grant};
use lockbridge_tests::harness::{Site, SiteOptions, until};
use serde_json::{Value, json};

const DESK: &str = "Front desk 1";
const OTHER: &str = "Front desk 2";
/// Longest wait for something to be shown.
const SHOWN: Duration = Duration::from_secs(15);

/// An encoder that waits long for its card, so that a queue can be looked at.
async fn site() -> Result<(Site, Directory)> {
    let simulator = ["--card-wait", "25000"].map(str::to_owned).to_vec();
    let site = Site::running(SiteOptions { simulator, ..SiteOptions::default() }).await?;
    let directory = Directory::read(&site).await?;
    Ok((site, directory))
}

async fn ready(site: &Site, directory: &Directory, name: &str) -> Result<Grant> {
    guest::ready_grant(site, directory, name, &["Main entrance", "Room 101"]).await
}

async fn attempt(site: &Site, id: &str) -> Result<Value> {
    let found = site.api.post("/action_attempts/get", json!({ "action_attempt_id": id })).await?;
    Ok(found["action_attempt"].clone())
}

/// Waits until the API shows this progress.
async fn shown(site: &Site, id: &str, stage: &str, position: u64) -> Result<()> {
    let wanted = json!({ "stage": stage, "position": position });
    let what = format!("{wanted} of {id}");
    until(&what, SHOWN, async || match attempt(site, id).await {
        Ok(attempt) if attempt["progress"] == wanted => Ok(()),
        Ok(attempt) => Err(attempt.to_string()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await?;
    Ok(())
}

/// The command line's view of the queue.
async fn queue(site: &Site) -> Result<Vec<Value>> {
    let (code, stdout, stderr) = site.bridge_command(&["queue", "--json"]).await?;
    assert_eq!(code, 0, "{stderr}");
    Ok(serde_json::from_str(&stdout)?)
}

#[tokio::test]
async fn who_waits_for_an_encoder_sees_her_place_and_may_leave_the_line() -> Result<()> {
    let (site, directory) = site().await?;
    let guests = ["Ada Example", "Ben Example", "Cleo Example", "Dan Example"];
    let mut grants = Vec::new();
    for name in guests {
        grants.push(ready(&site, &directory, name).await?);
    }
    let mut attempts = Vec::new();
    for grant in &grants {
        attempts.push(guest::begin_encode(&site, &directory, grant, DESK).await?);
        // The order of the line is the order in which the bridge heard of them.
        shown(
            &site,
            &attempts[attempts.len() - 1],
            if attempts.len() == 1 { "present_card" } else { "waiting" },
            attempts.len() as u64 - 1,
        )
        .await?;
    }
    let other = ready(&site, &directory, "Eve Example").await?;
    let elsewhere = guest::begin_encode(&site, &directory, &other, OTHER).await?;
    shown(&site, &elsewhere, "present_card", 0).await?;

    let cancelled = site.api.post("/action_attempts/cancel", json!({ "action_attempt_id": attempts[1] })).await?;
    assert_eq!(cancelled["action_attempt"]["status"], "pending", "asked for, not yet so: {cancelled}");
    let gone = guest::attempt_ended(&site, &attempts[1]).await?;
    assert_eq!(gone["status"], "error", "{gone}");
    assert!(gone["error"]["message"].as_str().is_some_and(|message| message.contains("cancelled")), "{gone}");
    assert_eq!(gone["progress"], Value::Null, "an ended attempt has no place: {gone}");
    shown(&site, &attempts[2], "waiting", 1).await?;
    shown(&site, &attempts[3], "waiting", 2).await?;

    let rows = queue(&site).await?;
    let last = rows.iter().find(|row| row["encoder_job"]["position"] == 2).context("the last one in the queue")?;
    let id = last["command_id"].as_str().context("an id")?.to_owned();
    let first = rows.iter().find(|row| row["encoder_job"]["stage"] == "present_card").context("the first")?;
    let begun = first["command_id"].as_str().context("an id")?.to_owned();
    let (code, _, stderr) = site.bridge_command(&["cancel", &begun]).await?;
    assert!(code != 0 && stderr.contains("has begun"), "{code}: {stderr}");
    let (code, _, stderr) = site.bridge_command(&["cancel", &id]).await?;
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = site.bridge_command(&["cancel", &id]).await?;
    assert!(code != 0 && stderr.contains("No command with this id"), "{code}: {stderr}");
    let gone = guest::attempt_ended(&site, &attempts[3]).await?;
    assert!(gone["error"]["message"].as_str().is_some_and(|message| message.contains("on site")), "{gone}");

    for encoder in [DESK, OTHER] {
        guest::put_blank(&site, encoder).await?;
    }
    assert_eq!(guest::attempt_ended(&site, &attempts[0]).await?["status"], "success");
    assert_eq!(guest::attempt_ended(&site, &elsewhere).await?["status"], "success");
    shown(&site, &attempts[2], "remove_card", 1).await?;
    guest::lift(&site, DESK).await?;
    shown(&site, &attempts[2], "present_card", 0).await?;
    guest::put_blank(&site, DESK).await?;
    assert_eq!(guest::attempt_ended(&site, &attempts[2]).await?["status"], "success");

    assert_eq!(guest::effects(&site, "card_written").await?, 3, "three cards for three who stayed in line");
    let late = site.api.post("/action_attempts/cancel", json!({ "action_attempt_id": attempts[0] })).await;
    let late = late.expect_err("an ended attempt cannot be taken back").to_string();
    assert!(late.contains("has ended"), "{late}");
    Ok(())
}

#[tokio::test]
async fn who_encodes_at_the_command_line_is_told_when_to_present_the_card() -> Result<()> {
    let (site, directory) = site().await?;
    let (first, second) =
        (ready(&site, &directory, "Ada Example").await?, ready(&site, &directory, "Ben Example").await?);
    let ahead = guest::begin_encode(&site, &directory, &first, DESK).await?;
    shown(&site, &ahead, "present_card", 0).await?;
    let arguments = ["encode", &second.access_grant_id, "--encoder", DESK];
    let serve = async {
        until("the second in line", SHOWN, async || match queue(&site).await {
            Ok(rows) if rows.iter().any(|row| row["encoder_job"]["position"] == 1) => Ok(()),
            Ok(rows) => Err(format!("{rows:?}")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await?;
        guest::put_blank(&site, DESK).await?;
        guest::attempt_ended(&site, &ahead).await?;
        guest::lift(&site, DESK).await?;
        until("the second at the encoder", SHOWN, async || match queue(&site).await {
            Ok(rows) if rows.iter().any(|row| row["encoder_job"]["stage"] == "present_card") => Ok(()),
            Ok(rows) => Err(format!("{rows:?}")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await?;
        guest::put_blank(&site, DESK).await?;
        anyhow::Ok(())
    };
    let (told, served) = tokio::join!(site.bridge_command(&arguments), serve);
    served?;
    let (code, stdout, stderr) = told?;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("is written"), "{stdout}");
    Ok(())
}
