//! The front desk: property software asks the real daemon for keys in FIAS, with the cloud cut off.
//!
//! The witnesses are the lock server's durable count of physical effects, its doors, and what the property software heard.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{ToSpan, Zoned};
use lockbridge_tests::harness::guest;
use lockbridge_tests::harness::{FiasSimulator, Site, SiteOptions, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const DESK: &str = "Front desk 1";
/// What is the same in every configuration here.
const COMMON: &str = r#"
rooms = { "0101" = "ROOM101" }
encoders = { "1" = "Front desk 1", "2" = "Front desk 2" }
record_spacing_ms = 5
"#;

/// A site whose front desk has `lines` in its table. The cloud is cut off.
async fn site(lines: &str, card_wait: &str) -> Result<Site> {
    let site = connected_site(lines, card_wait).await?;
    site.link.cut();
    site.wait_for_status("no session", Duration::from_secs(60), |status| status["cloud"]["connected"] == false).await?;
    Ok(site)
}

async fn connected_site(lines: &str, card_wait: &str) -> Result<Site> {
    let simulator = ["--card-wait", card_wait, "--updating-readers"].map(str::to_owned).to_vec();
    let tables = format!("[front_desk.reception]\n{lines}\n{COMMON}");
    Site::running(SiteOptions { simulator, tables, ..SiteOptions::default() }).await
}

/// Property software that listens, and a site that connects to it.
async fn over_tcp(lines: &str, card_wait: &str) -> Result<(TempDir, FiasSimulator, Site)> {
    let folder = tempfile::tempdir()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let site = site(&format!("host = \"127.0.0.1\"\nport = {}\n{lines}", pms.port()?), card_wait).await?;
    pms.alive(1).await?;
    Ok((folder, pms, site))
}

fn day(from_today: i64) -> String {
    (Zoned::now() + from_today.days()).strftime("%y%m%d").to_string()
}

/// The fields of a key request for two nights.
fn key<'a>(room: &'a str, kind: &'a str, reservation: &'a str, days: &'a [String; 2]) -> [(&'static str, &'a str); 8] {
    [
        ("WS", "FO1"),
        ("KC", "1"),
        ("RN", room),
        ("KT", kind),
        ("G#", reservation),
        ("GA", &days[0]),
        ("GD", &days[1]),
        ("GN", "Example, Ada"),
    ]
}

fn status(answer: &Value) -> &str {
    answer["AS"].as_str().unwrap_or_default()
}

fn text(answer: &Value) -> &str {
    answer["CT"].as_str().unwrap_or_default()
}

/// The outcomes that the cloud shows of the front desk, as `action outcome`.
async fn shown(site: &Site) -> Result<Vec<String>> {
    let events = site.api.get("/events/list?since=2020-01-01T00:00:00Z&limit=1000").await?;
    let events = events["events"].as_array().context("events")?;
    let desk = events.iter().filter(|event| event["event_type"] == "lockbridge.front_desk");
    Ok(desk.map(|event| format!("{} {}", event["action"], event["outcome"]).replace('"', "")).collect())
}

/// A stay from the first card to the check-out, judged at the doors.
async fn a_stay(site: &Site, pms: &FiasSimulator) -> Result<()> {
    let days = [day(0), day(2)];
    let first = guest::put_blank(site, DESK).await?;
    let answer = pms.ask("KR", &key("0101", "N", "4711", &days)).await?;
    assert_eq!(
        (status(&answer), &answer["WS"], &answer["KC"], &answer["G#"]),
        ("OK", &json!("FO1"), &json!("1"), &json!("4711")),
        "{answer}"
    );
    assert_eq!(guest::effects(site, "card_written").await?, 1);
    guest::lift(site, DESK).await?;
    assert!(guest::present(site, &first, "Room 101").await?);
    assert!(!guest::present(site, &first, "Room 102").await?);

    let second = guest::put_blank(site, DESK).await?;
    assert_eq!(status(&pms.ask("KR", &key("0101", "D", "4711", &days)).await?), "OK");
    guest::lift(site, DESK).await?;
    assert!(guest::present(site, &first, "Room 101").await?, "the first card stays");
    assert!(guest::present(site, &second, "Room 101").await?);
    assert_eq!(guest::effects(site, "key_cancelled").await?, 0);

    // The card says whose it is.
    site.simulator.post("/encoders/put", json!({ "encoder": DESK, "serial": second })).await?;
    let read = pms.ask("KZ", &[("WS", "FO1"), ("KC", "1")]).await?;
    assert_eq!(
        (status(&read), &read["RN"], &read["G#"], &read["GD"]),
        ("OK", &json!("0101"), &json!("4711"), &json!(days[1])),
        "{read}"
    );
    guest::lift(site, DESK).await?;

    // The next guest: both earlier cards end.
    let third = guest::put_blank(site, DESK).await?;
    assert_eq!(status(&pms.ask("KR", &key("0101", "N", "4712", &days)).await?), "OK");
    guest::lift(site, DESK).await?;
    cancelled(site, 2).await?;
    assert!(guest::present(site, &third, "Room 101").await?);

    let gone = pms.ask("KD", &[("WS", "FO1"), ("KC", "1"), ("RN", "0101"), ("G#", "4711")]).await?;
    assert_eq!((status(&gone), text(&gone)), ("OK", "No key was known"), "that guest's keys ended before");
    let gone = pms.ask("KD", &[("WS", "FO1"), ("KC", "1"), ("RN", "0101"), ("G#", "4712")]).await?;
    assert_eq!((status(&gone), text(&gone)), ("OK", "Keys ended"));
    cancelled(site, 3).await?;
    assert_eq!(guest::effects(site, "card_written").await?, 3);
    assert_eq!(guest::holders(site, "Example, Ada").await?, Vec::<Value>::new(), "nobody is left at the lock server");
    Ok(())
}

async fn cancelled(site: &Site, count: u64) -> Result<()> {
    until("keys that ended at the lock server", Duration::from_secs(10), async || {
        let cancelled = guest::effects(site, "key_cancelled").await.map_err(|error| error.to_string())?;
        if cancelled == count { Ok(()) } else { Err(cancelled.to_string()) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn with_the_cloud_cut_off_the_desk_gets_its_cards_and_the_cloud_hears_of_them_later() -> Result<()> {
    let (_folder, pms, site) = over_tcp("", "300").await?;
    a_stay(&site, &pms).await?;

    let days = [day(0), day(2)];
    let answer = pms.ask("KR", &key("0101", "N", "1", &days)).await?;
    assert_eq!((status(&answer), text(&answer)), ("RY", "No card was presented"));
    for (answer, expected) in [
        (pms.ask("KR", &key("9999", "N", "1", &days)).await?, "Unknown room"),
        (pms.ask("KR", &key("0101", "O", "1", &days)).await?, "One-shot keys are not supported"),
        (pms.ask("KR", &key("0101", "N", "1", &[day(-3), day(-1)])).await?, "Arrival or departure is not valid"),
        (
            pms.ask("KR", &[("WS", "FO1"), ("KC", "7"), ("RN", "0101"), ("KT", "N"), ("GD", &days[1])]).await?,
            "Unknown encoder",
        ),
        (
            pms.ask("KM", &[("WS", "FO1"), ("KC", "1"), ("RN", "0101"), ("G#", "5")]).await?,
            "No key of this reservation is known",
        ),
    ] {
        assert_eq!((status(&answer), text(&answer)), ("UR", expected));
    }
    assert_eq!(guest::effects(&site, "card_written").await?, 3, "none of these wrote a card");

    site.link.mend();
    let expected = [
        "new_key succeeded",
        "duplicate_key succeeded",
        "key_read succeeded",
        "key_ended succeeded",
        "key_ended succeeded",
        "new_key succeeded",
        "key_ended succeeded",
        "key_ended succeeded",
        "new_key failed",
    ];
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    until("what the desk did, at the cloud", Duration::from_secs(60), async || {
        let mut shown = shown(&site).await.map_err(|error| format!("{error:#}"))?;
        shown.sort();
        if shown == expected { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await?;
    let log = std::fs::read_to_string(site.folder().join("bridge.log"))?;
    assert!(!log.contains("Example, Ada"), "names of guests stand in no log");
    Ok(())
}

#[tokio::test]
async fn a_serial_port_with_a_checksum_carries_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = folder.path().join("desk");
    let port = port.to_str().context("a path")?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--pty", port]).await?;
    let lines = format!("transport = \"serial\"\ndevice = \"{port}\"");
    let site = site(&lines, "300").await?;
    pms.alive(1).await?;
    a_stay(&site, &pms).await?;

    // Unplugged and plugged in again: the link comes up by itself.
    pms.control.post("/plug", json!({ "plugged": false })).await?;
    pms.control.post("/plug", json!({ "plugged": true })).await?;
    guest::put_blank(&site, DESK).await?;
    // What is sent before the bridge has the port again is lost, and sent again as nobody acknowledges it.
    let answer = pms.ask("KR", &key("0101", "N", "1", &[day(0), day(2)])).await?;
    assert_eq!(status(&answer), "OK");
    assert_eq!(guest::effects(&site, "card_written").await?, 4);
    Ok(())
}

#[tokio::test]
async fn an_encoder_does_one_order_at_a_time_and_others_are_told() -> Result<()> {
    let (_folder, pms, site) = over_tcp("", "4000").await?;
    let days = [day(0), day(2)];
    let waiting = pms.send("KR", &key("0101", "N", "1", &days)).await?;
    until("the encoder at work", Duration::from_secs(10), async || {
        let state = site.simulator.get("/state").await.map_err(|error| error.to_string())?;
        let busy = state["encoders"].as_array().is_some_and(|all| all.iter().any(|encoder| encoder["busy"] == true));
        if busy { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    let mut second = key("Room 102", "N", "2", &days);
    second[0].1 = "FO2";
    let answer = pms.ask("KR", &second).await?;
    assert_eq!((status(&answer), text(&answer), &answer["WS"]), ("BY", "Encoder busy", &json!("FO2")));
    // Another encoder is free.
    guest::put_blank(&site, "Front desk 2").await?;
    second[1].1 = "02";
    let answer = pms.ask("KR", &second).await?;
    assert_eq!((status(&answer), &answer["KC"]), ("OK", &json!("02")));
    assert_eq!(status(&pms.answer(waiting).await?), "RY");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_answer_lost_behind_the_bridge_is_a_doubt_and_one_lost_before_it_is_told_again() -> Result<()> {
    let (_folder, pms, site) = over_tcp("answer_timeout_s = 5", "300").await?;
    let days = [day(0), day(2)];

    // The lock server writes the card, and its answer is lost. Somebody waits for five seconds only.
    guest::put_blank(&site, DESK).await?;
    site.simulator
        .post("/faults", json!({ "kind": "perform_then_close", "request": "Encoder.SaltoDBUser.AssignNewKey" }))
        .await?;
    let request = pms.send("KR", &key("0101", "N", "1", &days)).await?;
    let answer = pms.answer(request).await?;
    assert_eq!((status(&answer), text(&answer)), ("UR", "Unclear if written: look at the card"));
    guest::lift(&site, DESK).await?;
    // With a blank card ready a second one could be written. Who was told that it is unclear asks about the same card: what is
    // answered depends on whether the lock server has shown it by then.
    guest::put_blank(&site, DESK).await?;
    pms.control.post(&format!("/requests/{request}/repeat"), json!({})).await?;
    pms.answer(request).await?;
    assert_eq!(guest::effects(&site, "card_written").await?, 1);

    // The card is written, and the property software does not hear it: the connection breaks.
    pms.control.post("/panel", json!({ "cut_on_answer": true })).await?;
    let request = pms.send("KR", &key("0101", "D", "1", &days)).await?;
    until("the card", Duration::from_secs(20), async || {
        let written = guest::effects(&site, "card_written").await.map_err(|error| error.to_string())?;
        if written == 2 { Ok(()) } else { Err(written.to_string()) }
    })
    .await?;
    until("the cut connection", Duration::from_secs(20), async || {
        let state = pms.control.get("/state").await.map_err(|error| error.to_string())?;
        if state["connections"].as_u64() >= Some(2) { Ok(()) } else { Err(state.to_string()) }
    })
    .await?;
    pms.control.post("/panel", json!({})).await?;
    pms.alive(2).await?;
    pms.control.post(&format!("/requests/{request}/repeat"), json!({})).await?;
    let answer = pms.answer(request).await?;
    assert_eq!((status(&answer), text(&answer)), ("OK", "Made before: no second card now"));
    assert_eq!(guest::effects(&site, "card_written").await?, 2);

    // Sure that its answer arrived, the desk may ask for the very same again: another card.
    guest::lift(&site, DESK).await?;
    guest::put_blank(&site, DESK).await?;
    pms.control.post(&format!("/requests/{request}/repeat"), json!({})).await?;
    assert_eq!(text(&pms.answer(request).await?), "Key made");
    assert_eq!(guest::effects(&site, "card_written").await?, 3);
    Ok(())
}

#[tokio::test]
async fn brake_and_drain_hold_for_the_desk_too() -> Result<()> {
    let (_folder, pms, mut site) = over_tcp("", "300").await?;
    let days = [day(0), day(2)];
    let (code, _, stderr) = site.bridge_command(&["brake", "on"]).await?;
    assert_eq!(code, 0, "{stderr}");
    let answer = pms.ask("KR", &key("0101", "N", "1", &days)).await?;
    assert_eq!((status(&answer), text(&answer)), ("UR", "The brake is on: no cards are written"));
    let (code, _, stderr) = site.bridge_command(&["brake", "off"]).await?;
    assert_eq!(code, 0, "{stderr}");

    site.stop_bridge().await?;
    let state = pms.control.get("/state").await?;
    assert_eq!(state["alive"], false, "the link was ended in good order: {state}");
    site.start_bridge().await?;
    pms.alive(2).await?;
    guest::put_blank(&site, DESK).await?;
    assert_eq!(status(&pms.ask("KR", &key("0101", "N", "1", &days)).await?), "OK");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}

/// A free port of this machine, for a moment.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[tokio::test]
async fn strangers_and_second_connections_are_cut_off_and_garbage_makes_no_card() -> Result<()> {
    let port = free_port()?;
    let listen = format!("transport = \"listen\"\nlisten = \"127.0.0.1:{port}\"\nallow = [\"127.0.0.1\"]");
    let site = site(&listen, "300").await?;
    let folder = tempfile::tempdir()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--dial", &format!("127.0.0.1:{port}")]).await?;
    pms.alive(1).await?;

    let stranger = TcpSocket::new_v4()?;
    stranger.bind("127.0.0.2:0".parse()?)?;
    let mut stranger = stranger.connect(format!("127.0.0.1:{port}").parse()?).await?;
    assert!(ends(&mut stranger).await, "an address that is not allowed is cut off");
    let mut second = TcpStream::connect(("127.0.0.1", port)).await?;
    assert!(ends(&mut second).await, "a second connection is cut off");

    // A record without end, frames of noise, a request that came before its link, and one that lies about itself.
    for bytes in [vec![b'A'; 100_000], b"\x02\x02\x03\x03\x02KR\x03".to_vec(), b"\x02KR|WS|KC|RN|KTN|\x03".to_vec()] {
        let hex = data_encoding::HEXLOWER.encode(&[b"\x02".as_slice(), &bytes].concat());
        pms.control.post("/raw", json!({ "hex": hex })).await?;
    }
    let days = [day(0), day(2)];
    guest::put_blank(&site, DESK).await?;
    let answer = pms.ask("KR", &key("0101", "N", "1", &days)).await?;
    assert_eq!(status(&answer), "OK", "the desk goes on working: {answer}");
    assert_eq!(guest::effects(&site, "card_written").await?, 1);
    Ok(())
}

/// Whether the other side ends a connection without a word.
async fn ends(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut byte)).await;
    let _gone_already = stream.shutdown().await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_wire_that_nobody_answers_is_told_until_somebody_does() -> Result<()> {
    let port = free_port()?;
    let site = connected_site(&format!("host = \"127.0.0.1\"\nport = {port}"), "300").await?;
    let reason = site.wait_for_reason("front_desk", Duration::from_secs(60)).await?;
    assert_eq!(reason["scope"], "front_desk:reception", "{reason}");
    let folder = tempfile::tempdir()?;
    let listen = format!("127.0.0.1:{port}");
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms", "--listen", &listen]).await?;
    pms.alive(1).await?;
    let well = |status: &Value| {
        status["reasons"].as_array().is_some_and(|all| all.iter().all(|reason| reason["code"] != "front_desk"))
    };
    site.wait_for_status("a front desk that is well", Duration::from_secs(30), well).await?;
    assert!(Path::new(&site.folder().join("bridge.log")).exists());
    Ok(())
}

/// The two lines of a configuration that make a lock system of a key service that dials.
fn key_service(port: u16, lines: &str) -> String {
    format!(
        r#"
[lock_system.hotel]
kind = "fias"
time_zone = "Europe/Madrid"
transport = "listen"
listen = "127.0.0.1:{port}"
allow = ["127.0.0.1"]
rooms = ["101", {{ name = "102", entrance = "SUITE" }}]
encoders = ["1", "2"]
reply_timeout_s = 5
hold_s = 5
probe_interval_s = 1
{lines}
"#
    )
}

/// The vendor's count of keys that were written.
async fn keys_written(vendor: &FiasSimulator) -> Result<u64> {
    Ok(vendor.control.get("/effects").await?["total"].as_u64().unwrap_or_default())
}

async fn blank(vendor: &FiasSimulator, encoder: &str) -> Result<String> {
    let put = vendor.control.post("/encoders/put", json!({ "encoder": encoder })).await?;
    Ok(put["serial"].as_str().context("a serial")?.to_owned())
}

async fn opens(vendor: &FiasSimulator, serial: &str, room: &str) -> Result<bool> {
    let shown = vendor.control.post("/doors/present", json!({ "serial": serial, "room": room })).await?;
    Ok(shown["opened"] == true)
}

/// Property software on one side and a vendor's key service on the other, both in FIAS, with the bridge between them.
#[tokio::test]
async fn keys_of_a_vendor_s_key_service_go_through_the_bridge_from_desk_to_card() -> Result<()> {
    let (folder, vendor_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let port = free_port()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let tables = format!(
        "{}\n[front_desk.reception]\nlock_system = \"hotel\"\nhost = \"127.0.0.1\"\nport = {}\nrecord_spacing_ms = 5\nanswer_timeout_s = 20\n",
        key_service(port, "trust_encoder_errors = true"),
        pms.port()?
    );
    let site = Site::running(SiteOptions { tables, ..SiteOptions::default() }).await?;
    let data = vendor_folder.path().join("data");
    let dial = format!("127.0.0.1:{port}");
    let arguments =
        ["--role", "key-system", "--dial", &dial, "--data", data.to_str().context("a path")?, "--card-wait", "500"];
    let vendor = FiasSimulator::start(vendor_folder.path(), &arguments).await?;
    vendor.alive(1).await?;
    pms.alive(1).await?;
    until("the key service, well", Duration::from_secs(30), async || {
        let status = site.status().await.map_err(|error| format!("{error:#}"))?;
        let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
        let hotel = systems.iter().find(|system| system["name"] == "hotel");
        if hotel.is_some_and(|hotel| hotel["reachable"] == true) { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;

    let days = [day(0), day(2)];
    let first = blank(&vendor, "1").await?;
    let answer = pms.ask("KR", &key("101", "N", "4711", &days)).await?;
    assert_eq!((status(&answer), text(&answer)), ("OK", "Key made"), "{answer}");
    let second = blank(&vendor, "1").await?;
    assert_eq!(status(&pms.ask("KR", &key("101", "D", "4711", &days)).await?), "OK");
    assert!(opens(&vendor, &first, "101").await? && opens(&vendor, &second, "101").await?);
    let third = blank(&vendor, "1").await?;
    assert_eq!(status(&pms.ask("KR", &key("101", "N", "4712", &days)).await?), "OK");
    assert!(!opens(&vendor, &first, "101").await? && !opens(&vendor, &second, "101").await?);
    assert!(opens(&vendor, &third, "101").await?, "the new key's own stay was not checked out");
    assert_eq!(keys_written(&vendor).await?, 3);

    vendor.control.post("/encoders/set", json!({ "encoder": "1", "lift": true })).await?;
    let answer = pms.ask("KR", &key("101", "D", "4712", &days)).await?;
    assert_eq!((status(&answer), text(&answer)), ("RY", "No card was presented"));

    // Answers in odd shapes are still this request's.
    for fault in ["padded_encoder", "two_in_one", "trickle"] {
        vendor.control.post("/faults", json!({ "fault": fault })).await?;
        blank(&vendor, "1").await?;
        assert_eq!(status(&pms.ask("KR", &key("101", "D", "4712", &days)).await?), "OK", "{fault}");
    }
    assert_eq!(keys_written(&vendor).await?, 6);

    let gone = pms.ask("KD", &[("WS", "FO1"), ("KC", "1"), ("RN", "101"), ("G#", "4712")]).await?;
    assert_eq!((status(&gone), text(&gone)), ("OK", "Keys ended"));
    assert!(!opens(&vendor, &third, "101").await?, "the last key of the stay was taken away: the room is checked out");
    Ok(())
}

#[tokio::test]
async fn a_key_service_that_falls_silent_leaves_a_doubt_and_no_second_key() -> Result<()> {
    let (folder, vendor_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let port = free_port()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let tables = format!(
        "{}\n[front_desk.reception]\nlock_system = \"hotel\"\nhost = \"127.0.0.1\"\nport = {}\nrecord_spacing_ms = 5\nanswer_timeout_s = 10\n",
        key_service(port, ""),
        pms.port()?
    );
    let site = Site::running(SiteOptions { tables, ..SiteOptions::default() }).await?;
    let data = vendor_folder.path().join("data");
    let dial = format!("127.0.0.1:{port}");
    let arguments =
        ["--role", "key-system", "--dial", &dial, "--data", data.to_str().context("a path")?, "--card-wait", "500"];
    let vendor = FiasSimulator::start(vendor_folder.path(), &arguments).await?;
    vendor.alive(1).await?;
    pms.alive(1).await?;
    let days = [day(0), day(2)];
    for (fault, room) in [("lose_answer", "101"), ("break_in_answer", "102")] {
        blank(&vendor, "1").await?;
        let before = keys_written(&vendor).await?;
        vendor.control.post("/faults", json!({ "fault": fault })).await?;
        let mut request = key(room, "N", "1", &days);
        if room == "102" {
            request[2].1 = "102";
        }
        let number = until("an order that reaches the key service", Duration::from_secs(60), async || {
            let number = pms.send("KR", &request).await.map_err(|error| format!("{error:#}"))?;
            let answer = pms.answer(number).await.map_err(|error| format!("{error:#}"))?;
            if text(&answer) == "The lock system does not answer" || status(&answer) == "BY" {
                return Err(answer.to_string());
            }
            assert_eq!((status(&answer), text(&answer)), ("UR", "Unclear if written: look at the card"), "{fault}");
            Ok(number)
        })
        .await?;
        assert_eq!(keys_written(&vendor).await?, before + 1, "{fault}");
        pms.control.post(&format!("/requests/{number}/repeat"), json!({})).await?;
        let again = pms.answer(number).await?;
        assert_eq!((status(&again), text(&again)), ("UR", "Unclear if written: look at the card"), "{fault}");
    }
    assert_eq!(keys_written(&vendor).await?, 2);
    let (_, doubts, _) = site.bridge_command(&["doubt", "--json"]).await?;
    let doubts: Value = serde_json::from_str(&doubts)?;
    assert_eq!(doubts.as_array().map(Vec::len), Some(2), "{doubts}");
    Ok(())
}

/// The day on which the keys of a room end at the vendor, card by card.
async fn departures(vendor: &FiasSimulator, room: &str) -> Result<Vec<String>> {
    let state = vendor.control.get("/state").await?;
    let cards = state["cards"].as_object().context("cards")?.values();
    let of_room = cards.filter(|key| key["room"] == room && key["is_over"] == false);
    Ok(of_room.map(|key| key["departure"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A key service that tracks keys by reservation: its keys change without cards, and only those of the stay that is meant.
#[tokio::test]
async fn an_on_line_key_service_extends_and_ends_the_stay_that_is_meant_and_no_other() -> Result<()> {
    let (folder, vendor_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let port = free_port()?;
    let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let tables = format!(
        "{}\n[front_desk.reception]\nlock_system = \"hotel\"\nhost = \"127.0.0.1\"\nport = {}\nrecord_spacing_ms = 5\nanswer_timeout_s = 20\n",
        key_service(port, "on_line = true"),
        pms.port()?
    );
    let site = Site::running(SiteOptions { tables, ..SiteOptions::default() }).await?;
    let data = vendor_folder.path().join("data");
    let dial = format!("127.0.0.1:{port}");
    let arguments = ["--role", "key-system", "--on-line", "--dial", &dial, "--data", data.to_str().context("a path")?];
    let vendor = FiasSimulator::start(vendor_folder.path(), &arguments).await?;
    vendor.alive(1).await?;
    pms.alive(1).await?;
    until("the key service, well", Duration::from_secs(30), async || {
        let status = site.status().await.map_err(|error| format!("{error:#}"))?;
        let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
        let hotel = systems.iter().find(|system| system["name"] == "hotel");
        if hotel.is_some_and(|hotel| hotel["reachable"] == true) { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;

    // Two keys of one stay, and one of another stay in the next room.
    let days = [day(0), day(2)];
    let mut cards = Vec::new();
    for (room, kind, reservation) in [("101", "N", "4711"), ("101", "D", "4711"), ("102", "N", "4712")] {
        cards.push(blank(&vendor, "1").await?);
        let answer = pms.ask("KR", &key(room, kind, reservation, &days)).await?;
        assert_eq!((status(&answer), text(&answer)), ("OK", "Key made"), "{answer}");
    }
    let longer = day(5);
    let change = |room: &'static str, reservation: &'static str| {
        [("WS", "FO1"), ("KC", "1"), ("RN", room), ("G#", reservation), ("GD", longer.as_str())]
    };
    let answer = pms.ask("KM", &change("101", "4711")).await?;
    assert_eq!(status(&answer), "OK", "{answer}");
    assert_eq!(departures(&vendor, "101").await?, [longer.clone(), longer.clone()]);
    assert_eq!(departures(&vendor, "102").await?, [days[1].clone()]);
    let state = vendor.control.get("/state").await?;
    assert_eq!((&state["changes"], &state["changed_keys"]), (&json!(1), &json!(2)), "{state}");
    assert_eq!(keys_written(&vendor).await?, 3, "no card was needed");
    for (serial, room) in [(&cards[0], "101"), (&cards[1], "101"), (&cards[2], "102")] {
        assert!(opens(&vendor, serial, room).await?, "{room}");
    }
    let answer = pms.ask("KM", &change("101", "4713")).await?;
    assert_eq!((status(&answer), text(&answer)), ("UR", "No key of this reservation is known"));

    let gone = pms.ask("KD", &[("WS", "FO1"), ("KC", "1"), ("RN", "101"), ("G#", "4711")]).await?;
    assert_eq!((status(&gone), text(&gone)), ("OK", "Keys ended"));
    assert!(!opens(&vendor, &cards[0], "101").await? && !opens(&vendor, &cards[1], "101").await?);
    assert!(opens(&vendor, &cards[2], "102").await?);
    let state = vendor.control.get("/state").await?;
    let sent = state["requests"].as_array().cloned().unwrap_or_default();
    let number = |record: &Value| {
        let rest = record.as_str()?.split_once("|G#")?.1;
        Some(rest.split('|').next()?.to_owned())
    };
    let of_room: Vec<&Value> =
        sent.iter().filter(|record| record.as_str().is_some_and(|text| text.contains("|RN101|"))).collect();
    assert_eq!(of_room.len(), 4, "two keys, a change and a check-out: {state}");
    assert!(of_room.iter().all(|record| number(record).is_some() && number(record) == number(of_room[0])), "{state}");
    Ok(())
}
