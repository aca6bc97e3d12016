use std::collections::{BTreeMap, BTreeSet};

use lockbridge_protocol::proto::tunnel::{GrantMethod, Medium, PutGrant, User};
use proptest::prelude::*;

use super::*;
use crate::config::RightsMode;
use crate::system::{Right, RightTarget, Window};

const NOW: i64 = 1_000_000_000;

fn catalog() -> Catalog {
    let door = |mobile_key| Entrance { card: true, mobile_key, reservable: false };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    Catalog {
        entrances: ["a", "b", "c", "d"].into_iter().map(|id| (id.to_owned(), door(id < "c"))).collect(),
        groups: BTreeMap::from([
            ("ab".to_owned(), names(&["a", "b"])),
            ("bc".to_owned(), names(&["b", "c"])),
            ("abx".to_owned(), names(&["a", "b", "unknown"])),
            ("none".to_owned(), names(&[])),
        ]),
        encoders: BTreeSet::new(),
        names: BTreeMap::new(),
    }
}

fn put(id: &str, doors: &[&str], from: i64, until: i64, medium: Medium) -> PutGrant {
    PutGrant {
        grant_id: id.into(),
        revision: 1,
        user: Some(User { user_id: "u".into(), full_name: "Guest".into(), ..User::default() }),
        entrance_external_ids: doors.iter().map(|door| (*door).to_owned()).collect(),
        starts_at_ms: NOW + from,
        ends_at_ms: if until == 0 { 0 } else { NOW + until },
        methods: vec![GrantMethod {
            credential_id: format!("c-{id}"),
            medium: medium as i32,
            ..GrantMethod::default()
        }],
        ..PutGrant::default()
    }
}

fn holder(grants: &[PutGrant]) -> Holder {
    let mut holder = Holder::default();
    for grant in grants {
        assert!(holder.put_grant(grant, NOW, |_| false));
    }
    holder
}

fn planned(holder: &Holder) -> Planned {
    plan("u", holder, &catalog(), NOW, RightsMode::LevelsAndDoors)
}

fn targets(planned: &Planned) -> Vec<RightTarget> {
    planned.target.rights.iter().map(|right| right.target.clone()).collect()
}

fn entrance(id: &str) -> RightTarget {
    RightTarget::Entrance(id.into())
}

fn group(id: &str) -> RightTarget {
    RightTarget::Group(id.into())
}

#[test]
fn groups_cover_what_they_can_and_doors_the_rest() {
    let all = planned(&holder(&[put("1", &["a", "b", "d", "z"], 0, 100, Medium::Card)]));
    assert_eq!(targets(&all), [group("ab"), entrance("d")]);
    assert_eq!(all.missing, BTreeSet::from(["z".to_owned()]));
    let mode = RightsMode::LevelsOnly;
    let levels = plan("u", &holder(&[put("1", &["a", "b", "d"], 0, 100, Medium::Card)]), &catalog(), NOW, mode);
    assert_eq!(targets(&levels), [group("ab")]);
    assert_eq!(levels.missing, BTreeSet::from(["d".to_owned()]));
}

#[test]
fn a_group_is_not_used_across_different_windows() {
    let split = planned(&holder(&[put("1", &["a"], 0, 100, Medium::Card), put("2", &["b"], 0, 200, Medium::Card)]));
    assert_eq!(targets(&split), [entrance("a"), entrance("b")]);
    assert_eq!(split.target.window, Some(Window { starts_at_ms: NOW, ends_at_ms: Some(NOW + 200) }));
}

#[test]
fn overlapping_windows_unite_and_separate_ones_come_later() {
    let joined = planned(&holder(&[put("1", &["d"], 0, 100, Medium::Card), put("2", &["d"], 100, 200, Medium::Card)]));
    let window = |from, until| Some(Window { starts_at_ms: NOW + from, ends_at_ms: Some(NOW + until) });
    assert_eq!(joined.target.rights, [Right { target: entrance("d"), window: window(0, 200) }]);
    assert_eq!(joined.replan_at_ms, None);
    let apart = holder(&[put("1", &["d"], 0, 100, Medium::Card), put("2", &["d"], 150, 200, Medium::Card)]);
    let first = planned(&apart);
    assert_eq!(first.target.rights, [Right { target: entrance("d"), window: window(0, 100) }]);
    assert_eq!(first.replan_at_ms, Some(NOW + 100));
    let then = plan("u", &apart, &catalog(), NOW + 100, RightsMode::LevelsAndDoors);
    assert_eq!(then.target.rights, [Right { target: entrance("d"), window: window(150, 200) }]);
    assert_eq!(then.replan_at_ms, None);
}

#[test]
fn a_door_that_the_medium_does_not_open_is_missing() {
    let mobile = planned(&holder(&[put("1", &["a", "d"], 0, 100, Medium::MobileKey)]));
    assert_eq!(targets(&mobile), [entrance("a")]);
    assert_eq!(mobile.missing, BTreeSet::from(["d".to_owned()]));
    assert!(mobile.target.mobile_key);
}

#[test]
fn ending_one_grant_leaves_what_another_needs() {
    let mut holder = holder(&[put("1", &["a", "d"], 0, 100, Medium::Card), put("2", &["d"], 0, 100, Medium::Card)]);
    assert!(holder.delete_grant("1"));
    assert_eq!(targets(&planned(&holder)), [entrance("d")]);
    assert!(holder.delete_grant("2"));
    assert!(!holder.delete_grant("2"));
    let nothing = planned(&holder);
    assert_eq!((nothing.target.rights, nothing.target.window), (vec![], None));
}

#[test]
fn a_start_in_the_past_moves_to_now_once() {
    let mut holder = holder(&[put("1", &["a"], -3_600_000, 100, Medium::Card)]);
    assert!(holder.grants[0].schedule_modified());
    assert_eq!(holder.grants[0].starts_at_ms, NOW);
    // An extension of the same grant does not move it again.
    let longer = PutGrant { revision: 2, ..put("1", &["a"], -3_600_000, 200, Medium::Card) };
    assert!(holder.put_grant(&longer, NOW + 50, |_| false));
    assert_eq!(holder.grants[0].starts_at_ms, NOW);
    assert!(!holder.put_grant(&put("1", &["a"], 0, 50, Medium::Card), NOW, |_| false), "an older revision");
    let mut prompt = Holder::default();
    prompt.put_grant(&put("1", &["a"], -1_000, 100, Medium::Card), NOW, |_| false);
    assert!(!prompt.grants[0].schedule_modified(), "a second on the way is no change");
}

#[test]
fn a_revoked_credential_does_not_come_back_with_an_older_grant() {
    let mut holder = Holder::default();
    holder.put_grant(&put("1", &["a"], 0, 100, Medium::MobileKey), NOW, |credential| credential == "c-1");
    assert_eq!(holder.credentials, []);
    assert!(!planned(&holder).target.mobile_key);
}

fn any_grants() -> impl Strategy<Value = Vec<PutGrant>> {
    let doors = prop::collection::btree_set(prop::sample::select(vec!["a", "b", "c", "d", "z"]), 0..5);
    let one = (doors, -50..150i64, 1..120i64, prop::bool::ANY, prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..6).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(index, (doors, from, length, mobile, open))| {
                let doors: Vec<&str> = doors.into_iter().collect();
                let medium = if mobile { Medium::MobileKey } else { Medium::Card };
                put(&index.to_string(), &doors, from, if open { 0 } else { from + length }, medium)
            })
            .collect()
    })
}

/// Whether some grant gives the door at this moment.
fn is_granted(grants: &[PutGrant], door: &str, at: i64) -> bool {
    grants.iter().any(|grant| {
        let able = catalog().entrances.get(door).is_some_and(|entrance| entrance.opens_with(grant.methods[0].medium()));
        let inside = grant.starts_at_ms <= at && (grant.ends_at_ms == 0 || at < grant.ends_at_ms);
        able && inside && grant.entrance_external_ids.iter().any(|granted| granted == door)
    })
}

fn doors_of(target: &RightTarget) -> Vec<String> {
    match target {
        RightTarget::Entrance(id) => vec![id.clone()],
        RightTarget::Group(id) => catalog().groups[id].iter().cloned().collect(),
    }
}

proptest! {
    #[test]
    fn a_target_never_opens_more_than_was_granted(grants in any_grants(), levels_only: bool) {
        let mode = if levels_only { RightsMode::LevelsOnly } else { RightsMode::LevelsAndDoors };
        let holder = holder(&grants);
        let planned = plan("u", &holder, &catalog(), NOW, mode);
        for right in &planned.target.rights {
            let window = right.window.expect("grants have windows");
            let hull = planned.target.window.expect("there are rights");
            prop_assert!(hull.starts_at_ms <= window.starts_at_ms);
            for at in NOW - 60..NOW + 300 {
                let open = window.starts_at_ms <= at && window.ends_at_ms.is_none_or(|end| at < end);
                for door in doors_of(&right.target) {
                    prop_assert!(!open || is_granted(&grants, &door, at), "{door} at {}", at - NOW);
                }
            }
        }
    }

    /// Whatever is granted right now and can be given is given right now.
    #[test]
    fn a_target_opens_what_is_granted_now(grants in any_grants()) {
        let planned = planned(&holder(&grants));
        for door in ["a", "b", "c", "d"] {
            let open = planned.target.rights.iter().any(|right| {
                let window = right.window.expect("grants have windows");
                let inside = window.starts_at_ms <= NOW && window.ends_at_ms.is_none_or(|end| NOW < end);
                inside && doors_of(&right.target).iter().any(|inside| inside == door)
            });
            prop_assert_eq!(open, is_granted(&grants, door, NOW), "{}", door);
        }
    }

    #[test]
    fn a_target_depends_on_the_wishes_and_not_on_their_order(grants in any_grants(), turn in 0..6usize) {
        let mut turned = grants.clone();
        if !turned.is_empty() {
            let by = turn % turned.len();
            turned.rotate_left(by);
        }
        let first = planned(&holder(&grants));
        prop_assert_eq!(&first, &planned(&holder(&turned)));
        let mut twice = holder(&grants);
        for grant in &grants {
            twice.put_grant(grant, NOW, |_| false);
        }
        prop_assert_eq!(&first, &planned(&twice));
    }
}
