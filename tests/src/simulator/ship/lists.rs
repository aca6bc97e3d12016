//! Pages, and the permission and membership lists that users, groups and doors share.

use super::super::refusal::{Refusal, code};
use super::super::site::Site;
use super::super::site::user::{Membership, Permission};
use super::super::wire::time::{LocalTime, Period};
use super::super::wire::xml::Node;
use super::Rules;
use super::fields::Fields;

/// Rows of a page when the client does not say, and the most it gets.
const DEFAULT_ROWS: i64 = 1000;
const MOST_ROWS: i64 = 10_000;
/// An answer stays below the six digits of the frame's length field.
const PAGE_BYTES: usize = 900_000;
/// All ids of one list together.
const LIST_IDS: usize = 1024;

/// `MaxCount`.
pub(super) fn page_size(fields: &mut Fields<'_>) -> Result<usize, Refusal> {
    let rows = fields.number("MaxCount")?.unwrap_or(DEFAULT_ROWS);
    match usize::try_from(rows.min(MOST_ROWS)) {
        Ok(rows) if rows > 0 => Ok(rows),
        _ => Err(Refusal::new(code::INVALID, "MaxCount must be at least 1")),
    }
}

/// A page of entities and, where the list has one, its `EOF`.
pub(super) fn page(name: &str, most: usize, rows: impl Iterator<Item = Node>) -> (Node, bool) {
    let mut list = Node::new(name);
    let mut bytes = 0;
    let mut scratch = String::new();
    for row in rows {
        scratch.clear();
        row.print(&mut scratch);
        bytes += scratch.len();
        if list.children.len() >= most || (bytes > PAGE_BYTES && !list.children.is_empty()) {
            return (list, false);
        }
        list.children.push(row);
    }
    (list, true)
}

/// `EOF`.
pub(super) fn eof(end: bool) -> Node {
    Node::leaf("EOF", if end { "1" } else { "0" })
}

/// `0` or `1`.
pub(super) fn bool_leaf(name: &str, value: bool) -> Node {
    Node::leaf(name, if value { "1" } else { "0" })
}

/// The element names of a permission or membership list.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListNames {
    pub(super) list: &'static str,
    pub(super) item: &'static str,
    /// Element of the owner's id, optional inside the owner itself.
    pub(super) owner: &'static str,
}

/// `SaltoDB.AccessPermissionList.User_Door`.
pub(super) const USER_DOOR: ListNames = ListNames {
    list: "SaltoDB.AccessPermissionList.User_Door",
    item: "SaltoDB.AccessPermission.User_Door",
    owner: "ExtUserID",
};
/// `SaltoDB.AccessPermissionList.Group_Door`.
pub(super) const GROUP_DOOR: ListNames = ListNames {
    list: "SaltoDB.AccessPermissionList.Group_Door",
    item: "SaltoDB.AccessPermission.Group_Door",
    owner: "ExtGroupID",
};
/// `SaltoDB.MembershipList.User_Group`.
pub(super) const USER_GROUP: ListNames =
    ListNames { list: "SaltoDB.MembershipList.User_Group", item: "SaltoDB.Membership.User_Group", owner: "ExtUserID" };

/// Reads a door permission list; `None` when the request has none, so the stored one stays.
pub(super) fn read_doors(
    site: &Site,
    fields: &mut Fields<'_>,
    names: ListNames,
    owner: &str,
    rules: Rules,
) -> Result<Option<Vec<Permission>>, Refusal> {
    let Some(items) = fields.items(names.list, names.item)? else { return Ok(None) };
    let mut found: Vec<Permission> = Vec::new();
    for item in items {
        let mut item = Fields::new(item, rules);
        check_owner(&mut item, names.owner, owner)?;
        let door = item.required("ExtDoorID", 32)?;
        let timetable = item.number("TimezoneTableID")?.unwrap_or(0);
        let period = item.period()?;
        item.finish()?;
        if !site.doors.contains_key(&door) {
            return Err(Refusal::new(code::DOOR_NOT_FOUND, format!("Door {door} not found")));
        }
        if timetable != 0 && timetable != 1 {
            return Err(Refusal::new(code::NOT_FOUND, format!("Timezone table {timetable} not found")));
        }
        found.push(Permission { door, timetable, period });
    }
    check_ids(names.list, found.iter().map(|permission| permission.door.len()))?;
    Ok(Some(found))
}

/// Reads the groups of a user; `None` when the request has no such list.
pub(super) fn read_memberships(
    site: &Site,
    fields: &mut Fields<'_>,
    user: &str,
    rules: Rules,
) -> Result<Option<Vec<Membership>>, Refusal> {
    let Some(items) = fields.items(USER_GROUP.list, USER_GROUP.item)? else { return Ok(None) };
    let mut found: Vec<Membership> = Vec::new();
    for item in items {
        let mut item = Fields::new(item, rules);
        check_owner(&mut item, "ExtUserID", user)?;
        let group = item.required("ExtGroupID", 32)?;
        let period = item.period()?;
        item.finish()?;
        if !site.groups.contains_key(&group) {
            return Err(Refusal::new(code::NOT_FOUND, format!("Access level {group} not found")));
        }
        if found.iter().any(|membership| membership.group == group) {
            return Err(Refusal::new(code::INVALID, format!("Access level {group} is listed twice")));
        }
        found.push(Membership { group, period });
    }
    check_ids(USER_GROUP.list, found.iter().map(|membership| membership.group.len()))?;
    Ok(Some(found))
}

/// A member of a group and the period of the membership.
pub(super) type Member = (String, Option<Period>);

/// Reads the members of a group: user id and period; `None` when the request has no such list.
pub(super) fn read_members(
    site: &Site,
    fields: &mut Fields<'_>,
    group: &str,
    rules: Rules,
) -> Result<Option<Vec<Member>>, Refusal> {
    let Some(items) = fields.items(USER_GROUP.list, USER_GROUP.item)? else { return Ok(None) };
    let mut found = Vec::new();
    for item in items {
        let mut item = Fields::new(item, rules);
        check_owner(&mut item, "ExtGroupID", group)?;
        let user = item.required("ExtUserID", 32)?;
        let period = item.period()?;
        item.finish()?;
        if !site.users.contains_key(&user) {
            return Err(Refusal::new(code::USER_NOT_FOUND, format!("User {user} not found")));
        }
        found.push((user, period));
    }
    Ok(Some(found))
}

/// Lists this site cannot fill: taken when empty, refused with a code otherwise.
pub(super) fn read_empty(fields: &mut Fields<'_>, list: &str, refusal: u16) -> Result<(), Refusal> {
    match fields.take(list)? {
        Some(node) if !node.children.is_empty() => Err(Refusal::of(refusal)),
        _ => Ok(()),
    }
}

/// Prints a door permission list.
pub(super) fn print_doors(names: ListNames, owner: &str, doors: &[Permission]) -> Node {
    Node::new(names.list).with_all(doors.iter().map(|given| {
        let item = Node::new(names.item)
            .with(Node::leaf(names.owner, owner))
            .with(Node::leaf("ExtDoorID", given.door.as_str()))
            .with(Node::leaf("TimezoneTableID", given.timetable.to_string()));
        with_period(item, given.period)
    }))
}

/// Prints one membership.
pub(super) fn print_membership(user: &str, group: &str, period: Option<Period>) -> Node {
    let item = Node::new(USER_GROUP.item).with(Node::leaf("ExtUserID", user)).with(Node::leaf("ExtGroupID", group));
    with_period(item, period)
}

fn with_period(item: Node, period: Option<Period>) -> Node {
    let shown = period.unwrap_or(Period { start: LocalTime::UNUSED, end: LocalTime::UNUSED });
    let dates = Node::new("Period")
        .with(Node::leaf("StartDate", shown.start.print()))
        .with(Node::leaf("EndDate", shown.end.print()));
    item.with(bool_leaf("UsePeriod", period.is_some())).with(dates)
}

fn check_owner(item: &mut Fields<'_>, element: &str, owner: &str) -> Result<(), Refusal> {
    match item.scalar(element)? {
        Some(named) if named != owner => {
            Err(Refusal::new(code::INVALID, format!("{element} {named} does not belong to this list")))
        }
        _ => Ok(()),
    }
}

fn check_ids(list: &str, lengths: impl Iterator<Item = usize>) -> Result<(), Refusal> {
    // The vendor's table holds the ids of a list as one text, joined by a separator.
    let total: usize = lengths.map(|length| length + 1).sum();
    if total > LIST_IDS + 1 {
        return Err(Refusal::new(code::INVALID, format!("The ids of {list} are longer than {LIST_IDS} characters")));
    }
    Ok(())
}
