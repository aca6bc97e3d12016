//! The authenticated link of FIAS with the real daemon in both parts: it proves its key to property software, and has a key
//! service prove its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use data_encoding::BASE64;
use jiff::{ToSpan, Zoned};
use lockbridge_tests::harness::key_service::KeyService;
use lockbridge_tests::harness::pms_server::Way;
use lockbridge_tests::harness::{ApiClient, FiasSimulator, Site, SiteOptions, forms, guest, holds, until};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const DESK: &str = "Front desk 1";
/// Two keys of no site.
const KEY: [u8; 16] = *b"first-link-key-1";
const OTHER: [u8; 16] = *b"other-link-key-2";

/// As the vendor's letter has it.
fn letter(key: [u8; 16]) -> String {
    format!("FidCrypt0S|{}", BASE64.encode(&key))
}

fn file(folder: &Path, name: &str, content: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, content)?;
    path.to_str().map(str::to_owned).context("a path that is text")
}

/// A key for two nights.
async fn ask_for_key(pms: &FiasSimulator, room: &str) -> Result<Value> {
    let day = |days: i64| (Zoned::now() + days.days()).strftime("%y%m%d").to_string();
    let (from, to) = (day(0), day(2));
    let fields = [("WS", "FO1"), ("KC", "1"), ("RN", room), ("KT", "N"), ("G#", "4711"), ("GA", &*from), ("GD", &*to)];
    pms.ask("KR", &fields).await
}

/// The reason of this scope; nothing if there is none.
fn told(status: &Value, scope: &str) -> String {
    let reasons = status["reasons"].as_array().cloned().unwrap_or_default();
    let found = reasons.iter().find(|reason| reason["scope"] == scope);
    found.map(|reason| format!("{} {}", reason["message"], reason["remedy"])).unwrap_or_default()
}

/// Waits for a reason of this scope that says all of it; what it says.
async fn hears(site: &Site, scope: &str, words: &[&str], limit: Duration) -> Result<String> {
    let says = |status: &Value| words.iter().all(|word| told(status, scope).contains(word));
    let status = site.wait_for_status(&format!("{words:?} from {scope}"), limit, says).await?;
    Ok(told(&status, scope))
}

/// Looks for both keys in whatever the daemon shows and writes.
async fn nothing_is_told(site: &Site) -> Result<()> {
    let health = ApiClient::plain(&site.health_address)?;
    let mut shown = vec![("the log", std::fs::read(site.folder().join("bridge.log"))?)];
    for path in ["/status", "/metrics"] {
        shown.push((path, health.get(path).await?.to_string().into_bytes()));
    }
    let (_, stdout, stderr) = site.bridge_command(&["status", "--json"]).await?;
    shown.push(("lockbridge status", [stdout, stderr].concat().into_bytes()));
    for key in [KEY, OTHER] {
        for (form, bytes) in forms("a link key", &key) {
            for (place, content) in &shown {
                assert!(!holds(content, &bytes), "{place} holds {form}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn property_software_takes_the_right_key_and_after_a_wrong_one_people_are_told_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let theirs = file(folder.path(), "theirs.key", &letter(KEY))?;
    let ours = file(folder.path(), "ours.key", &letter(OTHER))?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--link-key-file", &theirs]).await?;
    let port: u16 = pms.port()?.parse()?;
    let tables = format!(
        "[front_desk.reception]\nhost = \"127.0.0.1\"\nport = {port}\nrooms = {{ \"0101\" = \"ROOM101\" }}\n\
         encoders = {{ \"1\" = \"{DESK}\" }}\nrecord_spacing_ms = 5\nlink_key_file = \"{ours}\"\n"
    );
    let simulator = ["--card-wait", "300"].map(str::to_owned).to_vec();
    let options = SiteOptions { simulator, tables, log_level: "debug", ..SiteOptions::default() };
    let site = Site::running(options).await?;

    until("a port that is closed upon the wrong proof", Duration::from_secs(30), async || {
        let state = pms.control.get("/state").await.map_err(|error| error.to_string())?;
        if state["closed"] == "wrong CG in LD" { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nobody is let in any more");
    assert!(ask_for_key(&pms, "0101").await.is_err(), "nothing can be asked for");
    let words = ["`reception`", "refuses connections", "link_key_file", "enter it there again"];
    hears(&site, "front_desk:reception", &words, Duration::from_secs(60)).await?;
    let state = pms.control.get("/state").await?;
    assert_eq!((&state["times_closed"], &state["times_alive"]), (&json!(1), &json!(0)), "{state}");
    assert_eq!(guest::effects(&site, "card_written").await?, 0);
    nothing_is_told(&site).await?;

    // The key is put right here, without a restart, and entered again there.
    std::fs::write(&ours, letter(KEY))?;
    pms.control.post("/link_key", json!({ "key": letter(KEY) })).await?;
    let state = pms.alive(1).await?;
    assert!(state["description"].as_str().is_some_and(|text| text.contains("|CGFidCryptAB;")), "{state}");
    site.wait_for_status("a desk that is well", Duration::from_secs(30), |status| {
        told(status, "front_desk:reception").is_empty()
    })
    .await?;
    guest::put_blank(&site, DESK).await?;
    let answer = ask_for_key(&pms, "0101").await?;
    assert_eq!(answer["AS"], "OK", "{answer}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    nothing_is_told(&site).await
}

#[tokio::test]
async fn a_key_file_that_is_missing_or_holds_no_key_is_told_by_its_name_and_works_once_it_is_there() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = format!("{}/missing.key", folder.path().display());
    let half: String = letter(KEY).chars().take(20).collect();
    let cut = file(folder.path(), "cut.key", &half)?;
    let theirs = file(folder.path(), "theirs.key", &letter(KEY))?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--link-key-file", &theirs]).await?;
    let desk = |name: &str, file: &str, port: &str| {
        format!(
            "[front_desk.{name}]\nlock_system = \"main\"\nhost = \"127.0.0.1\"\nport = {port}\nrecord_spacing_ms = 5\n\
             link_key_file = \"{file}\"\n"
        )
    };
    let tables = format!(
        "{}{}\n[lock_system.hotel]\nkind = \"fias\"\ntime_zone = \"Europe/Madrid\"\ntransport = \"listen\"\n\
         listen = \"127.0.0.1:0\"\nallow = [\"127.0.0.1\"]\nrooms = [\"101\"]\nencoders = [\"1\"]\n\
         probe_interval_s = 1\nlink_key_file = \"{cut}\"\n",
        desk("reception", &missing, pms.port()?),
        desk("bar", &cut, "9"),
    );
    let site = Site::running(SiteOptions { tables, log_level: "debug", ..SiteOptions::default() }).await?;
    let limit = Duration::from_secs(20);
    hears(&site, "front_desk:reception", &["`reception`", &missing, "No such file", "readable"], limit).await?;
    hears(&site, "front_desk:bar", &["`bar`", &cut, "FidCrypt0S|", "copy it again"], limit).await?;
    hears(&site, "lock_system:hotel", &[&cut, "FidCrypt0S|", "copy it again"], limit).await?;
    let state = pms.control.get("/state").await?;
    assert_eq!(state["connections"], 0, "without its key the bridge does not connect: {state}");
    nothing_is_told(&site).await?;

    std::fs::write(&missing, letter(KEY))?;
    until("the link with the key that was put there", Duration::from_secs(60), async || {
        let state = pms.control.get("/state").await.map_err(|error| error.to_string())?;
        if state["alive"] == true { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    Ok(())
}

/// Whether the bridge reaches a lock system.
async fn reaches(site: &Site, name: &str) -> Result<bool> {
    let status = site.status().await?;
    let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
    Ok(systems.iter().any(|system| system["name"] == name && system["reachable"] == true))
}

#[tokio::test]
async fn a_key_service_that_does_not_prove_the_key_is_not_served_and_one_that_does_makes_keys() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ours = file(folder.path(), "ours.key", &letter(KEY))?;
    let wrong = file(folder.path(), "wrong.key", &letter(OTHER))?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let lines = format!("link_key_file = \"{ours}\"\ntrust_encoder_errors = true");
    let liar = KeyService::start(Way::Tcp, 1, &["--link-key-file", &wrong]).await?;
    let stranger = KeyService::start(Way::Tcp, 1, &[]).await?;
    let annex = stranger.lock_system(&lines).replace("[lock_system.hotel]", "[lock_system.annex]");
    let hotel = liar.lock_system(&lines);
    let dial = hotel.split_once("listen = \"").and_then(|(_, rest)| rest.split_once('"'));
    let dial = dial.context("an address to dial")?.0.to_owned();
    let tables = format!(
        "{hotel}{annex}\n[front_desk.reception]\nlock_system = \"hotel\"\nhost = \"127.0.0.1\"\nport = {}\n\
         record_spacing_ms = 5\nanswer_timeout_s = 20\n",
        pms.port()?
    );
    let site = Site::running(SiteOptions { tables, log_level: "debug", ..SiteOptions::default() }).await?;
    pms.alive(1).await?;
    let limit = Duration::from_secs(60);
    let remedy = "Give both sides the same key: link_key_file here";
    hears(&site, "lock_system:hotel", &["another key", remedy], limit).await?;
    hears(&site, "lock_system:annex", &["sends no cryptogram", remedy], limit).await?;
    for (service, name) in [(&liar, "hotel"), (&stranger, "annex")] {
        let state = service.panel.control.get("/state").await?;
        assert_eq!((&state["times_alive"], &state["requests"]), (&json!(0), &json!([])), "{name}: {state}");
        assert!(!reaches(&site, name).await?, "{name}");
    }
    // Who asks meanwhile is told at once, and no key is made.
    let asked = std::time::Instant::now();
    let answer = ask_for_key(&pms, "101").await?;
    assert_eq!((&answer["AS"], &answer["CT"]), (&json!("RY"), &json!("The lock system does not answer")), "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    nothing_is_told(&site).await?;

    // The key service is given the right key, and proves it when the bridge listens again.
    std::fs::write(&wrong, letter(KEY))?;
    drop(liar);
    let data = folder.path().join("data");
    let arguments = [
        &["--role", "key-system", "--dial", &dial, "--data", data.to_str().context("a path")?][..],
        &["--rooms", "101", "--encoders", "1", "--link-key-file", &wrong],
    ]
    .concat();
    let honest = FiasSimulator::start(folder.path(), &arguments).await?;
    until("the key service that proved its key", Duration::from_secs(120), async || {
        if reaches(&site, "hotel").await.map_err(|error| format!("{error:#}"))? {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await?;
    honest.control.post("/encoders/put", json!({ "encoder": "1" })).await?;
    let answer = ask_for_key(&pms, "101").await?;
    assert_eq!((&answer["AS"], &answer["CT"]), (&json!("OK"), &json!("Key made")), "{answer}");
    assert_eq!(honest.control.get("/effects").await?["total"], 1);
    assert!(!reaches(&site, "annex").await?, "the other one has proved nothing");
    nothing_is_told(&site).await
}

/// The two simulators with each other: who asks for a proof gets none from a key system without a key.
#[tokio::test]
async fn a_key_system_without_a_proof_is_cut_off_until_the_key_is_entered_again() -> Result<()> {
    let (folder, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let key = file(folder.path(), "link.key", &letter(KEY))?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--link-key-file", &key]).await?;
    let dial = pms.address.clone().context("an address")?;
    let data = second.path().join("data");
    let arguments = ["--role", "key-system", "--dial", &dial, "--data", data.to_str().context("a path")?];
    let bare = FiasSimulator::start(second.path(), &arguments).await?;
    until("a port that is closed", Duration::from_secs(20), async || {
        let state = pms.control.get("/state").await.map_err(|error| error.to_string())?;
        if state["closed"] == "no RT in LD" { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    drop(bare);
    assert!(TcpStream::connect(&dial).await.is_err());
    pms.control.post("/link_key", json!({ "key": letter(KEY) })).await?;
    let proving = [&arguments[..], &["--link-key-file", &key]].concat();
    let honest = FiasSimulator::start(second.path(), &proving).await?;
    honest.alive(1).await?;
    pms.alive(1).await?;
    Ok(())
}
