//! From wishes and observations to the one absolute target of a holder.

use std::collections::{BTreeMap, BTreeSet};

use lockbridge_protocol::proto::tunnel::Medium;

use super::catalog::{Catalog, Entrance};
use super::holder::{Grant, Holder};
use crate::config::RightsMode;
use crate::system::{Right, RightTarget, UserTarget, Window};

/// A target, and what has to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What the lock system is to hold.
    pub target: UserTarget,
    /// Doors that stand in the target.
    pub written: BTreeSet<String>,
    /// Doors that were granted and cannot be given: unknown, not openable by the methods, or not expressible.
    pub missing: BTreeSet<String>,
    /// Groups through which rights are given.
    pub groups: BTreeSet<String>,
    /// When the target has to be made anew although nothing was asked: a later window of some door begins to count.
    pub replan_at_ms: Option<i64>,
}

/// The target of `holder` at `now_ms`.
///
/// Several grants on one door are united. Where their windows do not touch, a lock system can hold only one of them, so
/// the present or next one is written and [`Planned::replan_at_ms`] tells when to come again: never more than was granted.
pub fn plan(user_id: &str, holder: &Holder, catalog: &Catalog, now_ms: i64, mode: RightsMode) -> Planned {
    let live: Vec<&Grant> = holder.grants.iter().filter(|grant| !grant.is_over(now_ms)).collect();
    let mut missing = BTreeSet::new();
    let mut windows: BTreeMap<&str, Vec<Window>> = BTreeMap::new();
    for grant in &live {
        for entrance in &grant.entrances {
            if catalog.entrances.get(entrance).is_some_and(|door| can_open(grant, *door)) {
                windows.entry(entrance).or_default().push(window_of(grant));
            } else {
                missing.insert(entrance.clone());
            }
        }
    }
    // A door that one grant cannot use may well be given by another.
    missing.retain(|entrance| !windows.contains_key(entrance.as_str()));

    let mut replan_at_ms: Option<i64> = None;
    let mut wanted: BTreeMap<Window, BTreeSet<&str>> = BTreeMap::new();
    for (entrance, mut pieces) in windows {
        let (window, later) = present_or_next(&mut pieces, now_ms);
        if later && let Some(end) = window.ends_at_ms {
            replan_at_ms = Some(replan_at_ms.map_or(end, |at| at.min(end)));
        }
        wanted.entry(window).or_default().insert(entrance);
    }

    let mut rights = membership_rights(holder);
    let mut groups: BTreeSet<String> = holder.memberships.iter().cloned().collect();
    let mut written = BTreeSet::new();
    for (window, doors) in &wanted {
        let (cover, rest) = cover(doors, catalog, &groups);
        for group in cover {
            written.extend(catalog.groups.get(group).into_iter().flatten().cloned());
            rights.push(Right { target: RightTarget::Group(group.to_owned()), window: Some(*window) });
            groups.insert(group.to_owned());
        }
        for door in rest {
            match mode {
                RightsMode::LevelsAndDoors => {
                    written.insert(door.to_owned());
                    rights.push(Right { target: RightTarget::Entrance(door.to_owned()), window: Some(*window) });
                }
                RightsMode::LevelsOnly => {
                    missing.insert(door.to_owned());
                }
            }
        }
    }
    let person = holder.person.clone().unwrap_or_default();
    let target = UserTarget {
        user_id: user_id.to_owned(),
        full_name: person.full_name,
        phone_number: person.phone_number,
        window: hull(&rights, holder),
        rights,
        suspended: holder.suspended,
        mobile_key: holder.credentials.iter().any(|credential| credential.medium() == Medium::MobileKey),
    };
    Planned { target, written, missing, groups, replan_at_ms }
}

/// Whether some method of the grant opens the door. A grant without a method of its own counts as a card: its credential
/// comes by a command of its own.
fn can_open(grant: &Grant, door: Entrance) -> bool {
    if grant.methods.is_empty() {
        return door.card;
    }
    grant.methods.iter().any(|method| door.opens_with(method.medium()))
}

fn window_of(grant: &Grant) -> Window {
    Window { starts_at_ms: grant.starts_at_ms, ends_at_ms: (grant.ends_at_ms != 0).then_some(grant.ends_at_ms) }
}

/// Unites what touches; gives the first piece that is not over, and whether more pieces follow it.
pub(super) fn present_or_next(pieces: &mut [Window], now_ms: i64) -> (Window, bool) {
    pieces.sort_unstable();
    let mut united: Vec<Window> = Vec::with_capacity(pieces.len());
    for piece in pieces.iter().copied() {
        match united.last_mut() {
            Some(last) if last.ends_at_ms.is_none_or(|end| piece.starts_at_ms <= end) => {
                last.ends_at_ms = last.ends_at_ms.and_then(|end| piece.ends_at_ms.map(|other| end.max(other)));
            }
            _ => united.push(piece),
        }
    }
    united.retain(|window| window.ends_at_ms.is_none_or(|end| end > now_ms));
    let first = united.first().copied();
    // Every piece came from a grant that is not over, so one is left; an empty window opens nothing if not.
    (first.unwrap_or(Window { starts_at_ms: now_ms, ends_at_ms: Some(now_ms) }), united.len() > 1)
}

/// Groups whose doors all lie in `doors`, largest gain first, and the doors left over.
fn cover<'a>(
    doors: &BTreeSet<&'a str>,
    catalog: &'a Catalog,
    taken: &BTreeSet<String>,
) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut rest = doors.clone();
    let mut chosen = Vec::new();
    let mut usable: Vec<(&str, &BTreeSet<String>)> = catalog
        .groups
        .iter()
        .filter(|(group, inside)| {
            !taken.contains(*group)
                && !inside.is_empty()
                && inside.len() <= doors.len()
                && inside.iter().all(|door| doors.contains(door.as_str()))
        })
        .map(|(group, inside)| (group.as_str(), inside))
        .collect();
    while !rest.is_empty() {
        let gain = |inside: &BTreeSet<String>| inside.iter().filter(|door| rest.contains(door.as_str())).count();
        let best = usable.iter().enumerate().map(|(index, (_, inside))| (gain(inside), index)).max_by_key(
            // The first of equals, so that the choice depends on names alone.
            |(gain, index)| (*gain, std::cmp::Reverse(*index)),
        );
        let Some((1.., index)) = best else { break };
        let (group, inside) = usable.remove(index);
        rest.retain(|door| !inside.contains(*door));
        chosen.push(group);
    }
    (chosen, rest)
}

/// Memberships that stand apart from grants: within the person's own schedule, if there is one.
fn membership_rights(holder: &Holder) -> Vec<Right> {
    let window =
        holder.person.as_ref().filter(|person| person.starts_at_ms != 0 || person.ends_at_ms != 0).map(|person| {
            Window {
                starts_at_ms: person.starts_at_ms,
                ends_at_ms: (person.ends_at_ms != 0).then_some(person.ends_at_ms),
            }
        });
    let groups: BTreeSet<&String> = holder.memberships.iter().collect();
    groups.into_iter().map(|group| Right { target: RightTarget::Group(group.clone()), window }).collect()
}

/// From the first start to the last end of all rights.
fn hull(rights: &[Right], holder: &Holder) -> Option<Window> {
    let open = Window { starts_at_ms: holder.member_since_ms, ends_at_ms: None };
    rights.iter().map(|right| right.window.unwrap_or(open)).reduce(|left, right| Window {
        starts_at_ms: left.starts_at_ms.min(right.starts_at_ms),
        ends_at_ms: left.ends_at_ms.and_then(|end| right.ends_at_ms.map(|other| end.max(other))),
    })
}
