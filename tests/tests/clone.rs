//! Copies: a state directory on another machine, a backup put back, two daemons with one identity; and what only looks like
//! one. The witness for cards is the simulator's durable count.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{ApiClient, Process, Site, SiteOptions, until};
use serde_json::{Value, json};

const DESK: &str = "Front desk 1";
/// Between two looks of the hub at decisions lie 2 s; a challenge takes up to 4 s.
const SOON: Duration = Duration::from_secs(20);

/// Copies a folder with the modes of its files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

/// Says which machine a configuration file stands on.
fn machine(site: &Site, configuration: &Path, id: &str) -> Result<()> {
    let file = site.folder().join(format!("{id}.machine-id"));
    std::fs::write(&file, format!("{id}\n"))?;
    let extra = configuration.with_extension("d");
    std::fs::create_dir_all(&extra)?;
    std::fs::write(extra.join("10-machine.toml"), format!("[machine]\nid_file = \"{}\"\n", file.display()))?;
    Ok(())
}

/// A copy of the site's state directory, with a configuration of its own.
fn copied(site: &Site, name: &str) -> Result<PathBuf> {
    copy(&site.state(), &site.folder().join(name))?;
    let text = std::fs::read_to_string(site.configuration())?;
    let text = text.replace("/state\"", &format!("/{name}\"")).replace("control.sock", &format!("{name}.sock"));
    let path = site.folder().join(format!("{name}.toml"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Cards are laid down before they are asked for: an encode that may not happen would otherwise only find no card.
async fn site() -> Result<(Site, Directory)> {
    let simulator = ["--card-wait", "300"].map(str::to_owned).to_vec();
    let mut site = Site::open(SiteOptions { simulator, ..SiteOptions::default() }).await?;
    machine(&site, &site.configuration(), "home")?;
    site.enroll().await?;
    site.start_bridge().await?;
    site.wait_for_inventory().await?;
    let directory = Directory::read(&site).await?;
    Ok((site, directory))
}

/// The quarantine that `lockbridge status` shows for a configuration.
async fn held(site: &Site, configuration: &Path) -> Result<Value, String> {
    let asked = site.configured_command(configuration, &["status", "--json"], "").await;
    let (code, stdout, stderr) = asked.map_err(|error| format!("{error:#}"))?;
    let status: Value = serde_json::from_str(&stdout).map_err(|error| format!("{code}: {error}: {stderr}"))?;
    Ok(status["engine"]["quarantine"].clone())
}

async fn held_for(site: &Site, configuration: &Path, reason: &str) -> Result<Value> {
    let what = format!("quarantine for {reason}");
    let found = until(&what, SOON, async || {
        let held = held(site, configuration).await?;
        if held["reason"] == reason { Ok(held) } else { Err(held.to_string()) }
    });
    Ok(found.await?)
}

async fn free(site: &Site, configuration: &Path) -> Result<()> {
    until("the end of the quarantine", SOON, async || {
        let held = held(site, configuration).await?;
        if held.is_null() { Ok(()) } else { Err(held.to_string()) }
    })
    .await?;
    Ok(())
}

/// What is open at the cloud: reasons.
async fn at_cloud(site: &Site) -> Result<Vec<Value>> {
    let lines = site.cloud_command(&["bridge", "quarantine", "list"], &[]).await?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn release_at_cloud(site: &Site) -> Result<()> {
    let open = at_cloud(site).await?;
    let bridge = open.first().and_then(|held| held["bridge_id"].as_str()).with_context(|| format!("{open:?}"))?;
    site.cloud_command(&["bridge", "quarantine", "lift"], &[bridge]).await?;
    Ok(())
}

/// Releases at the site; whether that ended it.
async fn release_here(site: &Site, configuration: &Path) -> Result<bool> {
    let lift = ["quarantine", "lift", "--yes", "--json"];
    let (code, stdout, stderr) = site.configured_command(configuration, &lift, "").await?;
    assert_eq!(code, 0, "{stderr}");
    Ok(serde_json::from_str::<Value>(&stdout)?["left"] == true)
}

async fn closed_at_cloud(site: &Site) -> Result<()> {
    until("the incident is closed at the cloud", SOON, async || {
        let open = at_cloud(site).await.map_err(|error| format!("{error:#}"))?;
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await?;
    Ok(())
}

async fn revoke(site: &Site, grant: &guest::Grant) -> Result<()> {
    site.api.post("/access_grants/delete", json!({ "access_grant_id": grant.access_grant_id })).await?;
    until("the revoke at the API", SOON, async || {
        let asked = json!({ "access_grant_id": grant.access_grant_id });
        match site.api.post("/access_grants/get", asked).await {
            Err(error) if error.kind() == "access_grant_not_found" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

async fn started(site: &Site, configuration: &Path) -> Result<(Process, String)> {
    let mut process = site.second_bridge(configuration)?;
    let ready = process.ready().await?;
    Ok((process, ready["health"].as_str().context("a health address")?.to_owned()))
}

#[tokio::test]
async fn a_state_directory_on_another_machine_waits_for_two_people() -> Result<()> {
    let (mut site, directory) = site().await?;
    let known = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let leaving = guest::ready_grant(&site, &directory, "Ben Example", &["Main entrance"]).await?;
    site.stop_bridge().await?;
    let copy = copied(&site, "moved")?;
    machine(&site, &copy, "elsewhere")?;
    let (_process, health) = started(&site, &copy).await?;
    let found = held_for(&site, &copy, "machine_changed").await?;
    let ready = ApiClient::plain(&health)?.get("/readyz").await.expect_err("is not ready");
    assert_eq!(ready.status().map(|status| status.as_u16()), Some(503));
    assert_eq!(ApiClient::plain(&health)?.get("/livez").await?["live"], true);
    let (_, told, _) = site.configured_command(&copy, &["status"], "").await?;
    assert!(told.contains("lockbridge quarantine lift --yes") && told.contains("machine id differ"), "{told}");

    until("the incident at the cloud", SOON, async || match at_cloud(&site).await {
        Ok(open) if open.len() == 1 && open[0]["reason"] == "machine_changed" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    // Nobody waits in vain at the API, and nothing is written at the desk either.
    guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &known, DESK).await?;
    assert!(attempt["error"]["message"].as_str().unwrap_or_default().contains("quarantine"), "{attempt}");
    let encode = ["encode", &known.access_grant_id, "--encoder", DESK, "--json"];
    let (code, stdout, stderr) = site.configured_command(&copy, &encode, "").await?;
    assert_ne!(code, 0, "{stdout}");
    assert!(stderr.contains("quarantine") || stdout.contains("bridge_quarantined"), "{stdout}{stderr}");
    let waiting = guest::grant(&site, &directory, "Cleo Example", &["Main entrance"]).await?;
    revoke(&site, &leaving).await?;
    assert_eq!(guest::holders(&site, "Cleo Example").await?.len(), 0, "a revoke passes, a grant does not");

    let (code, _, stderr) = site.configured_command(&copy, &["quarantine", "lift"], "").await?;
    assert_eq!(code, 1, "{stderr}");
    assert!(!release_here(&site, &copy).await?, "one person is not enough");
    assert_eq!(held(&site, &copy).await.map_err(anyhow::Error::msg)?["since_ms"], found["since_ms"]);
    release_at_cloud(&site).await?;
    free(&site, &copy).await?;
    closed_at_cloud(&site).await?;
    guest::arrived(&site, &waiting).await?;
    let attempt = guest::encode(&site, &directory, &known, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_backup_put_back_writes_no_card_again_and_catches_up_after_the_release() -> Result<()> {
    let (mut site, directory) = site().await?;
    let first = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let leaving = guest::ready_grant(&site, &directory, "Ben Example", &["Main entrance", "Room 101"]).await?;
    site.stop_bridge().await?;
    let backup = site.folder().join("backup");
    copy(&site.state(), &backup)?;
    site.start_bridge().await?;
    site.wait_for_cloud(SOON).await?;
    guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &first, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    guest::lift(&site, DESK).await?;
    let later = guest::ready_grant(&site, &directory, "Cleo Example", &["Main entrance"]).await?;

    // A blank lies ready: whatever is written now is counted.
    guest::put_blank(&site, DESK).await?;
    site.kill_bridge().await?;
    std::fs::remove_dir_all(site.state())?;
    copy(&backup, &site.state())?;
    site.start_bridge().await?;
    let configuration = site.configuration();
    held_for(&site, &configuration, "state_rolled_back").await?;
    revoke(&site, &leaving).await?;
    // Over restarts too, in the middle of it.
    site.kill_bridge().await?;
    site.start_bridge().await?;
    held_for(&site, &configuration, "state_rolled_back").await?;
    let waiting = guest::grant(&site, &directory, "Dan Example", &["Main entrance"]).await?;
    site.wait_for_cloud(SOON).await?;

    release_at_cloud(&site).await?;
    until("the cloud's release at the site", SOON, async || {
        let held = held(&site, &configuration).await?;
        if held["released_at_cloud"] == true { Ok(()) } else { Err(held.to_string()) }
    })
    .await?;
    assert_eq!(guest::holders(&site, "Dan Example").await?.len(), 0, "the cloud alone is not enough");
    assert_eq!(guest::effects(&site, "card_written").await?, 1, "the encode that the backup never knew");
    assert!(release_here(&site, &configuration).await?);
    closed_at_cloud(&site).await?;
    guest::arrived(&site, &waiting).await?;
    until("nothing waits at the bridge", SOON, async || {
        let (_, queue, _) = site.bridge_command(&["queue", "--json"]).await.map_err(|error| format!("{error:#}"))?;
        if queue.trim() == "[]" { Ok(()) } else { Err(queue) }
    })
    .await?;
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    // What was lost was learned again: a card of a grant that only the lost part knew can be written.
    let attempt = guest::encode(&site, &directory, &later, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(guest::effects(&site, "card_written").await?, 2);
    Ok(())
}

#[tokio::test]
async fn two_daemons_with_one_identity_are_both_held() -> Result<()> {
    let (mut site, directory) = site().await?;
    site.stop_bridge().await?;
    let copy = copied(&site, "twin")?;
    machine(&site, &copy, "home")?;
    site.start_bridge().await?;
    site.wait_for_cloud(SOON).await?;
    let (mut twin, _) = started(&site, &copy).await?;
    held_for(&site, &copy, "duplicate_session").await?;
    let configuration = site.configuration();
    held_for(&site, &configuration, "duplicate_session").await?;
    assert!(site.bridge()?.runs() && twin.runs(), "both stay for diagnosis");
    let waiting = guest::grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    site.wait_for_cloud(SOON).await?;
    twin.stop().await?;
    assert!(!release_here(&site, &configuration).await?);
    assert_eq!(guest::holders(&site, "Ada Example").await?.len(), 0);
    release_at_cloud(&site).await?;
    free(&site, &configuration).await?;
    guest::arrived(&site, &waiting).await?;
    closed_at_cloud(&site).await?;
    // The twin is still what it was, and by now its state is the older one.
    site.stop_bridge().await?;
    let (_twin, _) = started(&site, &copy).await?;
    until("the copy is found out at the cloud", SOON, async || match at_cloud(&site).await {
        Ok(open) if open.iter().any(|held| held["reason"] == "state_rolled_back") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    held_for(&site, &copy, "state_rolled_back").await?;
    Ok(())
}

#[tokio::test]
async fn a_half_open_session_is_no_clone() -> Result<()> {
    let (mut site, directory) = site().await?;
    // The cloud hears neither the end of the connection nor an answer to its challenge.
    site.link.silence();
    site.kill_bridge().await?;
    site.link.mend();
    site.start_bridge().await?;
    site.wait_for_cloud(Duration::from_secs(30)).await?;
    assert_eq!(held(&site, &site.configuration()).await.map_err(anyhow::Error::msg)?, Value::Null);
    assert_eq!(at_cloud(&site).await?, Vec::<Value>::new());
    guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    Ok(())
}
