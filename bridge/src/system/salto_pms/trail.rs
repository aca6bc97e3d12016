//! What of the audit trails was handed on, and records as events. Pure.
//!
//! A record has no number, and its time is a minute of local time without a year. Whether `WF` starts with the oldest record
//! there is, or only with what was not sent yet, is not published; both are borne with. A record is known again by its minute
//! and its words, counted: the second one alike in one minute is new only when both are read in one go. So nothing that was
//! read comes twice, whatever `WF` does. Not knowable, and lost: a record alike to one of the same minute that only a later
//! `WF` gives; one that arrives more than [`KEPT_MINUTES`] after a later one of the same door; and, where `WF` does not start
//! anew, what was read and not stored when this process died.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lockbridge_protocol::proto::tunnel::{AccessEvent, AccessEventKind};
use lockbridge_protocol::salto_pms::audit::{AuditCard, AuditRecord, Incident};
use serde::{Deserialize, Serialize};

/// How long a record is known again behind the newest one of its door: the hour that a clock repeats in autumn, and as much.
const KEPT_MINUTES: i64 = 120;
/// Records of one door that are known again at most; with more in that time the window is shorter.
const KEPT_RECORDS: usize = 128;
/// The server's clock may be ahead of ours by this much, or its newest records would be of last year.
const AHEAD_MINUTES: i64 = 60;

/// What was handed on of every door: the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trails(BTreeMap<String, Trail>);

/// What was handed on of one door.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Trail {
    /// Records of earlier minutes are known. Minutes since the epoch as the server's clock shows them.
    from: i64,
    /// Records from then on: minute, words as a number, how often.
    seen: Vec<(i64, u64, u32)>,
}

/// What a reading that began at `WF` has come across so far, by minute and words.
#[derive(Debug, Default)]
pub(super) struct Pass(BTreeMap<(i64, u64), u32>);

impl Trails {
    /// From a stored cursor; one that cannot be read counts as none.
    pub(super) fn read(cursor: &str) -> Self {
        serde_json::from_str(cursor).unwrap_or_default()
    }

    /// To be stored.
    pub(super) fn cursor(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Keeps the trails of these doors; one that is new begins now.
    pub(super) fn keep<'door>(&mut self, doors: impl Iterator<Item = &'door str>, now: DateTime) {
        let mut before = std::mem::take(&mut self.0);
        for door in doors {
            let begun = || Trail { from: minute(now), seen: Vec::new() };
            self.0.insert(door.to_owned(), before.remove(door).unwrap_or_else(begun));
        }
    }

    /// Takes a record over. `None`: it was handed on before, or tells no time. Else when it happened (local time of the
    /// server), and a name that no other record has.
    pub(super) fn take(
        &mut self,
        door: &str,
        pass: &mut Pass,
        record: &AuditRecord,
        now: DateTime,
    ) -> Option<(DateTime, String)> {
        let latest = now.checked_add(AHEAD_MINUTES.minutes()).unwrap_or(now);
        let at = record.at(latest)?;
        let trail = self.0.get_mut(door)?;
        let key = (minute(at), words(record));
        if key.0 < trail.from {
            return None;
        }
        let count = pass.0.entry(key).or_default();
        *count = count.saturating_add(1);
        match trail.seen.iter_mut().find(|seen| (seen.0, seen.1) == key) {
            Some(seen) if seen.2 >= *count => return None,
            Some(seen) => seen.2 = *count,
            None => trail.seen.push((key.0, key.1, *count)),
        }
        trail.forget();
        Some((at, format!("{door}:{}:{:016x}:{count}", key.0, key.1)))
    }
}

impl Trail {
    fn forget(&mut self) {
        self.seen.sort_unstable();
        let newest = self.seen.last().map_or(self.from, |seen| seen.0);
        self.from = self.from.max(newest.saturating_sub(KEPT_MINUTES));
        while self.seen.iter().filter(|seen| seen.0 >= self.from).count() > KEPT_RECORDS && self.from < newest {
            self.from = self.from.saturating_add(1);
        }
        let from = self.from;
        self.seen.retain(|seen| seen.0 >= from);
    }
}

/// A record as an event at this entrance. Names of staff stay out: the cloud has no use for them.
pub(super) fn event(
    record: &AuditRecord,
    (at, id): (DateTime, String),
    entrance: &str,
    zone: &TimeZone,
    with_phones: bool,
) -> AccessEvent {
    let (kind, denied_reason) = match &record.incident {
        Incident::Opened => (AccessEventKind::Unlocked, ""),
        Incident::InvalidCard => (AccessEventKind::Denied, "invalid_card"),
        Incident::Denied => (AccessEventKind::Denied, "access_denied"),
        Incident::Expired => (AccessEventKind::Denied, "expired"),
        Incident::Antipassback => (AccessEventKind::Denied, "antipassback"),
        Incident::Other(_) => (AccessEventKind::Unspecified, ""),
    };
    let means = match record.copy.as_str() {
        "S2" => "keycode",
        "S3" => "remote",
        // A phone opens as a card does.
        _ if with_phones => "unknown",
        _ => "card",
    };
    let who = match &record.card {
        AuditCard::Guest(room) => format!("guest of room {room} {}", record.copy),
        AuditCard::Staff => "staff".to_owned(),
        AuditCard::Special => record.copy.clone(),
    };
    AccessEvent {
        event_external_id: id,
        occurred_at_ms: zone.to_ambiguous_timestamp(at).compatible().map_or(0, jiff::Timestamp::as_millisecond),
        kind: kind.into(),
        entrance_external_id: entrance.to_owned(),
        method: if kind == AccessEventKind::Unlocked { means.to_owned() } else { String::new() },
        denied_reason: denied_reason.to_owned(),
        operation_text: who.trim_end().to_owned(),
        is_exit: record.is_exit.unwrap_or_default(),
        ..AccessEvent::default()
    }
}

/// The minute that a clock shows, counted through.
fn minute(at: DateTime) -> i64 {
    TimeZone::UTC.to_ambiguous_timestamp(at).compatible().map_or(0, |moment| moment.as_second().div_euclid(60))
}

/// FNV-1a over what a record says besides its time. The cursor outlives the process, so it has to stay what it is.
fn words(record: &AuditRecord) -> u64 {
    let incident = match &record.incident {
        Incident::Opened => "0",
        Incident::InvalidCard => "2",
        Incident::Denied => "3",
        Incident::Expired => "4",
        Incident::Antipassback => "5",
        Incident::Other(other) => other,
    };
    let card = match &record.card {
        AuditCard::Guest(room) => room,
        AuditCard::Staff => "STAFF",
        AuditCard::Special => "",
    };
    let exit = if record.is_exit == Some(true) { "O" } else { "I" };
    let bytes = [incident, exit, card, &record.copy, &record.user].join("\u{b3}");
    bytes.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Time, date};
    use proptest::prelude::*;

    use super::*;

    fn record(at: DateTime, room: &str) -> AuditRecord {
        AuditRecord {
            door: "101".into(),
            month_day: Some((at.month(), at.day())),
            time: Time::new(at.hour(), at.minute(), 0, 0).ok(),
            incident: Incident::Opened,
            is_exit: Some(false),
            card: AuditCard::Guest(room.into()),
            copy: "#0".into(),
            user: String::new(),
            extra: vec![],
        }
    }

    fn start() -> DateTime {
        date(2026, 11, 22).at(15, 0, 0, 0)
    }

    fn begun() -> Trails {
        let mut trails = Trails::default();
        trails.keep(["101"].into_iter(), start());
        trails
    }

    /// Takes all of these in one pass; how many were new.
    fn pass(trails: &mut Trails, records: &[AuditRecord], now: DateTime) -> usize {
        let mut pass = Pass::default();
        records.iter().filter(|record| trails.take("101", &mut pass, record, now).is_some()).count()
    }

    #[test]
    fn the_past_is_not_told_and_the_rest_once_whatever_the_first_request_starts_with() {
        let minutes = |count: i64| start().checked_add(count.minutes()).expect("in range");
        let all: Vec<AuditRecord> = (-5..5).map(|count| record(minutes(count), "101")).collect();
        let now = minutes(10);
        let mut anew = begun();
        assert_eq!(pass(&mut anew, &all[..8], now), 3);
        let mut anew = Trails::read(&anew.cursor());
        assert_eq!(pass(&mut anew, &all, now), 2, "the server starts with the oldest");
        assert_eq!(pass(&mut anew, &all, now), 0);
        let mut once = begun();
        assert_eq!(pass(&mut once, &all[..8], now), 3);
        assert_eq!(pass(&mut once, &all[8..], now), 2, "the server starts with what is new");
    }

    #[test]
    fn two_alike_in_one_minute_are_two_and_stay_two() {
        let (mut trails, twice) = (begun(), vec![record(start(), "101"); 2]);
        assert_eq!(pass(&mut trails, &twice[..1], start()), 1);
        assert_eq!(pass(&mut trails, &twice, start()), 1);
        assert_eq!(pass(&mut trails, &twice, start()), 0);
        let (mut names, mut pass, mut trails) = (std::collections::BTreeSet::new(), Pass::default(), begun());
        for record in &twice {
            names.extend(trails.take("101", &mut pass, record, start()).map(|(_, name)| name));
        }
        assert_eq!(names.len(), 2, "each has a name of its own");
    }

    #[test]
    fn the_hour_that_a_clock_repeats_is_told() {
        let mut trails = begun();
        let at = |hour, minute| date(2026, 11, 22).at(hour, minute, 0, 0);
        assert_eq!(pass(&mut trails, &[record(at(16, 59), "101")], at(17, 5)), 1);
        assert_eq!(pass(&mut trails, &[record(at(16, 59), "101"), record(at(16, 2), "101")], at(17, 5)), 1);
    }

    #[test]
    fn a_date_without_a_year_is_the_latest_one_and_a_clock_ahead_is_borne_with() {
        let new_year = date(2027, 1, 1).at(0, 5, 0, 0);
        let mut trails = Trails::default();
        trails.keep(["101"].into_iter(), date(2026, 12, 31).at(23, 0, 0, 0));
        let mut pass = Pass::default();
        let before = record(date(2026, 12, 31).at(23, 59, 0, 0), "101");
        let (at, _) = trails.take("101", &mut pass, &before, new_year).expect("new");
        assert_eq!(at, date(2026, 12, 31).at(23, 59, 0, 0));
        let ahead = record(date(2027, 1, 1).at(0, 20, 0, 0), "101");
        let (at, _) = trails.take("101", &mut pass, &ahead, new_year).expect("new");
        assert_eq!(at.year(), 2027);
        assert_eq!(trails.take("102", &mut pass, &ahead, new_year), None, "a door that is not read");
    }

    #[test]
    fn an_event_says_what_happened_and_nobodys_name() {
        let zone = TimeZone::get("Europe/Vienna").expect("a zone");
        let staff = AuditRecord {
            incident: Incident::Expired,
            card: AuditCard::Staff,
            user: "Ada Lovelace".into(),
            ..record(start(), "")
        };
        let told = event(&staff, (start(), "n".into()), "D101", &zone, false);
        assert_eq!((told.kind(), told.denied_reason.as_str()), (AccessEventKind::Denied, "expired"));
        assert_eq!(told.occurred_at_ms, 1_795_356_000_000);
        assert!(!format!("{told:?}").contains("Ada"));
        let guest = record(start(), "101");
        for (with_phones, method) in [(false, "card"), (true, "unknown")] {
            let told = event(&guest, (start(), "n".into()), "D101", &zone, with_phones);
            assert_eq!((told.kind(), told.method.as_str()), (AccessEventKind::Unlocked, method));
            assert_eq!(told.operation_text, "guest of room 101 #0");
        }
    }

    proptest! {
        /// However a growing trail is read again and again, each record within the window is told once, and the cursor stays small.
        #[test]
        fn every_record_is_told_once(steps in proptest::collection::vec((0_i64..30, 0_usize..3), 1..200)) {
            let (mut trails, mut trail, mut told) = (begun(), Vec::new(), 0);
            let mut at = start();
            for (ahead, room) in steps {
                at = at.checked_add(ahead.minutes()).expect("in range");
                trail.push(record(at, ["101", "102", "103"][room]));
                trails = Trails::read(&trails.cursor());
                told += pass(&mut trails, &trail, at);
                prop_assert_eq!(told, trail.len());
            }
            prop_assert!(trails.cursor().len() < 8192, "{}", trails.cursor().len());
        }
    }
}
