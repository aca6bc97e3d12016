//! How a key system behaves, what goes wrong at it, and what it counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::framing::Form;
use super::super::link_key::LinkKey;
use super::super::record::CodePage;

/// How this key system behaves.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Frames.
    pub form: Form,
    /// Bytes above ASCII.
    pub page: CodePage,
    /// Rooms that it knows.
    pub rooms: Vec<String>,
    /// Encoders that it has.
    pub encoders: Vec<String>,
    /// How long an encoder waits for a card.
    pub card_wait: Duration,
    /// How long writing takes.
    pub write_time: Duration,
    /// Over a serial line nothing is closed.
    pub is_port: bool,
    /// It knows keys by their reservation, and changes and ends them by it.
    pub on_line: bool,
    /// It proves to the property software that it has this key.
    pub link_key: Option<LinkKey>,
}

/// What goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The card is written, and nothing is answered.
    LoseAnswer,
    /// The card is written, and the answer comes so late (milliseconds).
    LateAnswer(u64),
    /// Answered at once; the card is written afterwards.
    AnswerFirst,
    /// The connection breaks in the middle of the answer.
    BreakInAnswer,
    /// The link begins anew before the answer.
    RestartLink,
    /// The answer names another workstation.
    WrongWorkstation,
    /// The number of the encoder comes back with a zero in front.
    PaddedEncoder,
    /// The answer and an `LA` come in one write.
    TwoInOne,
    /// The answer comes three bytes at a time.
    Trickle,
    /// There are no blank cards left.
    OutOfCards,
}

/// Something physical.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Effect {
    /// 1, 2, 3, ... over the whole life of the data directory.
    pub number: u64,
    /// `new_key`, `duplicate_key`, `one_shot_key`.
    pub kind: String,
    /// Which card.
    pub serial: String,
    /// For which room.
    pub room: String,
    /// Where.
    pub encoder: String,
    /// As told.
    pub reservation: String,
    /// Day and time of its end, as told.
    #[serde(default)]
    pub departure: String,
}
