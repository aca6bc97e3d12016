//! Rule J4 on a real site: what the guest, the desk and the lock server keep to themselves stands in no file of the bridge
//! that is not sealed, in no log, no export and no answer of the health address, in whatever encoding.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use data_encoding::{BASE64, HEXUPPER};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{ApiClient, Site, SiteOptions, forms, holds};
use serde_json::json;

const DESK: &str = "Front desk 1";
const NAME: &str = "Zuleika Quixworth";
const MAIL: &str = "zq.private@guest.example.com";
const PHONE: &str = "+34911550199";
const PASSWORD: &str = "invented-password-7731";

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// The file with long runs of zeros made short: segments are mostly unwritten, and no form holds such a run.
fn condensed(content: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let keep = |byte: &&u8| {
        zeros = if **byte == 0 { zeros + 1 } else { 0 };
        zeros <= 16
    };
    content.iter().filter(keep).copied().collect()
}

#[test]
fn the_search_finds_every_form_of_what_it_searches() {
    let secret = NAME.as_bytes();
    for before in 0..5 {
        let content = [&b"abcde"[..before], secret, b"fgh"].concat();
        let encoded = BASE64.encode(&content).into_bytes();
        let found = forms("name", secret)
            .iter()
            .filter(|(what, form)| what.contains("Base64") && holds(&encoded, form))
            .count();
        assert_eq!(found, 1, "shifted by {before}");
        assert!(holds(&content, &forms("name", secret)[0].1));
        assert!(!holds(&content, &forms("name", b"Quixworthy")[0].1));
    }
    let wide: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(forms("name", secret).iter().any(|(what, form)| what.contains("16LE") && holds(&wide, form)));
}

#[tokio::test]
async fn no_name_no_card_and_no_secret_is_readable() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        use std::os::unix::fs::PermissionsExt;
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
    let (code, stdout, stderr) = site.bridge_command_with_input(&["enroll", "--json"], &token).await?;
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains(&token) && !stderr.contains(&token), "the token is shown");
    site.start_bridge().await?;
    site.wait_for_inventory().await?;

    // A stay: a card at the desk by both ways, a scan, an encoder without a card, a door, a second card, the end.
    let directory = Directory::read(&site).await?;
    let person = json!({ "user_identity": { "full_name": NAME, "email_address": MAIL, "phone_number": PHONE } });
    let grant = guest::grant_to(&site, &directory, NAME, person, &["Main entrance", "Gym"]).await?;
    guest::ready_for_encoding(&site, &grant).await?;
    let first = guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    let scanned = guest::scan(&site, &directory, DESK).await?;
    assert_eq!(scanned["status"], "success", "{scanned}");
    guest::lift(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "error", "there is no card: {attempt}");
    assert!(guest::present(&site, &first, "Main entrance").await?);
    guest::put_blank(&site, DESK).await?;
    let second = guest::put_blank(&site, "Front desk 2").await?;
    let local = ["encode", grant.access_grant_id.as_str(), "--encoder", "Front desk 2"];
    let (_, stdout, stderr) = site.bridge_command(&local).await?;
    assert!(!stdout.contains(NAME) && !stderr.contains(NAME), "{stdout}{stderr}");
    site.kill_bridge().await?;
    site.start_bridge().await?;
    site.wait_for_cloud(Duration::from_secs(20)).await?;
    let body = json!({ "access_grant_id": grant.access_grant_id });
    site.api.post("/access_grants/delete", body).await?;
    site.wait_for_status("nothing left to do", Duration::from_secs(20), |status| {
        status["engine"]["queued"] == 0 && status["engine"]["executing"] == 0 && status["engine"]["outbox"] == 0
    })
    .await?;

    let health = ApiClient::plain(&site.health_address)?;
    let mut contents: Vec<(String, Vec<u8>)> = Vec::new();
    for path in ["/status", "/metrics", "/readyz", "/livez"] {
        contents.push((path.to_owned(), health.get(path).await?.to_string().into_bytes()));
    }
    site.stop_bridge().await?;
    for arguments in [&["audit", "export"][..], &["audit", "export", "--text"], &["audit", "verify", "--json"]] {
        let (code, stdout, stderr) = site.bridge_command(arguments).await?;
        assert_eq!(code, 0, "{stderr}");
        contents.push((arguments.join(" "), stdout.into_bytes()));
    }
    let mut paths = vec![site.folder().join("bridge.log")];
    files(&site.state(), &mut paths)?;
    let key_file = site.state().join("state.key");
    for path in paths.into_iter().filter(|path| *path != key_file) {
        contents.push((path.display().to_string(), condensed(&std::fs::read(&path)?)));
    }
    let all: Vec<&str> = contents.iter().map(|(place, _)| place.as_str()).collect();
    for part in ["segment", "working-set", "bridge.log", "identity.json", "audit export"] {
        assert!(all.iter().any(|place| place.contains(part)), "{part} was not searched: {all:?}");
    }

    let key = std::fs::read_to_string(&key_file)?;
    let key = key.trim();
    let serial = |text: &str| HEXUPPER.decode(text.to_uppercase().as_bytes()).with_context(|| text.to_owned());
    let mut secrets = Vec::new();
    for (what, bytes) in [
        ("the name", NAME.as_bytes()),
        ("the first name", b"Zuleika"),
        ("the last name", b"Quixworth"),
        ("the mail address", MAIL.as_bytes()),
        ("the phone number", PHONE.as_bytes()),
        ("the first card", serial(&first)?.as_slice()),
        ("the second card", serial(&second)?.as_slice()),
        ("the token", token.as_bytes()),
        ("the lock server's password", PASSWORD.as_bytes()),
        ("the login", BASE64.encode(format!("space:{PASSWORD}").as_bytes()).as_bytes()),
        ("the state key", key.as_bytes()),
        ("the state key's bytes", serial(key)?.as_slice()),
    ] {
        secrets.extend(forms(what, bytes));
    }
    // What may be read is found where it stands: the search works.
    let status: serde_json::Value = serde_json::from_slice(&contents[0].1)?;
    let bridge_id = status["bridge"]["bridge_id"].as_str().context("a bridge id")?;
    for part in ["/status", "segment", "audit export"] {
        let found = |(place, content): &(String, Vec<u8>)| place.contains(part) && holds(content, bridge_id.as_bytes());
        assert!(contents.iter().any(found), "the bridge's id is not in {part}");
    }
    let mut leaks = Vec::new();
    for (place, content) in &contents {
        leaks.extend(
            secrets.iter().filter(|(_, form)| holds(content, form)).map(|(what, _)| format!("{what} in {place}")),
        );
    }
    assert_eq!(leaks, [""; 0]);
    Ok(())
}
