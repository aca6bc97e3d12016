//! The support bundle after real work: everything that helps is in it, nothing that tells who a guest is, and no secret.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use data_encoding::{BASE64, HEXUPPER};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{Site, SiteOptions, forms, holds};
use serde_json::{Value, json};

const NAME: &str = "Wilhelmina Canarybird";
const MAIL: &str = "wilhelmina.canarybird@example.com";
const PHONE: &str = "+43155501942";
const PASSWORD: &str = "canary-8LqZ2-pass";
const DESK: &str = "Front desk 1";

/// Unpacks with the system's tar: names without the folder, and what they hold.
fn unpack(archive: &Path, to: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    std::fs::create_dir_all(to)?;
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to).status().context("tar runs")?;
    anyhow::ensure!(status.success(), "tar ended with {status}");
    let mut files = BTreeMap::new();
    for folder in std::fs::read_dir(to)? {
        for file in std::fs::read_dir(folder?.path())? {
            let file = file?;
            files.insert(file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path())?);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn a_bundle_helps_and_tells_no_name_no_card_and_no_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path.to_str().context("a path that is text")?.to_owned())
    };
    let password = file("password", PASSWORD)?;
    let login = file("login", &format!("basic space:{PASSWORD}"))?;
    let options = SiteOptions {
        http: Some(format!("authentication = \"basic\"\nuser = \"space\"\npassword_file = \"{password}\"")),
        simulator: vec!["--http-login-file".to_owned(), login],
        log_level: "debug",
        ..SiteOptions::default()
    };
    let mut site = Site::open(options).await?;
    let token = site.token().await?;
    let (code, _, stderr) = site.bridge_command_with_input(&["enroll", "--json"], &token).await?;
    assert_eq!(code, 0, "{stderr}");
    site.start_bridge().await?;
    site.wait_for_inventory().await?;

    // A card, a scan, a doubt, and work that waits: all that status, queue and doubts can say.
    let directory = Directory::read(&site).await?;
    let person = json!({ "user_identity": { "full_name": NAME, "email_address": MAIL, "phone_number": PHONE } });
    let grant = guest::grant_to(&site, &directory, NAME, person, &["Main entrance", "Gym"]).await?;
    guest::ready_for_encoding(&site, &grant).await?;
    let first = guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    guest::scan(&site, &directory, DESK).await?;
    guest::lift(&site, DESK).await?;
    let other = guest::ready_grant(&site, &directory, "Xaver Canarybird", &["Main entrance"]).await?;
    let second = guest::put_blank(&site, DESK).await?;
    site.simulator.post("/faults", json!({ "kind": "card_lifted" })).await?;
    guest::begin_encode(&site, &directory, &other, DESK).await?;
    site.wait_for_status("a doubt", Duration::from_secs(20), |status| status["engine"]["in_doubt"] == 1).await?;
    site.kill_simulator().await?;
    site.wait_for_reason("lock_server", Duration::from_secs(30)).await?;
    guest::grant(&site, &directory, "Yvonne Canarybird", &["Main entrance"]).await?;
    site.wait_for_status("work that waits", Duration::from_secs(20), |status| {
        status["engine"]["queued"].as_u64().unwrap_or(0) > 0
    })
    .await?;

    let out = folder.path().to_str().context("a path that is text")?.to_owned();
    let log = site.folder().join("bridge.log").to_str().context("a path that is text")?.to_owned();
    let (code, stdout, stderr) = site.bridge_command(&["bundle", "--output", &out, "--log", &log]).await?;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let path = Path::new(stdout.trim());
    assert_eq!(stdout.lines().count(), 1, "only the path: {stdout}");
    assert_eq!(std::fs::metadata(path)?.permissions().mode() & 0o777, 0o600);
    let files = unpack(path, &folder.path().join("unpacked"))?;
    let text = |name: &str| {
        files
            .get(name)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .with_context(|| format!("{name} in {:?}", files.keys()))
    };

    // It helps.
    let status: Value = serde_json::from_str(&text("status.json")?)?;
    let bridge_id = status["bridge"]["bridge_id"].as_str().context("a bridge id")?;
    let summary = text("summary.txt")?;
    assert!(summary.contains(bridge_id) && summary.contains("! lock_server"), "{summary}");
    let doubts: Value = serde_json::from_str(&text("doubts.json")?)?;
    assert_eq!(doubts.as_array().map(Vec::len), Some(1), "{doubts}");
    let queue = text("queue.json")?;
    assert!(queue.contains("put_grant"), "{queue}");
    assert!(text("configuration.json")?.contains("password_file"), "where the secret is, is no secret");
    for part in ["version.json", "journal.json", "disk.json"] {
        text(part)?;
    }
    assert!(text("log.txt")?.contains("The bridge runs."), "the log is there");
    assert!(text("journal.json")?.contains("segment"));

    // And it tells nobody apart.
    let state_key = std::fs::read_to_string(site.state().join("state.key"))?;
    let serial = |text: &str| HEXUPPER.decode(text.trim().to_uppercase().as_bytes()).with_context(|| text.to_owned());
    let mut secrets = Vec::new();
    for (what, bytes) in [
        ("the name", NAME.as_bytes()),
        ("the family name", b"Canarybird"),
        ("the mail address", MAIL.as_bytes()),
        ("the phone number", PHONE.as_bytes()),
        ("the first card", serial(&first)?.as_slice()),
        ("the second card", serial(&second)?.as_slice()),
        ("the token", token.as_bytes()),
        ("the lock server's password", PASSWORD.as_bytes()),
        ("the login", BASE64.encode(format!("space:{PASSWORD}").as_bytes()).as_bytes()),
        ("the state key", state_key.trim().as_bytes()),
        ("the state key's bytes", serial(&state_key)?.as_slice()),
    ] {
        secrets.extend(forms(what, bytes));
    }
    let whole = std::fs::read(path)?;
    assert!(holds(&whole, bridge_id.as_bytes()), "the search works");
    let leaks: Vec<String> =
        secrets.iter().filter(|(_, form)| holds(&whole, form)).map(|(what, _)| what.clone()).collect();
    assert_eq!(leaks, [""; 0]);
    // Were the log not clean by itself, it would be made clean: what a lock server might quote is put into it.
    let quoted =
        file("quoted.log", &format!("WARN it said: card {first}, password={PASSWORD}, mail {MAIL}, call {PHONE}\n"))?;
    let again = folder.path().join("again");
    std::fs::create_dir(&again)?;
    let out = again.to_str().context("a path that is text")?;
    let (code, stdout, stderr) = site.bridge_command(&["bundle", "--output", out, "--log", &quoted]).await?;
    assert_eq!(code, 0, "{stderr}");
    let whole = std::fs::read(stdout.trim())?;
    assert!(holds(&whole, b"it said: card [redacted]"), "the line is there");
    let leaks: Vec<String> =
        secrets.iter().filter(|(_, form)| holds(&whole, form)).map(|(what, _)| what.clone()).collect();
    assert_eq!(leaks, [""; 0]);
    Ok(())
}
