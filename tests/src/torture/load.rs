//! Carries out the acts of a cycle through the cloud's API and the desk, and notes what the askers were told.

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::Instant;

use super::desk::AtDesk;
use super::history::{Encode, End, History, Holder};
use super::plan::{Act, Cycle, ENCODERS, ROOMS};
use super::witness;
use crate::harness::{Site, guest};

/// Acts until the moment of death; gives the encodes at the desk that still run.
pub(super) async fn run(
    site: &Site,
    directory: &guest::Directory,
    cycle: &Cycle,
    history: &mut History,
) -> Result<Vec<AtDesk>> {
    let death = Instant::now() + cycle.death;
    let mut at_desk = Vec::new();
    for (pause, act) in &cycle.acts {
        // The pace is the plan's; an act that has begun is finished, so that everything the API accepted is known.
        if Instant::now() + *pause >= death {
            break;
        }
        tokio::time::sleep(*pause).await;
        match act {
            Act::Create { room } => create(site, directory, *room, history).await?,
            Act::Delete { pick } => delete(site, *pick, history).await?,
            Act::Encode { pick, encoder } => encode(site, directory, *pick, ENCODERS[*encoder], history).await,
            Act::EncodeOnSite { pick, encoder } => {
                if let Some(index) = chosen(history, *pick) {
                    let grant = history.holders[index].access_grant_id.clone();
                    at_desk.push(AtDesk::start(site, index, &grant, ENCODERS[*encoder])?);
                    note(history, index, None);
                }
            }
            Act::Cut => site.link.cut(),
            Act::Mend => site.link.mend(),
        }
    }
    tokio::time::sleep_until(death).await;
    Ok(at_desk)
}

/// A grant for somebody new.
pub(super) async fn create(
    site: &Site,
    directory: &guest::Directory,
    room: usize,
    history: &mut History,
) -> Result<()> {
    let name = format!("Tried {:05} Example", history.holders.len());
    let grant = guest::grant(site, directory, &name, &["Main entrance", ROOMS[room]]).await?;
    let made = site.api.post("/access_grants/get", json!({ "access_grant_id": grant.access_grant_id })).await?;
    let identity = json!({ "user_identity_id": made["access_grant"]["user_identity_id"] });
    let person = site.api.post("/user_identities/get", identity).await?;
    let acs_user_id = person["user_identity"]["acs_user_ids"][0].as_str().with_context(|| format!("{person}"))?;
    history.commands += 1;
    history.holders.push(Holder {
        external_id: witness::external_id(acs_user_id)?,
        acs_user_id: acs_user_id.to_owned(),
        name,
        access_grant_id: grant.access_grant_id,
        access_method_id: grant.access_method_id,
        doors: vec!["MAIN".to_owned(), ROOMS[room].replace(' ', "").to_uppercase()],
        deleted: false,
        encodes: Vec::new(),
    });
    Ok(())
}

async fn delete(site: &Site, pick: usize, history: &mut History) -> Result<()> {
    let standing: Vec<usize> = indexes(history, |holder| !holder.deleted);
    let Some(index) = standing.get(pick.checked_rem(standing.len()).unwrap_or_default()).copied() else {
        return Ok(());
    };
    let grant = history.holders[index].access_grant_id.clone();
    site.api.post("/access_grants/delete", json!({ "access_grant_id": grant })).await?;
    history.commands += 1;
    history.holders[index].deleted = true;
    Ok(())
}

async fn encode(site: &Site, directory: &guest::Directory, pick: usize, encoder: &str, history: &mut History) {
    let Some(index) = chosen(history, pick) else { return };
    let holder = &history.holders[index];
    let grant = guest::Grant {
        access_grant_id: holder.access_grant_id.clone(),
        access_method_id: holder.access_method_id.clone(),
        name: holder.name.clone(),
    };
    // A refusal (not ready for encoding yet) signs no command, and so leaves nothing to account for.
    if let Ok(id) = guest::begin_encode(site, directory, &grant, encoder).await {
        note(history, index, Some(id));
    }
}

fn note(history: &mut History, index: usize, attempt_id: Option<String>) {
    history.commands += 1;
    history.holders[index].encodes.push(Encode { attempt_id, end: End::Pending, writes_before: 0 });
}

/// Among the youngest who may have a card written: those are the ones whose rights are still on their way.
fn chosen(history: &History, pick: usize) -> Option<usize> {
    let able = indexes(history, Holder::may_encode);
    let young = able.len().min(6);
    let from_end = pick.checked_rem(young)?;
    able.get(able.len() - 1 - from_end).copied()
}

fn indexes(history: &History, fits: impl Fn(&Holder) -> bool) -> Vec<usize> {
    history.holders.iter().enumerate().filter(|(_, holder)| fits(holder)).map(|(index, _)| index).collect()
}
