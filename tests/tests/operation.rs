//! What operators and probes see on the machine: the health address, the queue, the brake.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{ApiClient, Site, SiteOptions, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DESK: &str = "Front desk 1";

/// One request to the health address, as any client may write it; the whole answer.
async fn raw(site: &Site, head: &str) -> Result<String> {
    let mut stream = TcpStream::connect(&site.health_address).await?;
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// The value of a metric, by the whole of its name and labels.
fn metric<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

#[tokio::test]
async fn the_health_address_tells_this_machine_and_nobody_else() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        let answer = raw(&site, &format!("GET {path} HTTP/1.1\r\nHost: localhost")).await?;
        assert_eq!(status_of(&answer), "200", "{answer}");
        let answer = raw(&site, &format!("GET {path} HTTP/1.1\r\nHost: bridge.example.com")).await?;
        assert_eq!(status_of(&answer), "421", "{answer}");
        assert!(!answer.contains("bridge_id") && !answer.contains("lockbridge_"), "{answer}");
        let answer = raw(&site, &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0")).await?;
        assert_eq!(status_of(&answer), "405", "{answer}");
    }
    let health = ApiClient::plain(&site.health_address)?;
    let text = health.get("/metrics").await?;
    let text = text.as_str().context("metrics are text")?;
    assert_eq!(metric(text, "lockbridge_cloud_connected"), Some("1"), "{text}");
    assert_eq!(metric(text, "lockbridge_brake"), Some("0"), "{text}");
    let status = site.status().await?;
    assert_eq!(status["lock_systems"][0]["name"], "main");
    assert_eq!(status["lock_systems"][0]["reachable"], true);
    Ok(())
}

#[tokio::test]
async fn without_the_cloud_the_bridge_is_live_and_ready_and_says_what_is_missing() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    site.link.cut();
    let reason = site.wait_for_reason("internet", Duration::from_secs(15)).await?;
    assert_eq!(reason["scope"], "cloud", "{reason}");
    for field in ["sentence", "message", "remedy"] {
        assert!(reason[field].as_str().is_some_and(|text| !text.is_empty()), "{reason}");
    }
    let health = ApiClient::plain(&site.health_address)?;
    assert_eq!(health.get("/livez").await?["live"], true);
    let ready = health.get("/readyz").await?;
    assert_eq!((&ready["state"], &ready["cloud"]), (&json!("degraded"), &json!("offline")), "{ready}");
    let text = health.get("/metrics").await?;
    assert_eq!(metric(text.as_str().unwrap_or_default(), "lockbridge_cloud_connected"), Some("0"));
    let (code, stdout, _) = site.bridge_command(&["status"]).await?;
    assert_eq!(code, 3, "{stdout}");
    assert!(stdout.contains("internet"), "{stdout}");
    Ok(())
}

#[tokio::test]
async fn the_brake_stops_cards_and_grants_and_no_revoke() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let known = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let other = guest::ready_grant(&site, &directory, "Bob Example", &["Main entrance"]).await?;
    guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &known, DESK).await?;
    let card = attempt["result"]["card_number"].as_str().context("a card")?.to_owned();
    guest::lift(&site, DESK).await?;

    let (code, _, stderr) = site.bridge_command(&["brake", "on"]).await?;
    assert_eq!(code, 0, "{stderr}");
    // The brake outlives the daemon.
    site.kill_bridge().await?;
    site.start_bridge().await?;
    site.wait_for_cloud(Duration::from_secs(20)).await?;
    site.wait_for_reason("brake", Duration::from_secs(5)).await?;

    guest::put_blank(&site, DESK).await?;
    until("the brake's refusal at the API", Duration::from_secs(15), async || {
        let attempt = guest::encode(&site, &directory, &other, DESK).await.map_err(|error| format!("{error:#}"))?;
        let message = attempt["error"]["message"].as_str().unwrap_or_default();
        if message.contains("brake") { Ok(()) } else { Err(attempt.to_string()) }
    })
    .await?;
    let (code, stdout, stderr) = site.bridge_command(&["encode", &other.access_grant_id, "--encoder", DESK]).await?;
    assert!(code == 1 && stderr.contains("brake"), "{code}: {stdout}{stderr}");
    let asked = guest::grant(&site, &directory, "Grace Example", &["Gym"]).await?;
    until("the grant in the queue", Duration::from_secs(10), async || {
        let (_, stdout, stderr) =
            site.bridge_command(&["queue", "--json"]).await.map_err(|error| format!("{error:#}"))?;
        let rows: Value = serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stderr}"))?;
        let waits = |row: &Value| row["kind"] == "put_grant" && row["waits_for"] == "policy:brake";
        if rows.as_array().into_iter().flatten().any(waits) { Ok(()) } else { Err(stdout) }
    })
    .await?;
    site.api.post("/access_grants/delete", json!({ "access_grant_id": known.access_grant_id })).await?;
    until("the revoke at the online door", Duration::from_secs(15), async || {
        match guest::present(&site, &card, "Main entrance").await {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(guest::effects(&site, "card_written").await?, 1, "only the card from before the brake");

    assert_eq!(guest::holders(&site, "Grace Example").await?, [Value::Null; 0], "a right was given under the brake");
    let (code, _, stderr) = site.bridge_command(&["brake", "off"]).await?;
    assert_eq!(code, 0, "{stderr}");
    guest::ready_for_encoding(&site, &asked).await?;
    let attempt = guest::encode(&site, &directory, &other, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    Ok(())
}
