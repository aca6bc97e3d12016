//! What property software and a front desk do with one guest, over the API and at the doors.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::harness::{Site, until};

/// Longest wait for a change to travel from the API to the lock server and back.
const TRAVEL: Duration = Duration::from_secs(20);

/// What the cloud knows of the site.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    /// Entrances: id, external id, name.
    entrances: Vec<(String, String, String)>,
    /// Encoders: id, name.
    encoders: Vec<(String, String)>,
}

/// One grant with its card method.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) access_grant_id: String,
    pub(super) access_method_id: String,
    /// External id (Space's) of the holder is found by the simulator through this name.
    pub(super) name: String,
}

impl Directory {
    pub(super) async fn read(site: &Site) -> Result<Self> {
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

    pub(super) fn entrance(&self, name: &str) -> Result<&str> {
        let found = self.entrances.iter().find(|(_, _, display)| display == name);
        Ok(&found.with_context(|| format!("no entrance is named {name:?}: {:?}", self.entrances))?.0)
    }

    pub(super) fn encoder(&self, name: &str) -> Result<&str> {
        let found = self.encoders.iter().find(|(_, display)| display == name);
        Ok(&found.with_context(|| format!("no encoder is named {name:?}: {:?}", self.encoders))?.0)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.entrances.len(), self.encoders.len())
    }
}

/// Creates a grant for a new person over the named doors, for a week from now.
pub(super) async fn grant(site: &Site, directory: &Directory, name: &str, doors: &[&str]) -> Result<Grant> {
    let doors: Vec<&str> = doors.iter().map(|door| directory.entrance(door)).collect::<Result<_>>()?;
    let now = jiff::Timestamp::now();
    let answer = site
        .api
        .post(
            "/access_grants/create",
            json!({
                "user_identity": { "full_name": name },
                "acs_entrance_ids": doors,
                "requested_access_methods": [{ "mode": "card" }],
                "starts_at": now.to_string(),
                "ends_at": (now + jiff::SignedDuration::from_hours(7 * 24)).to_string(),
            }),
        )
        .await?;
    let grant = &answer["access_grant"];
    let id = grant["access_grant_id"].as_str().with_context(|| format!("no grant id in {answer}"))?;
    let method = grant["access_method_ids"][0].as_str().with_context(|| format!("no method id in {answer}"))?;
    Ok(Grant { access_grant_id: id.to_owned(), access_method_id: method.to_owned(), name: name.to_owned() })
}

/// Waits until the grant's card may be encoded: the lock server holds holder and rights.
pub(super) async fn ready_for_encoding(site: &Site, grant: &Grant) -> Result<()> {
    method(site, grant, "is_ready_for_encoding", |method| method["is_ready_for_encoding"] == true).await.map(drop)
}

/// Waits until the grant's access method satisfies `holds`.
pub(super) async fn method(site: &Site, grant: &Grant, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let body = json!({ "access_method_id": grant.access_method_id });
    let found = until(what, TRAVEL, async || match site.api.post("/access_methods/get", body.clone()).await {
        Ok(answer) if holds(&answer["access_method"]) => Ok(answer["access_method"].clone()),
        Ok(answer) => Err(answer.to_string()),
        Err(error) => Err(error.to_string()),
    });
    Ok(found.await?)
}

/// Asks the API to encode and waits for the end of the action attempt.
pub(super) async fn encode(site: &Site, directory: &Directory, grant: &Grant, encoder: &str) -> Result<Value> {
    let encoder = directory.encoder(encoder)?;
    let body = json!({ "access_method_id": grant.access_method_id, "acs_encoder_id": encoder });
    let answer = site.api.post("/access_methods/encode", body).await?;
    let id = answer["action_attempt"]["action_attempt_id"].clone();
    let ended = until("the end of the encode attempt", TRAVEL, async || {
        let body = json!({ "action_attempt_id": id });
        let answer = site.api.post("/action_attempts/get", body).await.map_err(|error| error.to_string())?;
        let attempt = &answer["action_attempt"];
        if attempt["status"] == "pending" { Err(attempt.to_string()) } else { Ok(attempt.clone()) }
    });
    Ok(ended.await?)
}

/// Lays a fresh blank on an encoder of the simulator; its chip serial.
pub(super) async fn put_blank(site: &Site, encoder: &str) -> Result<String> {
    let answer = site.simulator.post("/encoders/put", json!({ "encoder": encoder })).await?;
    let serial = answer["serial"].as_str().with_context(|| format!("no serial in {answer}"))?;
    Ok(serial.to_owned())
}

/// Takes the card off the encoder.
pub(super) async fn lift(site: &Site, encoder: &str) -> Result<()> {
    site.simulator.post("/encoders/lift", json!({ "encoder": encoder })).await?;
    Ok(())
}

/// Shows a card at a door of the simulator; whether it opens.
pub(super) async fn present(site: &Site, serial: &str, door: &str) -> Result<bool> {
    let answer = site.simulator.post("/doors/present", json!({ "serial": serial, "door": door })).await?;
    match answer["opened"].as_bool() {
        Some(opened) => Ok(opened),
        None => bail!("no answer whether the door opened: {answer}"),
    }
}
