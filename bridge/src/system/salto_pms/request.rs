//! Between our words and the protocol's: keys to requests, cards that were read to keys. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lockbridge_protocol::proto::tunnel::CardOnEncoder;
use lockbridge_protocol::salto_pms::authorisation::Authorisations;
use lockbridge_protocol::salto_pms::card::{CardRead, CopyNumber, GuestCard};
use lockbridge_protocol::salto_pms::request::{CardKey, KeyKind as PmsKind, MobileDelivery, MobileKey, Request, Stay};

use crate::config::SaltoPmsConfig;
use crate::system::{KeyKind, KeySeen, KeyTarget, PhoneNumber};

/// Letters and digits of a mark: what the engine makes them of.
const MARK_LENGTH: usize = crate::config::MARK_CHARACTERS - 1;

/// Names of one installation, and its local time.
#[derive(Debug)]
pub(super) struct Words<'a> {
    pub(super) config: &'a SaltoPmsConfig,
    pub(super) zone: &'a TimeZone,
}

/// Something asked for that this installation has no words for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoWords {
    /// Not configured as a room.
    #[error("`{0}` is not a configured room")]
    Room(String),
    /// Not configured as an authorisation.
    #[error("`{0}` is not a configured authorisation")]
    Area(String),
    /// A key for a room has rooms, an end, and is new or a copy.
    #[error("a key needs a room, an end, and to be a new one or a copy")]
    Target,
}

impl Words<'_> {
    /// The room's name at the server.
    pub(super) fn room(&self, entrance: &str) -> Result<String, NoWords> {
        let room = self.config.rooms.iter().find(|room| room.entrance == entrance);
        room.map(|room| room.name.clone()).ok_or_else(|| NoWords::Room(entrance.to_owned()))
    }

    fn area(&self, entrance: &str) -> Result<u8, NoWords> {
        let area = self.config.areas.iter().find(|area| area.entrance == entrance);
        area.map(|area| area.number).ok_or_else(|| NoWords::Area(entrance.to_owned()))
    }

    fn stay(&self, key: &KeyTarget) -> Result<(PmsKind, Stay), NoWords> {
        let kind = match key.kind {
            KeyKind::New => PmsKind::CheckIn,
            KeyKind::Copy => PmsKind::Copy,
            KeyKind::First | KeyKind::Update => return Err(NoWords::Target),
        };
        let mut rooms = key.rooms.iter().map(|room| self.room(room));
        let room = rooms.next().ok_or(NoWords::Target)??;
        let more_rooms = rooms.collect::<Result<Vec<String>, NoWords>>()?;
        let numbers = key.areas.iter().map(|area| self.area(area)).collect::<Result<Vec<u8>, NoWords>>()?;
        let window = key.window.ok_or(NoWords::Target)?;
        let end = window.ends_at_ms.ok_or(NoWords::Target)?;
        let operator = if self.config.operator_mark {
            format!("{} {}", self.config.operator, key.mark)
        } else {
            self.config.operator.clone()
        };
        let stay = Stay {
            room,
            more_rooms,
            // What was configured lies within 1 to 62.
            granted: Authorisations::from_numbers(numbers).unwrap_or_default(),
            start: Some(self.local(window.starts_at_ms)),
            end: Some(self.local(end)),
            operator,
            ..Stay::default()
        };
        Ok((kind, stay))
    }

    /// The request for a key on a phone. No text comes with it: what a guest is to be told is not ours to say.
    pub(super) fn mobile_key(&self, key: &KeyTarget, phone: &PhoneNumber) -> Result<Request, NoWords> {
        let (kind, stay) = self.stay(key)?;
        let delivery = MobileDelivery::Phone { text: String::new() };
        Ok(Request::Mobile(MobileKey { kind, phone: phone.0.clone(), stay, delivery }))
    }

    /// The request for a key. Several single requests are asked for, never several cards with one: whether one answer comes for
    /// all is not known.
    pub(super) fn key(&self, key: &KeyTarget, encoder: &str) -> Result<Request, NoWords> {
        let (kind, stay) = self.stay(key)?;
        Ok(Request::Card(CardKey {
            kind,
            cards: None,
            encoder: encoder.to_owned(),
            handling: self.config.handling,
            stay,
            tracks: Default::default(),
            serial: self.config.serial,
        }))
    }

    /// Local time, whole minutes downwards: never later than was granted.
    pub(super) fn local(&self, ms: i64) -> DateTime {
        let clamped = ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
        let minute = clamped.div_euclid(60_000).saturating_mul(60);
        self.zone.to_datetime(Timestamp::from_second(minute).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The moment of a local time. In the hour that a clock change repeats the earlier one, in the one it skips the hour after.
    fn moment(&self, local: DateTime) -> Option<i64> {
        Some(self.zone.to_ambiguous_timestamp(local).compatible().ok()?.as_millisecond())
    }

    /// What lies on the encoder.
    pub(super) fn seen(&self, card: &CardRead) -> (CardOnEncoder, Option<KeySeen>) {
        let class = |name: &str| CardOnEncoder { key_class: name.to_owned(), ..CardOnEncoder::default() };
        match card {
            CardRead::Staff => (class("staff"), None),
            CardRead::Spare => (class("spare"), None),
            CardRead::Ended => (class("ended"), None),
            CardRead::NotIdentified => (class("unidentified"), None),
            CardRead::Guest(guest) => {
                let key = self.key_seen(guest);
                let areas = guest.granted.numbers().filter_map(|number| {
                    let known = self.config.areas.iter().find(|area| area.number == number)?;
                    Some(known.entrance.clone())
                });
                let card = CardOnEncoder {
                    starts_at_ms: guest.start.and_then(|start| self.moment(start)).unwrap_or_default(),
                    ends_at_ms: key.ends_at_ms.unwrap_or_default(),
                    up_to_date: guest.checked_in == Some(true),
                    entrance_external_ids: key.rooms.iter().cloned().chain(areas).collect(),
                    ..class("guest")
                };
                (card, Some(key))
            }
        }
    }

    fn key_seen(&self, guest: &GuestCard) -> KeySeen {
        let rooms = std::iter::once(&guest.room).chain(&guest.more_rooms);
        // A room that is not configured is still what is on the card.
        let entrance = |name: &String| {
            let known = self.config.rooms.iter().find(|room| room.name.eq_ignore_ascii_case(name));
            known.map_or_else(|| name.clone(), |room| room.entrance.clone())
        };
        KeySeen {
            mark: self.mark(&guest.operator).unwrap_or_default().to_owned(),
            rooms: rooms.map(entrance).collect(),
            ends_at_ms: guest.end.and_then(|end| self.moment(end)),
            is_original: guest.copy.map(|copy| copy == CopyNumber::Original),
            is_current: guest.checked_in,
        }
    }

    fn mark<'operator>(&self, operator: &'operator str) -> Option<&'operator str> {
        let mark = operator.trim_end().strip_prefix(self.config.operator.as_str())?.strip_prefix(' ')?;
        let is_mark = mark.len() == MARK_LENGTH && mark.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_mark.then_some(mark)
    }
}
