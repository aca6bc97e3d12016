//! The hotel as its lock server sees it, the cards as things, and the doors, which decide for themselves.
//!
//! A door knows one number: the generation of the newest key it has met. A newer key is let in and makes the older ones
//! stale; nothing else does. So a check-in ends the earlier cards only when a new one is used, copies live side by side, and
//! after a check-out the guest's card opens until it ends or the next guest comes.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// A room and its stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Main name.
    pub name: String,
    /// Somebody stays in it.
    pub occupied: bool,
    /// Of the newest check-in.
    pub generation: u64,
    /// Copies made of its key.
    pub copies: u64,
    /// End of the stay.
    pub end: Option<DateTime>,
    /// Not for guests.
    pub out_of_service: bool,
    /// What its lock has met.
    pub lock_generation: u64,
}

/// Which key of a stay a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copy {
    /// Made by a check-in.
    Original,
    /// First, second, third copy.
    Number(u64),
    /// Opens once.
    OneShot,
}

/// What is written on a card, or sent to a phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The rooms it opens, the main one first, each with its generation.
    pub rooms: Vec<(String, u64)>,
    /// Which key of the stay.
    pub copy: Copy,
    /// Numbers of the common doors.
    pub granted: Vec<u8>,
    /// Local time of the server.
    pub start: DateTime,
    /// Local time of the server; `None`: never ends.
    pub end: Option<DateTime>,
    /// Name of the clerk.
    pub operator: String,
    /// A one-shot key that has been used.
    #[serde(default)]
    pub spent: bool,
}

/// What lies on the chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "key")]
pub enum Contents {
    /// Never written.
    Blank,
    /// A write was cut off.
    Partial,
    /// A guest.
    Guest(Key),
    /// A member of staff.
    Staff,
    /// A spare guest card.
    Spare,
    /// Of another site, or broken.
    Foreign,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Chip serial: 14 upper-case hexadecimal digits.
    pub serial: String,
    /// What is on the chip.
    pub contents: Contents,
    /// Texts of the magnetic tracks.
    #[serde(default)]
    pub tracks: [String; 3],
}

/// A phone with the vendor's app. It holds one key: the newest takes the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phone {
    /// The key that it has.
    pub key: Key,
    /// Keys that came to it, ever.
    pub keys_received: u64,
}

/// An encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoder {
    /// Name at the server.
    pub name: String,
    /// On the network.
    pub plugged: bool,
    /// Somebody else works with it.
    pub busy: bool,
    /// An attendant gives it the card that a job asks for and takes it away afterwards.
    pub auto_feed: bool,
    /// Serial of the card on it.
    pub card: Option<String>,
}

/// An event in the trail of a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Room or common door.
    pub door: String,
    /// Local time of the server.
    pub at: DateTime,
    /// The door opened.
    pub opened: bool,
    /// Main room of the card.
    pub room: String,
    /// Which key.
    pub copy: Option<Copy>,
}

/// What was done that no second request takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// A key was written on a card.
    CardWritten,
    /// A write began and did not finish.
    CardPartlyWritten,
    /// Text was written on a track.
    TrackWritten,
    /// A key went to a phone, or back to the host.
    MobileKey,
    /// A stay was changed.
    StayChanged,
    /// A stay was ended.
    CheckedOut,
    /// A door opened.
    DoorOpened,
}

/// A line of the count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// 1, 2, 3… over the life of the data directory.
    pub number: u64,
    /// What was done.
    pub kind: EffectKind,
    /// Command that did it; empty at doors.
    pub command: String,
    /// Main room.
    pub room: String,
    /// Chip serial or phone.
    pub medium: String,
    /// Encoder name.
    pub encoder: String,
    /// What was written.
    pub key: Option<Key>,
    /// Local time of the server.
    pub at: DateTime,
}

/// One change, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A room as it is now.
    Room(Room),
    /// A card as it is now.
    Card(Card),
    /// An encoder as it is now.
    Encoder(Encoder),
    /// A key came to a phone.
    Phone(String, Key),
    /// A new event of a door.
    Opening(Opening),
    /// An effect.
    Effect(Effect),
}

/// Everything.
#[derive(Debug, Default)]
pub struct Hotel {
    /// By name.
    pub rooms: BTreeMap<String, Room>,
    /// By serial.
    pub cards: BTreeMap<String, Card>,
    /// By name.
    pub encoders: BTreeMap<String, Encoder>,
    /// By phone number.
    pub phones: BTreeMap<String, Phone>,
    /// Oldest first.
    pub openings: Vec<Opening>,
    /// In order.
    pub effects: Vec<Effect>,
    changes: Vec<Change>,
}

impl Hotel {
    /// Makes a change of the log; nothing is noted.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Room(room) => drop(self.rooms.insert(room.name.clone(), room)),
            Change::Card(card) => drop(self.cards.insert(card.serial.clone(), card)),
            Change::Encoder(encoder) => drop(self.encoders.insert(encoder.name.clone(), encoder)),
            Change::Phone(number, key) => {
                let before = self.phones.get(&number).map_or(0, |phone| phone.keys_received);
                self.phones.insert(number, Phone { key, keys_received: before + 1 });
            }
            Change::Opening(opening) => self.openings.push(opening),
            Change::Effect(effect) => self.effects.push(effect),
        }
    }

    /// Makes a change and notes it for the log.
    pub fn put(&mut self, change: Change) {
        self.apply(change.clone());
        self.changes.push(change);
    }

    /// Notes an effect; its number is given here.
    pub fn effect(&mut self, effect: Effect) {
        let number = u64::try_from(self.effects.len()).unwrap_or(u64::MAX).saturating_add(1);
        self.put(Change::Effect(Effect { number, ..effect }));
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A card is held to the lock of a room. `None`: no such card or room.
    pub fn present(&mut self, serial: &str, room: &str, now: DateTime) -> Option<bool> {
        let (card, door) = (self.cards.get(serial)?.clone(), self.rooms.get(room)?.clone());
        let Contents::Guest(key) = &card.contents else {
            self.opening(room, now, matches!(card.contents, Contents::Staff), None);
            return Some(matches!(card.contents, Contents::Staff));
        };
        let opened = self.lets_in(key, door, now);
        if opened {
            self.opened(&card, room, now);
        }
        Some(opened)
    }

    /// The key of a phone is shown to the lock of a room. `None`: no key came to that number, or no such room.
    pub fn present_phone(&mut self, number: &str, room: &str, now: DateTime) -> Option<bool> {
        let (phone, door) = (self.phones.get(number)?.clone(), self.rooms.get(room)?.clone());
        let opened = self.lets_in(&phone.key, door, now);
        if opened {
            self.effect(opened_by(number, room, Some(phone.key), now));
        }
        Some(opened)
    }

    fn lets_in(&mut self, key: &Key, door: Room, now: DateTime) -> bool {
        let generation = key.rooms.iter().find(|(name, _)| *name == door.name).map(|(_, generation)| *generation);
        let current = generation.filter(|generation| *generation >= door.lock_generation);
        let opened = current.is_some() && is_valid(key, now);
        self.opening(&door.name, now, opened, Some(key));
        // A one-shot key belongs to nobody's stay and ends none.
        if let Some(generation) = current.filter(|_| opened && key.copy != Copy::OneShot) {
            self.put(Change::Room(Room { lock_generation: generation, ..door }));
        }
        opened
    }

    /// A card is held to a common door. `None`: no such card.
    pub fn present_common(&mut self, serial: &str, authorisation: u8, now: DateTime) -> Option<bool> {
        let card = self.cards.get(serial)?.clone();
        let key = match &card.contents {
            Contents::Guest(key) => Some(key),
            _ => None,
        };
        let opened = match key {
            Some(key) => key.granted.contains(&authorisation) && is_valid(key, now),
            None => matches!(card.contents, Contents::Staff),
        };
        let door = format!("common {authorisation}");
        self.opening(&door, now, opened, key);
        if opened {
            self.opened(&card, &door, now);
        }
        Some(opened)
    }

    fn opened(&mut self, card: &Card, door: &str, now: DateTime) {
        let mut card = card.clone();
        let (medium, mut written) = (card.serial.clone(), None);
        if let Contents::Guest(key) = &mut card.contents {
            written = Some(key.clone());
            if key.copy == Copy::OneShot {
                key.spent = true;
                self.put(Change::Card(card));
            }
        }
        self.effect(opened_by(&medium, door, written, now));
    }

    fn opening(&mut self, door: &str, at: DateTime, opened: bool, key: Option<&Key>) {
        let room = key.and_then(|key| key.rooms.first()).map(|(room, _)| room.clone()).unwrap_or_default();
        let copy = key.map(|key| key.copy);
        self.put(Change::Opening(Opening { door: door.to_owned(), at, opened, room, copy }));
    }
}

fn opened_by(medium: &str, door: &str, key: Option<Key>, at: DateTime) -> Effect {
    let (command, encoder) = (String::new(), String::new());
    let (room, medium) = (door.to_owned(), medium.to_owned());
    Effect { number: 0, kind: EffectKind::DoorOpened, command, room, medium, encoder, key, at }
}

fn is_valid(key: &Key, now: DateTime) -> bool {
    key.start <= now && key.end.is_none_or(|end| now < end) && !key.spent
}
