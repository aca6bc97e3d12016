//! From the wishes for one person to the one key that a card of theirs is to be.

use std::collections::BTreeSet;

use super::holder::{Grant, Holder};
use super::plan::present_or_next;
use crate::system::{KeyService, Window};

/// A key, and what cannot be on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedKey {
    /// The reservation's key, or the grant's id where there is none.
    pub stay: String,
    /// Rooms, the main one first.
    pub rooms: Vec<String>,
    /// Further doors.
    pub areas: Vec<String>,
    /// Always with an end.
    pub window: Window,
    /// Granted doors that are not on it.
    pub missing: BTreeSet<String>,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// No grant that stands names a room.
    #[error("a key of this lock system is for a room, and no grant of this card that stands names one")]
    NoRoom,
    /// A key has to end.
    #[error("a key of this lock system has to end, and the grant has no end")]
    NoEnd,
    /// More rooms than fit.
    #[error("more rooms are granted than fit on one key of this lock system")]
    TooManyRooms,
}

impl Grant {
    /// What a key of this grant belongs to: grants with one reservation share the stay, so that their keys are copies.
    pub fn stay(&self) -> &str {
        if self.reservation_key.is_empty() { &self.grant_id } else { &self.reservation_key }
    }

    /// Whether it reaches for the card of that credential. A grant without a method of its own is for any card.
    pub fn is_for(&self, credential_id: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|method| method.credential_id == credential_id)
    }

    fn window(&self) -> Window {
        Window { starts_at_ms: self.starts_at_ms, ends_at_ms: (self.ends_at_ms != 0).then_some(self.ends_at_ms) }
    }
}

/// The key for the card of `credential_id` at `now_ms`: that of the present stay, or of the next one.
///
/// A key has one window, so a door of another grant is on it only if it was granted for the whole of that window: never more
/// than was granted. Grants of other stays have keys of their own, later.
pub fn plan_key(holder: &Holder, credential_id: &str, keys: &KeyService, now_ms: i64) -> Result<PlannedKey, NoKey> {
    let live: Vec<&Grant> =
        holder.grants.iter().filter(|grant| !grant.is_over(now_ms) && grant.is_for(credential_id)).collect();
    let has_room = |grant: &&&Grant| grant.entrances.iter().any(|door| keys.rooms.contains(door));
    let main = live
        .iter()
        .filter(has_room)
        .min_by_key(|grant| (grant.starts_at_ms.max(now_ms), grant.starts_at_ms, &grant.grant_id))
        .ok_or(NoKey::NoRoom)?;
    let of_stay = || live.iter().filter(|grant| grant.stay() == main.stay());
    let windows_of = |door: &str| -> Vec<Window> {
        of_stay()
            .filter(|grant| grant.entrances.iter().any(|other| other == door))
            .map(|grant| grant.window())
            .collect()
    };
    let first = main.entrances.iter().find(|door| keys.rooms.contains(*door)).ok_or(NoKey::NoRoom)?;
    let (window, _) = present_or_next(&mut windows_of(first), now_ms);
    let Some(end) = window.ends_at_ms else { return Err(NoKey::NoEnd) };

    let from = window.starts_at_ms.max(now_ms);
    let covers = |grant: &Grant| grant.starts_at_ms <= from && (grant.ends_at_ms == 0 || grant.ends_at_ms >= end);
    let granted: BTreeSet<&String> = live.iter().flat_map(|grant| &grant.entrances).collect();
    let whole: BTreeSet<&String> = live
        .iter()
        .filter(|grant| covers(grant) && (grant.stay() == main.stay() || !has_room(grant)))
        .flat_map(|grant| &grant.entrances)
        .collect();
    let mut rooms = vec![first.clone()];
    rooms
        .extend(whole.iter().filter(|door| keys.rooms.contains(**door) && **door != first).map(|door| (*door).clone()));
    if rooms.len() > keys.rooms_on_key {
        return Err(NoKey::TooManyRooms);
    }
    let areas: Vec<String> =
        whole.iter().filter(|door| keys.areas.contains(**door)).map(|door| (*door).clone()).collect();
    let missing = granted.into_iter().filter(|door| !rooms.contains(door) && !areas.contains(door)).cloned().collect();
    Ok(PlannedKey { stay: main.stay().to_owned(), rooms, areas, window, missing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Method;

    const NOW: i64 = 1_000_000;
    const HOUR: i64 = 3_600_000;

    fn keys() -> KeyService {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        KeyService {
            rooms: names(&["101", "102", "103"]),
            areas: names(&["gym"]),
            rooms_on_key: 2,
            ..KeyService::default()
        }
    }

    fn grant(id: &str, doors: &[&str], from: i64, until: i64) -> Grant {
        Grant {
            grant_id: id.into(),
            entrances: doors.iter().map(|door| (*door).to_owned()).collect(),
            starts_at_ms: NOW + from * HOUR,
            ends_at_ms: if until == 0 { 0 } else { NOW + until * HOUR },
            methods: vec![Method { credential_id: "c".into(), medium: 1 }],
            ..Grant::default()
        }
    }

    fn planned(grants: &[Grant]) -> Result<PlannedKey, NoKey> {
        plan_key(&Holder { grants: grants.to_vec(), ..Holder::default() }, "c", &keys(), NOW)
    }

    #[test]
    fn doors_of_another_grant_are_on_the_key_only_if_granted_for_all_of_its_time() {
        let room = grant("a", &["101", "cellar"], 0, 10);
        for (gym, on_key) in [((0, 10), true), ((-5, 5), false), ((0, 9), false), ((1, 20), false), ((0, 0), true)] {
            let key = planned(&[room.clone(), grant("b", &["gym"], gym.0, gym.1)]).expect("a key");
            assert_eq!(key.areas.contains(&"gym".to_owned()), on_key, "{gym:?}");
            assert!(key.missing.contains("cellar"));
            assert_eq!(key.window.ends_at_ms, Some(NOW + 10 * HOUR));
        }
    }

    #[test]
    fn stays_that_follow_each_other_have_keys_of_their_own_and_an_extension_has_not() {
        let first = grant("a", &["101"], 0, 10);
        let next = planned(&[first.clone(), grant("b", &["101"], 10, 20)]).expect("a key");
        assert_eq!((next.stay.as_str(), next.window.ends_at_ms), ("a", Some(NOW + 10 * HOUR)));
        let reserved = |grant: Grant| Grant { reservation_key: "R".into(), ..grant };
        let longer = planned(&[reserved(first), reserved(grant("b", &["101"], 10, 20))]).expect("a key");
        assert_eq!((longer.stay.as_str(), longer.window.ends_at_ms), ("R", Some(NOW + 20 * HOUR)));
        // A room of another stay never comes along, even at the same time.
        let two = planned(&[grant("a", &["101"], 0, 10), grant("b", &["102"], 0, 10)]).expect("a key");
        assert_eq!(two.rooms, ["101"]);
        assert!(two.missing.contains("102"));
    }

    #[test]
    fn a_key_needs_a_room_an_end_and_space() {
        assert_eq!(planned(&[grant("a", &["gym"], 0, 10)]), Err(NoKey::NoRoom));
        assert_eq!(planned(&[grant("a", &["101"], -9, -1)]), Err(NoKey::NoRoom), "over");
        assert_eq!(planned(&[grant("a", &["101"], 0, 0)]), Err(NoKey::NoEnd));
        assert_eq!(planned(&[grant("a", &["101", "102", "103"], 0, 10)]), Err(NoKey::TooManyRooms));
        let other = Holder { grants: vec![grant("a", &["101"], 0, 10)], ..Holder::default() };
        assert_eq!(plan_key(&other, "another card", &keys(), NOW), Err(NoKey::NoRoom));
    }
}
