//! Orders at the desk: cards, copies, ends of stays, and what is said when there is no card, no answer or no leave.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest;
use lockbridge_tests::harness::{FiasSimulator, Site, until};
use serde_json::{Value, json};

use super::reception::{DESK, day, key, over_tcp, site, status, text};

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
