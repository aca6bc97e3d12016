//! Bits rot in the middle of the journal, and with them go commands that the cloud was told are safe. The bridge says so, the
//! cloud names them, and what can be made good is made good. The witness for cards is the simulator's durable count.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::journal::{Entry, entry::Body};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{JournalCopy, Site, SiteOptions, until};
use prost::Message as _;
use serde_json::{Value, json};

const DESK: &str = "Front desk 1";
const SOON: Duration = Duration::from_secs(40);

/// Kinds of the commands that have not ended, as the desk sees them.
async fn waiting(site: &Site) -> Result<Vec<String>, String> {
    let asked = site.bridge_command(&["queue", "--json"]).await.map_err(|error| format!("{error:#}"))?;
    let rows: Value = serde_json::from_str(&asked.1).map_err(|error| format!("{error}: {}", asked.2))?;
    let kinds = rows.as_array().into_iter().flatten().map(|row| row["kind"].as_str().unwrap_or_default().to_owned());
    Ok(kinds.collect())
}

async fn until_waiting(site: &Site, kind: &str, count: usize) -> Result<()> {
    until(&format!("{count} {kind} at the bridge"), SOON, async || {
        let kinds = waiting(site).await?;
        if kinds.iter().filter(|found| *found == kind).count() == count { Ok(()) } else { Err(format!("{kinds:?}")) }
    })
    .await?;
    Ok(())
}

/// Sequence and id of every accepted command of a kind, in order.
fn accepted(journal: &JournalCopy, kind: &str) -> Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    for (sequence, payload) in journal.entries()? {
        if let Some(Body::Received(received)) = Entry::decode(payload.as_slice())?.body
            && received.kind == kind
        {
            found.push((sequence, CommandId::from_bytes(&received.command_id).context("an id")?.to_string()));
        }
    }
    Ok(found)
}

#[tokio::test]
async fn what_a_rotten_journal_forgot_is_asked_for_anew_or_shown_as_unknown() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let holder = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::put_blank(&site, DESK).await?;
    // The card is written, its answer is lost, and then the lock server is gone: nobody can say more.
    site.simulator
        .post("/faults", json!({ "kind": "perform_then_close", "request": "Encoder.SaltoDBUser.AssignNewKey" }))
        .await?;
    let attempt = guest::begin_encode(&site, &directory, &holder, DESK).await?;
    until_waiting(&site, "encode_credential", 1).await?;
    until("the card is written", SOON, async || match guest::effects(&site, "card_written").await {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    site.kill_simulator().await?;
    let lost = guest::grant(&site, &directory, "Ben Example", &["Main entrance"]).await?;
    until_waiting(&site, "put_grant", 1).await?;
    let kept = guest::grant(&site, &directory, "Cleo Example", &["Main entrance"]).await?;
    until_waiting(&site, "put_grant", 2).await?;
    site.kill_bridge().await?;

    // The rot shows when the working set has to be made anew from the journal.
    let journal = JournalCopy::in_place(&site.state());
    let (encode, grants) = (accepted(&journal, "encode_credential")?, accepted(&journal, "put_grant")?);
    let ((encode_at, encode_id), (grant_at, grant_id)) = (encode[0].clone(), grants[grants.len() - 2].clone());
    // From the back: behind a rotten record nothing is found any more by this simple reader.
    for sequence in [grant_at, encode_at] {
        journal.rot(sequence)?;
    }
    std::fs::remove_dir_all(site.state().join("working-set"))?;
    site.restart_simulator().await?;
    site.start_bridge().await?;

    // By themselves: the grant that was kept, and the one that was lost.
    guest::arrived(&site, &kept).await?;
    guest::arrived(&site, &lost).await?;
    guest::ready_for_encoding(&site, &lost).await?;
    // Not by itself: the card.
    let attempt = guest::attempt_ended(&site, &attempt).await?;
    assert_eq!((&attempt["status"], &attempt["error"]["type"]), (&json!("error"), &json!("journal_lost")), "{attempt}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1, "it is not written again");
    let method = guest::method(&site, &holder, "the method", |_| true).await?;
    let asked = json!({ "acs_credential_id": method["acs_credential_id"] });
    let credential = site.api.post("/acs/credentials/get", asked).await?["acs_credential"].clone();
    let warned = credential["warnings"].to_string().contains("unknown_issue_with_acs_credential");
    assert!(warned, "whoever looks at the credential sees the doubt: {credential}");

    // Both ends say which.
    let listed = site.cloud_command(&["bridge", "lost"], &[]).await?;
    let listed: Vec<Value> = listed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |id: &str| listed.iter().find(|row| row["command_id"] == id).with_context(|| format!("{id}: {listed:?}"));
    assert_eq!((&of(&encode_id)?["asked_anew_by"], &of(&encode_id)?["state"]), (&Value::Null, &json!("abandoned")));
    assert!(of(&grant_id)?["asked_anew_by"].is_string());
    let reason = site.wait_for_reason("journal_damaged", SOON).await?;
    let message = reason["message"].as_str().unwrap_or_default();
    assert!(message.contains(&encode_id) && message.contains(&grant_id), "{message}");
    let told = format!("Lost commands: {};", listed.len());
    assert!(message.contains(&told) && message.contains("of 1 it is not known"), "{told} {message}");
    until("nothing waits", SOON, async || match waiting(&site).await {
        Ok(kinds) if kinds.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;

    // A restart that folds the journal once more asks for nothing again, and the journal keeps the names.
    site.kill_bridge().await?;
    std::fs::remove_dir_all(site.state().join("working-set"))?;
    site.start_bridge().await?;
    site.wait_for_cloud(SOON).await?;
    let (_, exported, _) = site.bridge_command(&["audit", "export", "--text"]).await?;
    let named = exported.lines().find(|line| line.contains("commands_lost")).with_context(|| exported.clone())?;
    assert!(named.contains(&encode_id) && named.contains(&grant_id), "{named}");
    guest::ready_grant(&site, &directory, "Dan Example", &["Main entrance"]).await?;
    assert_eq!(site.cloud_command(&["bridge", "lost"], &[]).await?.lines().count(), listed.len());
    for (name, count) in [("Ada Example", 1), ("Ben Example", 1), ("Cleo Example", 1)] {
        assert_eq!(guest::holders(&site, name).await?.len(), count, "{name}");
    }
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}
