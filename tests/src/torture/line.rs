//! A noisy line: keys are asked for over the API while bytes on the way to the lock system are lost, turned and doubled.
//!
//! Every key that is asked for has a room and an end of its own, so that the server's durable count tells by content which
//! request wrote which card. A request that certainly had no effect is asked again, as a clerk would; one whose fate is not
//! known is left alone, as a doubt has to be. The checksum of the protocol is one byte of exclusive or and misses two flips of
//! the same bit: what was altered on the way shows as content that nobody asked for, and is told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::guest::{self, Directory, Grant};
use crate::harness::pms_server::{PmsServer, Way};
use crate::harness::{Site, SiteOptions, until};

/// Waits are short, so that what is lost is soon known to be lost.
const SETTINGS: &str = "answer_timeout_s = 5\nhold_s = 2\nreply_timeout_ms = 500\nenquiries = 10\n\
                        enquiry_pause_ms = 50\nsilence_ms = 100\nbusy_pause_ms = 100\n";
/// Tries to get one key, each after an end that certainly had no effect.
const TRIES: u32 = 30;
/// Keys of one stay: a new one and copies.
const KEYS_OF_A_STAY: u64 = 3;
/// Longest wait until it is known, or known not to be known, what came of a request.
const KNOWN: Duration = Duration::from_secs(60);
/// Rooms of each encoder's clerk.
const ROOMS: [[u16; 12]; 2] = [
    [101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112],
    [201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212],
];

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct LineOptions {
    /// Keys asked for.
    pub requests: u64,
    /// The share of bytes that meet something: a third is lost, a third turned, a third doubled.
    pub noise: f64,
    /// Over TCP, or over a port.
    pub way: Way,
    /// Draws the noise.
    pub seed: u64,
}

/// The figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LineFigures {
    /// The seed.
    pub seed: u64,
    /// Keys asked for.
    pub requests: u64,
    /// Tries that ended without an effect for certain, and were repeated by the clerk.
    pub tries_again: u64,
    /// Told as written.
    pub told_written: u64,
    /// In doubt.
    pub in_doubt: u64,
    /// Doubts that the bridge lists.
    pub doubts_listed: u64,
    /// Never written, and told so.
    pub given_up: u64,
    /// Cards written, by the server's count.
    pub cards: u64,
    /// Keys with more than one card.
    pub doubled: u64,
    /// Keys told as written of which there is no card, and none that was altered either.
    pub lost: u64,
    /// Keys told as not written of which there is a card.
    pub hidden: u64,
    /// Cards with content that nobody asked for: altered on the way, unseen by the checksum.
    pub altered: u64,
    /// Frames that the bridge sent again, and checksum errors that it met.
    pub line: Value,
    /// Duration.
    pub seconds: f64,
}

impl LineFigures {
    /// Nothing doubled, nothing lost, nothing unsure but what is in doubt.
    pub fn held(&self) -> bool {
        let told = self.told_written + self.in_doubt + self.given_up;
        self.doubled == 0
            && self.lost == 0
            && self.hidden == 0
            && told == self.requests
            && self.doubts_listed == self.in_doubt
    }

    /// For people.
    pub fn table(&self) -> String {
        format!(
            "keys asked for {}, told written {}, in doubt {} (listed {}), given up {}; tries repeated {}\n\
             cards {}: doubled {}, lost {}, hidden {}, altered beyond the checksum {}\n\
             {:.0} s, seed {}, line {}",
            self.requests,
            self.told_written,
            self.in_doubt,
            self.doubts_listed,
            self.given_up,
            self.tries_again,
            self.cards,
            self.doubled,
            self.lost,
            self.hidden,
            self.altered,
            self.seconds,
            self.seed,
            self.line
        )
    }
}

/// What a key is known by: main room, and end in the server's local time.
type Content = (String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written,
    Doubt,
    GivenUp,
}

/// What one clerk did.
#[derive(Debug, Default)]
struct Tally {
    fates: BTreeMap<Content, Fate>,
    tries_again: u64,
}

struct House {
    site: Site,
    server: PmsServer,
    directory: Directory,
    zone: TimeZone,
    base: Timestamp,
}

/// Runs it; `say` gets a line now and then.
pub async fn line(options: LineOptions, say: impl Fn(&str)) -> Result<LineFigures> {
    let begun = Instant::now();
    let house = open(options).await?;
    let third = options.noise / 3.0;
    let rates = json!({ "drop": third, "flip": third, "duplicate": third });
    let noise = json!({ "seed": options.seed, "to_machine": rates, "to_client": rates });
    house.server.control.post("/noise", noise).await?;
    let share = |clerk: u64| options.requests / 2 + (options.requests % 2) * clerk;
    let clerks = [(0_usize, share(0), 0), (1, share(1), share(0))];
    let say = &say;
    let tallies = try_join_all(clerks.map(|(clerk, requests, from)| work(&house, clerk, requests, from, say))).await?;
    house.server.control.post("/noise", json!({})).await?;
    // The work in hand comes to its end before it is counted.
    sleep(Duration::from_secs(6)).await;
    let mut figures = LineFigures { seed: options.seed, requests: options.requests, ..LineFigures::default() };
    judge(&house, &tallies, &mut figures).await?;
    figures.seconds = begun.elapsed().as_secs_f64();
    Ok(figures)
}

async fn open(options: LineOptions) -> Result<House> {
    let server = PmsServer::start(&["--card-wait", "2000", "--write-time", "5"]).await?;
    for encoder in ["1", "2"] {
        server.control.post("/encoders/set", json!({ "encoder": encoder, "auto_feed": true })).await?;
    }
    let tables = server.lock_system(options.way, SETTINGS);
    let site = Site::running(SiteOptions { tables, log_level: "info", ..SiteOptions::default() }).await?;
    let directory = until("the hotel at the API", Duration::from_secs(20), async || {
        let directory = Directory::read(&site).await.map_err(|error| format!("{error:#}"))?;
        let there = directory.entrance("Hotel 212").and_then(|_| directory.encoder("Encoder 2").map(drop));
        there.map(|()| directory).map_err(|error| format!("{error:#}"))
    })
    .await?;
    let base = Timestamp::now() + SignedDuration::from_hours(24);
    Ok(House { site, server, directory, zone: TimeZone::get("Europe/Madrid")?, base })
}

/// One clerk: stays in one room after the other, each with some keys, and the end of each.
async fn work(house: &House, clerk: usize, requests: u64, from: u64, say: &impl Fn(&str)) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut grants: Vec<Grant> = Vec::new();
    for number in 0..requests {
        let stay = number / KEYS_OF_A_STAY;
        if number % KEYS_OF_A_STAY == 0 {
            leave(house, &mut grants).await?;
        }
        let rooms = ROOMS.get(clerk).context("a clerk")?;
        let room = rooms.iter().cycle().nth(usize::try_from(stay % 12)?).context("a room")?;
        let (grant, content) = ask(house, *room, stay, from + number).await?;
        let fate = key(house, &grant, clerk, &mut tally.tries_again).await?;
        tally.fates.insert(content, fate);
        grants.push(grant);
        if (number + 1) % 500 == 0 {
            say(&format!("clerk {clerk}: {} of {requests} keys", number + 1));
        }
    }
    leave(house, &mut grants).await?;
    Ok(tally)
}

/// A grant whose end no other one has.
async fn ask(house: &House, room: u16, stay: u64, number: u64) -> Result<(Grant, Content)> {
    let end = house.base + SignedDuration::from_mins(i64::try_from(number)?);
    let name = format!("Guest {number}");
    let person = json!({
        "user_identity": { "full_name": name },
        "reservation_key": format!("{room}-{stay}"),
        "ends_at": end.to_string(),
    });
    let grant = guest::grant_to(&house.site, &house.directory, &name, person, &[&format!("Hotel {room}")]).await?;
    guest::ready_for_encoding(&house.site, &grant).await?;
    let local = end.to_zoned(house.zone.clone()).datetime();
    let minute: DateTime = local.with().second(0).subsec_nanosecond(0).build()?;
    Ok((grant, (room.to_string(), minute.to_string())))
}

/// Asks for the key until it is written, or nobody knows.
async fn key(house: &House, grant: &Grant, clerk: usize, tries_again: &mut u64) -> Result<Fate> {
    for _ in 0..TRIES {
        let encoder = format!("Encoder {}", clerk + 1);
        let id = guest::begin_encode(&house.site, &house.directory, grant, &encoder).await?;
        let fate = until("the fate of a key", KNOWN, async || {
            let attempt = guest::attempt(&house.site, &id).await.map_err(|error| format!("{error:#}"))?;
            match attempt["status"].as_str() {
                Some("success") => Ok(Some(Fate::Written)),
                Some("error") if is_doubtful(house, grant).await? => Ok(Some(Fate::Doubt)),
                Some("error") => Ok(None),
                _ if is_doubtful(house, grant).await? => Ok(Some(Fate::Doubt)),
                _ => Err(attempt.to_string()),
            }
        })
        .await?;
        match fate {
            Some(fate) => return Ok(fate),
            None => *tries_again += 1,
        }
        // The line may be held, or the server not found: its next probe comes soon.
        sleep(Duration::from_millis(200)).await;
    }
    Ok(Fate::GivenUp)
}

/// The credential carries the warning of a doubt.
async fn is_doubtful(house: &House, grant: &Grant) -> Result<bool, String> {
    let fault = |error: anyhow::Error| format!("{error:#}");
    let method = guest::method(&house.site, grant, "the method", |_| true).await.map_err(fault)?;
    let body = json!({ "acs_credential_id": method["acs_credential_id"] });
    let answer = house.site.api.post("/acs/credentials/get", body).await.map_err(|error| error.to_string())?;
    let warnings = answer["acs_credential"]["warnings"].as_array().cloned().unwrap_or_default();
    Ok(warnings.iter().any(|warning| warning["warning_code"] == "unknown_issue_with_acs_credential"))
}

/// The party leaves: revokes have to arrive over the same line.
async fn leave(house: &House, grants: &mut Vec<Grant>) -> Result<()> {
    for grant in grants.drain(..) {
        let body = json!({ "access_grant_id": grant.access_grant_id });
        house.site.api.post("/access_grants/delete", body).await?;
    }
    Ok(())
}

async fn judge(house: &House, tallies: &[Tally], figures: &mut LineFigures) -> Result<()> {
    let mut cards: BTreeMap<Content, u64> = BTreeMap::new();
    for effect in house.server.effects().await? {
        if effect["kind"] != "card_written" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let content = (text(&effect["key"]["rooms"][0][0]), text(&effect["key"]["end"]));
        *cards.entry(content).or_default() += 1;
        figures.cards += 1;
    }
    let asked: BTreeSet<&Content> = tallies.iter().flat_map(|tally| tally.fates.keys()).collect();
    figures.altered = cards.iter().filter(|(content, _)| !asked.contains(content)).map(|(_, count)| count).sum();
    let mut missing = 0;
    for (content, fate) in tallies.iter().flat_map(|tally| &tally.fates) {
        let count = cards.get(content).copied().unwrap_or(0);
        match fate {
            Fate::Written => {
                figures.told_written += 1;
                missing += u64::from(count == 0);
            }
            Fate::Doubt => figures.in_doubt += 1,
            Fate::GivenUp => {
                figures.given_up += 1;
                figures.hidden += u64::from(count > 0);
            }
        }
        figures.doubled += u64::from(count > 1);
    }
    figures.lost = missing.saturating_sub(figures.altered);
    figures.tries_again = tallies.iter().map(|tally| tally.tries_again).sum();
    let (code, stdout, stderr) = house.site.bridge_command(&["doubt", "--json"]).await?;
    ensure!(code == 0, "the list of doubts: {stderr}");
    let listed: Value = serde_json::from_str(&stdout)?;
    let listed = listed.as_array().context("a list of doubts")?;
    let keys = listed.iter().filter(|doubt| doubt["command"]["kind"] == "encode_credential");
    figures.doubts_listed = u64::try_from(keys.count())?;
    let status = house.site.status().await?;
    figures.line = status["lines"].clone();
    Ok(())
}
