//! Sites to start with: a small house for demos, and any number of users and doors for load.

use super::super::wire::time::{LocalTime, Period};
use super::database::{Encoder, Group, Site};
use super::door::Door;
use super::user::{FIELDS, Membership, Permission, User};

/// Doors of the demo house: id, name, online.
const DOORS: &[(&str, &str, bool)] = &[
    ("MAIN", "Main entrance", true),
    ("GYM", "Gym", true),
    ("GARAGE", "Garage", true),
    ("POOL", "Pool", false),
    ("ROOM101", "Room 101", false),
    ("ROOM102", "Room 102", false),
    ("ROOM103", "Room 103", false),
    ("ROOM104", "Room 104", false),
    ("ROOM201", "Room 201", false),
    ("ROOM202", "Room 202", false),
    ("ROOM203", "Room 203", false),
    ("ROOM204", "Room 204", false),
];

/// Access levels of the demo house: id, name, doors.
const GROUPS: &[(&str, &str, &[&str])] = &[
    ("RESIDENTS", "Residents", &["MAIN"]),
    ("LEISURE", "Gym and pool", &["GYM", "POOL"]),
    (
        "STAFF",
        "Staff",
        &[
            "MAIN", "GYM", "GARAGE", "POOL", "ROOM101", "ROOM102", "ROOM103", "ROOM104", "ROOM201", "ROOM202",
            "ROOM203", "ROOM204",
        ],
    ),
];

/// People made by hand at the server, before any host was connected: id, first name, last name, level, own door.
/// Ids of hand-made users are 32 hexadecimal digits.
const USERS: &[(&str, &str, &str, &str, Option<&str>)] = &[
    ("4C0E6B1F8A5D4F7E9B2C3D1A6E8F7051", "Marta", "Oliva", "STAFF", None),
    ("7D2A9E3C1B604C58A7F0E5D4C3B2A190", "Iker", "Sol\u{e9}", "STAFF", None),
    ("A1B2C3D4E5F60718293A4B5C6D7E8F90", "Nora", "Quint", "RESIDENTS", Some("ROOM204")),
];

/// The demo house. Does nothing to records that are already there.
pub fn demo(site: &mut Site) {
    for (id, name, online) in DOORS {
        site.put_door(Door::new(*id, *name, *online));
    }
    for (id, name, doors) in GROUPS {
        let doors = doors.iter().map(|door| always(door)).collect();
        site.put_group(Group { id: (*id).to_owned(), name: (*name).to_owned(), description: String::new(), doors });
    }
    for (id, first, last, group, own_door) in USERS {
        let mut user = named(id, first, last);
        user.groups.push(Membership { group: (*group).to_owned(), period: None });
        user.doors.extend(own_door.iter().map(|door| always(door)));
        site.put_user(user);
    }
    for name in ["Front desk 1", "Front desk 2"] {
        site.put_encoder(Encoder { name: name.to_owned(), plugged: true, auto_feed: false, card: None });
    }
}

/// Adds numbered users, each with a right at the first door for the coming month. Ids that exist are left alone.
pub fn users(site: &mut Site, prefix: &str, count: usize) -> usize {
    let door = site.doors.keys().next().cloned();
    let now = site.now();
    let month = Period { start: now, end: now.end_of_day_after(30) };
    let mut added = 0;
    for number in 1..=count {
        let id = format!("{prefix}{number:06}");
        if site.users.contains_key(&id) {
            continue;
        }
        let mut user = named(&id, prefix, &format!("{number:06}"));
        user.doors.extend(door.iter().map(|door| Permission { period: Some(month), ..always(door) }));
        site.put_user(user);
        added += 1;
    }
    added
}

/// Adds numbered doors. Ids that exist are left alone.
pub fn doors(site: &mut Site, prefix: &str, count: usize, online: bool) -> usize {
    let mut added = 0;
    for number in 1..=count {
        let id = format!("{prefix}{number:05}");
        if !site.doors.contains_key(&id) {
            let name = format!("{prefix} {number:05}");
            site.put_door(Door::new(id, name, online));
            added += 1;
        }
    }
    added
}

fn always(door: &str) -> Permission {
    Permission { door: door.to_owned(), timetable: 0, period: None }
}

fn named(id: &str, first: &str, last: &str) -> User {
    let mut user = User::new(id);
    for field in FIELDS {
        match field.name {
            "FirstName" => user.set(field, first.to_owned()),
            "LastName" => user.set(field, last.to_owned()),
            "UserActivation" => user.set(field, LocalTime::OPEN.print()),
            _ => {}
        }
    }
    user
}
