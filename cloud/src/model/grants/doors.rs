//! The doors of a grant: which it should have now, which it has, which were refused.

use std::collections::BTreeSet;

use serde_json::json;

use super::Grant;
use crate::model::methods::{self, Method};
use crate::model::{ModelError, Scope, Work, events, sql};

/// A door as far as grants care.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a row: each is a column and they are independent")]
pub(crate) struct Door {
    pub(crate) acs_entrance_id: String,
    pub(crate) acs_system_id: String,
    pub(crate) external_id: String,
    with_card: bool,
    with_mobile_key: bool,
    remotely: bool,
    pub(crate) for_reservations: bool,
}

impl Door {
    /// Whether it opens to that way in. No lock system here takes codes by API.
    pub(crate) fn supports(&self, mode: &str) -> bool {
        match mode {
            "card" => self.with_card,
            "mobile_key" => self.with_mobile_key,
            "cloud_key" => self.remotely,
            _ => false,
        }
    }
}

/// The doors the grant's targets mean at this moment, by system and external id.
pub(crate) fn live(scope: &Scope<'_>, access_grant_id: &str) -> Result<Vec<Door>, ModelError> {
    let doors = sql::all(
        scope.connection,
        "SELECT acs_entrance_id, acs_system_id, external_id, with_card, with_mobile_key, remotely, for_reservations
         FROM acs_entrance WHERE removed_at IS NULL AND acs_entrance_id IN (
             SELECT target_id FROM access_grant_target WHERE access_grant_id = ?1 AND kind = 'entrance'
             UNION SELECT s.acs_entrance_id FROM access_grant_target t JOIN space_entrance s ON s.space_id = t.target_id
             WHERE t.access_grant_id = ?1 AND t.kind = 'space')
         ORDER BY acs_system_id, external_id",
        [access_grant_id],
        |row| {
            Ok(Door {
                acs_entrance_id: row.get(0)?,
                acs_system_id: row.get(1)?,
                external_id: row.get(2)?,
                with_card: row.get(3)?,
                with_mobile_key: row.get(4)?,
                remotely: row.get(5)?,
                for_reservations: row.get(6)?,
            })
        },
    )?;
    Ok(doors)
}

/// Makes the door rows of one part equal to `wanted`; doors that were granted and go are kept as lost until confirmed.
pub(super) fn replace(work: &Work<'_>, grant: &Grant, system_id: &str, wanted: &[&Door]) -> Result<(), ModelError> {
    let wanted_ids: BTreeSet<&str> = wanted.iter().map(|door| door.acs_entrance_id.as_str()).collect();
    let known = sql::texts(
        work.connection,
        "SELECT acs_entrance_id FROM grant_door WHERE access_grant_id = ?1 AND acs_system_id = ?2",
        (&grant.access_grant_id, system_id),
    )?;
    for id in known.iter().filter(|id| !wanted_ids.contains(id.as_str())) {
        sql::change(
            work.connection,
            "DELETE FROM grant_door WHERE access_grant_id = ?1 AND acs_entrance_id = ?2 AND granted_at IS NULL",
            (&grant.access_grant_id, id),
        )?;
        sql::change(
            work.connection,
            "UPDATE grant_door SET lost = 1 WHERE access_grant_id = ?1 AND acs_entrance_id = ?2",
            (&grant.access_grant_id, id),
        )?;
    }
    for id in wanted_ids {
        sql::change(
            work.connection,
            "INSERT INTO grant_door (access_grant_id, acs_entrance_id, acs_system_id) VALUES (?1, ?2, ?3)
             ON CONFLICT (access_grant_id, acs_entrance_id) DO UPDATE SET lost = 0, missing = 0",
            (&grant.access_grant_id, id, system_id),
        )?;
    }
    Ok(())
}

/// The lock server confirmed the part: doors that went are gone.
pub(super) fn confirm_lost(
    work: &Work<'_>,
    access_grant_id: &str,
    acs_system_id: &str,
    occurred_at: i64,
) -> Result<(), ModelError> {
    let lost = sql::texts(
        work.connection,
        "DELETE FROM grant_door WHERE access_grant_id = ?1 AND acs_system_id = ?2 AND lost RETURNING acs_entrance_id",
        (access_grant_id, acs_system_id),
    )?;
    for id in lost {
        let payload = json!({"access_grant_id": access_grant_id, "acs_entrance_id": id});
        events::emit(work, "access_grant.access_to_door_lost", occurred_at, &payload)?;
    }
    Ok(())
}

/// Tells of each door that now opens to something in the person's hand: the server holds the right and a method with it is
/// issued. When no door of the grant is left, tells that too, once.
pub(crate) fn announce(work: &Work<'_>, access_grant_id: &str, occurred_at: i64) -> Result<(), ModelError> {
    let methods = methods::of_grant(work, access_grant_id)?;
    let in_hand = |method: &Method| {
        method.is_issued && method.at_server && !method.deleting && (method.mode != "card" || method.on_card)
    };
    let systems: BTreeSet<&str> =
        methods.iter().filter(|method| in_hand(method)).map(|method| method.acs_system_id.as_str()).collect();
    for acs_system_id in systems {
        let granted = sql::texts(
            work.connection,
            "UPDATE grant_door SET granted_at = ?3
             WHERE access_grant_id = ?1 AND acs_system_id = ?2 AND granted_at IS NULL AND NOT missing AND NOT lost
             RETURNING acs_entrance_id",
            (access_grant_id, acs_system_id, occurred_at),
        )?;
        for id in granted {
            let payload = json!({"access_grant_id": access_grant_id, "acs_entrance_id": id});
            events::emit(work, "access_grant.access_granted_to_door", occurred_at, &payload)?;
        }
    }
    let complete = sql::change(
        work.connection,
        "UPDATE access_grant SET all_doors_told = 1 WHERE access_grant_id = ?1 AND NOT all_doors_told AND NOT deleting
         AND EXISTS (SELECT 1 FROM grant_door WHERE access_grant_id = ?1)
         AND NOT EXISTS (SELECT 1 FROM grant_door WHERE access_grant_id = ?1 AND (granted_at IS NULL OR missing OR lost))
         AND NOT EXISTS (SELECT 1 FROM grant_part WHERE access_grant_id = ?1 AND (deleting OR synced_revision < revision))",
        [access_grant_id],
    )?;
    if complete == 0 {
        return Ok(());
    }
    let payload = json!({"access_grant_id": access_grant_id});
    events::emit(work, "access_grant.access_granted_to_all_doors", occurred_at, &payload)
}

/// [`announce`] for every grant of a holder: a card serves them all.
pub(crate) fn announce_of_user(work: &Work<'_>, acs_user_id: &str, occurred_at: i64) -> Result<(), ModelError> {
    let grants = sql::texts(
        work.connection,
        "SELECT access_grant_id FROM grant_part WHERE acs_user_id = ?1 AND NOT deleting",
        [acs_user_id],
    )?;
    for id in grants {
        announce(work, &id, occurred_at)?;
    }
    Ok(())
}
