//! Enrollment as an installer meets it: tokens that are used, old, for another cloud or no hub; and one daemon a state.
#![allow(clippy::expect_used, reason = "a test ends where its premise fails")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_protocol::enrollment::EnrollmentToken;
use lockbridge_tests::harness::{ApiClient, Site, SiteOptions, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Configuration of another machine: a state directory and a control socket of its own.
fn other_machine(site: &Site, name: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(site.configuration())?;
    let text = text.replace("/state\"", &format!("/{name}\"")).replace("control.sock", &format!("{name}.sock"));
    let path = site.folder().join(format!("{name}.toml"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Enrolls the site's bridge, which must fail with exit code 1; what it said.
async fn refused(site: &Site, token: &str) -> Result<String> {
    let (code, stdout, stderr) = site.bridge_command_with_input(&["enroll"], token).await?;
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("-> "), "the next step is told: {stderr}");
    // Its end is part of the seed, in an alphabet of which no character divides it.
    let token = token.trim();
    let secret = token.get(token.len().saturating_sub(24)..).unwrap_or(token);
    assert!(!stderr.contains(secret), "the token is told: {stderr}");
    Ok(stderr)
}

#[tokio::test]
async fn a_token_makes_one_bridge_and_the_same_machine_may_ask_again() -> Result<()> {
    let site = Site::open(SiteOptions::default()).await?;
    let token = site.token().await?;
    let (code, first, stderr) = site.bridge_command_with_input(&["enroll", "--json"], &token).await?;
    assert_eq!(code, 0, "{stderr}");
    let (code, again, stderr) = site.bridge_command_with_input(&["enroll", "--json"], &token).await?;
    assert_eq!(code, 0, "{stderr}");
    let (first, again): (Value, Value) = (serde_json::from_str(&first)?, serde_json::from_str(&again)?);
    assert_eq!(first["bridge_id"], again["bridge_id"]);
    assert_eq!((&first["already_enrolled"], &again["already_enrolled"]), (&Value::Bool(false), &Value::Bool(true)));

    let thief = other_machine(&site, "thief")?;
    let (code, _, stderr) = site.configured_command(&thief, &["enroll"], &token).await?;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("already used"), "{stderr}");

    let fresh = site.token().await?;
    let stderr = refused(&site, &fresh).await?;
    assert!(stderr.contains("already enrolled"), "{stderr}");
    let bridges = site.cloud_command(&["bridge", "list"], &[]).await?;
    assert_eq!(bridges.lines().count(), 1, "{bridges}");
    Ok(())
}

#[tokio::test]
async fn an_old_token_is_refused_by_its_age() -> Result<()> {
    let site = Site::open(SiteOptions::default()).await?;
    let options = ["--workspace", &site.workspace_id, "--life", "1s"];
    let token = site.cloud_command(&["enrollment-token", "create"], &options).await?;
    let over = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_100);
    until("the end of the token's life", Duration::from_secs(5), async || {
        let left = over.duration_since(jiff::Timestamp::now());
        if left.is_negative() { Ok(()) } else { Err(format!("{left:?} left")) }
    })
    .await?;
    let stderr = refused(&site, &token).await?;
    assert!(stderr.contains("expired"), "{stderr}");
    site.enroll().await?;
    Ok(())
}

#[tokio::test]
async fn a_token_for_another_cloud_is_never_shown_to_this_one() -> Result<()> {
    let site = Site::open(SiteOptions::default()).await?;
    let token = site.token().await?;
    let mut forged = EnrollmentToken::parse(&token)?;
    forged.ca_key_hash[0] ^= 1;
    let stderr = refused(&site, &forged.reveal()).await?;
    assert!(stderr.contains("another cloud") || stderr.contains("certificate"), "{stderr}");
    // Nothing was spent by it.
    let (code, _, stderr) = site.bridge_command_with_input(&["enroll"], &token).await?;
    assert_eq!(code, 0, "{stderr}");
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_no_hub_is_told_apart() -> Result<()> {
    let site = Site::open(SiteOptions::default()).await?;
    let mut token = EnrollmentToken::parse(&site.token().await?)?;
    let hub = token.hub_url.clone();
    // The same cloud, the wrong door of it.
    token.hub_url = format!("https://{}", site.api_address);
    let stderr = refused(&site, &token.reveal()).await?;
    assert!(stderr.contains("404") || stderr.contains("hub"), "{stderr}");
    // No TLS at all.
    token.hub_url = format!("https://{}", site.simulator_control);
    refused(&site, &token.reveal()).await?;
    // Nobody.
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    token.hub_url = format!("https://localhost:{}", nobody.port());
    let stderr = refused(&site, &token.reveal()).await?;
    assert!(stderr.contains("cannot be reached"), "{stderr}");
    let stderr = refused(&site, "this is no token").await?;
    assert!(stderr.contains("token"), "{stderr}");
    token.hub_url = hub;
    let (code, _, stderr) = site.bridge_command_with_input(&["enroll"], &token.reveal()).await?;
    assert_eq!(code, 0, "{stderr}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() -> Result<()> {
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let address = proxy.local_addr()?;
    let asked = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await?;
        let mut head = vec![0; 4096];
        let read = client.read(&mut head).await?;
        client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await?;
        anyhow::Ok(String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned())
    });
    let tables = format!("[network]\nproxy = \"http://{address}\"");
    let site = Site::open(SiteOptions { tables, ..SiteOptions::default() }).await?;
    // Loopback names never go through the proxy, so the token names a cloud elsewhere.
    let mut token = EnrollmentToken::parse(&site.token().await?)?;
    token.hub_url = "https://hub.example.com:8443".to_owned();
    let stderr = refused(&site, &token.reveal()).await?;
    assert!(stderr.contains("proxy") && stderr.contains("403"), "{stderr}");
    let head = tokio::time::timeout(Duration::from_secs(5), asked).await???;
    assert!(head.starts_with("CONNECT hub.example.com:8443 "), "{head}");
    Ok(())
}

#[tokio::test]
async fn one_state_directory_serves_one_daemon() -> Result<()> {
    let mut site = Site::open(SiteOptions::default()).await?;
    let (code, _, _) = site.bridge_command(&["status"]).await?;
    assert_eq!(code, 69, "nobody answers");
    site.enroll().await?;
    site.start_bridge().await?;
    let pid = site.bridge()?.id().context("a process id")?;
    let (code, _, stderr) = site.bridge_command(&["run"]).await?;
    assert_eq!(code, 75, "{stderr}");
    assert!(stderr.contains(&pid.to_string()), "who holds it is told: {stderr}");
    let stderr = refused(&site, &site.token().await?).await?;
    assert!(stderr.contains("already enrolled"), "the running daemon says who it is: {stderr}");
    // The first was not disturbed, and hands the directory on when it ends.
    site.wait_for_cloud(Duration::from_secs(20)).await?;
    assert!(site.bridge()?.runs());
    site.stop_bridge().await?;
    site.start_bridge().await?;
    site.wait_for_cloud(Duration::from_secs(20)).await
}

#[tokio::test]
async fn a_daemon_without_identity_waits_for_a_token_and_then_works_in_the_same_process() -> Result<()> {
    let mut site = Site::open(SiteOptions::default()).await?;
    site.start_bridge().await?;
    let pid = site.bridge()?.id();
    // It lives, is not ready, says why, and touches nothing.
    let health = ApiClient::plain(&site.health_address)?;
    health.get("/livez").await?;
    let unready = health.get("/readyz").await.expect_err("not ready");
    assert_eq!(unready.status().map(|status| status.as_u16()), Some(503));
    assert!(unready.to_string().contains("not_enrolled"), "{unready}");
    let (code, stdout, stderr) = site.bridge_command(&["status"]).await?;
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.contains("waits") && stdout.contains("lockbridge enroll"), "{stdout}");
    let (code, _, stderr) = site.bridge_command(&["queue"]).await?;
    assert_eq!(code, 1);
    assert!(stderr.contains("no identity"), "{stderr}");

    // A bad token changes nothing; the word that comes back is the daemon's, the secret is not in it.
    let stderr = refused(&site, "this is no token").await?;
    assert!(stderr.contains("parts"), "{stderr}");
    let mut wrong = EnrollmentToken::parse(&site.token().await?)?;
    wrong.ca_key_hash[0] ^= 1;
    let stderr = refused(&site, &wrong.reveal()).await?;
    assert!(stderr.contains("cannot be reached"), "{stderr}");
    let reason = site.wait_for_reason("not_enrolled", Duration::from_secs(5)).await?;
    assert!(reason["message"].as_str().is_some_and(|message| message.contains("certificate")), "{reason}");

    // The right one, from a file that is wiped afterwards.
    let token = site.token().await?;
    let file = site.folder().join("token");
    std::fs::write(&file, &token)?;
    let path = file.to_str().context("text")?.to_owned();
    let (code, stdout, stderr) = site.bridge_command(&["enroll", "--token-file", &path, "--name", "Desk"]).await?;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("workspace Example") && stdout.contains("goes on by itself"), "{stdout}");
    assert!(!file.exists(), "the token file is wiped");
    site.wait_for_cloud(Duration::from_secs(20)).await?;
    site.wait_for_inventory().await?;
    assert_eq!(site.bridge()?.id(), pid, "the same process");
    assert!(site.bridge()?.runs());
    let listed = site.cloud_command(&["bridge", "list"], &[]).await?;
    assert!(listed.lines().count() == 1, "{listed}");

    // The same token again is answered as it was; another one by name.
    let (code, again, stderr) = site.bridge_command_with_input(&["enroll", "--json"], &token).await?;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(serde_json::from_str::<Value>(&again)?["already_enrolled"], true);
    let stderr = refused(&site, &site.token().await?).await?;
    assert!(stderr.contains("already enrolled") && stderr.contains("identity"), "{stderr}");

    // Neither log nor state tells the tokens.
    let secret = token.rsplit('#').next().context("a secret")?;
    let log = std::fs::read_to_string(site.folder().join("bridge.log"))?;
    assert!(!log.contains(secret) && !log.contains(wrong.reveal().rsplit('#').next().context("a secret")?), "{log}");
    site.stop_bridge().await
}

#[tokio::test]
async fn a_waiting_daemon_stops_when_told_and_takes_the_token_of_its_unit() -> Result<()> {
    let mut site = Site::open(SiteOptions::default()).await?;
    site.start_bridge().await?;
    site.stop_bridge().await?;

    // As systemd gives it: a file in the folder that CREDENTIALS_DIRECTORY names. The cloud is away at first.
    let token = site.token().await?;
    let credentials = site.folder().join("credentials");
    std::fs::create_dir(&credentials)?;
    std::fs::write(credentials.join("lockbridge.token"), format!("{token}\n"))?;
    site.link.cut();
    site.spawn_bridge_with_credentials(&credentials)?;
    site.bridge_ready().await?;
    let tried = |status: &Value| {
        status["reasons"][0]["message"].as_str().is_some_and(|message| message.contains("cannot be reached"))
    };
    site.wait_for_status("a try with the credential", Duration::from_secs(10), tried).await?;
    site.link.mend();
    site.wait_for_cloud(Duration::from_secs(30)).await?;
    assert!(credentials.join("lockbridge.token").exists(), "systemd owns its file");
    site.stop_bridge().await
}
