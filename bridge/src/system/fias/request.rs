//! Between our words and the protocol's: keys to records, cards that were read to keys. Pure.

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lockbridge_protocol::fias::code::KeyType;
use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind};
use lockbridge_protocol::proto::tunnel::CardOnEncoder;
use lockbridge_protocol::signed::sha256;

use crate::config::FiasConfig;
use crate::system::{KeyKind, KeySeen, KeyTarget};

/// Longest reservation number.
const RESERVATION_DIGITS: u64 = 10_000_000_000;

/// Names of one installation, and its local time.
#[derive(Debug)]
pub(super) struct Words<'a> {
    pub(super) config: &'a FiasConfig,
    pub(super) zone: &'a TimeZone,
}

/// Something asked for that this installation has no words for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoWords {
    /// Not configured as a room.
    #[error("`{0}` is not a configured room")]
    Room(String),
    /// Not configured as an option.
    #[error("`{0}` is not a configured option")]
    Option(String),
    /// Keys that are tracked by their reservation have one.
    #[error("the key service tracks keys by reservation, and none is told")]
    Stay,
    /// A key for a room has rooms, an end, and is new or a duplicate.
    #[error("a key needs a room, an end, and to be a new one or a duplicate")]
    Target,
}

impl Words<'_> {
    /// The room's number at the key service.
    fn room(&self, entrance: &str) -> Result<String, NoWords> {
        let room = self.config.rooms.iter().find(|room| room.entrance == entrance);
        room.map(|room| room.name.clone()).ok_or_else(|| NoWords::Room(entrance.to_owned()))
    }

    /// The request for a key.
    pub(super) fn key(&self, key: &KeyTarget, encoder: &str) -> Result<KeyRecord, NoWords> {
        let key_type = match key.kind {
            KeyKind::New => KeyType::New,
            KeyKind::Copy => KeyType::Duplicate,
            KeyKind::First | KeyKind::Update => return Err(NoWords::Target),
        };
        let mut rooms = key.rooms.iter().map(|room| self.room(room));
        let room = rooms.next().ok_or(NoWords::Target)??;
        let more_rooms = rooms.collect::<Result<Vec<String>, NoWords>>()?;
        let window = key.window.ok_or(NoWords::Target)?;
        let end = self.local(window.ends_at_ms.ok_or(NoWords::Target)?);
        Ok(KeyRecord {
            key_type: Some(key_type),
            room,
            more_rooms,
            reservation: if self.config.on_line { number_of_stay(&key.stay)? } else { number_of_key(&key.mark) },
            arrival: Some(self.local(window.starts_at_ms).date()),
            departure: Some(end.date()),
            departure_time: Some(end.time()),
            options: self.options(&key.areas)?,
            ..self.form(KeyRecordKind::Request, encoder)
        })
    }

    /// The request that ends the keys of a stay in a room; of a key service that is not on-line, all keys of the room.
    pub(super) fn end(&self, entrance: &str, stay: &str) -> Result<KeyRecord, NoWords> {
        let reservation = if self.config.on_line { number_of_stay(stay)? } else { String::new() };
        Ok(KeyRecord { room: self.room(entrance)?, reservation, ..self.without_encoder(KeyRecordKind::Delete) })
    }

    /// The request that gives the keys of a stay in a room another end.
    pub(super) fn change(&self, entrance: &str, stay: &str, ends_at_ms: i64) -> Result<KeyRecord, NoWords> {
        let end = self.local(ends_at_ms);
        Ok(KeyRecord {
            room: self.room(entrance)?,
            reservation: number_of_stay(stay)?,
            departure: Some(end.date()),
            departure_time: Some(end.time()),
            ..self.without_encoder(KeyRecordKind::Change)
        })
    }

    /// Names an encoder, as every request has to, and uses none.
    fn without_encoder(&self, kind: KeyRecordKind) -> KeyRecord {
        let encoder = self.config.encoders.first().map(|encoder| encoder.name.as_str()).unwrap_or_default();
        self.form(kind, encoder)
    }

    /// The request to read a card.
    pub(super) fn read(&self, encoder: &str) -> KeyRecord {
        self.form(KeyRecordKind::Read, encoder)
    }

    fn form(&self, kind: KeyRecordKind, encoder: &str) -> KeyRecord {
        KeyRecord { encoder: encoder.to_owned(), workstation: self.config.workstation.clone(), ..KeyRecord::new(kind) }
    }

    /// One character a position: 1 for what is granted, 0 for what is configured and not granted, and a blank, the key
    /// service's own default, for what nobody configured here.
    fn options(&self, areas: &[String]) -> Result<String, NoWords> {
        let options = &self.config.options;
        if let Some(unknown) = areas.iter().find(|area| !options.iter().any(|option| option.entrance == **area)) {
            return Err(NoWords::Option(unknown.clone()));
        }
        let last = options.iter().map(|option| option.position).max().unwrap_or(0);
        let at = |position: u8| match options.iter().find(|option| option.position == position) {
            Some(option) if areas.contains(&option.entrance) => '1',
            Some(_) => '0',
            None => ' ',
        };
        Ok((1..=last).map(at).collect())
    }

    /// Local time, whole minutes downwards: never later than was granted.
    fn local(&self, ms: i64) -> DateTime {
        let clamped = ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
        let minute = clamped.div_euclid(60_000).saturating_mul(60);
        self.zone.to_datetime(Timestamp::from_second(minute).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The end that a record tells, as a moment.
    pub(super) fn end_of(&self, record: &KeyRecord) -> Option<i64> {
        let end = record.departure?.to_datetime(record.departure_time.unwrap_or_default());
        Some(self.zone.to_ambiguous_timestamp(end).compatible().ok()?.as_millisecond())
    }

    /// What lies on the encoder.
    pub(super) fn seen(&self, answer: &KeyRecord) -> (CardOnEncoder, KeySeen) {
        // A room that is not configured is still what is on the card.
        let entrance = |name: &String| {
            let known = self.config.rooms.iter().find(|room| room.name == *name);
            known.map_or_else(|| name.clone(), |room| room.entrance.clone())
        };
        let named = std::iter::once(&answer.room).chain(&answer.more_rooms).filter(|room| !room.trim().is_empty());
        let rooms: Vec<String> = named.map(entrance).collect();
        // The end of a day, if only the day is told.
        let ends_at_ms = if answer.departure_time.is_some() { self.end_of(answer) } else { None };
        let card = CardOnEncoder {
            entrance_external_ids: rooms.clone(),
            ends_at_ms: ends_at_ms.unwrap_or_default(),
            key_class: if rooms.is_empty() { "unidentified" } else { "guest" }.to_owned(),
            ..CardOnEncoder::default()
        };
        (card, KeySeen { rooms, ends_at_ms, ..KeySeen::default() })
    }
}

/// The number by which an on-line key service knows all keys of a stay. It is made from the stay's name, so that it is the same
/// after any restart, and says nothing about it.
fn number_of_stay(stay: &str) -> Result<String, NoWords> {
    if stay.is_empty() {
        return Err(NoWords::Stay);
    }
    let digest = sha256(stay.as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number.wrapping_shl(8) | u64::from(*byte));
    let number = number.checked_rem(RESERVATION_DIGITS.saturating_sub(1)).unwrap_or_default();
    Ok(number.saturating_add(1).to_string())
}

/// A number for a key: some key services need one, and tell keys of one room apart by it.
fn number_of_key(mark: &str) -> String {
    let bytes = BASE32_NOPAD.decode(mark.as_bytes()).unwrap_or_default();
    let number = bytes.iter().fold(0_u64, |number, byte| number.wrapping_shl(8) | u64::from(*byte));
    let number = number.checked_rem(RESERVATION_DIGITS).unwrap_or_default();
    if bytes.is_empty() { String::new() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use lockbridge_protocol::line::CodePage;

    use super::super::tests::{config, zone};
    use super::*;
    use crate::system::Window;

    const NOON: i64 = 1_795_345_200_000;

    fn target(kind: KeyKind) -> KeyTarget {
        KeyTarget {
            kind,
            rooms: vec!["D101".into(), "D102".into()],
            areas: vec!["GYM".into()],
            window: Some(Window { starts_at_ms: NOON, ends_at_ms: Some(NOON + 2 * 86_400_000 + 59_999) }),
            stay: "R1".into(),
            mark: "AAAAAAAB".into(),
        }
    }

    #[test]
    fn on_line_all_records_of_a_stay_have_one_number_and_those_of_others_have_another() {
        let (config, zone) = (FiasConfig { on_line: true, ..config() }, zone());
        let words = Words { config: &config, zone: &zone };
        let first = words.key(&target(KeyKind::New), "1").expect("words").reservation;
        let copy = KeyTarget { mark: "AAAAAAAC".into(), ..target(KeyKind::Copy) };
        assert_eq!(words.key(&copy, "2").expect("words").reservation, first, "whatever request wrote it");
        assert!(first.len() <= 10 && first.bytes().all(|digit| digit.is_ascii_digit()) && first != "0", "{first}");
        let change = words.change("D101", "R1", NOON).expect("words").write(None, CodePage::Cp1252).expect("written");
        let expected = format!("KM|KC1|WSLOCKBRIDGE|RN101|G#{first}|GD261122|DT12:00|");
        assert_eq!(String::from_utf8(change).expect("ASCII"), expected);
        let end = words.end("D101", "R1").expect("words").write(None, CodePage::Cp1252).expect("written");
        assert_eq!(String::from_utf8(end).expect("ASCII"), format!("KD|KC1|WSLOCKBRIDGE|RN101|G#{first}|"));
        assert_ne!(words.end("D101", "R2").expect("words").reservation, first);
        let nobody = KeyTarget { stay: String::new(), ..target(KeyKind::New) };
        assert_eq!(words.key(&nobody, "1"), Err(NoWords::Stay));
        assert_eq!(words.change("D999", "R1", NOON), Err(NoWords::Room("D999".into())));
    }

    #[test]
    fn a_key_becomes_a_record_in_local_time_that_never_ends_later_than_granted() {
        let (config, zone) = (config(), zone());
        let words = Words { config: &config, zone: &zone };
        let record = words.key(&target(KeyKind::New), "1").expect("words");
        let text = record.write(None, CodePage::Cp1252).expect("can be written");
        assert_eq!(
            String::from_utf8(text).expect("ASCII"),
            "KR|KC1|WSLOCKBRIDGE|RN101|KTN|G#1|GA261122|GD261124|DT12:00|KO 01|SI102|"
        );
        assert_eq!(words.end_of(&record), Some(NOON + 2 * 86_400_000));
        assert_eq!(words.key(&target(KeyKind::Copy), "1").expect("words").key_type, Some(KeyType::Duplicate));
        assert_eq!(words.key(&target(KeyKind::First), "1"), Err(NoWords::Target));
        let mut unknown = target(KeyKind::New);
        unknown.rooms = vec!["D999".into()];
        assert_eq!(words.key(&unknown, "1"), Err(NoWords::Room("D999".into())));
        let mut endless = target(KeyKind::New);
        endless.window = Some(Window { starts_at_ms: NOON, ends_at_ms: None });
        assert_eq!(words.key(&endless, "1"), Err(NoWords::Target));
        let mut option = target(KeyKind::New);
        option.areas = vec!["SPA".into()];
        assert_eq!(words.key(&option, "1"), Err(NoWords::Option("SPA".into())));
    }

    #[test]
    fn a_card_that_was_read_becomes_a_key() {
        let (config, zone) = (config(), zone());
        let words = Words { config: &config, zone: &zone };
        let mut answer = KeyRecord::new(KeyRecordKind::ReadAnswer);
        answer.room = "101".into();
        answer.more_rooms = vec!["7".into()];
        answer.departure = Some(jiff::civil::date(2026, 11, 24));
        answer.departure_time = Some(jiff::civil::time(12, 0, 0, 0));
        let (card, key) = words.seen(&answer);
        assert_eq!((card.entrance_external_ids, card.key_class.as_str()), (vec!["D101".into(), "7".into()], "guest"));
        assert_eq!(key.ends_at_ms, Some(NOON + 2 * 86_400_000));
        assert_eq!(words.end("D102", "R1").expect("words").room, "102");
    }
}
