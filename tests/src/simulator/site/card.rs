//! A card as a thing: a chip serial and what was written on it.

use serde::{Deserialize, Serialize};

use super::super::wire::time::{LocalTime, Period};
use super::access::Right;

/// Openings an offline lock can leave on a card that passes by.
pub const CARRIED_EVENTS: usize = 16;

/// What is on the chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Contents {
    /// Never written, or erased.
    Blank,
    /// A write was cut off; no lock reads it.
    Partial,
    /// A key.
    Key(Written),
}

/// The data of a key, as they were when the card was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Identity of the key; the denylist names this number.
    pub key: u64,
    /// How often this key was written, from 1.
    pub edition: u64,
    /// `ExtUserID` of the holder.
    pub user: String,
    /// From activation to the key end (revalidation).
    pub valid: Period,
    /// Expiry of the person, if any; a lock tells the two ends apart in its log.
    pub expires: Option<LocalTime>,
    /// Doors it opens.
    pub rights: Vec<Right>,
    /// The denylist as of this sequence travels with the card to offline locks.
    pub denylist: u64,
    /// Offline openings on their way to the server.
    pub carried: Vec<Carried>,
}

/// An entry of an offline lock's log that a card carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// `ExtDoorID`.
    pub door: String,
    /// Number of the entry in that lock's log.
    pub sequence: u64,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Chip serial: 7 bytes as upper-case hexadecimal.
    pub serial: String,
    /// Whether the chip is of a technology the encoders can write.
    pub compatible: bool,
    /// What is on it.
    #[serde(flatten)]
    pub contents: Contents,
}

impl Card {
    /// A blank card.
    pub fn blank(serial: String, compatible: bool) -> Self {
        Self { serial, compatible, contents: Contents::Blank }
    }

    /// The key on it, if there is a readable one.
    pub fn written(&self) -> Option<&Written> {
        match &self.contents {
            Contents::Key(written) => Some(written),
            Contents::Blank | Contents::Partial => None,
        }
    }
}

/// A chip serial as makers draw them: `04` and six random bytes.
pub fn random_serial() -> String {
    // The first six bytes of a version 4 UUID are random throughout.
    let random = uuid::Uuid::new_v4().simple().to_string().to_ascii_uppercase();
    format!("04{}", random.chars().take(12).collect::<String>())
}

/// Reads a chip serial given by a person: 7 bytes of hexadecimal.
pub fn read_serial(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_uppercase();
    (text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}
