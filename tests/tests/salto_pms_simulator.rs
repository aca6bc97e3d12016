//! The simulated PMS interface from outside: the real process over TCP and over its port, with noise, and killed in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::civil::date;
use lockbridge::link::{Endpoint, Limits, Opener, SerialSettings, Statistics};
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::salto_pms::client::Settings;
use lockbridge_protocol::salto_pms::request::{CardKey, Handling, KeyKind, Request, ReturnSerial, Stay};
use lockbridge_tests::harness::pms_desk::{Ended, PmsDesk};
use lockbridge_tests::harness::{ApiClient, Process};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    folder: TempDir,
    process: Process,
    panel: ApiClient,
    ready: Value,
}

impl Server {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (process, ready) = launch(folder.path()).await?;
        let panel = ApiClient::plain(ready["control"].as_str().context("the control port")?)?;
        Ok(Self { folder, process, panel, ready })
    }

    /// Pulls the power and starts it again.
    async fn kill(&mut self) -> Result<()> {
        self.process.kill().await?;
        let (process, ready) = launch(self.folder.path()).await?;
        self.panel = ApiClient::plain(ready["control"].as_str().context("the control port")?)?;
        (self.process, self.ready) = (process, ready);
        Ok(())
    }

    fn tcp(&self) -> Result<Endpoint> {
        let address = self.ready["tcp"].as_str().context("the TCP port")?;
        let (host, port) = address.rsplit_once(':').context("host and port")?;
        Ok(Endpoint::Dial { host: host.to_owned(), port: port.parse()? })
    }

    fn port(&self) -> Result<Endpoint> {
        Ok(Endpoint::Serial(SerialSettings::new(self.ready["pty"].as_str().context("the port")?.into())))
    }

    /// Cards written so far, by the name of the clerk who asked.
    async fn written(&self) -> Result<BTreeMap<String, u64>> {
        let effects = self.panel.get("/effects?limit=100000").await?;
        let mut written = BTreeMap::new();
        for effect in effects["effects"].as_array().context("effects")? {
            if effect["kind"] == "card_written" {
                let clerk = effect["key"]["operator"].as_str().context("a clerk")?;
                *written.entry(clerk.to_owned()).or_default() += 1;
            }
        }
        Ok(written)
    }
}

async fn launch(folder: &Path) -> Result<(Process, Value)> {
    let (data, port, log) = (folder.join("data"), folder.join("port"), folder.join("log"));
    let (data, port) = (data.to_string_lossy(), port.to_string_lossy());
    let arguments = [
        "salto-pms",
        "--data",
        &data,
        "--tcp",
        "127.0.0.1:0",
        "--pty",
        &port,
        "--baud",
        "115200",
        "--zone",
        "UTC",
        "--write-time",
        "5",
        "--exit-with-stdin",
    ];
    let mut process = Process::start("simulator", Path::new(env!("CARGO_BIN_EXE_lockbridge-sim")), &arguments, &log)?;
    let ready = process.ready().await?;
    Ok((process, ready))
}

fn desk(endpoint: Endpoint) -> PmsDesk {
    let opener = Opener::new(endpoint, Limits::default(), Statistics::new("desk"));
    let settings = Settings {
        reply_timeout: Duration::from_millis(200),
        pause: Duration::from_millis(20),
        silence: Duration::from_millis(100),
        hold: Duration::from_millis(1500),
        enquiries: 10,
        ..Settings::default()
    };
    PmsDesk::new(opener, settings, Checksum::CheckedUnlessMarked)
}

fn check_in(room: &str, clerk: &str) -> Request {
    let end = Some(date(2090, 1, 1).at(12, 0, 0, 0));
    let stay = Stay { room: room.to_owned(), end, operator: clerk.to_owned(), ..Stay::default() };
    Request::Card(CardKey {
        kind: KeyKind::CheckIn,
        cards: None,
        encoder: "1".to_owned(),
        handling: Handling::Retain,
        stay,
        tracks: <[String; 3]>::default(),
        serial: ReturnSerial::Unsaid,
    })
}

#[tokio::test]
async fn keys_are_made_over_both_lines_and_outlive_the_server() -> Result<()> {
    let mut server = Server::start().await?;
    server.panel.post("/encoders/set", json!({ "encoder": "1", "auto_feed": true })).await?;
    for (endpoint, room) in [(server.tcp()?, "101"), (server.port()?, "102")] {
        let ended = desk(endpoint).ask(&check_in(room, room), PATIENCE).await?;
        ensure!(ended.is_done(), "{room}: {ended:?}");
    }
    server.kill().await?;
    ensure!(server.written().await? == BTreeMap::from([("101".to_owned(), 1), ("102".to_owned(), 1)]));
    let ended = desk(server.port()?).ask(&check_in("103", "103"), PATIENCE).await?;
    ensure!(ended.is_done(), "after the start: {ended:?}");
    ensure!(server.written().await?.len() == 3);
    Ok(())
}

#[tokio::test]
async fn the_front_panel_pulls_the_plug_and_puts_it_back() -> Result<()> {
    let server = Server::start().await?;
    server.panel.post("/encoders/set", json!({ "encoder": "1", "auto_feed": true })).await?;
    let mut desk = desk(server.port()?);
    ensure!(desk.ask(&check_in("101", "before"), PATIENCE).await?.is_done());
    server.panel.post("/lines/plug", json!({ "plugged": false })).await?;
    desk.hang_up();
    let gone = desk.ask(&check_in("101", "away"), PATIENCE).await;
    ensure!(gone.is_err(), "no port: {gone:?}");
    server.panel.post("/lines/plug", json!({ "plugged": true })).await?;
    ensure!(desk.ask(&check_in("101", "back"), PATIENCE).await?.is_done());
    let written = server.written().await?;
    ensure!(written.keys().eq(["back", "before"]), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_known_and_the_next_request_waits_its_time() -> Result<()> {
    let server = Server::start().await?;
    server.panel.post("/encoders/set", json!({ "encoder": "1", "auto_feed": true })).await?;
    for (endpoint, lost, next) in [(server.tcp()?, "lost", "next"), (server.port()?, "lost again", "next again")] {
        server.panel.post("/faults", json!({ "kind": "never_answer", "perform": true, "request": "CN" })).await?;
        let mut desk = desk(endpoint);
        let ended = desk.ask(&check_in("101", lost), Duration::from_secs(1)).await?;
        ensure!(matches!(ended, Ended::Unknown(_)), "{ended:?}");
        let ended = desk.ask(&check_in("101", next), PATIENCE).await?;
        ensure!(ended.is_done(), "{ended:?}");
    }
    let written = server.written().await?;
    ensure!(written.len() == 4 && written.values().all(|times| *times == 1), "{written:?}");
    Ok(())
}

/// What a verdict claims is held against the cards, over a port that loses, turns and doubles bytes: one of a thousand each,
/// because the protocol's checksum sees one error in a message, and not every pair of them.
#[tokio::test]
async fn with_noise_nothing_is_doubled_and_nothing_is_claimed_that_is_not_so() -> Result<()> {
    for seed in 1..=4 {
        noisy_keys(seed).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

async fn noisy_keys(seed: u64) -> Result<()> {
    let server = Server::start().await?;
    server.panel.post("/encoders/set", json!({ "encoder": "1", "auto_feed": true })).await?;
    let noise = json!({ "drop": 0.001, "flip": 0.001, "duplicate": 0.001 });
    server.panel.post("/noise", json!({ "seed": seed, "to_machine": noise, "to_client": noise })).await?;
    let mut desk = desk(server.port()?);
    let (mut done, mut not_begun, mut unsure) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..60 {
        let clerk = format!("CLERK{number:03}");
        let ended = desk.ask(&check_in("101", &clerk), Duration::from_secs(2)).await?;
        match ended {
            Ended::NotBegun(_) => not_begun.push(clerk),
            Ended::Unknown(_) => unsure.push(clerk),
            ended if ended.is_done() => done.push(clerk),
            // Damaged without the checksum noticing, which one flipped byte in the place of the checksum can do.
            Ended::Answered(_) => not_begun.push(clerk),
        }
    }
    let written = server.written().await?;
    ensure!(done.len() > 20, "done {}, not begun {}, unsure {}", done.len(), not_begun.len(), unsure.len());
    for (clerk, times) in &written {
        ensure!(*times == 1, "{clerk}: {times} cards");
    }
    for clerk in &done {
        ensure!(written.contains_key(clerk), "{clerk} was claimed done");
    }
    for clerk in &not_begun {
        ensure!(!written.contains_key(clerk), "{clerk} was claimed not begun");
    }
    Ok(())
}
