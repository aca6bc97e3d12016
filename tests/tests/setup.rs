//! `lockbridge setup` as an admin meets it: at a terminal, and from a script. Both end in a bridge that carries out a grant.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::key_service::KeyService;
use lockbridge_tests::harness::pms_server::{PmsServer, Way};
use lockbridge_tests::harness::{FiasSimulator, Site, SiteOptions, Terminal, build, until};
use serde_json::Value;
use tokio::process::Command;

/// A site whose bridge knows neither cloud nor lock system; the port of the lock server.
async fn unconfigured(options: SiteOptions) -> Result<(Site, String)> {
    let site = Site::open(options).await?;
    let text = std::fs::read_to_string(site.configuration())?;
    let (bare, system) = text.split_once("[lock_system.").context("a lock system")?;
    std::fs::write(site.configuration(), bare)?;
    let address = system.lines().find_map(|line| line.strip_prefix("port = ").or_else(|| line.strip_prefix("url = ")));
    Ok((site, address.context("an address")?.trim_matches('"').to_owned()))
}

/// A grant that the configured bridge carries out: its card is written at the simulator.
async fn carries_out_a_grant(site: &mut Site) -> Result<()> {
    site.start_bridge().await?;
    site.wait_for_inventory().await?;
    let directory = Directory::read(site).await?;
    let grant = guest::ready_grant(site, &directory, "Setup Guest", &["Room 101"]).await?;
    guest::put_blank(site, "Front desk 1").await?;
    let attempt = guest::encode(site, &directory, &grant, "Front desk 1").await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(guest::effects(site, "card_written").await?, 1);
    Ok(())
}

fn simulator(more: &[&str]) -> Vec<String> {
    ["--card-wait", "300"].iter().chain(more).map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn a_script_sets_up_a_bridge_from_flags_and_files() -> Result<()> {
    let (mut site, port) = unconfigured(SiteOptions { simulator: simulator(&[]), ..SiteOptions::default() }).await?;
    let folder = site.folder().join("bridge.d");

    // Every mistake at once, and nothing done.
    let wrong = ["setup", "--yes", "--time-zone", "Madrid", "--host", "127.0.0.1:1", "--encoders", "Front desk 1"];
    let (code, stdout, stderr) = site.bridge_command(&wrong).await?;
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    for key in ["token_file", "time_zone", "host", "port"] {
        assert!(stderr.contains(&format!("  {key}: ")), "{key} is not told: {stderr}");
    }
    assert!(!folder.exists());

    // Good answers that do not work: the token is spent on nothing, and nothing is written.
    let token_file = site.folder().join("token");
    std::fs::write(&token_file, site.token().await?)?;
    let answers = site.folder().join("answers.toml");
    std::fs::write(
        &answers,
        format!(
            "token_file = {token_file:?}\ntime_zone = \"Europe/Madrid\"\nhost = \"127.0.0.1\"\nport = \"{port}\"\n\
             encoders = \"Front desk 1, Front desk 2\"\n"
        ),
    )?;
    let answers = answers.to_str().context("text")?.to_owned();
    let setup = ["setup", "--json", "--answers", &answers];
    let (code, _, stderr) = site.bridge_command(&[&setup[..], &["--encoders", "Front dekc 1"]].concat()).await?;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("encoder [main/Front dekc 1]") && stderr.contains("nothing was written"), "{stderr}");
    assert!(!folder.exists());

    let (code, stdout, stderr) = site.bridge_command(&setup).await?;
    assert_eq!(code, 0, "{stderr}");
    let done: Value = serde_json::from_str(&stdout)?;
    assert_eq!(done["workspace_name"], "Example", "{done}");
    let written = std::fs::read_to_string(folder.join("20-main.toml"))?;
    assert!(written.starts_with("# Lockbridge") && written.contains("encoders = [\"Front desk 1\""), "{written}");

    // Again: the same changes nothing; something else is not written over it unasked.
    let (code, stdout, stderr) = site.bridge_command(&setup).await?;
    assert_eq!(code, 0, "an enrolled bridge needs no token: {stderr}");
    assert_eq!(serde_json::from_str::<Value>(&stdout)?["bridge_id"], Value::Null, "nothing was enrolled");
    let fewer = ["setup", "--answers", &answers, "--encoders", "Front desk 2"];
    let (code, _, stderr) = site.bridge_command(&fewer).await?;
    assert!(code == 1 && stderr.contains("20-main.toml") && stderr.contains("--replace"), "{stderr}");
    assert_eq!(std::fs::read_to_string(folder.join("20-main.toml"))?, written, "it was kept");

    carries_out_a_grant(&mut site).await?;
    let gone = until("the end of the spent token file", Duration::from_secs(10), async || {
        if token_file.exists() { Err("it is there".to_owned()) } else { Ok(()) }
    });
    gone.await?;
    Ok(())
}

#[tokio::test]
async fn a_person_is_led_through_and_asked_again_where_an_answer_does_not_work() -> Result<()> {
    let secrets = tempfile::tempdir()?;
    let login = secrets.path().join("login");
    std::fs::write(&login, "basic lockbridge:canary-right\n")?;
    let login = login.to_str().context("text")?.to_owned();
    let options = SiteOptions {
        simulator: simulator(&["--http-login-file", &login]),
        http: Some(String::new()),
        ..SiteOptions::default()
    };
    let (mut site, url) = unconfigured(options).await?;
    let token = site.token().await?;

    let mut setup = Command::new(&build()?.bridge);
    setup.arg("--config").arg(site.configuration()).arg("setup");
    let mut session = Terminal::start(setup)?;
    session.answer("Enrollment token", "no token").await?;
    session.shows("parts").await?;
    session.answer("Enrollment token", &token).await?;
    session.answer("Name of this machine", "Front desk bridge").await?;
    session.answer("HTTP proxy", "").await?;
    session.shows("ok       cloud_tls").await?;
    session.answer("Kind of lock system", "").await?;
    session.answer("Short name", "Not A Name").await?;
    session.shows("a-z").await?;
    session.answer("Short name", "house").await?;
    session.answer("Time zone", "Europe/Madrid").await?;
    session.answer("How SHIP is reached", "http").await?;
    session.answer("Address of the web server", &url).await?;
    session.answer("Authentication", "basic").await?;
    session.answer("User of the SHIP tab", "lockbridge").await?;
    session.answer("Password of the SHIP tab", "canary-wrong").await?;
    session.shows("FAILED   lock_login [house]").await?;
    session.answer("all the same?", "n").await?;
    // Once more, with what was said before as the proposal.
    for question in ["Kind of lock system", "Short name of the lock system (the cloud shows it) [house]", "Time zone"] {
        session.answer(question, "").await?;
    }
    for question in ["How SHIP is reached", "Address of the web server", "Authentication", "User of the SHIP tab"] {
        session.answer(question, "").await?;
    }
    session.answer("Password of the SHIP tab", "canary-right").await?;
    session.shows("ok       lock_login [house]").await?;
    session.answer("Names of the encoders", "Front desk 1, Front desk 2").await?;
    session.shows("ok       encoder [house/Front desk 2]").await?;
    session.answer("Short name of the front desk", "").await?;
    guest::put_blank(&site, "Front desk 1").await?;
    session.answer("Read a test card", "y").await?;
    session.shows("read a card").await?;
    assert_eq!(session.ended().await?, 0, "{}", session.screen());
    let screen = session.screen();
    assert!(screen.contains("workspace    Example"), "{screen}");
    let secret = token.rsplit('#').next().context("a secret")?;
    for hidden in [secret, "canary-wrong", "canary-right"] {
        assert!(!screen.contains(hidden), "{hidden} was shown: {screen}");
    }
    let written = std::fs::read_to_string(site.folder().join("bridge.d/20-house.toml"))?;
    assert!(!written.contains("canary") && written.contains("password_file"), "{written}");
    assert!(
        !site
            .folder()
            .read_dir()?
            .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(".setup")))
    );

    guest::lift(&site, "Front desk 1").await?;
    carries_out_a_grant(&mut site).await
}

/// An answers file beside the configuration.
async fn answers(site: &Site, lines: &str) -> Result<String> {
    let token_file = site.folder().join("token");
    std::fs::write(&token_file, site.token().await?)?;
    let file = site.folder().join("answers.toml");
    let token_file = token_file.display();
    std::fs::write(&file, format!("token_file = \"{token_file}\"\ntime_zone = \"Europe/Madrid\"\n{lines}"))?;
    Ok(file.to_str().context("text")?.to_owned())
}

/// What `lockbridge check --only line` finds: outcome and evidence of each subject.
async fn lines(site: &Site) -> Result<Vec<(String, String, String)>> {
    let (_, stdout, stderr) = site.bridge_command(&["check", "--json", "--only", "line"]).await?;
    let shown: Value = serde_json::from_str(&stdout).with_context(|| stderr.clone())?;
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = shown["checks"].as_array().context("findings")?;
    let of = |finding| (text(finding, "subject"), text(finding, "outcome"), text(finding, "evidence"));
    Ok(findings.iter().map(of).collect())
}

/// The daemon reaches its only lock system.
async fn reaches_the_lock_system(site: &mut Site) -> Result<()> {
    site.start_bridge().await?;
    let reached = |status: &Value| status["lock_systems"][0]["reachable"] == true;
    site.wait_for_status("the lock system", Duration::from_secs(30), reached).await?;
    Ok(())
}

#[tokio::test]
async fn hotel_keys_over_a_serial_port_are_set_up_from_a_file() -> Result<()> {
    let server = PmsServer::start(&["--card-wait", "300"]).await?;
    let (mut site, _) = unconfigured(SiteOptions::default()).await?;
    let text = format!(
        "kind = \"salto_pms\"\nlock_system = \"hotel\"\ntransport = \"serial\"\ndevice = {:?}\nbaud = 9600\nformat = \"8N1\"\n\
         encoders = \"1, 2\"\nrooms = \"101..112, 201..212\"\n",
        server.device()
    );
    let answers = answers(&site, &text).await?;
    let setup = ["setup", "--json", "--answers", &answers];
    let folder = site.folder().join("bridge.d");

    // An encoder that the server does not know: found on the line, and nothing is written.
    let (code, _, stderr) = site.bridge_command(&[&setup[..], &["--encoders", "1, 3"]].concat()).await?;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("line [hotel/3]") && stderr.contains("exactly as at the Salto server"), "{stderr}");
    // A port that is not there.
    let nowhere = ["--device", "/dev/lockbridge/nowhere"];
    let (code, _, stderr) = site.bridge_command(&[&setup[..], &nowhere].concat()).await?;
    assert!(code == 1 && stderr.contains("/dev/lockbridge/nowhere is not there"), "{stderr}");
    assert!(!folder.exists());

    let (code, _, stderr) = site.bridge_command(&setup).await?;
    assert_eq!(code, 0, "{stderr}");
    let written = std::fs::read_to_string(folder.join("20-hotel.toml"))?;
    for line in
        ["kind = \"salto_pms\"", "baud = 9600", "parity = \"none\"", "checksum = true", "encoders = [\"1\", \"2\"]"]
    {
        assert!(written.lines().any(|other| other == line), "{line}: {written}");
    }
    assert!(written.contains("\"112\",\n    \"201\""), "{written}");

    let found = lines(&site).await?;
    assert!(found.len() == 3 && found.iter().all(|(_, outcome, _)| outcome == "ok"), "{found:?}");
    reaches_the_lock_system(&mut site).await?;
    let found = lines(&site).await?;
    assert!(found[0].1 == "ok" && found[0].2.contains("held by the daemon"), "{found:?}");

    // Again, with the daemon on the line: what is unchanged is known from it; another port is looked at by itself.
    let (code, _, stderr) = site.bridge_command(&setup).await?;
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = site.bridge_command(&[&setup[..], &nowhere].concat()).await?;
    assert!(code == 1 && stderr.contains("/dev/lockbridge/nowhere is not there"), "{stderr}");
    Ok(())
}

#[tokio::test]
async fn a_key_service_and_a_front_desk_are_set_up_together() -> Result<()> {
    let keys = KeyService::start(Way::Tcp, 2, &[]).await?;
    let folder = tempfile::tempdir()?;
    let desk = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let (mut site, _) = unconfigured(SiteOptions::default()).await?;
    let text = format!(
        "kind = \"fias\"\nlock_system = \"hotel\"\nlisten = {:?}\nallow = \"127.0.0.1\"\nencoders = \"1, 2\"\n\
         rooms = \"101..112, 201..212\"\nfront_desk = \"reception\"\nfront_desk_host = \"127.0.0.1\"\nfront_desk_port = {}\n",
        keys.place(),
        desk.port()?
    );
    let answers = answers(&site, &text).await?;
    let setup = ["setup", "--json", "--answers", &answers];

    // Mistakes are told before anything is tried; then what does not work, on both lines.
    let wrong = ["--transport", "stp", "--front-desk-port", "none"];
    let (code, _, stderr) = site.bridge_command(&[&setup[..], &wrong].concat()).await?;
    assert!(code == 2 && stderr.contains("listen, tcp, serial") && stderr.contains("no TCP port"), "{stderr}");
    let wrong = ["--allow", "192.0.2.20", "--front-desk-acknowledges", "yes"];
    let (code, _, stderr) = site.bridge_command(&[&setup[..], &wrong].concat()).await?;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("line [hotel]") && stderr.contains("127.0.0.1 connected to our address"), "{stderr}");
    assert!(stderr.contains("line [front_desk:reception]") && stderr.contains("`acknowledges = false`"), "{stderr}");
    assert!(!site.folder().join("bridge.d").exists());

    let (code, _, stderr) = site.bridge_command(&setup).await?;
    assert_eq!(code, 0, "{stderr}");
    let written = std::fs::read_to_string(site.folder().join("bridge.d/30-reception.toml"))?;
    assert!(written.contains("[front_desk.reception]\nlock_system = \"hotel\"\ntransport = \"tcp\""), "{written}");

    let found = lines(&site).await?;
    assert!(found.len() == 2 && found.iter().all(|(_, outcome, _)| outcome == "ok"), "{found:?}");
    reaches_the_lock_system(&mut site).await?;
    desk.alive(1).await?;
    let found = lines(&site).await?;
    assert!(found.iter().all(|(_, outcome, evidence)| outcome == "ok" && evidence.contains("held by")), "{found:?}");
    Ok(())
}
