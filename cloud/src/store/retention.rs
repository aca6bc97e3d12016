//! How long the hub's tables remember: without this, a database would grow for ever.

use rusqlite::Connection;

use super::StoreError;

/// Rows of one table removed in one transaction, so that removal never holds up other writes for long.
pub const ROWS: usize = 1_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// Reports as signed: evidence for disputes about a stay, whose consequences live on in the resource model.
pub const REPORTS_MS: i64 = 90 * DAY_MS;
/// Ended commands. Longer than a bridge remembers their ids (rule C2), so that a late report still finds its command.
pub const COMMANDS_MS: i64 = 60 * DAY_MS;
/// Alarms kept; a person has seen the older ones, or never will.
pub const ALARMS: i64 = 10_000;

/// Removes rows past their time; how many of the table that had most. [`ROWS`] means there may be more.
///
/// A command stays while it waits, while its delivery may have to be repeated, and while it is in doubt.
pub fn prune(connection: &Connection, now_ms: i64) -> Result<usize, StoreError> {
    let limit = i64::try_from(ROWS).unwrap_or(i64::MAX);
    let reports = connection.execute(
        "DELETE FROM reports WHERE (bridge_id, sequence) IN
             (SELECT bridge_id, sequence FROM reports WHERE received_at_ms < ?1 ORDER BY received_at_ms LIMIT ?2)",
        (now_ms.saturating_sub(REPORTS_MS), limit),
    )?;
    // States 2, 3 and 5 to 9 are ends; 4 is in doubt.
    let commands = connection.execute(
        "DELETE FROM commands WHERE command_row IN
             (SELECT command_row FROM commands JOIN bridges USING (bridge_id)
              WHERE commands.created_at_ms < ?1 AND expires_at_ms < ?1 AND state IN (2, 3, 5, 6, 7, 8, 9)
                AND delivery_sequence <= commands_durable_through
              ORDER BY commands.created_at_ms LIMIT ?2)",
        (now_ms.saturating_sub(COMMANDS_MS), limit),
    )?;
    connection.execute("DELETE FROM lost_commands WHERE lost_at_ms < ?1", [now_ms.saturating_sub(COMMANDS_MS)])?;
    connection.execute("DELETE FROM alarms WHERE alarm_id <= (SELECT max(alarm_id) FROM alarms) - ?1", [ALARMS])?;
    Ok(reports.max(commands))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    const NOW: i64 = 1_800_000_000_000;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::migrate(&mut connection, &schema::PARTS[..1]).expect("migrates");
        connection
            .execute_batch(
                "INSERT INTO workspaces VALUES ('w', 'Hotel', 0);
                 INSERT INTO sites VALUES ('s', 'w', 'Main', 0);
                 INSERT INTO bridges (bridge_id, workspace_id, site_id, display_name, software_version, audit_key,
                                      generation, created_at_ms, commands_durable_through)
                 VALUES ('b', 'w', 's', '', '', x'04', 1, 0, 10);",
            )
            .expect("inserts");
        connection
    }

    fn command(connection: &Connection, number: u8, created_at_ms: i64, state: i32, delivery: Option<i64>) {
        connection
            .execute(
                "INSERT INTO commands (command_id, bridge_id, lock_system, lane, lane_sequence, kind, priority, urgency,
                                       mode, not_before_ms, expires_at_ms, signed, hash, state, delivery_sequence,
                                       created_at_ms, updated_at_ms)
                 VALUES (?1, 'b', 'space', 'system', ?2, '', 3, 3, 2, 0, ?3, x'', x'', ?4, ?5, ?3, ?3)",
                ([number; 16], number, created_at_ms, state, delivery),
            )
            .expect("inserts");
    }

    #[test]
    fn only_what_is_ended_decided_and_old_goes() {
        let connection = database();
        let old = NOW - COMMANDS_MS - 1;
        command(&connection, 1, old, 2, Some(1));
        command(&connection, 2, old + 2, 2, Some(2)); // young
        command(&connection, 3, old, 4, Some(3)); // in doubt
        command(&connection, 4, old, 0, None); // never sent
        command(&connection, 5, old, 2, Some(11)); // may have to be sent again
        for (sequence, age) in [(1, REPORTS_MS + 1), (2, REPORTS_MS - 1)] {
            connection
                .execute("INSERT INTO reports VALUES ('b', ?1, ?2, x'')", (sequence, NOW - age))
                .expect("inserts");
        }
        assert_eq!(prune(&connection, NOW).expect("prunes"), 1);
        let left = |sql: &str| {
            let mut statement = connection.prepare(sql).expect("prepares");
            let rows = statement.query_map([], |row| row.get(0)).expect("queries");
            rows.collect::<Result<Vec<i64>, _>>().expect("reads")
        };
        assert_eq!(left("SELECT lane_sequence FROM commands ORDER BY 1"), [2, 3, 4, 5]);
        assert_eq!(left("SELECT sequence FROM reports"), [2]);
    }

    #[test]
    fn one_pass_is_bounded() {
        let connection = database();
        for sequence in 0..=ROWS {
            let sequence = i64::try_from(sequence).expect("is small");
            connection.execute("INSERT INTO reports VALUES ('b', ?1, 0, x'')", [sequence]).expect("inserts");
        }
        assert_eq!(prune(&connection, NOW).expect("prunes"), ROWS);
        assert_eq!(prune(&connection, NOW).expect("prunes"), 1);
    }
}
