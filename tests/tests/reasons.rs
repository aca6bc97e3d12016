//! Every reason code is explained in packaging/TROUBLESHOOTING.md, and provoked for real: here, or in the test that [`PROVOKED`]
//! names. Without this a reason can stay silent for years: nothing else would notice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge::health::ReasonCode;
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{ApiClient, Site, SiteOptions, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const DESK: &str = "Front desk 1";
const WRITE_USER: &str = "SaltoDBUser.InsertOrUpdate";
/// Steps of a connection have limits of 10 s, and the machine may be busy.
const TOLD: Duration = Duration::from_secs(45);

/// Code, file and test that provokes it.
const PROVOKED: [(&str, &str, &str); 34] = [
    ("connecting", "tests/tests/reasons.rs", "ways_to_the_cloud_that_fail_are_told_apart"),
    ("dns", "tests/tests/reasons.rs", "ways_to_the_cloud_that_fail_are_told_apart"),
    ("internet", "tests/tests/operation.rs", "without_the_cloud_the_bridge_is_live_and_ready_and_says_what_is_missing"),
    ("proxy", "tests/tests/reasons.rs", "ways_to_the_cloud_that_fail_are_told_apart"),
    ("tls_intercepted", "tests/tests/reasons.rs", "ways_to_the_cloud_that_fail_are_told_apart"),
    ("tls", "tests/tests/reasons.rs", "ways_to_the_cloud_that_fail_are_told_apart"),
    (
        "hub_refused",
        "tests/tests/link.rs",
        "a_copy_of_a_bridge_is_refused_by_name_and_the_first_keeps_its_session_and_its_revokes",
    ),
    ("hub_silent", "tests/tests/reasons.rs", "a_session_that_goes_silent_is_told"),
    ("identity", "tests/tests/link.rs", "a_revoked_bridge_is_cut_off_and_says_why"),
    ("clock", "bridge/src/tunnel/tests/waiting.rs", "a_clock_that_differs_is_told_and_forgotten_when_right"),
    (
        "clock_untrusted",
        "bridge/src/tunnel/tests/waiting.rs",
        "a_clock_that_is_far_off_is_not_trusted_until_it_is_right",
    ),
    (
        "lock_connecting",
        "tests/tests/lock_server.rs",
        "of_a_lock_server_that_was_not_heard_since_the_start_nothing_is_claimed",
    ),
    (
        "lock_server",
        "tests/tests/lock_server.rs",
        "while_the_lock_server_is_down_people_hear_it_at_once_and_grants_wait",
    ),
    ("lock_login", "tests/tests/lock_server.rs", "a_wrong_password_is_told_apart_and_works_once_corrected"),
    ("lock_licence", "tests/tests/reasons.rs", "what_a_lock_server_lacks_is_told_and_clears"),
    ("lock_protocol", "tests/tests/reasons.rs", "what_a_lock_server_lacks_is_told_and_clears"),
    ("lock_clock", "tests/tests/reasons.rs", "what_a_lock_server_lacks_is_told_and_clears"),
    ("lock_line", "tests/tests/salto_joined.rs", "a_line_that_is_down_stops_hotel_keys_and_nothing_else"),
    ("encoder", "tests/tests/reasons.rs", "an_encoder_without_an_answer_is_told_until_it_answers"),
    ("front_desk", "tests/tests/front_desk/wires.rs", "a_wire_that_nobody_answers_is_told_until_somebody_does"),
    ("disk_low", "tests/tests/reasons.rs", "a_disk_with_less_than_its_reserve_is_told"),
    ("disk", "bridge/src/dispatch/tests/full.rs", "on_a_full_disk_only_revokes_begin_and_the_rest_waits"),
    ("inbox_full", "bridge/src/dispatch/tests/full.rs", "an_inbox_and_an_outbox_that_are_full_are_told"),
    ("outbox_full", "bridge/src/dispatch/tests/full.rs", "an_inbox_and_an_outbox_that_are_full_are_told"),
    ("doubt", "bridge/src/dispatch/tests/life.rs", "a_person_settles_what_the_lock_server_cannot_tell"),
    ("lane_gap", "bridge/src/dispatch/tests/order.rs", "a_gap_holds_later_work_but_no_revoke_and_is_told"),
    ("brake", "tests/tests/operation.rs", "the_brake_stops_cards_and_grants_and_no_revoke"),
    (
        "quarantine",
        "tests/tests/link.rs",
        "a_copy_of_a_bridge_is_refused_by_name_and_the_first_keeps_its_session_and_its_revokes",
    ),
    ("policy", "tests/tests/reasons.rs", "a_policy_that_does_not_hold_is_told_until_it_does"),
    ("state_rebuilt", "tests/tests/reasons.rs", "what_the_start_found_is_told"),
    ("state_in_memory", "tests/tests/reasons.rs", "what_the_start_found_is_told"),
    ("journal_damaged", "tests/tests/reasons.rs", "what_the_start_found_is_told"),
    ("draining", "tests/tests/reasons.rs", "a_bridge_that_is_stopping_says_so"),
    (
        "not_enrolled",
        "tests/tests/enrollment.rs",
        "a_daemon_without_identity_waits_for_a_token_and_then_works_in_the_same_process",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_reason_has_its_entry_in_the_document_and_no_entry_is_left_over() -> Result<()> {
    let document = std::fs::read_to_string(root().join("packaging/TROUBLESHOOTING.md"))?;
    let mut entries: Vec<(&str, &str)> =
        document.split("\n### ").skip(1).filter_map(|entry| entry.strip_prefix('`')?.split_once('`')).collect();
    for code in ReasonCode::ALL {
        let at = entries.iter().position(|(name, _)| *name == code.code());
        let (_, text) = entries.swap_remove(at.with_context(|| format!("no entry of `{}`", code.code()))?);
        for part in [code.sentence(), code.remedy(), "- **Guests and staff**: ", "- **Cause**: "] {
            assert!(text.contains(part), "the entry of `{}` lacks {part:?}", code.code());
        }
    }
    assert_eq!(
        entries.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        [""; 0],
        "entries of codes that nobody gives"
    );
    Ok(())
}

/// Whether a room of the bridge can give this reason: its variant stands in a file outside of `health` that is no test.
fn is_given(code: ReasonCode) -> Result<bool> {
    let variant = format!("ReasonCode::{code:?}");
    let sources = root().join("bridge/src");
    let mut folders = vec![sources.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(&sources)?.to_string_lossy().into_owned();
            let own = name == "health" || name.contains("tests");
            if path.is_dir() && !own {
                folders.push(path);
            } else if path.is_file() && !own {
                let text = std::fs::read_to_string(&path)?;
                let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
                if text.match_indices(&variant).any(|(at, _)| text.get(at + variant.len()..).is_some_and(ends)) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[test]
fn every_reason_is_provoked_by_a_test_that_is_there() -> Result<()> {
    let mut given = 0;
    for code in ReasonCode::ALL {
        if !is_given(*code)? {
            // Nothing can be provoked that nobody says; the document explains it all the same.
            continue;
        }
        given += 1;
        let code = code.code();
        let found = PROVOKED.iter().find(|(name, ..)| *name == code);
        let (_, file, test) = found.with_context(|| format!("no test is named that provokes `{code}`"))?;
        let source = std::fs::read_to_string(root().join(file)).with_context(|| (*file).to_owned())?;
        assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
    }
    assert!(given >= 30, "only {given} reasons are given by anybody");
    Ok(())
}

/// Waits until the bridge no longer gives this reason.
async fn cleared(site: &Site, code: &str) -> Result<()> {
    site.wait_for_status(&format!("the end of {code}"), TOLD, |status| {
        status["reasons"].as_array().is_some_and(|reasons| reasons.iter().all(|reason| reason["code"] != code))
    })
    .await?;
    Ok(())
}

/// Leads the enrolled bridge elsewhere; only its own checks stand between it and whoever answers there.
fn lead_to(site: &Site, url: &str) -> Result<()> {
    let path = site.state().join("identity/identity.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    record["tunnel_url"] = json!(url);
    Ok(std::fs::write(&path, serde_json::to_vec(&record)?)?)
}

#[tokio::test]
async fn ways_to_the_cloud_that_fail_are_told_apart() -> Result<()> {
    let mut site = Site::open(SiteOptions::default()).await?;
    let other = Site::open(SiteOptions::default()).await?;
    site.enroll().await?;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (silent, foreign) = (silent.local_addr()?.port(), other.link.address().port());
    let configuration = std::fs::read_to_string(site.configuration())?;
    // An address of nobody, where a proxy would stand: bound and closed again.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let proxied = format!("{configuration}\n[network]\nproxy = \"http://{closed}\"\n");
    for (code, url, text) in [
        ("dns", "wss://cloud.invalid:443/bridge".to_owned(), &configuration),
        ("proxy", "wss://cloud.example.com:443/bridge".to_owned(), &proxied),
        ("tls_intercepted", format!("wss://localhost:{foreign}/bridge"), &configuration),
        ("connecting", format!("wss://localhost:{silent}/bridge"), &configuration),
    ] {
        lead_to(&site, &url)?;
        std::fs::write(site.configuration(), text)?;
        site.start_bridge().await?;
        let reason = site.wait_for_reason(code, TOLD).await?;
        assert_eq!(reason["scope"], "cloud", "{reason}");
        if code == "connecting" {
            // Nobody there says a word: after 10 s it is no longer the first try.
            let reason = site.wait_for_reason("tls", TOLD).await?;
            assert_eq!(reason["hop"], "tls", "{reason}");
            cleared(&site, "connecting").await?;
        }
        site.kill_bridge().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_session_that_goes_silent_is_told() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    site.link.silence();
    // Dead after 45 s without a byte.
    site.wait_for_reason("hub_silent", Duration::from_secs(90)).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_lock_server_lacks_is_told_and_clears() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    site.simulator.post("/licence", json!({ "ship": false })).await?;
    let reason = site.wait_for_reason("lock_licence", TOLD).await?;
    assert_eq!((&reason["scope"], &reason["hop"]), (&json!("lock_system:main"), &json!("lock_server")), "{reason}");
    site.simulator.post("/licence", json!({ "ship": true })).await?;
    cleared(&site, "lock_licence").await?;
    site.simulator.post("/faults", json!({ "kind": "garbage", "times": 1_000_000 })).await?;
    site.wait_for_reason("lock_protocol", TOLD).await?;
    site.simulator.post("/faults/clear", json!({})).await?;
    cleared(&site, "lock_protocol").await?;
    site.simulator.post("/clock", json!({ "advance_seconds": 3600 })).await?;
    let reason = site.wait_for_reason("lock_clock", TOLD).await?;
    assert!(reason["message"].as_str().is_some_and(|message| message.contains(" s ahead of")), "{reason}");
    site.simulator.post("/clock", json!({ "advance_seconds": -7200 })).await?;
    let behind = |status: &Value| status.to_string().contains(" s behind this machine's");
    site.wait_for_status("a lock server's clock that is behind", TOLD, behind).await?;
    site.simulator.post("/clock", json!({ "advance_seconds": 3600 })).await?;
    cleared(&site, "lock_clock").await
}

#[tokio::test]
async fn an_encoder_without_an_answer_is_told_until_it_answers() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::put_blank(&site, DESK).await?;
    site.simulator.post("/encoders/plug", json!({ "encoder": DESK, "plugged": false })).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["error"]["type"], "encoder_not_online", "{attempt}");
    let reason = site.wait_for_reason("encoder", TOLD).await?;
    assert!(reason["scope"].as_str().is_some_and(|scope| scope.starts_with("encoder:main/")), "{reason}");
    assert_eq!(site.status().await?["state"], "degraded");
    site.simulator.post("/encoders/plug", json!({ "encoder": DESK, "plugged": true })).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    cleared(&site, "encoder").await
}

#[tokio::test]
async fn a_disk_with_less_than_its_reserve_is_told() -> Result<()> {
    let mut site = Site::open(SiteOptions::default()).await?;
    site.enroll().await?;
    let free = nix::sys::statvfs::statvfs(&site.state())?;
    let free_mib = free.blocks_available() * free.fragment_size() / 1024 / 1024;
    if free_mib >= 65_000 {
        skipped(&format!("{free_mib} MiB are free, more than the largest reserve that can be configured"));
        return Ok(());
    }
    let text = std::fs::read_to_string(site.configuration())?;
    std::fs::write(site.configuration(), text.replace("disk_reserve_mib = 16", "disk_reserve_mib = 65536"))?;
    site.start_bridge().await?;
    let reason = site.wait_for_reason("disk_low", TOLD).await?;
    assert_eq!(reason["hop"], "disk", "{reason}");
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what was not tested is said loudly")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: the reason disk_low on a real disk: {why}");
}

fn signal(site: &mut Site, signal: Signal) -> Result<()> {
    let id = i32::try_from(site.bridge()?.id().context("a running bridge")?)?;
    Ok(kill(Pid::from_raw(id), signal)?)
}

#[tokio::test]
async fn a_policy_that_does_not_hold_is_told_until_it_does() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let path = site.folder().join("policy.toml");
    let good = std::fs::read_to_string(&path)?;
    std::fs::write(&path, "version = \"none\"")?;
    signal(&mut site, Signal::SIGHUP)?;
    let reason = site.wait_for_reason("policy", TOLD).await?;
    assert!(reason["message"].as_str().is_some_and(|message| message.contains("`version`: expected")), "{reason}");
    std::fs::write(&path, good)?;
    signal(&mut site, Signal::SIGHUP)?;
    cleared(&site, "policy").await
}

#[tokio::test]
async fn what_the_start_found_is_told() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    site.kill_bridge().await?;
    let working_set = site.state().join("working-set");
    std::fs::remove_dir_all(&working_set)?;
    site.start_bridge().await?;
    site.wait_for_reason("state_rebuilt", TOLD).await?;

    // Something that is no directory stands where the files should lie.
    site.kill_bridge().await?;
    std::fs::remove_dir_all(&working_set)?;
    std::fs::write(&working_set, "in the way")?;
    site.start_bridge().await?;
    site.wait_for_reason("state_in_memory", TOLD).await?;
    site.kill_bridge().await?;
    std::fs::remove_file(&working_set)?;

    // A sector of the first segment rots.
    let journal = site.state().join("journal");
    let segments = std::fs::read_dir(&journal)?.filter_map(|entry| Some(entry.ok()?.path()));
    let first =
        segments.filter(|path| path.extension().is_some_and(|it| it == "segment")).min().context("a segment")?;
    let mut bytes = std::fs::read(&first)?;
    bytes.get_mut(2_048..2_560).context("a segment of that size")?.fill(0xA5);
    std::fs::write(&first, bytes)?;
    site.start_bridge().await?;
    let reason = site.wait_for_reason("journal_damaged", TOLD).await?;
    assert_eq!(reason["hop"], "disk", "{reason}");
    Ok(())
}

#[tokio::test]
async fn a_bridge_that_is_stopping_says_so() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    site.simulator.post("/faults", json!({ "kind": "delay", "milliseconds": 8_000, "request": WRITE_USER })).await?;
    guest::grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    site.wait_for_status("work in hand", TOLD, |status| status["engine"]["executing"].as_u64() > Some(0)).await?;
    signal(&mut site, Signal::SIGTERM)?;
    site.wait_for_reason("draining", TOLD).await?;
    let health = ApiClient::plain(&site.health_address)?;
    until("readiness taken back while it stops", TOLD, async || match health.get("/readyz").await {
        Err(error) if error.status().is_some_and(|status| status == 503) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    assert!(site.bridge()?.ended().await?.success());
    Ok(())
}
