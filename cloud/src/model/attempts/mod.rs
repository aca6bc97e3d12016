//! Action attempts: something a person waits for, with one end and a deadline.
//!
//! An attempt is pending, then success or error, and never changes again. Its end is a function of the row and the time:
//! past the deadline a pending row *is* an error, whether or not the sweep has written it down yet, so that no reader sees
//! it change its mind when a late report arrives.

mod act;
mod progress;
mod settle;

use rusqlite::Row;
use serde_json::{Value, json};

pub(crate) use act::{Device, assign_card, cancel, encode, scan, scan_to_assign, unlock};
pub(crate) use progress::progress;
pub use settle::sweep;
pub(crate) use settle::{abandon, doubt, fail, succeed};

use super::{ModelError, Scope, Work, commands, scope, sql};

/// From the command's own expiry to the end of waiting: one encoder lease (30 s) and the way back.
const ANSWER_MS: i64 = 45_000;

/// What is attempted; the API's `action_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Encode,
    Scan,
    ScanToAssign,
    AssignCard,
    Unlock,
}

impl Action {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Encode, "ENCODE_CREDENTIAL"),
        (Self::Scan, "SCAN_CREDENTIAL"),
        (Self::ScanToAssign, "SCAN_TO_ASSIGN_CREDENTIAL"),
        (Self::AssignCard, "ASSIGN_CREDENTIAL"),
        (Self::Unlock, "UNLOCK_DOOR"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(action, _)| *action)
    }
}

/// One attempt as stored.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) action_attempt_id: String,
    pub(crate) action_type: String,
    pub(crate) status: String,
    result: Option<String>,
    error_type: Option<String>,
    error_message: Option<String>,
    pub(crate) acs_system_id: String,
    pub(crate) acs_credential_id: Option<String>,
    pub(crate) rights_revision: i64,
    pub(crate) in_doubt: bool,
    pub(crate) deadline_at: i64,
    stage: Option<String>,
    turn: Option<i64>,
}

/// Columns in the order [`Attempt::read`] expects.
pub(crate) const COLUMNS: &str = "action_attempt_id, action_type, status, result, error_type, error_message, acs_system_id, acs_credential_id, \
     rights_revision, in_doubt, deadline_at, stage, turn";

impl Attempt {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            action_attempt_id: row.get(0)?,
            action_type: row.get(1)?,
            status: row.get(2)?,
            result: row.get(3)?,
            error_type: row.get(4)?,
            error_message: row.get(5)?,
            acs_system_id: row.get(6)?,
            acs_credential_id: row.get(7)?,
            rights_revision: row.get(8)?,
            in_doubt: row.get(9)?,
            deadline_at: row.get(10)?,
            stage: row.get(11)?,
            turn: row.get(12)?,
        })
    }

    pub(crate) fn action(&self) -> Option<Action> {
        Action::parse(&self.action_type)
    }

    /// Nobody waits any more.
    pub(crate) fn is_over(&self, now_ms: i64) -> bool {
        self.status != "pending" || now_ms >= self.deadline_at
    }

    /// How a pending attempt ends when its deadline passes.
    fn at_deadline(&self) -> (&'static str, &'static str) {
        if self.in_doubt {
            let message = "The outcome is in doubt: the act began at the lock system and nothing proves how it ended. Look \
                           at the card before trying again.";
            ("uncategorized_error", message)
        } else {
            let message =
                "No outcome arrived in time. If the act had begun, a later report still updates the credential.";
            ("action_attempt_expired", message)
        }
    }

    /// The attempt as the API shows it at `now_ms`.
    pub(crate) fn document(&self, now_ms: i64) -> Result<Value, ModelError> {
        let (status, result, error) = match self.status.as_str() {
            "pending" if self.is_over(now_ms) => {
                let (kind, message) = self.at_deadline();
                ("error", Value::Null, json!({"type": kind, "message": message}))
            }
            "success" => ("success", serde_json::from_str(self.result.as_deref().unwrap_or("{}"))?, Value::Null),
            "error" => ("error", Value::Null, json!({"type": self.error_type, "message": self.error_message})),
            _ => ("pending", Value::Null, Value::Null),
        };
        let progress = self.stage.as_ref().filter(|_| status == "pending");
        Ok(json!({
            "action_attempt_id": self.action_attempt_id,
            "action_type": self.action_type,
            "status": status,
            "progress": progress.map(|stage| json!({"stage": stage, "position": self.turn})),
            "result": result,
            "error": error,
        }))
    }
}

/// The attempt with that id.
pub(crate) fn get(scope: &Scope<'_>, id: &str) -> Result<Attempt, ModelError> {
    let query = format!("SELECT {COLUMNS} FROM action_attempt WHERE action_attempt_id = ?1 AND workspace_id = ?2");
    sql::one(scope.connection, &query, (id, scope.workspace_id), Attempt::read)?
        .ok_or_else(|| ModelError::not_found("action_attempt", id))
}

/// What an attempt is about.
#[derive(Debug, Clone, Default)]
struct About<'a> {
    acs_system_id: &'a str,
    acs_credential_id: Option<&'a str>,
    acs_entrance_id: Option<&'a str>,
    rights_revision: i64,
}

fn begin(work: &Work<'_>, action: Action, about: &About<'_>) -> Result<String, ModelError> {
    let id = scope::new_id();
    let deadline_at = work.now_ms.saturating_add(commands::INTERACTIVE_LIFE_MS).saturating_add(ANSWER_MS);
    sql::change(
        work.connection,
        "INSERT INTO action_attempt (action_attempt_id, workspace_id, action_type, status, acs_system_id, acs_credential_id,
             acs_entrance_id, rights_revision, deadline_at, created_at) VALUES (?1, ?2, ?3, 'pending', ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            &id,
            work.workspace_id,
            action.name(),
            about.acs_system_id,
            about.acs_credential_id,
            about.acs_entrance_id,
            about.rights_revision,
            deadline_at,
            work.now_ms,
        ),
    )?;
    Ok(id)
}
