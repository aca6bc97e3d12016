//! What a key record asks for, in the words of the engine. Dates are local to the site.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use lockbridge_protocol::fias::code::KeyType;
use lockbridge_protocol::fias::id::FieldId;
use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind, same_encoder};

use crate::config::FrontDeskConfig;
use crate::dispatch::{DeskRoom, DeskWish};

/// Rooms that are named for guests are cut here; the lock system cuts again.
const NAME_CHARACTERS: usize = 80;

/// Why a record cannot be an order: for the clerk, in at most 40 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unusable(pub(super) String);

fn unusable(text: impl Into<String>) -> Unusable {
    Unusable(text.into())
}

/// The wish in a record, at `now_ms`.
pub(super) fn wish(record: &KeyRecord, config: &FrontDeskConfig, now_ms: i64) -> Result<DeskWish, Unusable> {
    if let Some((field, _)) = record.unread.iter().find(|(field, _)| decides(*field)) {
        return Err(unusable(format!("Field {field} cannot be read")));
    }
    if let Some(field) = record.missing().next() {
        return Err(unusable(format!("Field {field} is missing")));
    }
    let reservation = record.reservation.trim().to_owned();
    match record.kind {
        KeyRecordKind::Request => key(record, config, reservation, now_ms),
        KeyRecordKind::Delete => Ok(DeskWish::End { room: room(&record.room, config), reservation }),
        KeyRecordKind::Change => Ok(DeskWish::Change {
            rooms: rooms(record, config),
            reservation,
            starts_at_ms: record.arrival.map(|date| moment(date, config.check_in, config)).transpose()?,
            ends_at_ms: end(record, config)?,
        }),
        KeyRecordKind::Read => Ok(DeskWish::Read),
        KeyRecordKind::ReadAnswer | KeyRecordKind::Answer => Err(unusable("An answer is no request")),
    }
}

/// Reading one of these wrongly would make another key than was asked for.
fn decides(field: FieldId) -> bool {
    matches!(
        field,
        FieldId::KEY_TYPE | FieldId::ARRIVAL | FieldId::DEPARTURE | FieldId::DEPARTURE_TIME | FieldId::KEY_COUNT
    )
}

fn key(record: &KeyRecord, config: &FrontDeskConfig, reservation: String, now_ms: i64) -> Result<DeskWish, Unusable> {
    let duplicate = match record.key_type {
        Some(KeyType::New) => false,
        Some(KeyType::Duplicate) => true,
        Some(KeyType::OneShot) => return Err(unusable("One-shot keys are not supported")),
        None => return Err(unusable("Field KT is missing")),
    };
    // Who is given a card on the day of arrival is to get in with it, however early.
    let arrival = record.arrival.map(|date| moment(date, config.check_in, config)).transpose()?;
    let today = local_date(now_ms, &config.time_zone);
    let starts_at_ms = match (arrival, record.arrival) {
        (Some(start), Some(date)) if today.is_some_and(|today| date > today) => start,
        (Some(start), _) => start.min(now_ms),
        (None, _) => now_ms,
    };
    let name = if config.guest_names { record.guest_name.trim() } else { "" };
    let holder_name = if name.is_empty() { format!("Room {}", record.room) } else { name.to_owned() };
    Ok(DeskWish::Key {
        duplicate,
        rooms: rooms(record, config),
        reservation,
        starts_at_ms,
        ends_at_ms: end(record, config)?,
        holder_name: holder_name.chars().take(NAME_CHARACTERS).collect(),
    })
}

fn rooms(record: &KeyRecord, config: &FrontDeskConfig) -> Vec<DeskRoom> {
    let mut rooms: Vec<DeskRoom> = Vec::with_capacity(record.more_rooms.len().saturating_add(1));
    for name in std::iter::once(&record.room).chain(&record.more_rooms) {
        if !rooms.iter().any(|known| known.name == *name) {
            rooms.push(room(name, config));
        }
    }
    rooms
}

fn room(name: &str, config: &FrontDeskConfig) -> DeskRoom {
    DeskRoom { name: name.to_owned(), entrance: config.rooms.get(name).cloned() }
}

fn end(record: &KeyRecord, config: &FrontDeskConfig) -> Result<Option<i64>, Unusable> {
    record.departure.map(|date| moment(date, record.departure_time.unwrap_or(config.check_out), config)).transpose()
}

/// A local moment. One that the clocks skip or repeat is taken as people mean it: the later, and the earlier one.
fn moment(date: Date, time: Time, config: &FrontDeskConfig) -> Result<i64, Unusable> {
    let zoned = date.to_datetime(time).to_zoned(config.time_zone.clone());
    zoned.map(|zoned| zoned.timestamp().as_millisecond()).map_err(|_| unusable("Arrival or departure is not valid"))
}

fn local_date(now_ms: i64, zone: &TimeZone) -> Option<Date> {
    jiff::Timestamp::from_millisecond(now_ms).ok().map(|now| now.to_zoned(zone.clone()).date())
}

/// The encoder's id at the lock system: as configured, else the name itself.
pub(super) fn encoder(name: &str, config: &FrontDeskConfig) -> String {
    let known = config.encoders.iter().find(|(known, _)| same_encoder(known, name));
    known.map_or_else(|| name.trim().to_owned(), |(_, encoder)| encoder.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::civil::{date, time};
    use lockbridge_protocol::fias::record::Record;
    use lockbridge_protocol::line::CodePage;

    use super::*;
    use crate::link::Endpoint;

    /// 2026-11-22 10:00 in Madrid.
    pub(in crate::front_desk) const NOW: i64 = 1_795_338_000_000;
    const HOUR: i64 = 3_600_000;

    pub(in crate::front_desk) fn config() -> FrontDeskConfig {
        FrontDeskConfig {
            name: "reception".into(),
            lock_system: "main".into(),
            time_zone: TimeZone::get("Europe/Madrid").expect("a zone"),
            endpoint: Endpoint::Dial { host: "192.0.2.1".into(), port: 5003 },
            replaces: false,
            acknowledges: false,
            checksum: false,
            code_page: CodePage::Cp850,
            answer_timeout: Duration::from_secs(55),
            check_in: time(14, 0, 0, 0),
            check_out: time(12, 0, 0, 0),
            guest_names: true,
            answers_alive: true,
            spacing: Duration::ZERO,
            probe_interval: Duration::from_secs(300),
            link_key: None,
            rooms: BTreeMap::from([("0101".to_owned(), "D101".to_owned())]),
            encoders: BTreeMap::from([("1".to_owned(), "Front desk 1".to_owned())]),
        }
    }

    pub(in crate::front_desk) fn record(text: &str) -> KeyRecord {
        let record = Record::read(text.as_bytes()).expect("a record");
        KeyRecord::read(record, CodePage::Cp850).expect("a key record")
    }

    fn asked(text: &str) -> Result<DeskWish, Unusable> {
        wish(&record(text), &config(), NOW)
    }

    fn key_of(text: &str) -> (bool, Vec<DeskRoom>, i64, Option<i64>, String) {
        match asked(text).expect("a wish") {
            DeskWish::Key { duplicate, rooms, starts_at_ms, ends_at_ms, holder_name, .. } => {
                (duplicate, rooms, starts_at_ms, ends_at_ms, holder_name)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_request_is_a_stay_in_local_time() {
        let (duplicate, rooms, starts, ends, name) =
            key_of("KR|WS3|KC1|RN0101|KTN|GA261122|GD261124|G#11122|GNExample, Ada|SI2788;0101|");
        assert!(!duplicate);
        assert_eq!(rooms[0], DeskRoom { name: "0101".into(), entrance: Some("D101".into()) });
        assert_eq!(
            rooms[1..],
            [DeskRoom { name: "2788".into(), entrance: None }],
            "the room itself is not twice there"
        );
        assert_eq!(starts, NOW, "the card is for now, though check-in is at 14:00");
        assert_eq!(ends, Some(NOW + 50 * HOUR), "noon, two days later");
        assert_eq!(name, "Example, Ada");

        let (duplicate, _, starts, ends, name) = key_of("KR|WS3|KC1|RN5|KTD|GA261123|GD261124|DT09:30|");
        assert!(duplicate);
        assert_eq!(
            (starts, ends),
            (NOW + 28 * HOUR, Some(NOW + 47 * HOUR + HOUR / 2)),
            "not before tomorrow's check-in"
        );
        assert_eq!(name, "Room 5");
        assert_eq!(key_of("KR|WS3|KC1|RN5|KTD|").3, None, "the end of the stay that is there");
        assert_eq!(key_of("KR|WS3|KC1|RN5|KTD|GA261120|").2, NOW - 44 * HOUR, "a stay that began before");
    }

    #[test]
    fn clocks_that_change_move_nothing_but_the_clock() {
        // The night of 2027-03-28 has no 02:30 in Madrid.
        let (.., ends, _) = key_of("KR|WS3|KC1|RN5|KTN|GD270328|DT0230|");
        let expected = date(2027, 3, 28).at(3, 30, 0, 0).to_zoned(config().time_zone).expect("valid");
        assert_eq!(ends, Some(expected.timestamp().as_millisecond()));
    }

    #[test]
    fn what_would_make_another_key_than_asked_for_is_refused_in_words_for_the_clerk() {
        for (text, expected) in [
            ("KR|WS3|KC1|RN5|KTO|GD261124|", "One-shot keys are not supported"),
            ("KR|WS3|KC1|RN5|GD261124|", "Field KT is missing"),
            ("KR|WS3|KC1|RN5|KTX|", "Field KT cannot be read"),
            ("KR|WS3|KC1|KTN|", "Field RN is missing"),
            ("KR|WS3|KC1|RN5|KTN|GD261399|", "Field GD cannot be read"),
            ("KR|WS3|KC1|RN5|KTN|K#3|", "Field K# cannot be read"),
            ("KM|WS3|KC1|RN5|", "Field G# is missing"),
            ("KA|WS3|KC1|ASOK|", "An answer is no request"),
        ] {
            assert_eq!(asked(text), Err(unusable(expected)), "{text}");
            assert!(expected.chars().count() <= 40);
        }
        assert!(asked("KR|WS3|KC1|RN5|KTN|ZZunknown|").is_ok(), "unknown fields are skipped");
    }

    #[test]
    fn other_records_and_encoders() {
        let end = asked("KD|WS9|KC3|RN2781|G#12345|").expect("a wish");
        assert_eq!(
            end,
            DeskWish::End { room: DeskRoom { name: "2781".into(), entrance: None }, reservation: "12345".into() }
        );
        assert_eq!(asked("KZ|KC01|WSFO|").expect("a wish"), DeskWish::Read);
        let DeskWish::Change { rooms, starts_at_ms, ends_at_ms, .. } =
            asked("KM|WS3|KC1|RN3222|RO2781|G#1|").expect("a wish")
        else {
            panic!("not a change")
        };
        assert_eq!((rooms.len(), starts_at_ms, ends_at_ms), (1, None, None));
        assert_eq!(encoder("01", &config()), "Front desk 1");
        assert_eq!(encoder(" Desk 7 ", &config()), "Desk 7");
    }
}
