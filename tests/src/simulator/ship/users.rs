//! User requests.

use super::super::refusal::{Refusal, code};
use super::super::site::Site;
use super::super::site::keys::{self, NON_CANCELLABLE_DAYS, status_code};
use super::super::site::user::{FIELDS, User};
use super::super::wire::time::LocalTime;
use super::super::wire::xml::Node;
use super::Rules;
use super::fields::Fields;
use super::lists::{self, USER_DOOR, USER_GROUP};

/// What a write does when the record is, or is not, there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Insert,
    Update,
    InsertOrUpdate,
}

/// What a mobile-only key shows as its chip serial.
const NO_CHIP: &str = "00000000000000";

/// Lists of a user that this site keeps empty, and how a non-empty one is refused.
const EMPTY_LISTS: &[(&str, u16)] = &[
    ("SaltoDB.AccessPermissionList.User_Zone", code::NOT_FOUND),
    ("SaltoDB.AccessPermissionList.User_Location", code::NOT_LICENSED),
    ("SaltoDB.AccessPermissionList.User_Function", code::NOT_LICENSED),
    ("SaltoDB.AccessPermissionList.User_Output", code::NOT_LICENSED),
    ("SaltoDB.AccessPermissionList.User_RoomReservation", code::NOT_LICENSED),
];

/// `SaltoDBUserList.Read`.
pub(super) fn list(site: &Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let most = lists::page_size(fields)?;
    let start = fields.scalar("StartingFromExtUserID")?.unwrap_or("").to_owned();
    let groups = fields.flag("ReturnMembership_User_Group")?;
    let doors = fields.flag("ReturnAccessPermissions_User_Door")?;
    let mut empty = Vec::new();
    for (name, _) in EMPTY_LISTS {
        let kind = name.rsplit('.').next().unwrap_or(name);
        if fields.flag(&format!("ReturnAccessPermissions_{kind}"))? {
            empty.push(*name);
        }
    }
    fields.finish()?;
    let now = site.now();
    let rows = site.users.range(start..).map(|(_, user)| {
        let mut node = print(user, now);
        if doors {
            node.children.push(lists::print_doors(USER_DOOR, &user.id, &user.doors));
        }
        node.children.extend(empty.iter().map(|name| Node::new(*name)));
        if groups {
            let rows = user.groups.iter().map(|one| lists::print_membership(&user.id, &one.group, one.period));
            node.children.push(Node::new(USER_GROUP.list).with_all(rows));
        }
        node
    });
    let (page, end) = lists::page("SaltoDBUserList", most, rows);
    Ok(vec![page, lists::eof(end)])
}

fn print(user: &User, now: LocalTime) -> Node {
    let has_key = user.key.is_some() || user.has_mobile_key();
    let mut node = Node::new("SaltoDBUser").with(Node::leaf("ExtUserID", user.id.as_str()));
    for field in FIELDS {
        node.children.push(match field.name {
            "CurrentKeyExists" => lists::bool_leaf(field.name, has_key),
            "CurrentKeyStatus" => Node::leaf(field.name, status_code(user, now).to_string()),
            "CurrentROMCode" | "CurrentKeyPeriod" if !has_key => continue,
            "CurrentROMCode" => Node::leaf(field.name, user.key.as_ref().map_or(NO_CHIP, |key| key.serial.as_str())),
            "CurrentKeyPeriod" => {
                let period = user.key.as_ref().map_or_else(|| keys::key_period(user, now), |key| key.period);
                Node::new(field.name)
                    .with(Node::leaf("StartDate", period.start.print()))
                    .with(Node::leaf("EndDate", period.end.print_end()))
            }
            _ => Node::leaf(field.name, user.get(field.name)),
        });
    }
    node
}

/// `SaltoDBUser.Insert`, `.Update`, `.InsertOrUpdate`.
pub(super) fn write(site: &mut Site, fields: &mut Fields<'_>, rules: Rules, mode: Mode) -> Result<Vec<Node>, Refusal> {
    let node = fields.take("SaltoDBUser")?;
    fields.finish()?;
    let node = node.ok_or_else(|| Refusal::new(code::INVALID, "SaltoDBUser is missing"))?;
    let mut entity = Fields::new(node, rules);
    let id = entity.required("ExtUserID", 32)?;
    let stored = site.users.get(&id).cloned();
    let mut user = match (stored, mode) {
        (Some(_), Mode::Insert) => return Err(Refusal::of(code::USER_EXISTS)),
        (None, Mode::Update) => return Err(Refusal::of(code::USER_NOT_FOUND)),
        (Some(user), _) => user,
        (None, _) if site.users.len() >= site.counters.user_limit => return Err(Refusal::of(code::LICENCE_LIMIT)),
        (None, _) if site.denylist_full() => return Err(Refusal::new(code::BUSINESS_RULE, "The blacklist is full")),
        (None, _) => User::new(id.as_str()),
    };
    let was_cancellable = user.flag("KeyIsCancellableThroughBlacklist");
    let mut licensed_fields = false;
    for field in FIELDS {
        if let Some(value) = entity.field(field)? {
            licensed_fields |= field.name == "MobileAppType" && value != "0" && value != user.get(field.name);
            user.set(field, value);
        }
    }
    if let Some(doors) = lists::read_doors(site, &mut entity, USER_DOOR, &id, rules)? {
        user.doors = doors;
    }
    if let Some(groups) = lists::read_memberships(site, &mut entity, &id, rules)? {
        user.groups = groups;
    }
    for (list, refusal) in EMPTY_LISTS {
        lists::read_empty(&mut entity, list, *refusal)?;
    }
    if let Some(partition) = entity.scalar("ExtPartitionID")?
        && !partition.is_empty()
    {
        return Err(Refusal::of(code::NOT_LICENSED));
    }
    entity.finish()?;
    if licensed_fields && !site.counters.mobile_licensed {
        return Err(Refusal::of(code::NOT_LICENSED));
    }
    check(site, &user, was_cancellable)?;
    site.put_user(user);
    Ok(vec![Node::leaf("ExtUserID", id)])
}

fn check(site: &Site, user: &User, was_cancellable: bool) -> Result<(), Refusal> {
    let name = user.full_name();
    if name.is_empty() {
        return Err(Refusal::new(code::INVALID, "The user needs a name"));
    }
    if site.user_by_name(&name).is_some_and(|other| other != user.id) {
        return Err(Refusal::new(code::USER_EXISTS, format!("A user named {name} exists")));
    }
    let chip = user.get("AutoKeyEdit.ROMCode");
    let waits_for_chip = |other: &User| other.id != user.id && other.get("AutoKeyEdit.ROMCode") == chip;
    if !chip.is_empty()
        && (site.user_by_serial(chip).is_some_and(|other| other.id != user.id)
            || site.users.values().any(waits_for_chip))
    {
        return Err(Refusal::of(code::SERIAL_IN_USE));
    }
    let phone = user.get("PhoneNumber");
    if !phone.is_empty() && !phone.starts_with('+') {
        return Err(Refusal::new(code::INVALID, "PhoneNumber must begin with + and the country code"));
    }
    if user.number("MobileAppType") > 0 && phone.is_empty() {
        return Err(Refusal::new(code::INVALID, "A mobile key needs a PhoneNumber"));
    }
    if !user.get("PINCode").bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::new(code::INVALID, "PINCode must be digits"));
    }
    if user.expires().is_some_and(|end| end <= user.time("UserActivation") && end > LocalTime::OPEN) {
        return Err(Refusal::new(code::INVALID, "UserExpiration is before UserActivation"));
    }
    let cancellable = user.flag("KeyIsCancellableThroughBlacklist");
    if user.key.is_some() && cancellable != was_cancellable {
        return Err(Refusal::of(code::CANCELLABLE_FIXED));
    }
    let now = site.now();
    let end = keys::key_period(user, now).end;
    if !cancellable && (end == LocalTime::OPEN || end > now.end_of_day_after(NON_CANCELLABLE_DAYS)) {
        return Err(Refusal::of(code::EXPIRY_TOO_FAR));
    }
    Ok(())
}

/// `SaltoDBUser.Delete`: a key the user holds is cancelled.
pub(super) fn delete(site: &mut Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let id = fields.required("ExtUserID", 32)?;
    fields.finish()?;
    let user = site.users.get(&id).ok_or_else(|| Refusal::of(code::USER_NOT_FOUND))?;
    if user.key.is_some() {
        keys::cancel(site, &id)?;
    }
    site.remove_user(&id);
    Ok(vec![Node::leaf("ExtUserID", id)])
}

/// `SaltoDBUser.CancelKey` (not a public name).
pub(super) fn cancel_key(site: &mut Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let id = fields.required("ExtUserID", 32)?;
    fields.finish()?;
    keys::cancel(site, &id)?;
    Ok(vec![Node::leaf("ExtUserID", id)])
}
