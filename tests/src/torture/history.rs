//! What was asked for, and what the askers were told.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// What an asker knows of one encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing yet.
    Pending,
    /// A card was written.
    Success,
    /// No card was written: that is claimed as certain.
    NotDone(String),
    /// The asker was told that it is not known, or was cut off.
    Unknown(String),
}

/// One encode that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Encode {
    /// Attempt at the API; `None` for one at the desk.
    pub(super) attempt_id: Option<String>,
    pub(super) end: End,
    /// Writes of this holder that the simulator had counted before.
    pub(super) writes_before: u64,
}

impl Encode {
    /// Takes an attempt as the API shows it.
    pub(super) fn learn(&mut self, attempt: &Value) {
        self.end = end_of(attempt);
    }
}

fn end_of(attempt: &Value) -> End {
    let message = attempt["error"]["message"].as_str().unwrap_or_default().to_owned();
    match (attempt["status"].as_str(), attempt["error"]["type"].as_str()) {
        (Some("success"), _) => End::Success,
        // The two ends by which the API says that it does not know (an attempt past its deadline).
        (Some("error"), _) if message.contains("in doubt") || message.contains("No outcome arrived") => {
            End::Unknown(message)
        }
        (Some("error"), Some(kind)) => End::NotDone(format!("{kind}: {message}")),
        _ => End::Pending,
    }
}

/// A holder with the one grant that was made for them.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) access_grant_id: String,
    pub(super) access_method_id: String,
    pub(super) acs_user_id: String,
    /// `ExtUserID` at the simulator.
    pub(super) external_id: String,
    /// External ids of the doors granted.
    pub(super) doors: Vec<String>,
    pub(super) deleted: bool,
    pub(super) encodes: Vec<Encode>,
}

impl Holder {
    /// Whether another encode may be asked for: only while every earlier one certainly wrote nothing, so that each write
    /// belongs to one command.
    pub(super) fn may_encode(&self) -> bool {
        !self.deleted && self.encodes.iter().all(|encode| matches!(encode.end, End::NotDone(_)))
    }
}

/// How a doubt left the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Settled {
    /// It is still there.
    Open,
    /// The bridge found out from the lock server.
    Evidence,
    /// `lockbridge doubt resolve`, by what the simulator counted.
    Person,
}

/// One encode the bridge listed as in doubt.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    pub(super) acs_user_id: String,
    pub(super) settled: Settled,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) holders: Vec<Holder>,
    /// By command id.
    pub(super) doubts: BTreeMap<String, Doubt>,
    /// Commands acknowledged by the API or given at the desk.
    pub(super) commands: u64,
    pub(super) kills: u64,
    /// Kills after which the bridge found an encode between intent and outcome.
    pub(super) kills_in_window: u64,
    /// Encodes whose card was written although nobody had been told when the bridge was killed.
    pub(super) written_untold: u64,
}

impl History {
    pub(super) fn by_user(&self, acs_user_id: &str) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.acs_user_id == acs_user_id)
    }

    pub(super) fn attempts(&self) -> u64 {
        self.holders.iter().map(|holder| holder.encodes.len() as u64).sum()
    }

    pub(super) fn settled(&self, how: Settled) -> u64 {
        self.doubts.values().filter(|doubt| doubt.settled == how).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_api_is_sure_of_counts_as_not_done() {
        let end = |status: &str, kind: &str, message: &str| {
            end_of(&json!({ "status": status, "error": { "type": kind, "message": message } }))
        };
        assert_eq!(end_of(&json!({ "status": "pending", "error": null })), End::Pending);
        assert_eq!(end_of(&json!({ "status": "success", "error": null })), End::Success);
        assert!(matches!(end("error", "bridge_disconnected", "gone"), End::NotDone(_)));
        assert!(matches!(end("error", "uncategorized_error", "The outcome is in doubt: ..."), End::Unknown(_)));
        assert!(matches!(end("error", "action_attempt_expired", "No outcome arrived in time."), End::Unknown(_)));
    }
}
