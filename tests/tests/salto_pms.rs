//! Hotel keys by SALTO's PMS protocol, from the API to the card: over TCP and over a port.
//!
//! The witness is the simulator's durable count of what was done to cards and rooms, not the bridge's own records.

use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::guest::{self, Directory, Grant};
use lockbridge_tests::harness::pms_server::{PmsServer, Way};
use lockbridge_tests::harness::{Site, SiteOptions, until};
use lockbridge_tests::torture::{LineKind, LineOptions, line};
use serde_json::{Value, json};

const DESK: &str = "Encoder 1";
/// Short waits, so that what is lost is soon known to be lost.
const QUICK: &str = "answer_timeout_s = 5\nhold_s = 1\nbusy_pause_ms = 100\n";

struct House {
    site: Site,
    server: PmsServer,
    directory: Directory,
}

async fn house(way: Way) -> Result<House> {
    house_with(way, "").await
}

async fn house_with(way: Way, more: &str) -> Result<House> {
    let server = PmsServer::start(&["--card-wait", "1500"]).await?;
    let tables = server.lock_system(way, &format!("{QUICK}{more}"));
    let site = Site::running(SiteOptions { tables, ..SiteOptions::default() }).await?;
    let directory = until("the hotel at the API", Duration::from_secs(20), async || {
        let directory = Directory::read(&site).await.map_err(|error| format!("{error:#}"))?;
        let there = directory.entrance("Hotel 101").and_then(|_| directory.encoder(DESK).map(drop));
        there.map(|()| directory).map_err(|error| format!("{error:#}"))
    })
    .await?;
    Ok(House { site, server, directory })
}

impl House {
    /// A grant for a new person that is ready to be encoded.
    async fn stay(&self, name: &str, doors: &[&str], reservation: &str) -> Result<Grant> {
        let person = json!({ "user_identity": { "full_name": name }, "reservation_key": reservation });
        let grant = guest::grant_to(&self.site, &self.directory, name, person, doors).await?;
        guest::ready_for_encoding(&self.site, &grant).await?;
        Ok(grant)
    }

    /// A key on a fresh card, which is taken away; its serial.
    async fn key(&self, grant: &Grant) -> Result<String> {
        let serial = self.server.put_blank("1").await?;
        let attempt = guest::encode(&self.site, &self.directory, grant, DESK).await?;
        assert_eq!(attempt["status"], "success", "{attempt}");
        self.server.lift("1").await?;
        Ok(serial)
    }

    async fn refused(&self, grant: &Grant) -> Result<(String, String)> {
        let attempt = guest::encode(&self.site, &self.directory, grant, DESK).await?;
        assert_eq!(attempt["status"], "error", "{attempt}");
        let text = |field: &str| attempt["error"][field].as_str().unwrap_or_default().to_owned();
        Ok((text("type"), text("message")))
    }

    async fn delete(&self, grant: &Grant) -> Result<()> {
        let body = json!({ "access_grant_id": grant.access_grant_id });
        self.site.api.post("/access_grants/delete", body).await?;
        until("the end of the grant", Duration::from_secs(20), async || {
            let body = json!({ "access_grant_id": grant.access_grant_id });
            match self.site.api.post("/access_grants/get", body).await {
                Err(_) => Ok(()),
                Ok(answer) => Err(answer.to_string()),
            }
        })
        .await?;
        Ok(())
    }

    async fn doubts(&self) -> Result<Vec<Value>> {
        let (_, stdout, _) = self.site.bridge_command(&["doubt", "--json"]).await?;
        Ok(serde_json::from_str(&stdout)?)
    }

    /// The one doubt, once there is one.
    async fn doubt(&self) -> Result<Value> {
        let found = until("one doubt", Duration::from_secs(20), async || {
            match self.doubts().await.map_err(|error| format!("{error:#}"))?.as_slice() {
                [doubt] => Ok(doubt.clone()),
                others => Err(format!("{others:?}")),
            }
        });
        Ok(found.await?)
    }
}

impl House {
    /// A grant whose holder asks for a key on the phone.
    async fn mobile_stay(&self, name: &str, phone: Option<&str>, reservation: &str) -> Result<Grant> {
        let person = json!({
            "user_identity": { "full_name": name, "phone_number": phone },
            "reservation_key": reservation,
            "requested_access_methods": [{ "mode": "mobile_key" }],
        });
        guest::grant_to(&self.site, &self.directory, name, person, &["Hotel 101"]).await
    }

    async fn is_issued(&self, grant: &Grant) -> Result<()> {
        guest::method(&self.site, grant, "an issued key", |method| method["is_issued"] == true).await.map(drop)
    }

    /// How many keys came to a phone, by its own count.
    async fn received(&self, phone: &str) -> Result<u64> {
        let phones = self.server.control.get("/phones").await?;
        Ok(phones["phones"][phone]["keys_received"].as_u64().unwrap_or(0))
    }

    async fn phone_opens(&self, phone: &str) -> Result<bool> {
        let answer = self.server.control.post("/doors/present", json!({ "phone": phone, "room": "101" })).await?;
        answer["opened"].as_bool().with_context(|| answer.to_string())
    }
}

#[tokio::test]
async fn a_grant_with_a_mobile_key_is_a_key_on_the_phone_and_nothing_more() -> Result<()> {
    let house = house_with(Way::Tcp, "mobile_keys = true\n").await?;
    let (ada, bob) = ("+34600000001", "+34600000002");
    let nobody = house.mobile_stay("Eve Example", None, "R-1").await?;
    let failed = guest::method(&house.site, &nobody, "an error", |method| {
        method["errors"].as_array().is_some_and(|errors| !errors.is_empty())
    });
    let failed = failed.await?;
    assert!(failed["errors"].to_string().contains("phone_number"), "{failed}");
    assert_eq!(house.server.effects().await?, Vec::<Value>::new());
    house.delete(&nobody).await?;

    let first = house.mobile_stay("Ada Example", Some(ada), "R-1").await?;
    house.is_issued(&first).await?;
    let second = house.mobile_stay("Bob Example", Some(bob), "R-1").await?;
    house.is_issued(&second).await?;
    let effects = house.server.effects().await?;
    let commands: Vec<&str> = effects.iter().filter_map(|effect| effect["command"].as_str()).collect();
    assert_eq!(commands, ["CNM", "CCM"], "{effects:?}");
    assert_eq!((house.received(ada).await?, house.received(bob).await?), (1, 1));
    assert!(house.phone_opens(ada).await? && house.phone_opens(bob).await?);

    // A lost answer: the key came, nobody knows, and no second one is sent.
    let carol = "+34600000003";
    house.server.fault(json!({ "kind": "never_answer", "perform": true, "request": "CCM" })).await?;
    let third = house.mobile_stay("Carol Example", Some(carol), "R-1").await?;
    let doubt = house.doubt().await?;
    assert!(doubt["advice"].as_str().is_some_and(|advice| advice.contains("phone")), "{doubt}");
    let id = doubt["command"]["command_id"].as_str().context("an id")?;
    let (code, _, said) = house.site.bridge_command(&["doubt", "resolve", id, "done"]).await?;
    assert_eq!(code, 0, "{said}");
    house.is_issued(&third).await?;
    assert_eq!((house.received(carol).await?, house.server.count("mobile_key").await?), (1, 3));

    for grant in [&first, &second] {
        house.delete(grant).await?;
    }
    assert_eq!(house.server.count("checked_out").await?, 0, "the stay has a key left");
    house.delete(&third).await?;
    assert_eq!(house.server.count("checked_out").await?, 1);
    assert_eq!(house.server.count("mobile_key").await?, 3);
    assert_eq!(house.doubts().await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn what_happens_at_a_door_is_told_once() -> Result<()> {
    let mut house = house_with(Way::Tcp, "audit_doors = [\"101\"]\naudit_every_s = 5\n").await?;
    let grant = house.stay("Ada Example", &["Hotel 101"], "R-1").await?;
    let key = house.key(&grant).await?;
    assert!(house.server.opens(&key, "101").await?);
    let unlocked = async |house: &House| -> Result<usize> {
        let body = json!({ "event_type": "lock.unlocked", "since": "2020-01-01T00:00:00Z" });
        let answer = house.site.api.post("/events/list", body).await?;
        Ok(answer["events"].as_array().map_or(0, Vec::len))
    };
    let told = async |house: &House, wanted: usize| {
        until("events of the door", Duration::from_secs(30), async || {
            match unlocked(house).await.map_err(|error| format!("{error:#}"))? {
                count if count == wanted => Ok(()),
                count => Err(format!("{count} events, not {wanted}")),
            }
        })
        .await
    };
    told(&house, 1).await?;
    house.site.kill_bridge().await?;
    assert!(house.server.opens(&key, "101").await?, "while nobody reads");
    house.site.start_bridge().await?;
    told(&house, 2).await?;
    // The front desk has the line when it wants it.
    let other = house.stay("Bob Example", &["Hotel 101"], "R-1").await?;
    house.key(&other).await?;
    assert_eq!(unlocked(&house).await?, 2);
    Ok(())
}

async fn a_stay(way: Way) -> Result<()> {
    let house = house(way).await?;
    let server = &house.server;
    let ada = house.stay("Ada Example", &["Hotel 101", "Hotel gym"], "R-1").await?;
    assert_eq!(server.effects().await?, Vec::<Value>::new(), "a grant alone changes nothing at the server");
    let first = house.key(&ada).await?;
    let bob = house.stay("Bob Example", &["Hotel 101"], "R-1").await?;
    let second = house.key(&bob).await?;
    for (serial, opens) in [(&first, true), (&second, true)] {
        assert_eq!(server.opens(serial, "101").await?, opens, "a copy leaves the first key alone");
    }
    assert!(!server.opens(&first, "102").await?);
    let effects = server.effects().await?;
    let commands: Vec<&str> = effects
        .iter()
        .filter(|effect| effect["kind"] == "card_written")
        .filter_map(|effect| effect["command"].as_str())
        .collect();
    assert_eq!(commands, ["CN", "CC"], "{effects:?}");
    let granted: Vec<&Value> = effects.iter().filter_map(|effect| effect["key"].get("granted")).collect();
    assert_eq!(granted.first(), Some(&&json!([1])), "{effects:?}");

    // Another party gets no key while this one stays.
    let eve = house.stay("Eve Example", &["Hotel 101"], "R-2").await?;
    let (_, message) = house.refused(&eve).await?;
    assert!(message.contains("given to another stay"), "{message}");
    house.delete(&bob).await?;
    assert_eq!(server.count("checked_out").await?, 0, "the stay has a key left");
    house.delete(&ada).await?;
    assert_eq!(server.count("checked_out").await?, 1);
    let third = house.key(&eve).await?;
    assert!(server.opens(&third, "101").await?);
    assert!(!server.opens(&first, "101").await?, "the new key ended the old ones where it was used");
    assert_eq!(server.count("card_written").await?, 3);
    assert_eq!(house.doubts().await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn a_stay_has_its_keys_and_its_end_over_tcp() -> Result<()> {
    a_stay(Way::Tcp).await
}

#[tokio::test]
async fn a_stay_has_its_keys_and_its_end_over_a_port() -> Result<()> {
    a_stay(Way::Pty).await
}

#[tokio::test]
async fn a_lost_answer_is_one_doubt_and_reading_the_card_settles_it() -> Result<()> {
    let mut house = house(Way::Pty).await?;
    let grant = house.stay("Ada Example", &["Hotel 101"], "R-1").await?;
    let serial = house.server.put_blank("1").await?;
    house.server.fault(json!({ "kind": "never_answer", "perform": true, "request": "CN" })).await?;
    let id = guest::begin_encode(&house.site, &house.directory, &grant, DESK).await?;
    let doubt = house.doubt().await?;
    let advice = doubt["advice"].as_str().context("advice")?;
    assert!(advice.contains("Put the card") && advice.contains("read it"), "{advice}");
    assert_eq!(guest::attempt(&house.site, &id).await?["status"], "pending");
    // A restart knows as much, and asks for nothing.
    house.site.kill_bridge().await?;
    house.site.start_bridge().await?;
    house.doubt().await?;
    house.site.wait_for_cloud(Duration::from_secs(20)).await?;
    // Another card settles nothing.
    house.server.lift("1").await?;
    house.server.control.post("/encoders/put", json!({ "encoder": "1", "kind": "staff" })).await?;
    read(&house).await?;
    house.doubt().await?;
    house.server.lift("1").await?;
    house.server.control.post("/encoders/put", json!({ "encoder": "1", "serial": serial })).await?;
    read(&house).await?;
    let attempt = guest::attempt_ended(&house.site, &id).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert_eq!(house.doubts().await?, Vec::<Value>::new());
    assert_eq!(house.server.count("card_written").await?, 1);
    // The stay is certain now: the next key is a copy.
    house.server.lift("1").await?;
    let other = house.stay("Bob Example", &["Hotel 101"], "R-1").await?;
    let copy = house.key(&other).await?;
    assert!(house.server.opens(&copy, "101").await? && house.server.opens(&serial, "101").await?);
    Ok(())
}

/// Reads the card on the encoder, as soon as the cloud and the line let it.
async fn read(house: &House) -> Result<()> {
    until("a card that was read", Duration::from_secs(30), async || {
        let attempt = guest::scan(&house.site, &house.directory, DESK).await.map_err(|error| format!("{error:#}"))?;
        if attempt["status"] == "success" { Ok(()) } else { Err(attempt.to_string()) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_an_encoder_says_reaches_the_api() -> Result<()> {
    let house = house(Way::Tcp).await?;
    let grant = house.stay("Ada Example", &["Hotel 101"], "R-1").await?;
    // Nobody lays a card down.
    let (kind, message) = house.refused(&grant).await?;
    assert_eq!(kind, "no_credential_on_encoder", "{message}");
    house.server.control.post("/encoders/put", json!({ "encoder": "1", "kind": "staff" })).await?;
    let (kind, _) = house.refused(&grant).await?;
    assert_eq!(kind, "incompatible_card_format");
    house.server.lift("1").await?;
    assert_eq!(house.server.count("card_written").await?, 0);
    assert_eq!(house.doubts().await?, Vec::<Value>::new(), "each of these is certain");
    // A busy encoder proves that nothing was done, and is asked again.
    house.server.fault(json!({ "kind": "encoder_busy", "times": 2 })).await?;
    house.key(&grant).await?;
    assert_eq!(house.server.control.get("/faults").await?["faults"], json!([]));
    assert_eq!(house.server.count("card_written").await?, 1);
    // An encoder that is gone may have been unplugged in the middle of a write.
    let other = house.stay("Bob Example", &["Hotel 101"], "R-1").await?;
    house.server.put_blank("1").await?;
    house.server.control.post("/encoders/set", json!({ "encoder": "1", "plugged": false })).await?;
    guest::begin_encode(&house.site, &house.directory, &other, DESK).await?;
    let doubt = house.doubt().await?;
    let id = doubt["command"]["command_id"].as_str().context("an id")?;
    house.site.bridge_command(&["doubt", "resolve", id, "not-done"]).await?;
    house.server.control.post("/encoders/set", json!({ "encoder": "1", "plugged": true })).await?;
    house.server.lift("1").await?;
    house.key(&other).await?;
    assert_eq!(house.server.count("card_written").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_unplugged_and_plugged_again_is_used_again() -> Result<()> {
    let house = house(Way::Pty).await?;
    let grant = house.stay("Ada Example", &["Hotel 101"], "R-1").await?;
    house.key(&grant).await?;
    house.server.control.post("/lines/plug", json!({ "plugged": false })).await?;
    let reason = house.site.wait_for_reason("lock_server", Duration::from_secs(20)).await?;
    assert!(reason.to_string().contains("port"), "{reason}");
    // A revoke waits for the line and is not forgotten.
    house.site.api.post("/access_grants/delete", json!({ "access_grant_id": grant.access_grant_id })).await?;
    house.server.control.post("/lines/plug", json!({ "plugged": true })).await?;
    house.server.until_count("checked_out", 1).await?;
    let other = until("a grant behind the new line", Duration::from_secs(20), async || {
        house.stay("Bob Example", &["Hotel 101"], "R-2").await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    until("the lock system at the API", Duration::from_secs(20), async || {
        let status = house.site.status().await.map_err(|error| format!("{error:#}"))?;
        let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
        if systems.iter().all(|system| system["reachable"] == true) { Ok(()) } else { Err(status.to_string()) }
    })
    .await?;
    house.key(&other).await?;
    assert_eq!(house.server.count("card_written").await?, 2);
    Ok(())
}

/// `lockbridge-torture line` with fewer keys.
async fn a_noisy_line(kind: LineKind, way: Way) -> Result<()> {
    let options = LineOptions { kind, requests: 80, noise: 0.01, way, jobs: 2, seed: 20_261_122 };
    let figures = line(options, |_| {}).await?;
    assert!(figures.held(), "\n{}", figures.table());
    assert!(figures.sums.cards > 0 && figures.sums.line["refusals"] > 0, "the noise was felt\n{}", figures.table());
    Ok(())
}

#[tokio::test]
async fn a_noisy_port_doubles_nothing_loses_nothing_and_hides_nothing() -> Result<()> {
    a_noisy_line(LineKind::SaltoPms, Way::Pty).await
}

#[tokio::test]
async fn a_noisy_connection_doubles_nothing_loses_nothing_and_hides_nothing() -> Result<()> {
    a_noisy_line(LineKind::SaltoPms, Way::Tcp).await
}

#[tokio::test]
async fn a_noisy_port_to_a_fias_key_service_doubles_nothing_loses_nothing_and_hides_nothing() -> Result<()> {
    a_noisy_line(LineKind::Fias, Way::Pty).await
}

#[tokio::test]
async fn a_noisy_connection_to_a_fias_key_service_doubles_nothing_loses_nothing_and_hides_nothing() -> Result<()> {
    a_noisy_line(LineKind::Fias, Way::Tcp).await
}
