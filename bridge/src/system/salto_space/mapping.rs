//! Our words and Space's: identifiers, names, times, rights. Pure functions.

use std::collections::BTreeMap;

use data_encoding::{BASE32_NOPAD, HEXUPPER};
use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use lockbridge_protocol::ship::entity::{User, UserDoorPermission, UserGroupMembership};
use lockbridge_protocol::ship::enumeration::CurrentKeyStatus;
use lockbridge_protocol::ship::value::{NO_EXPIRATION, NO_PERIOD, Period, Personal, chip_serial};
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::system::{Right, RightTarget, UserObservation, Window};

/// In front of the identifiers that we give, so that people at Space see whose they are.
const PREFIX: &str = "LB-";
/// Characters Space keeps of a first name.
const FIRST_NAME_CHARACTERS: usize = 40;
/// Characters Space keeps of a last name.
const LAST_NAME_CHARACTERS: usize = 50;
/// End of a period that has none: a period always has both.
const OPEN_END: DateTime = date(2099, 12, 31).at(23, 59, 59, 0);
/// Validity of a person without any right: one day, long ago. Not the first of January 2000, which means "no value".
const PAST: (DateTime, DateTime) = (date(2000, 1, 2).at(0, 0, 0, 0), date(2000, 1, 3).at(0, 0, 0, 0));

/// `ExtUserID` of one of our users: 29 of the 32 characters Space keeps, upper case because nothing says that case counts.
///
/// A user id that is not a UUID is hashed; it cannot be read back from Space then, but is as stable.
pub(super) fn external_id(user_id: &str) -> String {
    let hashed = |_| {
        let mut half = [0_u8; 16];
        half.iter_mut().zip(digest(&SHA256, user_id.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        half
    };
    let bytes = Uuid::parse_str(user_id).map_or_else(hashed, Uuid::into_bytes);
    format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
}

/// The user id behind one of our external ids.
pub(super) fn user_id(external_id: &str) -> Option<String> {
    let encoded = external_id.strip_prefix(PREFIX)?.to_ascii_uppercase();
    let bytes: [u8; 16] = BASE32_NOPAD.decode(encoded.as_bytes()).ok()?.try_into().ok()?;
    Some(Uuid::from_bytes(bytes).hyphenated().to_string())
}

/// First and last name within Space's limits. The last word is the last name. `distinct` adds a part of the external id,
/// for Space wants names to be unique.
pub(super) fn names(full_name: &str, external_id: &str, distinct: bool) -> (Personal, Personal) {
    let plain: String = full_name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let (first, last) = match words.split_last() {
        Some((last, first)) => (first.join(" "), (*last).to_owned()),
        None => (String::new(), external_id.to_owned()),
    };
    let suffix = if distinct { format!(" #{}", mark(external_id)) } else { String::new() };
    let room = LAST_NAME_CHARACTERS.saturating_sub(suffix.chars().count());
    (Personal(cut(&first, FIRST_NAME_CHARACTERS)), Personal(cut(&last, room) + &suffix))
}

/// Eight digits that are always the same for one user and hardly ever for two.
fn mark(external_id: &str) -> String {
    let hash = digest(&SHA256, external_id.as_bytes());
    HEXUPPER.encode(hash.as_ref().get(..4).unwrap_or_default())
}

fn cut(text: &str, characters: usize) -> String {
    let cut: String = text.chars().take(characters).collect();
    cut.trim_end().to_owned()
}

/// Local times of one site.
#[derive(Debug, Clone)]
pub(super) struct SiteTime {
    pub(super) zone: TimeZone,
}

impl SiteTime {
    /// Local time of a moment, whole seconds downwards. Times before the year 1 and after 9999 become the nearest.
    pub(super) fn local(&self, ms: i64) -> DateTime {
        let clamped = ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
        let seconds = Timestamp::from_second(clamped.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(seconds)
    }

    /// The moment of a local time. In the hour that a clock change repeats, the earlier one; in the one it skips, the hour
    /// after. `None` for the dates that stand for "no value".
    pub(super) fn moment(&self, local: DateTime) -> Option<i64> {
        if local == NO_PERIOD || local == NO_EXPIRATION {
            return None;
        }
        let moment = self.zone.to_ambiguous_timestamp(local).compatible().ok()?;
        Some(moment.as_millisecond())
    }

    fn period(&self, window: Window) -> Period {
        Period {
            start: self.local(window.starts_at_ms),
            end: window.ends_at_ms.map_or(OPEN_END, |end| self.local(end)),
        }
    }
}

/// Validity of the person: activation, whether it ends, and when.
pub(super) fn validity(window: Option<Window>, time: &SiteTime, user: &mut User) {
    let (activation, expiration) = match window {
        None => (PAST.0, Some(PAST.1)),
        Some(window) => (time.local(window.starts_at_ms), window.ends_at_ms.map(|end| time.local(end))),
    };
    user.activation = Some(activation);
    user.expiration_enabled = Some(expiration.is_some());
    user.expiration = expiration;
}

/// Whole lists of doors and access levels, in a fixed order, each target once.
///
/// Space keeps one period for a right. Several rights to one target become one where their windows meet; of windows with a
/// gap between them the first that is not over is taken, since more would open the door in the gap.
pub(super) fn rights(rights: &[Right], now_ms: i64, time: &SiteTime, user: &mut User) -> bool {
    let mut targets: BTreeMap<&RightTarget, Vec<Option<Window>>> = BTreeMap::new();
    for right in rights {
        targets.entry(&right.target).or_default().push(right.window);
    }
    let mut complete = true;
    let (mut doors, mut groups) = (Vec::new(), Vec::new());
    for (target, windows) in targets {
        let (window, whole) = one_window(windows, now_ms);
        complete &= whole;
        let (use_period, period) = (Some(window.is_some()), window.map(|window| time.period(window)));
        match target {
            RightTarget::Entrance(door) => doors.push(UserDoorPermission {
                door_id: Some(door.clone()),
                use_period,
                period,
                ..UserDoorPermission::default()
            }),
            RightTarget::Group(group) => groups.push(UserGroupMembership {
                group_id: Some(group.clone()),
                use_period,
                period,
                ..UserGroupMembership::default()
            }),
        }
    }
    user.doors = Some(doors);
    user.groups = Some(groups);
    complete
}

/// One window for several, and whether it covers them all.
fn one_window(windows: Vec<Option<Window>>, now_ms: i64) -> (Option<Window>, bool) {
    let mut bounded: Vec<Window> = Vec::with_capacity(windows.len());
    for window in windows {
        match window {
            // As long as the user is valid: nothing is wider.
            None => return (None, true),
            Some(window) => bounded.push(window),
        }
    }
    bounded.sort_by_key(|window| window.starts_at_ms);
    let mut merged: Vec<Window> = Vec::new();
    for window in bounded {
        match merged.last_mut() {
            Some(last) if last.ends_at_ms.is_none_or(|end| end >= window.starts_at_ms) => {
                last.ends_at_ms = last.ends_at_ms.zip(window.ends_at_ms).map(|(a, b)| a.max(b));
            }
            _ => merged.push(window),
        }
    }
    let ahead: Vec<&Window> = merged.iter().filter(|window| window.ends_at_ms.is_none_or(|end| end > now_ms)).collect();
    match ahead.first() {
        Some(first) => (Some(**first), ahead.len() == 1),
        None => (merged.last().copied(), true),
    }
}

/// What the server says of the key of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// There is a card or a mobile key.
    pub(super) exists: bool,
    /// There is a card: a serial of zeros alone stands for a phone.
    pub(super) is_card: bool,
    /// Chip serial, when told.
    pub(super) card_number: String,
    /// Start and end in ms since the epoch, 0 when not told.
    pub(super) period_ms: (i64, i64),
    /// The key against the rights; `None` when not told.
    pub(super) status: Option<CurrentKeyStatus>,
}

impl Key {
    /// The server says that it has nothing newer.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.status == Some(CurrentKeyStatus::UpToDate)
    }

    /// There is a card, and the server says that it has something newer for it.
    pub(super) fn card_needs_update(&self) -> bool {
        self.is_card && self.status.is_some_and(CurrentKeyStatus::needs_update)
    }
}

pub(super) fn key(user: &User, time: &SiteTime) -> Key {
    if user.current_key_exists != Some(true) {
        return Key::default();
    }
    let told = user.current_rom_code.as_deref().unwrap_or_default();
    let is_phone = !told.is_empty() && told.bytes().all(|digit| digit == b'0');
    let moment = |local: Option<DateTime>| local.and_then(|local| time.moment(local)).unwrap_or_default();
    Key {
        exists: true,
        is_card: !is_phone,
        card_number: chip_serial(told).unwrap_or_default(),
        period_ms: (
            moment(user.current_key_period.map(|period| period.start)),
            moment(user.current_key_period.map(|period| period.end)),
        ),
        status: user.current_key_status,
    }
}

pub(super) fn observation(user: Option<&User>, time: &SiteTime) -> UserObservation {
    let Some(user) = user else { return UserObservation::default() };
    let key = key(user, time);
    UserObservation {
        exists: true,
        has_card: key.is_card,
        key_period_ms: key.period_ms,
        card_up_to_date: key.is_up_to_date(),
        card_number: key.card_number,
        suspended: user.is_banned == Some(true),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_348_800_000;
    const HOUR: i64 = 3_600_000;

    fn berlin() -> SiteTime {
        SiteTime { zone: TimeZone::get("Europe/Berlin").expect("a known zone") }
    }

    fn window(from: i64, to: Option<i64>) -> Window {
        Window { starts_at_ms: NOW + from * HOUR, ends_at_ms: to.map(|to| NOW + to * HOUR) }
    }

    #[test]
    fn external_ids_are_stable_fit_and_come_back() {
        let user = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(external_id(user), "LB-AGEQUXNMSZ3UXPGOWMBATGUAK4");
        assert_eq!(user_id("LB-AGEQUXNMSZ3UXPGOWMBATGUAK4").as_deref(), Some(user));
        for foreign in ["U1001", "LB-", "LB-1", "LB-AGEQUXNMSZ3UXPGOWMBATGUAK", "agequxnmsz3uxpgowmbatguak4"] {
            assert_eq!(user_id(foreign), None, "{foreign}");
        }
        assert!(external_id("not a uuid").len() <= 32);
        assert_ne!(external_id("not a uuid"), external_id("another"));
    }

    #[test]
    fn names_are_split_cut_and_made_distinct() {
        let id = external_id("x");
        let named = |name: &str, distinct| {
            let (first, last) = names(name, &id, distinct);
            (first.0, last.0)
        };
        assert_eq!(named("Ada Mary Lovelace", false), ("Ada Mary".to_owned(), "Lovelace".to_owned()));
        assert_eq!(named("Cher", false), (String::new(), "Cher".to_owned()));
        assert_eq!(named(" \t\n", false), (String::new(), id.clone()));
        assert_eq!(named("A\u{0}B", false), ("A".to_owned(), "B".to_owned()));
        let (_, distinct) = named(&"é".repeat(80), true);
        assert_eq!(distinct.chars().count(), 50);
        assert!(distinct.contains("é #"), "{distinct}");
        assert_ne!(named("Ada", true), {
            let (first, last) = names("Ada", "LB-OTHER", true);
            (first.0, last.0)
        });
    }

    #[test]
    fn clock_changes_have_one_reading() {
        let time = berlin();
        let autumn = date(2026, 10, 25);
        assert_eq!(time.moment(autumn.at(2, 30, 0, 0)), Some(1_792_888_200_000), "the first 02:30, at +2");
        assert_eq!(time.moment(date(2027, 3, 28).at(2, 30, 0, 0)), time.moment(date(2027, 3, 28).at(3, 30, 0, 0)));
        assert_eq!(time.moment(NO_EXPIRATION), None);
        assert_eq!(time.local(-1), date(1970, 1, 1).at(0, 59, 59, 0), "downwards, also before 1970");
        assert_eq!(time.local(i64::MAX).year(), 9999);
    }

    #[test]
    fn windows_of_one_target_are_never_widened() {
        let cases = [
            (vec![Some(window(0, Some(2))), Some(window(1, Some(3)))], Some(window(0, Some(3))), true),
            (vec![Some(window(2, Some(3))), Some(window(0, Some(2)))], Some(window(0, Some(3))), true),
            (vec![Some(window(0, Some(1))), Some(window(5, Some(6)))], Some(window(0, Some(1))), false),
            (vec![Some(window(-3, Some(-2))), Some(window(5, Some(6)))], Some(window(5, Some(6))), true),
            (vec![Some(window(0, Some(1))), Some(window(1, None))], Some(window(0, None)), true),
            (vec![Some(window(-3, Some(-2)))], Some(window(-3, Some(-2))), true),
            (vec![Some(window(0, Some(1))), None], None, true),
        ];
        for (windows, expected, whole) in cases {
            assert_eq!(one_window(windows.clone(), NOW), (expected, whole), "{windows:?}");
        }
    }

    #[test]
    fn an_open_end_of_a_right_is_written_as_a_far_one() {
        let right = Right { target: RightTarget::Entrance("D".to_owned()), window: Some(window(0, None)) };
        let mut user = User::default();
        assert!(rights(&[right], NOW, &berlin(), &mut user));
        let period = user.doors.expect("doors")[0].period.expect("a period");
        assert_eq!((period.start, period.end), (date(2026, 11, 22).at(13, 0, 0, 0), OPEN_END));
    }

    proptest! {
        #[test]
        fn any_uuid_survives(bytes in any::<[u8; 16]>()) {
            let user = Uuid::from_bytes(bytes).to_string();
            prop_assert_eq!(user_id(&external_id(&user)), Some(user));
        }

        #[test]
        fn names_never_exceed_the_limits(name in "\\PC{0,120}", distinct in any::<bool>()) {
            let (first, last) = names(&name, &external_id("x"), distinct);
            prop_assert!(first.0.chars().count() <= FIRST_NAME_CHARACTERS);
            prop_assert!(last.0.chars().count() <= LAST_NAME_CHARACTERS && !last.0.is_empty());
        }

        #[test]
        fn no_moment_is_open_that_was_not_granted(
            spans in prop::collection::vec((-20_i64..20, prop::option::of(1_i64..8)), 1..6), probe in -25_i64..60,
        ) {
            let windows: Vec<Option<Window>> =
                spans.iter().map(|(from, length)| Some(window(*from, length.map(|length| from + length)))).collect();
            let holds = |window: &Window| {
                window.starts_at_ms <= NOW + probe * HOUR && window.ends_at_ms.is_none_or(|end| NOW + probe * HOUR <= end)
            };
            let (one, _) = one_window(windows.clone(), NOW);
            let one = one.expect("none of them is unbounded");
            prop_assert!(!holds(&one) || windows.iter().flatten().any(holds));
        }

        #[test]
        fn local_times_come_back_outside_of_repeated_hours(seconds in 0_i64..4_000_000_000) {
            let time = berlin();
            let back = time.moment(time.local(seconds * 1000));
            prop_assert!(back == Some(seconds * 1000) || back == Some((seconds - 3600) * 1000) || back.is_none());
        }
    }
}
