//! What can be asked, and the shape of answers.

use std::fmt;

use lockbridge_protocol::proto::tunnel::report::Body;
use lockbridge_protocol::proto::tunnel::{CommandState, Report};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::dispatch::{DoubtVerdict, EncodeLocally};

/// One request line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The health snapshot.
    Status,
    /// Commands not ended, next first.
    Queue {
        /// At most this many.
        limit: usize,
    },
    /// Commands in doubt.
    Doubts,
    /// A person's answer to a doubt.
    Resolve {
        /// Text form of the command's id.
        command_id: String,
        /// What came of it.
        verdict: DoubtVerdict,
    },
    /// Encode the card of a known grant.
    Encode(EncodeLocally),
    /// Who is at an encoder and who waits for it.
    EncoderJobs,
    /// Take back a command that has not begun.
    Cancel {
        /// Text form of the command's id.
        command_id: String,
    },
    /// The local brake.
    Brake {
        /// On or off.
        on: bool,
    },
    /// Somebody at the site releases the quarantine.
    LiftQuarantine,
    /// Take the policy file anew.
    ReloadPolicy,
    /// Make this machine the bridge that the token is for; a daemon that waits for its identity does it.
    Enroll {
        /// As the cloud gave it.
        token: SecretText,
        /// Name shown in the cloud.
        name: String,
    },
}

/// A secret on its way through the socket: wiped when dropped, and in no message.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the secret.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretText(not shown)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// One answer line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Done; what was asked for.
    Done {
        /// The value.
        answer: Value,
    },
    /// Not done.
    Refused {
        /// Stable code.
        code: String,
        /// What and where.
        message: String,
        /// The next step; empty when the message says it all.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hint: String,
    },
}

impl Answer {
    /// The value that was asked for.
    pub fn done(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(answer) => Self::Done { answer },
            Err(error) => Self::refused("internal", format!("The answer cannot be written: {error}.")),
        }
    }

    /// A refusal.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::refused_with_hint(code, message, "")
    }

    /// A refusal, and what to do about it.
    pub fn refused_with_hint(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { code: code.to_owned(), message: message.into(), hint: hint.into() }
    }
}

/// What came of a local encode, for people and scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodeAnswer {
    /// Text form of the command's id.
    pub command_id: String,
    /// succeeded, failed, `in_doubt`, rejected, expired, ...
    pub state: String,
    /// Chip serial of the card written.
    pub card_number: String,
    /// Error code; empty when succeeded.
    pub code: String,
    /// For people.
    pub message: String,
}

impl EncodeAnswer {
    /// Takes what a person needs out of the command's last report.
    pub fn of(report: &Report) -> Self {
        let Some(Body::CommandUpdate(update)) = &report.body else { return Self::default() };
        let error = update.error.clone().unwrap_or_default();
        let command_id = lockbridge_protocol::ids::CommandId::from_bytes(&update.command_id);
        Self {
            command_id: command_id.map(|id| id.to_string()).unwrap_or_default(),
            state: state_word(update.state()).to_owned(),
            card_number: update.evidence.as_ref().map(|evidence| evidence.card_number.clone()).unwrap_or_default(),
            code: error.code,
            message: error.message,
        }
    }
}

/// A command's state as one word.
fn state_word(state: CommandState) -> &'static str {
    match state {
        CommandState::Unspecified => "unknown",
        CommandState::Executing => "executing",
        CommandState::Succeeded => "succeeded",
        CommandState::Failed => "failed",
        CommandState::InDoubt => "in_doubt",
        CommandState::Rejected => "rejected",
        CommandState::Expired => "expired",
        CommandState::Superseded => "superseded",
        CommandState::Cancelled => "cancelled",
        CommandState::Abandoned => "abandoned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_they_are_written_and_strangers_are_refused() {
        let requests = [
            Request::Status,
            Request::Queue { limit: 5 },
            Request::Resolve { command_id: "x".into(), verdict: DoubtVerdict::NotDone },
            Request::Encode(EncodeLocally {
                grant_id: "g".into(),
                lock_system: String::new(),
                encoder: "Front desk 1".into(),
                command_id: String::new(),
                operation: None,
            }),
            Request::Brake { on: true },
            Request::Enroll { token: SecretText::new("canary \" \\ token"), name: "front desk".into() },
        ];
        for request in requests {
            let line = serde_json::to_string(&request).expect("writes");
            assert_eq!(serde_json::from_str::<Request>(&line).expect("reads"), request, "{line}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"request":"unlock_everything"}"#).is_err());
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        let request = Request::Enroll { token: SecretText::new("canary"), name: "desk".into() };
        assert!(!format!("{request:?}").contains("canary"));
    }

    #[test]
    fn answers_are_told_apart() {
        let done = Answer::Done { answer: serde_json::json!([1]) };
        let refused = Answer::refused("brake", "The brake is on.");
        let hinted = Answer::refused_with_hint("not_enrolled", "There is no identity.", "Enroll.");
        for answer in [done, refused, hinted] {
            let line = serde_json::to_string(&answer).expect("writes");
            assert_eq!(serde_json::from_str::<Answer>(&line).expect("reads"), answer);
        }
    }
}
