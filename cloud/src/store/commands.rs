//! Signed commands on their way down: issue order, delivery numbers, what the bridge made of them.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::{CommandState, Delivery, Mode, Priority, Signed};
use prost::Message;
use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, counter};

/// A command as the authority made it.
#[derive(Debug, Clone)]
pub struct NewRow<'a> {
    /// Chosen by the authority.
    pub command_id: CommandId,
    /// Addressee.
    pub bridge_id: &'a str,
    /// Lock system on the bridge.
    pub lock_system: &'a str,
    /// Lane within the lock system.
    pub lane: &'a str,
    /// From [`next_lane_sequence`], in the same transaction.
    pub lane_sequence: u64,
    /// Name of the body, for people.
    pub kind: &'a str,
    /// By body.
    pub priority: Priority,
    /// By body.
    pub mode: Mode,
    /// Not to be started before.
    pub not_before_ms: i64,
    /// Not to be started after.
    pub expires_at_ms: i64,
    /// The exact signed bytes.
    pub signed: &'a Signed,
    /// SHA-256 of the payload.
    pub hash: [u8; 32],
}

/// Where a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Addressee.
    pub bridge_id: String,
    /// Lock system on the bridge.
    pub lock_system: String,
    /// Its lane, which a cancel of it must use too.
    pub lane: String,
    /// SHA-256 of the payload.
    pub hash: Vec<u8>,
    /// [`CommandState::Unspecified`] until a report tells.
    pub state: CommandState,
    /// Whether it was ever sent.
    pub delivered: bool,
}

/// A command that waits for its first sending.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Smaller goes first, over all priorities.
    pub urgency: i32,
    /// Its row, for [`number`]; smaller was issued earlier.
    pub row: i64,
    /// What to send.
    pub signed: Signed,
}

/// Takes the next sequence of a lane: 1, 2, 3, ... without gaps as long as the transaction commits.
pub fn next_lane_sequence(
    connection: &Connection,
    bridge_id: &str,
    lock_system: &str,
    lane: &str,
) -> Result<u64, StoreError> {
    let sql = "INSERT INTO lanes (bridge_id, lock_system, lane, last_sequence) VALUES (?1, ?2, ?3, 1)
               ON CONFLICT (bridge_id, lock_system, lane) DO UPDATE SET last_sequence = last_sequence + 1
               RETURNING last_sequence";
    let sequence: i64 = connection.query_row(sql, [bridge_id, lock_system, lane], |row| row.get(0))?;
    Ok(sequence.unsigned_abs())
}

/// Puts a command into the bridge's outbox.
pub fn insert(connection: &Connection, now_ms: i64, new: &NewRow<'_>) -> Result<(), StoreError> {
    let sequence = counter(new.lane_sequence);
    connection.execute(
        "INSERT INTO commands (command_id, bridge_id, lock_system, lane, lane_sequence, kind, priority, urgency, mode,
                               not_before_ms, expires_at_ms, signed, hash, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)",
        (
            new.command_id.as_bytes(),
            new.bridge_id,
            new.lock_system,
            new.lane,
            sequence,
            new.kind,
            i32::from(new.priority),
            i32::from(new.mode),
            new.not_before_ms,
            new.expires_at_ms,
            new.signed.encode_to_vec(),
            new.hash,
            now_ms,
        ),
    )?;
    if new.priority == Priority::Interactive {
        // The bridge starts it only after its lane's earlier commands; behind a backlog of grants they would come too
        // late for the person who waits. Safety commands overtake their lane at the bridge and need no help.
        connection.execute(
            "UPDATE commands SET urgency = ?5
             WHERE bridge_id = ?1 AND lock_system = ?2 AND lane = ?3 AND lane_sequence < ?4
               AND delivery_sequence IS NULL AND urgency > ?5",
            (new.bridge_id, new.lock_system, new.lane, sequence, i32::from(new.priority)),
        )?;
    }
    Ok(())
}

/// Where the command stands; `None` when there is no such command.
pub fn standing(connection: &Connection, command_id: CommandId) -> Result<Option<Standing>, StoreError> {
    let sql = "SELECT bridge_id, lock_system, lane, hash, state, delivery_sequence IS NOT NULL
               FROM commands WHERE command_id = ?1";
    let standing = connection.query_row(sql, [command_id.as_bytes()], |row| {
        Ok(Standing {
            bridge_id: row.get(0)?,
            lock_system: row.get(1)?,
            lane: row.get(2)?,
            hash: row.get(3)?,
            state: CommandState::try_from(row.get::<_, i32>(4)?).unwrap_or_default(),
            delivered: row.get(5)?,
        })
    });
    Ok(standing.optional()?)
}

/// What a report about a command changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// There is no such command of this bridge with these bytes.
    Unknown,
    /// Its state is what the report says.
    Yes,
    /// It had ended with this already, and an end is final.
    Final(CommandState),
}

/// Notes what a verified report says about a command of this bridge with these bytes. An end stays: only a bridge whose
/// state went back tells of a command again, and then it may know less than it told before.
pub fn set_state(
    connection: &Connection,
    now_ms: i64,
    bridge_id: &str,
    command_id: CommandId,
    hash: &[u8],
    state: CommandState,
) -> Result<Noted, StoreError> {
    let sql = "SELECT state FROM commands WHERE command_id = ?1 AND bridge_id = ?2 AND hash = ?3";
    let found = connection.query_row(sql, (command_id.as_bytes(), bridge_id, hash), |row| row.get::<_, i32>(0));
    let Some(before) = found.optional()? else { return Ok(Noted::Unknown) };
    let before = CommandState::try_from(before).unwrap_or_default();
    if !matches!(before, CommandState::Unspecified | CommandState::Executing | CommandState::InDoubt) {
        return Ok(if before == state { Noted::Yes } else { Noted::Final(before) });
    }
    let sql = "UPDATE commands SET state = ?2, updated_at_ms = ?3 WHERE command_id = ?1";
    connection.execute(sql, (command_id.as_bytes(), i32::from(state), now_ms))?;
    Ok(Noted::Yes)
}

/// Commands of one priority that wait for their first sending, the most urgent first.
pub fn waiting(
    connection: &Connection,
    bridge_id: &str,
    priority: Priority,
    limit: u64,
) -> Result<Vec<Waiting>, StoreError> {
    let sql = "SELECT urgency, command_row, signed FROM commands INDEXED BY commands_waiting
               WHERE bridge_id = ?1 AND delivery_sequence IS NULL AND priority = ?2
               ORDER BY urgency, command_row LIMIT ?3";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((bridge_id, i32::from(priority), counter(limit)), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))
    })?;
    rows.map(|row| {
        let (urgency, row, signed) = row?;
        Ok(Waiting { urgency, row, signed: decode(&signed)? })
    })
    .collect()
}

/// Gives a waiting command its delivery sequence: the bridge's next. The number stays for every later sending.
pub fn number(connection: &Connection, bridge_id: &str, row: i64) -> Result<u64, StoreError> {
    let sql = "UPDATE bridges SET delivered_last = delivered_last + 1 WHERE bridge_id = ?1 RETURNING delivered_last";
    let sequence: i64 = connection.query_row(sql, [bridge_id], |row| row.get(0))?;
    connection.execute("UPDATE commands SET delivery_sequence = ?2 WHERE command_row = ?1", (row, sequence))?;
    Ok(sequence.unsigned_abs())
}

/// Numbers the deliveries after `after` anew, without gaps and in the order in which they were first sent: the bridge lost
/// them. The highest number given.
pub fn number_again(connection: &Connection, bridge_id: &str, after: u64) -> Result<u64, StoreError> {
    let sql = "SELECT command_row FROM commands WHERE bridge_id = ?1 AND delivery_sequence > ?2
               ORDER BY delivery_sequence";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((bridge_id, counter(after)), |row| row.get(0))?;
    let rows = rows.collect::<Result<Vec<i64>, _>>()?;
    let sql = "UPDATE commands SET delivery_sequence = NULL WHERE bridge_id = ?1 AND delivery_sequence > ?2";
    connection.execute(sql, (bridge_id, counter(after)))?;
    let mut give = connection.prepare("UPDATE commands SET delivery_sequence = ?2 WHERE command_row = ?1")?;
    let mut last = after;
    for row in rows {
        last = last.saturating_add(1);
        give.execute((row, counter(last)))?;
    }
    connection.execute("UPDATE bridges SET delivered_last = ?2 WHERE bridge_id = ?1", (bridge_id, counter(last)))?;
    Ok(last)
}

/// Numbered deliveries after `after`, in order.
pub fn numbered(connection: &Connection, bridge_id: &str, after: u64, limit: u64) -> Result<Vec<Delivery>, StoreError> {
    let sql = "SELECT delivery_sequence, signed FROM commands
               WHERE bridge_id = ?1 AND delivery_sequence > ?2 ORDER BY delivery_sequence LIMIT ?3";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((bridge_id, counter(after), counter(limit)), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    rows.map(|row| {
        let (sequence, signed) = row?;
        Ok(Delivery { delivery_sequence: sequence.unsigned_abs(), command: Some(decode(&signed)?) })
    })
    .collect()
}

/// Commands of a lane behind a place, in order.
pub fn behind(
    connection: &Connection,
    bridge_id: &str,
    lock_system: &str,
    lane: &str,
    lane_sequence: u64,
) -> Result<Vec<Signed>, StoreError> {
    let sql = "SELECT signed FROM commands
               WHERE bridge_id = ?1 AND lock_system = ?2 AND lane = ?3 AND lane_sequence > ?4 ORDER BY lane_sequence";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((bridge_id, lock_system, lane, counter(lane_sequence)), |row| row.get(0))?;
    rows.map(|row: rusqlite::Result<Vec<u8>>| decode(&row?)).collect()
}

/// Makes commands of one lane with lane sequences in `from..below` the next to be sent, as new deliveries where the bridge
/// has already decided the old ones (and yet misses them). Those on their way keep their number. Interactive ones that were
/// decided stay away: nobody waits any more, and they may have been carried out. How many there are.
pub fn send_again(
    connection: &Connection,
    bridge_id: &str,
    lock_system: &str,
    lane: &str,
    from: u64,
    below: u64,
) -> Result<usize, StoreError> {
    let sql = "UPDATE commands SET delivery_sequence = NULL, urgency = min(urgency, ?6)
               WHERE bridge_id = ?1 AND lock_system = ?2 AND lane = ?3 AND lane_sequence >= ?4 AND lane_sequence < ?5
                 AND (delivery_sequence IS NULL
                      OR (priority <> ?6
                          AND delivery_sequence <= (SELECT commands_durable_through FROM bridges WHERE bridge_id = ?1)))";
    let urgency = i32::from(Priority::Interactive);
    Ok(connection.execute(sql, (bridge_id, lock_system, lane, counter(from), counter(below), urgency))?)
}

fn decode(bytes: &[u8]) -> Result<Signed, StoreError> {
    Signed::decode(bytes).map_err(|_| StoreError::Damaged("signed command"))
}
