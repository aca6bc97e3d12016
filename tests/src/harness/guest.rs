//! What property software and a front desk do with one guest, over the API and at the doors.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Site, until};

/// Longest wait for a change to travel from the API to the lock server and back.
const TRAVEL: Duration = Duration::from_secs(20);

/// What the cloud knows of the site: names to ids.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Entrances: id, external id, name.
    entrances: Vec<(String, String, String)>,
    /// Encoders: id, name.
    encoders: Vec<(String, String)>,
}

/// One grant with its card method.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Id of the grant.
    pub access_grant_id: String,
    /// Id of its card method.
    pub access_method_id: String,
    /// Full name of the holder, by which the lock server's users can be told apart.
    pub name: String,
}

impl Directory {
    /// Reads entrances and encoders over the API.
    pub async fn read(site: &Site) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = async |path: &str, key: &str| -> Result<Vec<Value>> {
            let answer = site.api.post(path, json!({})).await?;
            Ok(answer[key].as_array().with_context(|| format!("no {key} in {answer}"))?.clone())
        };
        let entrances = list("/acs/entrances/list", "acs_entrances").await?;
        let encoders = list("/acs/encoders/list", "acs_encoders").await?;
        Ok(Self {
            entrances: entrances
                .iter()
                .map(|door| {
                    let external = text(&door["salto_space_metadata"]["door_id"]);
                    (text(&door["acs_entrance_id"]), external, text(&door["display_name"]))
                })
                .collect(),
            encoders: encoders
                .iter()
                .map(|encoder| (text(&encoder["acs_encoder_id"]), text(&encoder["display_name"])))
                .collect(),
        })
    }

    /// Id of the entrance with that name.
    pub fn entrance(&self, name: &str) -> Result<&str> {
        let found = self.entrances.iter().find(|(_, _, display)| display == name);
        Ok(&found.with_context(|| format!("no entrance is named {name:?}: {:?}", self.entrances))?.0)
    }

    /// Id of the encoder with that name.
    pub fn encoder(&self, name: &str) -> Result<&str> {
        let found = self.encoders.iter().find(|(_, display)| display == name);
        Ok(&found.with_context(|| format!("no encoder is named {name:?}: {:?}", self.encoders))?.0)
    }

    /// Entrances and encoders.
    pub fn counts(&self) -> (usize, usize) {
        (self.entrances.len(), self.encoders.len())
    }
}

/// Creates a grant for a new person over the named doors, for a week from now.
pub async fn grant(site: &Site, directory: &Directory, name: &str, doors: &[&str]) -> Result<Grant> {
    let person = json!({ "user_identity": { "full_name": name } });
    grant_to(site, directory, name, person, doors).await
}

/// The same for any person: `person` has `user_identity` or `user_identity_id`, and whatever else replaces the usual.
pub async fn grant_to(site: &Site, directory: &Directory, name: &str, person: Value, doors: &[&str]) -> Result<Grant> {
    let doors: Vec<&str> = doors.iter().map(|door| directory.entrance(door)).collect::<Result<_>>()?;
    let now = jiff::Timestamp::now();
    let mut body = json!({
        "acs_entrance_ids": doors,
        "requested_access_methods": [{ "mode": "card" }],
        "starts_at": now.to_string(),
        "ends_at": (now + jiff::SignedDuration::from_hours(7 * 24)).to_string(),
    });
    for (field, value) in person.as_object().into_iter().flatten() {
        body[field] = value.clone();
    }
    let answer = site.api.post("/access_grants/create", body).await?;
    let grant = &answer["access_grant"];
    let id = grant["access_grant_id"].as_str().with_context(|| format!("no grant id in {answer}"))?;
    let method = grant["access_method_ids"][0].as_str().with_context(|| format!("no method id in {answer}"))?;
    Ok(Grant { access_grant_id: id.to_owned(), access_method_id: method.to_owned(), name: name.to_owned() })
}

/// A grant whose card may be encoded: the lock server holds holder and rights.
pub async fn ready_grant(site: &Site, directory: &Directory, name: &str, doors: &[&str]) -> Result<Grant> {
    let grant = grant(site, directory, name, doors).await?;
    ready_for_encoding(site, &grant).await?;
    Ok(grant)
}

/// Waits until the grant's card may be encoded: the lock server holds holder and rights.
pub async fn ready_for_encoding(site: &Site, grant: &Grant) -> Result<()> {
    method(site, grant, "is_ready_for_encoding", |method| method["is_ready_for_encoding"] == true).await.map(drop)
}

/// Waits until the grant's access method satisfies `holds`.
pub async fn method(site: &Site, grant: &Grant, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let body = json!({ "access_method_id": grant.access_method_id });
    let found = until(what, TRAVEL, async || match site.api.post("/access_methods/get", body.clone()).await {
        Ok(answer) if holds(&answer["access_method"]) => Ok(answer["access_method"].clone()),
        Ok(answer) => Err(answer.to_string()),
        Err(error) => Err(error.to_string()),
    });
    Ok(found.await?)
}

/// Asks the API to encode and waits for the end of the action attempt.
pub async fn encode(site: &Site, directory: &Directory, grant: &Grant, encoder: &str) -> Result<Value> {
    let id = begin_encode(site, directory, grant, encoder).await?;
    attempt_ended(site, &id).await
}

/// Asks the API to encode; the id of the action attempt.
pub async fn begin_encode(site: &Site, directory: &Directory, grant: &Grant, encoder: &str) -> Result<String> {
    let encoder = directory.encoder(encoder)?;
    let body = json!({ "access_method_id": grant.access_method_id, "acs_encoder_id": encoder });
    let answer = site.api.post("/access_methods/encode", body).await?;
    let id = answer["action_attempt"]["action_attempt_id"].as_str();
    Ok(id.with_context(|| format!("no action attempt in {answer}"))?.to_owned())
}

/// Reads the card on an encoder through the API; the ended action attempt.
pub async fn scan(site: &Site, directory: &Directory, encoder: &str) -> Result<Value> {
    let body = json!({ "acs_encoder_id": directory.encoder(encoder)? });
    let answer = site.api.post("/acs/encoders/scan_credential", body).await?;
    let id = answer["action_attempt"]["action_attempt_id"].as_str();
    attempt_ended(site, id.with_context(|| format!("no action attempt in {answer}"))?).await
}

/// The action attempt as it stands.
pub async fn attempt(site: &Site, id: &str) -> Result<Value> {
    let answer = site.api.post("/action_attempts/get", json!({ "action_attempt_id": id })).await?;
    Ok(answer["action_attempt"].clone())
}

/// Waits for the end of an action attempt.
pub async fn attempt_ended(site: &Site, id: &str) -> Result<Value> {
    let ended = until("the end of the action attempt", TRAVEL, async || {
        let attempt = attempt(site, id).await.map_err(|error| format!("{error:#}"))?;
        if attempt["status"] == "pending" { Err(attempt.to_string()) } else { Ok(attempt) }
    });
    Ok(ended.await?)
}

/// Lays a fresh blank on an encoder of the simulator; its chip serial.
pub async fn put_blank(site: &Site, encoder: &str) -> Result<String> {
    let answer = site.simulator.post("/encoders/put", json!({ "encoder": encoder })).await?;
    let serial = answer["serial"].as_str().with_context(|| format!("no serial in {answer}"))?;
    Ok(serial.to_owned())
}

/// Takes the card off the encoder.
pub async fn lift(site: &Site, encoder: &str) -> Result<()> {
    site.simulator.post("/encoders/lift", json!({ "encoder": encoder })).await?;
    Ok(())
}

/// Shows a card at a door of the simulator; whether it opens.
pub async fn present(site: &Site, serial: &str, door: &str) -> Result<bool> {
    let answer = site.simulator.post("/doors/present", json!({ "serial": serial, "door": door })).await?;
    match answer["opened"].as_bool() {
        Some(opened) => Ok(opened),
        None => bail!("no answer whether the door opened: {answer}"),
    }
}

/// How often the simulator did something physical, by its durable count: `card_written`, `card_updated`, ...
pub async fn effects(site: &Site, kind: &str) -> Result<u64> {
    let effects = site.simulator.get("/effects").await?;
    Ok(effects["by_kind"][kind].as_u64().unwrap_or(0))
}

/// The holders of that name at the lock server, as the simulator keeps them.
pub async fn holders(site: &Site, name: &str) -> Result<Vec<Value>> {
    let answer = site.simulator.get("/users").await?;
    let users = answer["users"].as_array().with_context(|| format!("no users in {answer}"))?;
    Ok(users.iter().filter(|user| full_name(user) == name).cloned().collect())
}

/// Waits until the lock server has the holder of a grant, once.
pub async fn arrived(site: &Site, grant: &Grant) -> Result<()> {
    until("the holder at the lock server, once", TRAVEL, async || {
        let count = holders(site, &grant.name).await.map_err(|error| format!("{error:#}"))?.len();
        if count == 1 { Ok(()) } else { Err(format!("{} is there {count} times", grant.name)) }
    })
    .await?;
    Ok(())
}

/// First and last name of a user of the simulator.
pub fn full_name(user: &Value) -> String {
    let part = |name: &str| user["fields"][name].as_str().unwrap_or_default();
    format!("{} {}", part("FirstName"), part("LastName"))
}
