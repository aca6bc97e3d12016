//! The story itself.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::summary::Summary;
use crate::harness::guest::{self, Directory, Grant};
use crate::harness::{Site, SiteOptions, until};

/// Grants made while the link is down.
const QUEUED_GRANTS: usize = 1_000;
/// Grants in hand when the link is cut.
const GRANTS_IN_HAND: usize = 40;
/// Longest wait for the backlog to reach the lock server.
const DRAIN: Duration = Duration::from_secs(120);

/// Prints one line of the story. A closed pipe ends nothing: the exit code still tells.
pub(super) fn say(line: &str) {
    let _closed_pipe = writeln!(std::io::stdout(), "{line}");
}

/// Tells the whole story; the site is given back so that it can stay. Steps that failed are in the summary.
pub async fn tell(summary: &mut Summary) -> Result<Site> {
    let mut site = summary
        .step("Cloud and simulated SALTO Space start", async {
            let site = Site::open(SiteOptions::default()).await?;
            let seen = format!("API at https://{}, everything under {}", site.api_address, site.folder().display());
            Ok((site, seen))
        })
        .await?;
    enroll(summary, &mut site).await?;
    let directory = summary.step("Doors and encoders appear at the API", inventory(&site)).await?;
    let (first, card) = first_card(summary, &site, &directory).await?;
    let known = summary
        .step("A second guest's grant reaches the lock server, no card yet", async {
            let grant = guest::grant(&site, &directory, "Grace Example", &["Main entrance", "Room 102"]).await?;
            guest::ready_for_encoding(&site, &grant).await?;
            Ok((grant, "ready for encoding".to_owned()))
        })
        .await?;
    let in_hand = cut_with_work_in_hand(summary, &site, &directory).await?;
    let local_card = offline(summary, &site, &directory, &known).await?;
    let queued = summary.step("1,000 grants are made while the link is down", queue(&site, &directory)).await?;
    link_back_and_kill(summary, &mut site, &queued).await?;
    let all: Vec<Grant> = [vec![first.clone(), known.clone()], in_hand, queued].concat();
    summary.step("Every grant is at the lock server and at the API", drained(&site, &all)).await?;
    summary
        .step("The card written on site is known at the API", async {
            let method =
                guest::method(&site, &known, "the local encode at the API", |method| method["is_issued"] == true)
                    .await?;
            ensure!(guest::present(&site, &local_card, "Room 102").await?, "the card stopped opening");
            Ok(((), format!("issued_at {}", method["issued_at"].as_str().unwrap_or("?"))))
        })
        .await?;
    revoke(summary, &site, &first, &card).await?;
    let figures = summary.step("Nothing lost, nothing doubled", count(&site, &all)).await?;
    summary.figures = figures;
    Ok(site)
}

async fn enroll(summary: &mut Summary, site: &mut Site) -> Result<()> {
    summary
        .step("The bridge enrolls with a one-time token", async {
            let enrolled = site.enroll().await?;
            let bridge = enrolled["bridge_id"].as_str().context("a bridge id")?;
            Ok(((), format!("bridge {bridge}")))
        })
        .await?;
    summary
        .step("The bridge runs and has a session with the cloud", async {
            site.start_bridge().await?;
            site.wait_for_cloud(Duration::from_secs(20)).await?;
            Ok(((), format!("health at http://{}/status", site.health_address)))
        })
        .await
}

async fn inventory(site: &Site) -> Result<(Directory, String)> {
    site.wait_for_inventory().await?;
    let directory = Directory::read(site).await?;
    let (entrances, encoders) = directory.counts();
    Ok((directory, format!("{entrances} entrances, {encoders} encoders")))
}

async fn first_card(summary: &mut Summary, site: &Site, directory: &Directory) -> Result<(Grant, String)> {
    let grant = summary
        .step("A grant by API reaches the lock server", async {
            let grant = guest::grant(site, directory, "Ada Example", &["Main entrance", "Room 101"]).await?;
            guest::ready_for_encoding(site, &grant).await?;
            Ok((grant, "access method is ready for encoding".to_owned()))
        })
        .await?;
    let card = summary
        .step("The card is encoded and the API says so", async {
            let card = guest::put_blank(site, "Front desk 1").await?;
            let attempt = guest::encode(site, directory, &grant, "Front desk 1").await?;
            ensure!(attempt["status"] == "success", "the attempt ended as {attempt}");
            let number = attempt["result"]["card_number"].as_str().unwrap_or_default().to_owned();
            ensure!(number.eq_ignore_ascii_case(&card), "card {number} at the API, {card} on the encoder");
            guest::method(site, &grant, "is_issued", |method| method["is_issued"] == true).await?;
            guest::lift(site, "Front desk 1").await?;
            Ok((card, format!("card {number}")))
        })
        .await?;
    summary
        .step("The granted door opens, another refuses", async {
            ensure!(guest::present(site, &card, "Room 101").await?, "Room 101 did not open");
            ensure!(!guest::present(site, &card, "Room 102").await?, "Room 102 opened");
            Ok(((), "Room 101 opened, Room 102 did not".to_owned()))
        })
        .await?;
    Ok((grant, card))
}

async fn cut_with_work_in_hand(summary: &mut Summary, site: &Site, directory: &Directory) -> Result<Vec<Grant>> {
    summary
        .step("The link is cut with work in hand", async {
            // A slow lock server, so that work is still in hand when the link goes.
            site.simulator
                .post("/faults", json!({ "kind": "delay", "milliseconds": 50, "times": GRANTS_IN_HAND, "request": "SaltoDBUser.InsertOrUpdate" }))
                .await?;
            let before = users(site).await?;
            let mut grants = Vec::new();
            for number in 0..GRANTS_IN_HAND {
                let name = format!("In Hand {number:04}");
                grants.push(guest::grant(site, directory, &name, &["Main entrance"]).await?);
            }
            let in_hand = |status: &Value| {
                status["engine"]["queued"].as_u64().unwrap_or(0) + status["engine"]["executing"].as_u64().unwrap_or(0)
            };
            let accepted = site
                .wait_for_status("commands accepted by the bridge", Duration::from_secs(10), |status| in_hand(status) > 5)
                .await?;
            site.link.cut();
            site.wait_for_status("the loss of the session", Duration::from_secs(10), |status| {
                status["cloud"]["connected"] == false
            })
            .await?;
            site.wait_for_status("the work in hand to end", Duration::from_secs(20), |status| {
                status["engine"]["queued"] == 0 && status["engine"]["executing"] == 0
            })
            .await?;
            site.simulator.post("/faults/clear", json!({})).await?;
            let carried = users(site).await?.len() - before.len();
            ensure!(carried > 0, "nothing was carried out");
            let waiting = in_hand(&accepted);
            Ok((grants, format!("{waiting} commands in hand at the cut; {carried} grants at the lock server without a cloud")))
        })
        .await
}

async fn offline(summary: &mut Summary, site: &Site, directory: &Directory, known: &Grant) -> Result<String> {
    summary
        .step("Offline, the API refuses what a person would wait for", async {
            let refused = until("bridge_disconnected at the API", Duration::from_secs(90), async || {
                let attempt = guest::encode(site, directory, known, "Front desk 1")
                    .await
                    .map_err(|error| format!("{error:#}"))?;
                if attempt["error"]["type"] == "bridge_disconnected" { Ok(attempt) } else { Err(attempt.to_string()) }
            })
            .await?;
            let ready = site.bridge_command(&["status", "--json"]).await?;
            ensure!(ready.0 == 3, "`lockbridge status` should say degraded (3), not {}", ready.0);
            Ok((
                (),
                format!("{}; the bridge says degraded, and works", refused["error"]["type"].as_str().unwrap_or("?")),
            ))
        })
        .await?;
    summary
        .step("Offline, the desk encodes a known grant on site", async {
            let card = guest::put_blank(site, "Front desk 2").await?;
            let arguments = ["encode", known.access_grant_id.as_str(), "--encoder", "Front desk 2", "--json"];
            let (code, stdout, stderr) = site.bridge_command(&arguments).await?;
            ensure!(code == 0, "lockbridge encode ended with {code}: {stdout} {stderr}");
            let answer: Value = serde_json::from_str(&stdout)?;
            guest::lift(site, "Front desk 2").await?;
            ensure!(guest::present(site, &card, "Room 102").await?, "Room 102 did not open");
            ensure!(!guest::present(site, &card, "Room 101").await?, "Room 101 opened");
            Ok((card, format!("card {} opens Room 102", answer["card_number"].as_str().unwrap_or("?"))))
        })
        .await
}

async fn queue(site: &Site, directory: &Directory) -> Result<(Vec<Grant>, String)> {
    let mut grants = Vec::with_capacity(QUEUED_GRANTS);
    for number in 0..QUEUED_GRANTS {
        let name = format!("Queued Guest {number:04}");
        grants.push(guest::grant(site, directory, &name, &["Main entrance", "Gym"]).await?);
    }
    let body = json!({ "access_method_id": grants[QUEUED_GRANTS - 1].access_method_id });
    let last = site.api.post("/access_methods/get", body).await?;
    let pending = last["access_method"]["pending_mutations"].as_array().map_or(0, Vec::len);
    ensure!(pending > 0, "the API claims more than is known: {last}");
    Ok((grants, "all accepted, all pending".to_owned()))
}

async fn link_back_and_kill(summary: &mut Summary, site: &mut Site, queued: &[Grant]) -> Result<()> {
    summary
        .step("The link is back; kill -9 in the middle of the backlog", async {
            let before = users(site).await?.len();
            site.link.mend();
            let after = until("some of the backlog at the lock server", Duration::from_secs(60), async || {
                let count = users(site).await.map_err(|error| format!("{error:#}"))?.len() - before;
                if count >= queued.len() / 10 { Ok(count) } else { Err(format!("{count} so far")) }
            })
            .await?;
            ensure!(after < queued.len(), "the backlog was drained before the kill");
            site.kill_bridge().await?;
            site.start_bridge().await?;
            Ok(((), format!("killed with {after} of {} carried out, and started again", queued.len())))
        })
        .await
}

async fn drained(site: &Site, grants: &[Grant]) -> Result<((), String)> {
    until("every holder at the lock server", DRAIN, async || {
        let users = users(site).await.map_err(|error| format!("{error:#}"))?;
        let missing = grants.iter().filter(|grant| !users.contains_key(&grant.name)).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} holders are missing")) }
    })
    .await?;
    until("no pending mutation at the API", DRAIN, async || {
        let mut pending = 0;
        for grant in grants.iter().rev().take(50) {
            let body = json!({ "access_method_id": grant.access_method_id });
            let answer = site.api.post("/access_methods/get", body).await.map_err(|error| error.to_string())?;
            pending += answer["access_method"]["pending_mutations"].as_array().map_or(0, Vec::len);
        }
        let status = site.status().await.map_err(|error| format!("{error:#}"))?;
        if pending == 0 && status["engine"]["outbox"] == 0 {
            Ok(())
        } else {
            Err(format!("{pending} pending; {status}"))
        }
    })
    .await?;
    Ok(((), format!("{} grants", grants.len())))
}

async fn revoke(summary: &mut Summary, site: &Site, grant: &Grant, card: &str) -> Result<()> {
    summary
        .step("A deleted grant loses its doors at the lock server", async {
            site.api.post("/access_grants/delete", json!({ "access_grant_id": grant.access_grant_id })).await?;
            until("the card refused at the online door", Duration::from_secs(20), async || {
                match guest::present(site, card, "Main entrance").await {
                    Ok(false) => Ok(()),
                    Ok(true) => Err("Main entrance still opens".to_owned()),
                    Err(error) => Err(format!("{error:#}")),
                }
            })
            .await?;
            let offline = if guest::present(site, card, "Room 101").await? { "still opens" } else { "refuses" };
            Ok(((), format!("online door refuses; the offline door {offline}: it decides by the card")))
        })
        .await
}

/// Compares the simulator's durable count of physical effects with what was commanded.
async fn count(site: &Site, grants: &[Grant]) -> Result<(Vec<(String, String)>, String)> {
    let users = users(site).await?;
    let doubled: Vec<&str> =
        grants.iter().filter(|grant| users.get(&grant.name) != Some(&1)).map(|grant| grant.name.as_str()).collect();
    ensure!(doubled.is_empty(), "holders that are not there exactly once: {doubled:?}");
    let effects = site.simulator.get("/effects").await?;
    let writes = effects["by_kind"]["card_written"].as_u64().with_context(|| format!("no count in {effects}"))?;
    // Two encodes were commanded: one by the API, one on site.
    ensure!(writes == 2, "2 cards were commanded, {writes} card writes were counted");
    let (code, stdout, _) = site.bridge_command(&["doubt", "--json"]).await?;
    ensure!(code == 0 && serde_json::from_str::<Value>(&stdout)? == json!([]), "something is in doubt: {stdout}");
    let status = site.status().await?;
    let figures = vec![
        ("grants made at the API".to_owned(), grants.len().to_string()),
        ("holders at the lock server, each once".to_owned(), grants.len().to_string()),
        ("cards commanded".to_owned(), "2".to_owned()),
        ("card writes counted by the simulator".to_owned(), writes.to_string()),
        ("in doubt".to_owned(), "0".to_owned()),
        ("journal entries".to_owned(), status["engine"]["journal_sequence"].to_string()),
    ];
    Ok((figures, format!("{} grants, 2 cards commanded, {writes} written", grants.len())))
}

/// Holders at the simulated lock server: full name -> how often.
async fn users(site: &Site) -> Result<BTreeMap<String, usize>> {
    let answer = site.simulator.get("/users").await?;
    let users = answer["users"].as_array().with_context(|| format!("no users in {answer}"))?;
    let mut names = BTreeMap::new();
    for user in users {
        *names.entry(guest::full_name(user)).or_insert(0) += 1;
    }
    Ok(names)
}
