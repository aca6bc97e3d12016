//! Access level requests.

use std::collections::BTreeMap;

use super::super::refusal::{Refusal, code};
use super::super::site::user::Membership;
use super::super::site::{Group, Site};
use super::super::wire::xml::Node;
use super::Rules;
use super::fields::{Fields, limited};
use super::lists::{self, GROUP_DOOR, USER_GROUP};
use super::users::Mode;

/// `SaltoDBGroup.Insert`, `.Update`, `.InsertOrUpdate`.
pub(super) fn write(site: &mut Site, fields: &mut Fields<'_>, rules: Rules, mode: Mode) -> Result<Vec<Node>, Refusal> {
    let node = fields.take("SaltoDBGroup")?;
    fields.finish()?;
    let node = node.ok_or_else(|| Refusal::new(code::INVALID, "SaltoDBGroup is missing"))?;
    let mut entity = Fields::new(node, rules);
    let id = entity.required("ExtGroupID", 32)?;
    let mut group = match (site.groups.get(&id).cloned(), mode) {
        (Some(_), Mode::Insert) => return Err(Refusal::of(code::EXISTS)),
        (None, Mode::Update) => return Err(Refusal::of(code::NOT_FOUND)),
        (Some(group), _) => group,
        (None, _) => Group { id: id.clone(), name: String::new(), description: String::new(), doors: Vec::new() },
    };
    if let Some(name) = entity.scalar("Name")? {
        group.name = limited("Name", name, 50)?;
    }
    if let Some(description) = entity.scalar("Description")? {
        group.description = limited("Description", description, 255)?;
    }
    if let Some(doors) = lists::read_doors(site, &mut entity, GROUP_DOOR, &id, rules)? {
        group.doors = doors;
    }
    lists::read_empty(&mut entity, "SaltoDB.AccessPermissionList.Group_Zone", code::NOT_FOUND)?;
    let members = lists::read_members(site, &mut entity, &id, rules)?;
    entity.finish()?;
    if group.name.is_empty() {
        return Err(Refusal::new(code::INVALID, "The access level needs a name"));
    }
    if site.groups.values().any(|other| other.id != id && other.name == group.name) {
        return Err(Refusal::new(code::EXISTS, format!("An access level named {} exists", group.name)));
    }
    site.put_group(group);
    if let Some(members) = members {
        replace_members(site, &id, members.into_iter().collect());
    }
    Ok(vec![Node::leaf("ExtGroupID", id)])
}

fn replace_members(
    site: &mut Site,
    group: &str,
    mut members: BTreeMap<String, Option<super::super::wire::time::Period>>,
) {
    for id in site.members(group) {
        let Some(mut user) = site.users.get(&id).cloned() else { continue };
        match members.remove(&id) {
            None => user.groups.retain(|membership| membership.group != group),
            Some(period) => {
                for membership in user.groups.iter_mut().filter(|membership| membership.group == group) {
                    membership.period = period;
                }
            }
        }
        site.put_user(user);
    }
    for (id, period) in members {
        let Some(mut user) = site.users.get(&id).cloned() else { continue };
        user.groups.push(Membership { group: group.to_owned(), period });
        site.put_user(user);
    }
}

/// `SaltoDBGroup.Delete`.
pub(super) fn delete(site: &mut Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let id = fields.required("ExtGroupID", 32)?;
    fields.finish()?;
    if !site.groups.contains_key(&id) {
        return Err(Refusal::of(code::NOT_FOUND));
    }
    site.remove_group(&id);
    Ok(vec![Node::leaf("ExtGroupID", id)])
}

/// `SaltoDBGroupList.Read` (by the naming pattern; not seen in public).
pub(super) fn list(site: &Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let most = lists::page_size(fields)?;
    let start = fields.scalar("StartingFromExtGroupID")?.unwrap_or("").to_owned();
    let doors = fields.flag("ReturnAccessPermissions_Group_Door")?;
    let members = fields.flag("ReturnMembership_User_Group")?;
    fields.finish()?;
    let rows = site.groups.range(start..).map(|(_, group)| {
        let mut node = Node::new("SaltoDBGroup")
            .with(Node::leaf("ExtGroupID", group.id.as_str()))
            .with(Node::leaf("Name", group.name.as_str()))
            .with(Node::leaf("Description", group.description.as_str()));
        if doors {
            node.children.push(lists::print_doors(GROUP_DOOR, &group.id, &group.doors));
        }
        if members {
            let ids = site.members(&group.id);
            let users = ids.iter().filter_map(|id| site.users.get(id));
            let rows = users.flat_map(|user| {
                let own = user.groups.iter().filter(|membership| membership.group == group.id);
                own.map(|membership| lists::print_membership(&user.id, &group.id, membership.period))
            });
            node.children.push(Node::new(USER_GROUP.list).with_all(rows));
        }
        node
    });
    let (page, end) = lists::page("SaltoDBGroupList", most, rows);
    Ok(vec![page, lists::eof(end)])
}
