//! The front desk's story: the property software at the site asks for keys over a serial line while the cloud is cut off.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::{ToSpan, Zoned};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::summary::Summary;
use crate::harness::guest;
use crate::harness::{FiasSimulator, Site, SiteOptions, until};

const ENCODER: &str = "Front desk 1";
/// Longest wait for the lock server or the cloud to have heard of something.
const TRAVEL: Duration = Duration::from_secs(60);

/// The machines of this story. Dropping them ends them.
#[derive(Debug)]
pub struct FrontDesk {
    /// Bridge, cloud and lock server.
    pub site: Site,
    /// The property software at the other end of the line.
    pub property: FiasSimulator,
    /// Where the port lies.
    _folder: TempDir,
}

/// One guest's reservation at the property software.
struct Guest {
    room: &'static str,
    reservation: &'static str,
    name: &'static str,
}

const ADA: Guest = Guest { room: "0101", reservation: "4711", name: "Example, Ada" };
const GRACE: Guest = Guest { room: "0102", reservation: "4712", name: "Example, Grace" };

/// Tells the story; the machines are given back so that they can stay. Steps that failed are in the summary.
pub async fn tell_front_desk(summary: &mut Summary) -> Result<FrontDesk> {
    let desk =
        summary.step("Bridge, lock server and property software start; a serial line between them", start()).await?;
    summary
        .step("The line is up, and the link to the cloud is cut", async {
            desk.property.alive(1).await?;
            desk.site.link.cut();
            let cut = |status: &Value| status["cloud"]["connected"] == false;
            desk.site.wait_for_status("no session", TRAVEL, cut).await?;
            Ok(((), "FIAS link alive, no session with the cloud".to_owned()))
        })
        .await?;
    let first = summary
        .step("The desk asks for a guest's key; the card opens that room and no other", async {
            let card = desk.card("N", &ADA).await?;
            ensure!(guest::present(&desk.site, &card, "Room 101").await?, "Room 101 did not open");
            ensure!(!guest::present(&desk.site, &card, "Room 102").await?, "Room 102 opened");
            Ok((card.clone(), format!("card {card} opens Room 101")))
        })
        .await?;
    summary
        .step("A second key for the same guest leaves the first one good", async {
            let card = desk.card("D", &ADA).await?;
            for card in [&first, &card] {
                ensure!(guest::present(&desk.site, card, "Room 101").await?, "{card} does not open Room 101");
            }
            Ok(((), "both cards open Room 101".to_owned()))
        })
        .await?;
    summary
        .step("No card on the encoder: the desk is told so, and nothing was written", async {
            let answer = desk.ask("N", &GRACE).await?;
            ensure!(answer["AS"] == "RY", "the answer was {answer}");
            desk.written(2).await?;
            Ok(((), format!("{}, {}", answer["AS"].as_str().unwrap_or("?"), answer["CT"].as_str().unwrap_or("?"))))
        })
        .await?;
    summary
        .step("The cable is pulled out and put back; the next guest gets a card", async {
            desk.property.control.post("/plug", json!({ "plugged": false })).await?;
            desk.property.control.post("/plug", json!({ "plugged": true })).await?;
            let card = desk.card("N", &GRACE).await?;
            ensure!(guest::present(&desk.site, &card, "Room 102").await?, "Room 102 did not open");
            Ok(((), format!("card {card} opens Room 102")))
        })
        .await?;
    summary
        .step("A found card is read: whose is it?", async {
            desk.site.simulator.post("/encoders/put", json!({ "encoder": ENCODER, "serial": first })).await?;
            let read = desk.property.ask("KZ", &[("WS", "FO1"), ("KC", "1")]).await?;
            guest::lift(&desk.site, ENCODER).await?;
            ensure!(read["RN"] == ADA.room && read["G#"] == ADA.reservation, "the answer was {read}");
            Ok(((), format!("room {}, reservation {}", ADA.room, ADA.reservation)))
        })
        .await?;
    summary
        .step("Check-out ends the guest's keys at the lock server", async {
            let fields = [("WS", "FO1"), ("KC", "1"), ("RN", ADA.room), ("G#", ADA.reservation)];
            let answer = desk.property.ask("KD", &fields).await?;
            ensure!(answer["AS"] == "OK", "the answer was {answer}");
            until("two ended keys", TRAVEL, async || match guest::effects(&desk.site, "key_cancelled").await {
                Ok(2) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await?;
            Ok(((), "2 keys ended".to_owned()))
        })
        .await?;
    summary.step("The cloud is back and hears of all of it", told(&desk)).await?;
    summary.figures = summary.step("Nothing lost, nothing doubled", count(&desk)).await?;
    Ok(desk)
}

async fn start() -> Result<(FrontDesk, String)> {
    let folder = tempfile::tempdir().context("a folder for the port")?;
    let port = folder.path().join("front-desk");
    let port = port.to_str().context("a path")?;
    let property = FiasSimulator::start(folder.path(), &["--role", "pms", "--pty", port]).await?;
    let tables = format!(
        "[front_desk.reception]\ntransport = \"serial\"\ndevice = \"{port}\"\n\
         rooms = {{ \"0101\" = \"ROOM101\", \"0102\" = \"ROOM102\" }}\nencoders = {{ \"1\" = \"{ENCODER}\" }}\n"
    );
    let simulator = ["--card-wait", "1500"].map(str::to_owned).to_vec();
    let site = Site::running(SiteOptions { simulator, tables, ..SiteOptions::default() }).await?;
    let seen = format!("the port is {port}, health at http://{}/status", site.health_address);
    Ok((FrontDesk { site, property, _folder: folder }, seen))
}

impl FrontDesk {
    /// Asks for a key of the kind `N` (new) or `D` (one more) for two nights; the answer.
    async fn ask(&self, kind: &str, guest: &Guest) -> Result<Value> {
        let day = |from_today: i64| (Zoned::now() + from_today.days()).strftime("%y%m%d").to_string();
        let fields = [
            ("WS", "FO1"),
            ("KC", "1"),
            ("RN", guest.room),
            ("KT", kind),
            ("G#", guest.reservation),
            ("GA", &day(0)),
            ("GD", &day(2)),
            ("GN", guest.name),
        ];
        self.property.ask("KR", &fields).await
    }

    /// The same with a blank card on the encoder; its serial number.
    async fn card(&self, kind: &str, guest: &Guest) -> Result<String> {
        let card = guest::put_blank(&self.site, ENCODER).await?;
        let answer = self.ask(kind, guest).await?;
        ensure!(answer["AS"] == "OK", "the answer was {answer}");
        guest::lift(&self.site, ENCODER).await?;
        Ok(card)
    }

    async fn written(&self, cards: u64) -> Result<()> {
        let written = guest::effects(&self.site, "card_written").await?;
        ensure!(written == cards, "{cards} cards were asked for, {written} were written");
        Ok(())
    }
}

/// The outcomes of the front desk at the API: three cards, one that was not presented, one read, the ended keys.
async fn told(desk: &FrontDesk) -> Result<((), String)> {
    desk.site.link.mend();
    let counts = until("the desk's work at the API", TRAVEL, async || {
        let path = "/events/list?since=2020-01-01T00:00:00Z&limit=1000";
        let answer = desk.site.api.get(path).await.map_err(|error| error.to_string())?;
        let events: Vec<&Value> = answer["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["event_type"] == "lockbridge.front_desk")
            .collect();
        let count = |action: &str, outcome: &str| {
            events.iter().filter(|event| event["action"] == action && event["outcome"] == outcome).count()
        };
        let counts = [
            count("new_key", "succeeded"),
            count("duplicate_key", "succeeded"),
            count("new_key", "failed"),
            count("key_read", "succeeded"),
            count("key_ended", "succeeded"),
        ];
        if counts[..4] == [2, 1, 1, 1] && counts[4] > 0 { Ok(counts) } else { Err(format!("{counts:?}")) }
    })
    .await?;
    let [new, more, failed, read, ended] = counts;
    Ok(((), format!("{new} new keys, {more} more, {failed} not presented, {read} read, {ended} ended")))
}

/// Compares the lock server's count of physical effects with what the desk was told.
async fn count(desk: &FrontDesk) -> Result<(Vec<(String, String)>, String)> {
    desk.written(3).await?;
    let (code, stdout, _) = desk.site.bridge_command(&["doubt", "--json"]).await?;
    ensure!(code == 0 && serde_json::from_str::<Value>(&stdout)? == json!([]), "something is in doubt: {stdout}");
    let status = desk.site.status().await?;
    let mut figures = vec![
        ("cards asked for at the desk and confirmed".to_owned(), "3".to_owned()),
        ("card writes counted by the lock server".to_owned(), "3".to_owned()),
        ("in doubt".to_owned(), "0".to_owned()),
    ];
    let line = &status["lines"][0];
    for figure in ["frames", "retries", "checksum_errors", "reconnects"] {
        let value = line[figure].as_u64().with_context(|| format!("no {figure} of the line in {status}"))?;
        figures.push((format!("{} of the line", figure.replace('_', " ")), value.to_string()));
    }
    Ok((figures, "3 cards confirmed, 3 written".to_owned()))
}
