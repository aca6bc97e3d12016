//! One SALTO Space, asked in two ways: people and doors over SHIP, hotel keys over its PMS interface.
//!
//! The witnesses are the durable counts of both simulated servers: what one of them did, the other must not have done too.

use std::time::Duration;

use anyhow::Result;
use lockbridge_tests::harness::guest::{self, Directory, Grant};
use lockbridge_tests::harness::pms_server::{PmsServer, Way};
use lockbridge_tests::harness::{Site, SiteOptions, until};
use serde_json::{Value, json};

const DESK: &str = "Front desk 1";
const TOLD: Duration = Duration::from_secs(20);
const QUICK: &str = "answer_timeout_s = 5\nhold_s = 1\nbusy_pause_ms = 100\n";

struct House {
    site: Site,
    hotel: PmsServer,
    directory: Directory,
}

async fn house(way: Way) -> Result<House> {
    let hotel = PmsServer::start(&["--card-wait", "1500"]).await?;
    hotel.control.post("/encoders", json!({ "encoder": DESK })).await?;
    let simulator = ["--card-wait", "1500"].map(str::to_owned).to_vec();
    let tables = hotel.joined(way, QUICK);
    let site = Site::running(SiteOptions { simulator, tables, ..SiteOptions::default() }).await?;
    let directory = until("rooms that only the PMS interface knows", TOLD, async || {
        let directory = Directory::read(&site).await.map_err(|error| format!("{error:#}"))?;
        directory.entrance("Annexe 112").map(drop).map_err(|error| format!("{error:#}"))?;
        Ok::<_, String>(directory)
    })
    .await?;
    Ok(House { site, hotel, directory })
}

/// What both servers did so far: cards and check-outs at the hotel, cards and cancelled keys at SHIP, holders at SHIP.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    hotel: (u64, u64),
    ship: u64,
    holders: usize,
}

impl House {
    async fn grant(&self, name: &str, doors: &[&str], more: Value) -> Result<Grant> {
        let mut person = json!({ "user_identity": { "full_name": name } });
        for (field, value) in more.as_object().into_iter().flatten() {
            person[field] = value.clone();
        }
        let grant = guest::grant_to(&self.site, &self.directory, name, person, doors).await?;
        guest::ready_for_encoding(&self.site, &grant).await?;
        Ok(grant)
    }

    async fn done(&self) -> Result<Done> {
        let users = self.site.simulator.get("/users").await?;
        Ok(Done {
            hotel: (self.hotel.count("card_written").await?, self.hotel.count("checked_out").await?),
            ship: guest::effects(&self.site, "card_written").await?,
            // Three were made by hand.
            holders: users["users"].as_array().map_or(0, Vec::len) - 3,
        })
    }

    /// Doors that SHIP gives to the person of that name.
    async fn doors_of(&self, name: &str) -> Result<Vec<String>> {
        let holders = guest::holders(&self.site, name).await?;
        let doors = holders.iter().flat_map(|holder| holder["doors"].as_array().cloned().unwrap_or_default());
        Ok(doors.filter_map(|permission| permission["door"].as_str().map(str::to_owned)).collect())
    }

    async fn delete(&self, grant: &Grant) -> Result<()> {
        let body = json!({ "access_grant_id": grant.access_grant_id });
        self.site.api.post("/access_grants/delete", body.clone()).await?;
        until("the end of the grant", TOLD, async || {
            match self.site.api.post("/access_grants/get", body.clone()).await {
                Err(_) => Ok(()),
                Ok(answer) => Err(answer.to_string()),
            }
        })
        .await?;
        Ok(())
    }
}

async fn each_grant_goes_one_way(way: Way) -> Result<()> {
    let house = house(way).await?;
    assert_eq!(house.done().await?, Done { hotel: (0, 0), ship: 0, holders: 0 });

    let guest = house.grant("Ada Example", &["Room 101", "Gym"], json!({ "reservation_key": "R-1" })).await?;
    let resident = house.grant("Bob Example", &["Garage"], json!({})).await?;
    assert_eq!(house.done().await?, Done { hotel: (0, 0), ship: 0, holders: 1 }, "a guest is no holder at SHIP");
    assert_eq!(house.doors_of("Bob Example").await?, ["GARAGE"]);

    let key = house.hotel.put_blank(DESK).await?;
    let attempt = guest::encode(&house.site, &house.directory, &guest, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    house.hotel.lift(DESK).await?;
    assert_eq!(house.done().await?, Done { hotel: (1, 0), ship: 0, holders: 1 });
    assert!(house.hotel.opens(&key, "101").await?);

    let card = guest::put_blank(&house.site, DESK).await?;
    let attempt = guest::encode(&house.site, &house.directory, &resident, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    guest::lift(&house.site, DESK).await?;
    assert_eq!(house.done().await?, Done { hotel: (1, 0), ship: 1, holders: 1 });
    assert!(guest::present(&house.site, &card, "GARAGE").await?);

    // A room that SHIP does not list is as good as any.
    let annexe = house.grant("Eve Example", &["Annexe 112"], json!({ "reservation_key": "R-2" })).await?;
    let other = house.hotel.put_blank(DESK).await?;
    let attempt = guest::encode(&house.site, &house.directory, &annexe, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    assert!(house.hotel.opens(&other, "112").await?);
    assert_eq!(house.done().await?, Done { hotel: (2, 0), ship: 1, holders: 1 });

    // One lock system, with its server and its line.
    let status = house.site.status().await?;
    let systems = status["lock_systems"].as_array().cloned().unwrap_or_default();
    assert_eq!(systems.len(), 1, "{status}");
    assert_eq!((&systems[0]["name"], &systems[0]["reachable"]), (&json!("main"), &json!(true)), "{status}");
    let lines = status["lines"].as_array().cloned().unwrap_or_default();
    assert_eq!(lines.len(), 1, "{status}");
    assert_eq!((&lines[0]["name"], &lines[0]["open"]), (&json!("main"), &json!(true)), "{status}");

    // Each ends where it began.
    house.delete(&resident).await?;
    assert_eq!(house.doors_of("Bob Example").await?, Vec::<String>::new());
    assert_eq!(house.done().await?.hotel, (2, 0), "no guest was checked out");
    let before = house.done().await?;
    house.delete(&guest).await?;
    house.hotel.until_count("checked_out", 1).await?;
    assert_eq!(house.done().await?, Done { hotel: (2, 1), ..before }, "and no holder was made or changed for it");
    assert_eq!(guest::holders(&house.site, "Ada Example").await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn each_grant_goes_one_way_with_the_line_over_tcp() -> Result<()> {
    each_grant_goes_one_way(Way::Tcp).await
}

#[tokio::test]
async fn each_grant_goes_one_way_with_the_line_over_a_port() -> Result<()> {
    each_grant_goes_one_way(Way::Pty).await
}

#[tokio::test]
async fn a_card_on_the_encoder_is_told_by_whoever_knows_it() -> Result<()> {
    let house = house(Way::Tcp).await?;
    let guest = house.grant("Ada Example", &["Room 101"], json!({ "reservation_key": "R-1" })).await?;
    house.hotel.put_blank(DESK).await?;
    guest::encode(&house.site, &house.directory, &guest, DESK).await?;
    let read = guest::scan(&house.site, &house.directory, DESK).await?;
    assert_eq!(read["status"], "success", "{read}");
    assert_eq!(read["result"]["acs_credential_on_seam"]["display_name"], "Ada Example", "{read}");
    // The staff's card says nothing over PMS; SHIP knows the chip.
    house.hotel.lift(DESK).await?;
    house.hotel.control.post("/encoders/put", json!({ "encoder": DESK, "kind": "staff" })).await?;
    let resident = house.grant("Bob Example", &["Garage"], json!({})).await?;
    let serial = guest::put_blank(&house.site, DESK).await?;
    let attempt = guest::encode(&house.site, &house.directory, &resident, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    let read = guest::scan(&house.site, &house.directory, DESK).await?;
    assert!(read.to_string().contains(&serial), "{read}");
    assert_eq!(house.done().await?, Done { hotel: (1, 0), ship: 1, holders: 1 });
    Ok(())
}

#[tokio::test]
async fn a_line_that_is_down_stops_hotel_keys_and_nothing_else() -> Result<()> {
    let house = house(Way::Pty).await?;
    let guest = house.grant("Ada Example", &["Room 101"], json!({ "reservation_key": "R-1" })).await?;
    house.hotel.put_blank(DESK).await?;
    let attempt = guest::encode(&house.site, &house.directory, &guest, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    house.hotel.lift(DESK).await?;

    house.hotel.control.post("/lines/plug", json!({ "plugged": false })).await?;
    let reason = house.site.wait_for_reason("lock_line", TOLD).await?;
    assert!(reason.to_string().contains("no keys for rooms"), "{reason}");
    let status = house.site.status().await?;
    assert_eq!(status["lock_systems"][0]["reachable"], true, "{status}");
    let resident = house.grant("Bob Example", &["Garage"], json!({})).await?;
    assert_eq!(house.doors_of("Bob Example").await?, ["GARAGE"]);
    guest::put_blank(&house.site, DESK).await?;
    until("a card over SHIP", TOLD, async || {
        let attempt = guest::encode(&house.site, &house.directory, &resident, DESK).await;
        match attempt.map_err(|error| format!("{error:#}"))? {
            attempt if attempt["status"] == "success" => Ok(()),
            attempt => Err(attempt.to_string()),
        }
    })
    .await?;
    // A check-out waits for the line and is not forgotten.
    house.site.api.post("/access_grants/delete", json!({ "access_grant_id": guest.access_grant_id })).await?;
    house.hotel.control.post("/lines/plug", json!({ "plugged": true })).await?;
    house.hotel.until_count("checked_out", 1).await?;
    house
        .site
        .wait_for_status("a line without a reason", TOLD, |status| !status.to_string().contains("lock_line"))
        .await?;
    assert_eq!(house.done().await?, Done { hotel: (1, 1), ship: 1, holders: 1 });
    Ok(())
}
