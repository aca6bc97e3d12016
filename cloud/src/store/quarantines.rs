//! Quarantines of bridges: at most one is open for each; closed ones stay, as the record of who decided what.

use lockbridge_protocol::proto::tunnel::{Quarantine, QuarantineReason};
use lockbridge_protocol::tunnel::quarantine::{lost_memory, reason, word};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, bridges, counter};

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Whose.
    pub bridge_id: String,
    /// 1, 2, 3, ... per bridge.
    pub incident: u64,
    /// Why.
    pub reason: QuarantineReason,
    /// One sentence for a person.
    pub message: String,
    /// Since when.
    pub opened_at_ms: i64,
    /// Deliveries up to here repeat what a lost part of the journal knew; 0: nothing was lost.
    pub replay_through: u64,
    /// Interactive commands issued up to here may have been carried out; 0: nothing was lost.
    pub replay_before_ms: i64,
    /// When the cloud's operator released it.
    pub released_at_ms: Option<i64>,
    /// Who that was.
    pub released_by: String,
    /// When the bridge told that its site released it.
    pub confirmed_at_ms: Option<i64>,
    /// When it was over.
    pub closed_at_ms: Option<i64>,
}

impl Incident {
    /// As the bridge is told.
    pub fn on_wire(&self) -> Quarantine {
        Quarantine {
            incident: self.incident,
            reason: self.reason.into(),
            message: self.message.clone(),
            since_ms: self.opened_at_ms,
            released: self.released_at_ms.is_some(),
            replay_through: self.replay_through,
            replay_before_ms: self.replay_before_ms,
        }
    }
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Why.
    pub reason: QuarantineReason,
    /// One sentence for a person.
    pub message: String,
    /// See [`Incident::replay_through`].
    pub replay_through: u64,
}

const COLUMNS: &str = "bridge_id, incident, reason, message, opened_at_ms, replay_through, replay_before_ms, \
     released_at_ms, released_by, confirmed_at_ms, closed_at_ms";

fn incident(row: &Row<'_>) -> rusqlite::Result<Incident> {
    let unsigned = |index: usize| row.get(index).map(|value: i64| value.unsigned_abs());
    Ok(Incident {
        bridge_id: row.get(0)?,
        incident: unsigned(1)?,
        reason: reason(&row.get::<_, String>(2)?),
        message: row.get(3)?,
        opened_at_ms: row.get(4)?,
        replay_through: unsigned(5)?,
        replay_before_ms: row.get(6)?,
        released_at_ms: row.get(7)?,
        released_by: row.get(8)?,
        confirmed_at_ms: row.get(9)?,
        closed_at_ms: row.get(10)?,
    })
}

/// The open incident of a bridge.
pub fn of_bridge(connection: &Connection, bridge_id: &str) -> Result<Option<Incident>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM quarantines WHERE bridge_id = ?1 AND closed_at_ms IS NULL");
    Ok(connection.query_row(&sql, [bridge_id], incident).optional()?)
}

/// Incidents by bridge, oldest first; the open ones, or all.
pub fn list(connection: &Connection, closed_too: bool) -> Result<Vec<Incident>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM quarantines WHERE ?1 OR closed_at_ms IS NULL ORDER BY bridge_id, incident");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([closed_too], incident)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Raises an alarm and opens an incident, in place of an open one that says less or that somebody had already released: a
/// release is for what was known then. That the journal lost something stays known until it is left.
pub fn open(connection: &Connection, now_ms: i64, bridge_id: &str, found: &Finding) -> Result<Incident, StoreError> {
    bridges::alarm(connection, now_ms, Some(bridge_id), word(found.reason), &found.message)?;
    let held = of_bridge(connection, bridge_id)?;
    let mut next = Incident {
        bridge_id: bridge_id.to_owned(),
        incident: 0,
        reason: found.reason,
        message: found.message.clone(),
        opened_at_ms: now_ms,
        replay_through: found.replay_through,
        replay_before_ms: if lost_memory(found.reason) { now_ms } else { 0 },
        released_at_ms: None,
        released_by: String::new(),
        confirmed_at_ms: None,
        closed_at_ms: None,
    };
    if let Some(held) = held {
        let worse = lost_memory(found.reason);
        let kept = held.reason == found.reason || lost_memory(held.reason);
        if !worse && kept && held.released_at_ms.is_none() {
            return Ok(held);
        }
        if !worse && lost_memory(held.reason) {
            next.reason = held.reason;
            next.message = format!("{}; {}", held.message, found.message);
            (next.replay_through, next.replay_before_ms) = (held.replay_through, held.replay_before_ms);
        }
        let sql = "UPDATE quarantines SET closed_at_ms = ?3 WHERE bridge_id = ?1 AND incident = ?2";
        connection.execute(sql, (bridge_id, counter(held.incident), now_ms))?;
    }
    let sql = "INSERT INTO quarantines (bridge_id, incident, reason, message, opened_at_ms, replay_through, replay_before_ms)
               VALUES (?1, (SELECT coalesce(max(incident), 0) + 1 FROM quarantines WHERE bridge_id = ?1), ?2, ?3, ?4, ?5, ?6)
               RETURNING incident";
    let values =
        (bridge_id, word(next.reason), &next.message, now_ms, counter(next.replay_through), next.replay_before_ms);
    let number: i64 = connection.query_row(sql, values, |row| row.get(0))?;
    next.incident = number.unsigned_abs();
    Ok(next)
}

/// The cloud's operator releases the open incident: whether there was one. Released again, the first time counts.
pub fn release(connection: &Connection, now_ms: i64, bridge_id: &str, who: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE quarantines SET released_at_ms = coalesce(released_at_ms, ?2),
                                      released_by = CASE WHEN released_at_ms IS NULL THEN ?3 ELSE released_by END
               WHERE bridge_id = ?1 AND closed_at_ms IS NULL";
    Ok(connection.execute(sql, (bridge_id, now_ms, who))? == 1)
}

/// What the bridge tells of its own side: a finding of its own opens an incident; its site's release is noted; and an
/// incident that was released here is over once the bridge has left it. What is open afterwards.
pub fn told(
    connection: &Connection,
    now_ms: i64,
    bridge_id: &str,
    holds: Option<&Quarantine>,
    left: u64,
) -> Result<Option<Incident>, StoreError> {
    let open_now = of_bridge(connection, bridge_id)?;
    match (&open_now, holds) {
        (None, Some(own)) => {
            let found = Finding { reason: own.reason(), message: own.message.clone(), replay_through: 0 };
            return open(connection, now_ms, bridge_id, &found).map(Some);
        }
        (Some(held), Some(own)) if own.incident == held.incident && own.released => {
            let sql = "UPDATE quarantines SET confirmed_at_ms = coalesce(confirmed_at_ms, ?3)
                       WHERE bridge_id = ?1 AND incident = ?2";
            connection.execute(sql, (bridge_id, counter(held.incident), now_ms))?;
        }
        (Some(held), _) if left >= held.incident && held.released_at_ms.is_some() => {
            let sql = "UPDATE quarantines SET closed_at_ms = ?3, confirmed_at_ms = coalesce(confirmed_at_ms, ?3)
                       WHERE bridge_id = ?1 AND incident = ?2";
            connection.execute(sql, (bridge_id, counter(held.incident), now_ms))?;
        }
        _ => {}
    }
    of_bridge(connection, bridge_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::migrate(&mut connection, &schema::PARTS[..1]).expect("migrates");
        connection
            .execute_batch(
                "INSERT INTO workspaces VALUES ('w', 'Hotel', 0);
                 INSERT INTO sites VALUES ('s', 'w', 'Main', 0);
                 INSERT INTO bridges (bridge_id, workspace_id, site_id, display_name, software_version, audit_key,
                                      generation, created_at_ms) VALUES ('b', 'w', 's', '', '', x'04', 1, 0);",
            )
            .expect("inserts");
        connection
    }

    fn found(reason: QuarantineReason, replay_through: u64) -> Finding {
        Finding { reason, message: word(reason).to_owned(), replay_through }
    }

    #[test]
    fn both_sides_have_to_release_it_in_any_order() {
        let connection = database();
        let first = open(&connection, 5, "b", &found(QuarantineReason::DuplicateSession, 0)).expect("opens");
        assert_eq!((first.incident, first.on_wire().released), (1, false));
        let own = |incident, released| Quarantine { incident, released, ..first.on_wire() };
        let tell = |holds: Option<&Quarantine>, left| told(&connection, 6, "b", holds, left).expect("takes it");
        // The bridge alone does not end it, whatever it says.
        assert!(tell(Some(&own(1, true)), 0).expect("is open").confirmed_at_ms.is_some());
        assert!(tell(None, 1).is_some());
        assert!(release(&connection, 7, "b", "uid 0").expect("writes"));
        // Nor does the cloud alone: the bridge has to say that it left this one.
        assert!(tell(None, 0).expect("is open").on_wire().released);
        assert_eq!(tell(None, 1), None);
        assert!(!release(&connection, 8, "b", "uid 0").expect("writes"), "nothing is left to release");
        let closed = list(&connection, true).expect("lists");
        assert_eq!((closed[0].released_by.as_str(), closed[0].closed_at_ms), ("uid 0", Some(6)));
        assert_eq!(open(&connection, 9, "b", &found(QuarantineReason::MachineChanged, 0)).expect("opens").incident, 2);
    }

    #[test]
    fn a_release_is_for_what_was_known_then_and_what_was_lost_stays_known() {
        let connection = database();
        let again = |reason, through| open(&connection, 5, "b", &found(reason, through)).expect("opens");
        assert_eq!(again(QuarantineReason::DuplicateSession, 0).incident, 1);
        assert_eq!(again(QuarantineReason::DuplicateSession, 0).incident, 1, "the same once more is no other");
        assert_eq!(again(QuarantineReason::StateRolledBack, 9).incident, 2);
        assert_eq!(again(QuarantineReason::StateRolledBack, 4).incident, 3, "each time something else was lost");
        assert_eq!(again(QuarantineReason::DuplicateSession, 0).incident, 3);
        assert!(release(&connection, 6, "b", "uid 0").expect("writes"));
        let fourth = again(QuarantineReason::DuplicateSession, 0);
        assert_eq!((fourth.incident, fourth.released_at_ms), (4, None));
        assert_eq!((fourth.reason, fourth.replay_through), (QuarantineReason::StateRolledBack, 4));
        assert_eq!(list(&connection, false).expect("lists").len(), 1);
    }

    #[test]
    fn a_finding_of_the_bridge_opens_an_incident() {
        let connection = database();
        let own =
            Quarantine { reason: QuarantineReason::MachineChanged.into(), released: true, ..Quarantine::default() };
        let opened = told(&connection, 5, "b", Some(&own), 0).expect("takes it").expect("is open");
        assert_eq!((opened.incident, opened.reason), (1, QuarantineReason::MachineChanged));
        assert_eq!(told(&connection, 5, "b", None, 0).expect("takes it"), Some(opened));
    }
}
