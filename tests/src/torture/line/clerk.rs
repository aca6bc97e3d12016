//! Who asks for keys at one encoder: stays in one room after the other, each with some keys, and the end of each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::house::{Content, House};
use super::judge;
use crate::harness::guest::{self, Grant};

/// Keys of one stay: a new one and copies.
const KEYS_OF_A_STAY: u64 = 3;
/// Longest that a clerk tries to get one key. A room whose last guests have not been checked out yet is waited for.
const PATIENCE: Duration = Duration::from_secs(180);
/// Longest wait until it is known, or known not to be known, what came of a request.
const KNOWN: Duration = Duration::from_secs(90);
/// Between two looks at an attempt, and how many of them there are for one look for a doubt. Many clerks that look often would
/// keep the cloud busier than the line.
const LOOK: Duration = Duration::from_millis(150);
const LOOKS: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// What a clerk was told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Written,
    Doubt,
    GivenUp,
}

/// What one clerk met.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) fates: BTreeMap<Content, Fate>,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) doubts_listed: u64,
    pub(super) doubts_written: u64,
}

pub(super) async fn work(
    house: &House,
    clerk: usize,
    numbers: Range<u64>,
    job: u64,
    say: &impl Fn(&str),
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut grants: Vec<Grant> = Vec::new();
    for (index, number) in (0_u64..).zip(numbers.clone()) {
        let party = index / KEYS_OF_A_STAY;
        if index % KEYS_OF_A_STAY == 0 {
            leave(house, &mut grants).await?;
        }
        let (grant, content) = ask(house, &House::room(clerk, party)?, party, number).await?;
        let fate = key(house, &grant, clerk, &mut tally.reasons).await?;
        if fate == Fate::Doubt {
            look_at_the_card(house, clerk, &content, &mut tally).await?;
        }
        tally.fates.insert(content, fate);
        grants.push(grant);
        if (index + 1) % 100 == 0 {
            say(&format!("site {job}, clerk {clerk}: {} of {} keys", index + 1, numbers.end - numbers.start));
        }
    }
    leave(house, &mut grants).await?;
    Ok(tally)
}

/// A grant whose end no other one has.
async fn ask(house: &House, room: &str, party: u64, number: u64) -> Result<(Grant, Content)> {
    let end = house.base + SignedDuration::from_mins(i64::try_from(number)?);
    let name = format!("Guest {number}");
    let person = json!({
        "user_identity": { "full_name": name },
        "reservation_key": format!("{room}-{party}"),
        "ends_at": end.to_string(),
    });
    let grant = guest::grant_to(&house.site, &house.directory, &name, person, &[&format!("Hotel {room}")]).await?;
    ready(house, &grant).await?;
    Ok((grant, house.content(room, end)))
}

/// Waits until the bridge knows the grant.
async fn ready(house: &House, grant: &Grant) -> Result<()> {
    let begun = Instant::now();
    while guest::method(&house.site, grant, "the method", |_| true).await?["is_ready_for_encoding"] != true {
        ensure!(begun.elapsed() < KNOWN, "a grant is not ready for encoding after {} s", KNOWN.as_secs());
        sleep(LOOK).await;
    }
    Ok(())
}

/// Asks for the key until it is written, or nobody knows.
async fn key(house: &House, grant: &Grant, clerk: usize, reasons: &mut BTreeMap<String, u64>) -> Result<Fate> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let encoder = format!("Encoder {}", clerk + 1);
        let id = guest::begin_encode(&house.site, &house.directory, grant, &encoder).await?;
        match fate(house, grant, &id).await? {
            Ok(fate) => return Ok(fate),
            Err(reason) => *reasons.entry(reason).or_default() += 1,
        }
        // The line may be held, or the server not found: its next probe comes soon.
        sleep(PAUSE).await;
    }
    Ok(Fate::GivenUp)
}

/// The end of one try; the inner error is what was said about one that certainly had no effect.
async fn fate(house: &House, grant: &Grant, id: &str) -> Result<Result<Fate, String>> {
    let begun = Instant::now();
    let mut looks = 0_u32;
    loop {
        let attempt = guest::attempt(&house.site, id).await?;
        match attempt["status"].as_str() {
            Some("success") => return Ok(Ok(Fate::Written)),
            Some("error") if is_doubtful(house, grant).await? => return Ok(Ok(Fate::Doubt)),
            Some("error") => return Ok(Err(reason(&attempt["error"]))),
            _ if looks % LOOKS == LOOKS - 1 && is_doubtful(house, grant).await? => return Ok(Ok(Fate::Doubt)),
            _ => {}
        }
        ensure!(begun.elapsed() < KNOWN, "nothing is known of a key after {} s: {attempt}", KNOWN.as_secs());
        looks += 1;
        sleep(LOOK).await;
    }
}

/// What was said, without what differs from one request to the next.
fn reason(error: &Value) -> String {
    let text = error["message"].as_str().unwrap_or_default();
    let mut reason = error["type"].as_str().unwrap_or_default().to_owned();
    reason.push_str(": ");
    let mut digits = false;
    for character in text.chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit {
            reason.push(character);
        } else if !digits {
            reason.push('#');
        }
        digits = is_digit;
    }
    reason
}

/// The credential carries the warning of a doubt.
async fn is_doubtful(house: &House, grant: &Grant) -> Result<bool> {
    let method = guest::method(&house.site, grant, "the method", |_| true).await?;
    let body = json!({ "acs_credential_id": method["acs_credential_id"] });
    let answer = house.site.api.post("/acs/credentials/get", body).await?;
    let warnings = answer["acs_credential"]["warnings"].as_array().cloned().unwrap_or_default();
    Ok(warnings.iter().any(|warning| warning["warning_code"] == "unknown_issue_with_acs_credential"))
}

/// A doubt is settled as its advice says: the clerk looks at the card, and says whether it was written.
async fn look_at_the_card(house: &House, clerk: usize, content: &Content, tally: &mut Tally) -> Result<()> {
    let (code, stdout, stderr) = house.site.bridge_command(&["doubt", "--json"]).await?;
    ensure!(code == 0, "the list of doubts: {stderr}");
    let listed: Vec<Value> = serde_json::from_str(&stdout).context("a list of doubts")?;
    let device = (clerk + 1).to_string();
    let mut mine = listed.iter().filter(|doubt| doubt["device"] == device.as_str());
    let Some(doubt) = mine.next() else { return Ok(()) };
    ensure!(mine.next().is_none(), "one doubt at an encoder: {listed:?}");
    tally.doubts_listed += 1;
    let was_written = judge::cards(house, 200).await?.iter().any(|card| card.content == *content);
    tally.doubts_written += u64::from(was_written);
    let id = doubt["command"]["command_id"].as_str().context("an id")?;
    let verdict = if was_written { "done" } else { "not-done" };
    let (code, _, stderr) = house.site.bridge_command(&["doubt", "resolve", id, verdict]).await?;
    ensure!(code == 0, "settling a doubt: {stderr}");
    Ok(())
}

/// The party leaves: revokes have to arrive over the same line.
async fn leave(house: &House, grants: &mut Vec<Grant>) -> Result<()> {
    for grant in grants.drain(..) {
        let body = json!({ "access_grant_id": grant.access_grant_id });
        house.site.api.post("/access_grants/delete", body).await?;
    }
    Ok(())
}
