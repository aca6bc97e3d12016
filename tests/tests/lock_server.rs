//! A lock server that answers badly, slowly, not at all, or refuses the login: grants get there once, people hear why.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{Site, SiteOptions, until};
use serde_json::{Value, json};
use tempfile::TempDir;

const WRITE_USER: &str = "SaltoDBUser.InsertOrUpdate";
/// The bridge looks at an unreachable lock server every second, and later ever more seldom.
const BACK: Duration = Duration::from_secs(30);

async fn system_errors(site: &Site) -> Result<Vec<String>> {
    let answer = site.api.post("/acs/systems/list", json!({})).await?;
    let errors = answer["acs_systems"][0]["errors"].as_array().with_context(|| format!("no errors in {answer}"))?;
    Ok(errors.iter().map(|error| error["error_code"].as_str().unwrap_or_default().to_owned()).collect())
}

async fn wait_for_errors(site: &Site, wanted: &[&str]) -> Result<()> {
    until(&format!("{wanted:?} at the API"), BACK, async || {
        let errors = system_errors(site).await.map_err(|error| format!("{error:#}"))?;
        if errors == wanted { Ok(()) } else { Err(format!("{errors:?}")) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn answers_that_cannot_be_read_lose_no_grant_and_double_none() -> Result<()> {
    let options = SiteOptions { lock_system: "call_timeout_s = 1".to_owned(), ..SiteOptions::default() };
    let site = Site::running(options).await?;
    let directory = Directory::read(&site).await?;
    let faults = [
        ("Ada Garbage", json!({ "kind": "garbage" })),
        ("Ada Half", json!({ "kind": "half_answer" })),
        ("Ada Closed", json!({ "kind": "close_before_answer" })),
        ("Ada Lost", json!({ "kind": "perform_then_close" })),
        ("Ada Silent", json!({ "kind": "never_answer", "perform": true })),
        ("Ada Slow", json!({ "kind": "delay", "milliseconds": 1500 })),
        ("Ada Locked", json!({ "kind": "refuse", "code": 201 })),
    ];
    for (name, mut fault) in faults {
        fault["request"] = json!(WRITE_USER);
        site.simulator.post("/faults", fault).await?;
        let grant = guest::grant(&site, &directory, name, &["Main entrance", "Room 101"]).await?;
        guest::ready_for_encoding(&site, &grant).await.with_context(|| name.to_owned())?;
        guest::arrived(&site, &grant).await?;
        assert_eq!(site.simulator.get("/faults").await?["faults"], json!([]), "{name}: the fault was met");
    }
    let status = site.status().await?;
    assert_eq!(status["engine"]["in_doubt"], 0, "what may be repeated is never in doubt: {status}");
    Ok(())
}

#[tokio::test]
async fn an_error_that_nobody_knows_is_told_and_not_taken_for_success() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let fault = json!({ "kind": "refuse", "code": 4711, "request": WRITE_USER, "times": 1000 });
    site.simulator.post("/faults", fault).await?;
    let grant = guest::grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    until("a second attempt at the command line", Duration::from_secs(15), async || {
        let (_, stdout, _) = site.bridge_command(&["queue", "--json"]).await.map_err(|error| format!("{error:#}"))?;
        let rows: Value = serde_json::from_str(&stdout).map_err(|error| error.to_string())?;
        let tried = rows.as_array().into_iter().flatten().any(|row| row["attempt"].as_u64() > Some(1));
        if tried { Ok(()) } else { Err(stdout) }
    })
    .await?;
    let method = guest::method(&site, &grant, "the method", |_| true).await?;
    assert_eq!(method["is_ready_for_encoding"], false, "{method}");
    assert_eq!(guest::holders(&site, "Ada Example").await?, [Value::Null; 0]);
    site.simulator.post("/faults/clear", json!({})).await?;
    guest::ready_for_encoding(&site, &grant).await?;
    guest::arrived(&site, &grant).await
}

#[tokio::test]
async fn while_the_lock_server_is_down_people_hear_it_at_once_and_grants_wait() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let known = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    site.kill_simulator().await?;
    let asked = guest::grant(&site, &directory, "Grace Example", &["Main entrance"]).await?;
    let reason = site.wait_for_reason("lock_server", Duration::from_secs(15)).await?;
    assert_eq!(reason["scope"], "lock_system:main");
    // The bridge is there and the lock server is not: the API keeps the two apart.
    wait_for_errors(&site, &["lock_server_unreachable"]).await?;
    let status = site.status().await?;
    assert_eq!(status["cloud"]["connected"], true, "{status}");

    let begun = now();
    let attempt = guest::encode(&site, &directory, &known, "Front desk 1").await?;
    assert_eq!(attempt["error"]["type"], "bridge_disconnected", "{attempt}");
    assert!(begun.elapsed() < Duration::from_secs(5), "a person waited {:?}", begun.elapsed());
    let (code, stdout, stderr) =
        site.bridge_command(&["encode", &known.access_grant_id, "--encoder", "Front desk 1", "--json"]).await?;
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stderr.contains("lock server") || stdout.contains("bridge_disconnected"), "{stdout}{stderr}");
    let method = guest::method(&site, &asked, "the method", |_| true).await?;
    assert_eq!(method["is_ready_for_encoding"], false, "{method}");

    site.restart_simulator().await?;
    wait_for_errors(&site, &[]).await?;
    guest::ready_for_encoding(&site, &asked).await?;
    guest::arrived(&site, &asked).await?;
    guest::put_blank(&site, "Front desk 1").await?;
    let attempt = guest::encode(&site, &directory, &known, "Front desk 1").await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1, "refused encodes are not made up for");
    Ok(())
}

#[tokio::test]
async fn of_a_lock_server_that_was_not_heard_since_the_start_nothing_is_claimed() -> Result<()> {
    let options = SiteOptions { lock_system: "call_timeout_s = 60".to_owned(), ..SiteOptions::default() };
    let mut site = Site::open(options).await?;
    site.enroll().await?;
    site.simulator.post("/faults", json!({ "kind": "never_answer", "times": 1000 })).await?;
    site.start_bridge().await?;
    let reason = site.wait_for_reason("lock_connecting", BACK).await?;
    assert_eq!(reason["scope"], "lock_system:main");
    // The cloud hears of the bridge, and of this lock system neither good nor bad.
    site.wait_for_cloud(BACK).await?;
    let status = site.status().await?;
    assert_eq!(
        (&status["lock_systems"][0]["reachable"], &status["state"]),
        (&Value::Null, &json!("unready")),
        "{status}"
    );
    let (code, stdout, stderr) = site.bridge_command(&["status"]).await?;
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains("lock system  main (salto_space): has not answered yet"), "{stdout}");
    assert_eq!(system_errors(&site).await?, [""; 0]);

    site.kill_simulator().await?;
    site.wait_for_reason("lock_server", BACK).await?;
    let status = site.status().await?;
    assert_eq!(status["lock_systems"][0]["reachable"], false, "{status}");
    site.restart_simulator().await?;
    let status = site.wait_for_status("the lock server is heard", BACK, |status| status["state"] == "ready").await?;
    assert_eq!(status["lock_systems"][0]["reachable"], true, "{status}");
    Ok(())
}

/// A file that only its owner reads.
fn secret(folder: &TempDir, name: &str, text: &str) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join(name);
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path.to_str().context("a path that is text")?.to_owned())
}

/// A site over HTTP whose bridge has the wrong secret in `file`, until it is corrected to `right`.
async fn wrong_login(lines: String, login: &str, file: &str, right: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let simulator = vec!["--http-login-file".to_owned(), secret(&folder, "login", login)?];
    let mut site = Site::open(SiteOptions { http: Some(lines), simulator, ..SiteOptions::default() }).await?;
    site.enroll().await?;
    site.start_bridge().await?;
    let reason = site.wait_for_reason("lock_login", Duration::from_secs(15)).await?;
    assert!(!reason.to_string().contains("wrong-secret"), "a secret is told: {reason}");
    wait_for_errors(&site, &["acs_system_disconnected"]).await?;
    std::fs::write(file, right)?;
    site.wait_for_status("the login is accepted", BACK, |status| status["lock_systems"][0]["reachable"] == true)
        .await?;
    site.wait_for_inventory().await?;
    let directory = Directory::read(&site).await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    guest::arrived(&site, &grant).await?;
    let log = std::fs::read_to_string(site.folder().join("bridge.log"))?;
    assert!(!log.contains(right) && !log.contains("wrong-secret"), "a secret is in the log");
    wait_for_errors(&site, &[]).await
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_and_works_once_corrected() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = secret(&folder, "password", "wrong-secret")?;
    let lines = format!("authentication = \"basic\"\nuser = \"space\"\npassword_file = \"{file}\"");
    wrong_login(lines, "basic space:invented-password", &file, "invented-password").await
}

#[tokio::test]
async fn a_wrong_custom_key_is_told_apart_and_works_once_corrected() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = secret(&folder, "key", "wrong-secret")?;
    let lines = format!("authentication = \"custom\"\nkey_file = \"{file}\"");
    wrong_login(lines, "custom invented-key-0001", &file, "invented-key-0001").await
}

fn now() -> Instant {
    Instant::now()
}
