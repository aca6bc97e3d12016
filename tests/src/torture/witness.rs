//! The simulator as a witness: who is there with which rights, and how many cards were written for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use data_encoding::BASE32_NOPAD;
use hyper::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::history::Holder;
use crate::harness::{ApiError, Site, until};

/// Longest wait for the encoders to come to rest; a write takes a fraction of a second.
const REST: Duration = Duration::from_secs(30);
/// Longest wait for a command to travel and to be carried out, a lost session and its next attempt included.
const TRAVEL: Duration = Duration::from_secs(60);

/// The id by which a holder is known at the lock server: the documented form, spelled out a second time.
pub(super) fn external_id(acs_user_id: &str) -> Result<String> {
    let id = Uuid::parse_str(acs_user_id).with_context(|| format!("{acs_user_id} as a UUID"))?;
    Ok(format!("LB-{}", BASE32_NOPAD.encode(id.as_bytes())))
}

/// Cards written per holder, by the durable effect log.
pub(super) async fn writes(site: &Site) -> Result<BTreeMap<String, u64>> {
    let effects = site.simulator.get("/effects?limit=0").await?;
    let by_user = effects["by_user"].as_object().with_context(|| format!("no counts in {effects}"))?;
    let count = |kinds: &Value, kind: &str| kinds[kind].as_u64().unwrap_or(0);
    Ok(by_user
        .iter()
        .map(|(user, kinds)| (user.clone(), count(kinds, "card_written") + count(kinds, "card_updated")))
        .collect())
}

/// A holder at the lock server.
#[derive(Debug, Clone, Default)]
pub(super) struct Present {
    pub(super) external_id: String,
    pub(super) name: String,
    /// External ids of all doors, those of the levels included.
    pub(super) doors: BTreeSet<String>,
}

/// Everybody at the lock server.
pub(super) async fn present(site: &Site) -> Result<Vec<Present>> {
    let answer = site.simulator.get("/users").await?;
    let users = answer["users"].as_array().with_context(|| format!("no users in {answer}"))?;
    Ok(users.iter().map(read).collect())
}

fn read(user: &Value) -> Present {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |key: &str| user[key].as_array().cloned().unwrap_or_default();
    let mut doors: BTreeSet<String> = list("doors").iter().map(|permission| text(&permission["door"])).collect();
    for membership in list("groups") {
        match membership["group"].as_str() {
            Some("RESIDENTS") => drop(doors.insert("MAIN".to_owned())),
            // A level that was granted to nobody: it shows as a door that was not granted.
            other => drop(doors.insert(format!("level {}", other.unwrap_or_default()))),
        }
    }
    let part = |name: &str| text(&user["fields"][name]);
    Present { external_id: text(&user["id"]), name: format!("{} {}", part("FirstName"), part("LastName")), doors }
}

/// Whether a holder has any rights at the lock server.
pub(super) async fn has_rights(site: &Site, external_id: &str) -> Result<bool> {
    match site.simulator.get(&format!("/users/{external_id}")).await {
        Ok(user) => Ok(!read(&user).doors.is_empty()),
        Err(ApiError::Status { status, .. }) if status == StatusCode::NOT_FOUND => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until a holder has rights at the lock server, or none. What the API took in is on its way for a while, in
/// which the bridge has nothing to do yet.
pub(super) async fn rights(site: &Site, holder: &Holder, wanted: bool) -> Result<()> {
    let what = if wanted { "a grant carried out" } else { "a revoke carried out" };
    until(what, TRAVEL, async || match has_rights(site, &holder.external_id).await {
        Ok(has) if has == wanted => Ok(()),
        Ok(_) => Err(format!("not yet for {}", holder.name)),
        Err(error) => Err(format!("{error:#}")),
    })
    .await?;
    Ok(())
}

/// Waits until no encoder works: what is counted then does not change by itself.
pub(super) async fn at_rest(site: &Site) -> Result<()> {
    until("the encoders at rest", REST, async || {
        let state = site.simulator.get("/state").await.map_err(|error| error.to_string())?;
        let busy = state["encoders"].as_array().is_none_or(|list| list.iter().any(|one| one["busy"] != false));
        if busy { Err(state["encoders"].to_string()) } else { Ok(()) }
    })
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_count_as_their_doors() {
        let user = json!({
            "id": "LB-1", "fields": { "FirstName": "Tried 1", "LastName": "Example" },
            "doors": [{ "door": "ROOM101" }], "groups": [{ "group": "RESIDENTS" }],
        });
        let read = read(&user);
        assert_eq!(read.name, "Tried 1 Example");
        assert_eq!(read.doors.into_iter().collect::<Vec<_>>(), ["MAIN", "ROOM101"]);
    }

    #[test]
    fn ids_are_those_of_the_lock_server() {
        let id = external_id("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        assert_eq!(id, "LB-AGEQUXNMSZ3UXPGOWMBATGUAK4");
    }
}
