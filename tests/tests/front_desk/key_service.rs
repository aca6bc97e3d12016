//! A vendor's key service behind the bridge: what the desk asks in FIAS is done at it in FIAS, once.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::{FiasSimulator, Site, SiteOptions, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::reception::{day, free_port, key, status, text};

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

/// Property software on one side and a vendor's key service on the other, both in FIAS, with the bridge between them.
struct Between {
    vendor: FiasSimulator,
    site: Site,
    pms: FiasSimulator,
    _folders: [TempDir; 2],
}

impl Between {
    /// Both links are alive. The `lines` are the key service's in the configuration, the `arguments` the vendor's own.
    async fn running(lines: &str, answer_timeout_s: u32, arguments: &[&str]) -> Result<Self> {
        let (folder, vendor_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let port = free_port()?;
        let pms = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
        let tables = format!(
            "{}\n[front_desk.reception]\nlock_system = \"hotel\"\nhost = \"127.0.0.1\"\nport = {}\nrecord_spacing_ms = 5\nanswer_timeout_s = {answer_timeout_s}\n",
            key_service(port, lines),
            pms.port()?
        );
        let site = Site::running(SiteOptions { tables, ..SiteOptions::default() }).await?;
        let data = vendor_folder.path().join("data");
        let dial = format!("127.0.0.1:{port}");
        let usual = ["--role", "key-system", "--dial", &dial, "--data", data.to_str().context("a path")?];
        let vendor = FiasSimulator::start(vendor_folder.path(), &[&usual, arguments].concat()).await?;
        vendor.alive(1).await?;
        pms.alive(1).await?;
        Ok(Self { vendor, site, pms, _folders: [folder, vendor_folder] })
    }

    /// Waits until the bridge finds the key service well.
    async fn well(&self) -> Result<()> {
        until("the key service, well", Duration::from_secs(30), async || {
            let status = self.site.status().await.map_err(|error| format!("{error:#}"))?;
            let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
            let hotel = systems.iter().find(|system| system["name"] == "hotel");
            if hotel.is_some_and(|hotel| hotel["reachable"] == true) { Ok(()) } else { Err(status.to_string()) }
        })
        .await?;
        Ok(())
    }
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

#[tokio::test]
async fn keys_of_a_vendor_s_key_service_go_through_the_bridge_from_desk_to_card() -> Result<()> {
    let between = Between::running("trust_encoder_errors = true", 20, &["--card-wait", "500"]).await?;
    between.well().await?;
    let (vendor, pms) = (&between.vendor, &between.pms);

    let days = [day(0), day(2)];
    let first = blank(vendor, "1").await?;
    let answer = pms.ask("KR", &key("101", "N", "4711", &days)).await?;
    assert_eq!((status(&answer), text(&answer)), ("OK", "Key made"), "{answer}");
    let second = blank(vendor, "1").await?;
    assert_eq!(status(&pms.ask("KR", &key("101", "D", "4711", &days)).await?), "OK");
    assert!(opens(vendor, &first, "101").await? && opens(vendor, &second, "101").await?);
    let third = blank(vendor, "1").await?;
    assert_eq!(status(&pms.ask("KR", &key("101", "N", "4712", &days)).await?), "OK");
    assert!(!opens(vendor, &first, "101").await? && !opens(vendor, &second, "101").await?);
    assert!(opens(vendor, &third, "101").await?, "the new key's own stay was not checked out");
    assert_eq!(keys_written(vendor).await?, 3);

    vendor.control.post("/encoders/set", json!({ "encoder": "1", "lift": true })).await?;
    let answer = pms.ask("KR", &key("101", "D", "4712", &days)).await?;
    assert_eq!((status(&answer), text(&answer)), ("RY", "No card was presented"));

    // Answers in odd shapes are still this request's.
    for fault in ["padded_encoder", "two_in_one", "trickle"] {
        vendor.control.post("/faults", json!({ "fault": fault })).await?;
        blank(vendor, "1").await?;
        assert_eq!(status(&pms.ask("KR", &key("101", "D", "4712", &days)).await?), "OK", "{fault}");
    }
    assert_eq!(keys_written(vendor).await?, 6);

    let gone = pms.ask("KD", &[("WS", "FO1"), ("KC", "1"), ("RN", "101"), ("G#", "4712")]).await?;
    assert_eq!((status(&gone), text(&gone)), ("OK", "Keys ended"));
    assert!(!opens(vendor, &third, "101").await?, "the last key of the stay was taken away: the room is checked out");
    Ok(())
}

#[tokio::test]
async fn a_key_service_that_falls_silent_leaves_a_doubt_and_no_second_key() -> Result<()> {
    let between = Between::running("", 10, &["--card-wait", "500"]).await?;
    let (vendor, pms) = (&between.vendor, &between.pms);
    let days = [day(0), day(2)];
    for (fault, room) in [("lose_answer", "101"), ("break_in_answer", "102")] {
        blank(vendor, "1").await?;
        let before = keys_written(vendor).await?;
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
        assert_eq!(keys_written(vendor).await?, before + 1, "{fault}");
        pms.control.post(&format!("/requests/{number}/repeat"), json!({})).await?;
        let again = pms.answer(number).await?;
        assert_eq!((status(&again), text(&again)), ("UR", "Unclear if written: look at the card"), "{fault}");
    }
    assert_eq!(keys_written(vendor).await?, 2);
    let (_, doubts, _) = between.site.bridge_command(&["doubt", "--json"]).await?;
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
    let between = Between::running("on_line = true", 20, &["--on-line"]).await?;
    between.well().await?;
    let (vendor, pms) = (&between.vendor, &between.pms);

    // Two keys of one stay, and one of another stay in the next room.
    let days = [day(0), day(2)];
    let mut cards = Vec::new();
    for (room, kind, reservation) in [("101", "N", "4711"), ("101", "D", "4711"), ("102", "N", "4712")] {
        cards.push(blank(vendor, "1").await?);
        let answer = pms.ask("KR", &key(room, kind, reservation, &days)).await?;
        assert_eq!((status(&answer), text(&answer)), ("OK", "Key made"), "{answer}");
    }
    let longer = day(5);
    let change = |room: &'static str, reservation: &'static str| {
        [("WS", "FO1"), ("KC", "1"), ("RN", room), ("G#", reservation), ("GD", longer.as_str())]
    };
    let answer = pms.ask("KM", &change("101", "4711")).await?;
    assert_eq!(status(&answer), "OK", "{answer}");
    assert_eq!(departures(vendor, "101").await?, [longer.clone(), longer.clone()]);
    assert_eq!(departures(vendor, "102").await?, [days[1].clone()]);
    let state = vendor.control.get("/state").await?;
    assert_eq!((&state["changes"], &state["changed_keys"]), (&json!(1), &json!(2)), "{state}");
    assert_eq!(keys_written(vendor).await?, 3, "no card was needed");
    for (serial, room) in [(&cards[0], "101"), (&cards[1], "101"), (&cards[2], "102")] {
        assert!(opens(vendor, serial, room).await?, "{room}");
    }
    let answer = pms.ask("KM", &change("101", "4713")).await?;
    assert_eq!((status(&answer), text(&answer)), ("UR", "No key of this reservation is known"));

    let gone = pms.ask("KD", &[("WS", "FO1"), ("KC", "1"), ("RN", "101"), ("G#", "4711")]).await?;
    assert_eq!((status(&gone), text(&gone)), ("OK", "Keys ended"));
    assert!(!opens(vendor, &cards[0], "101").await? && !opens(vendor, &cards[1], "101").await?);
    assert!(opens(vendor, &cards[2], "102").await?);
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
