//! Door requests: the list, the status, the commands.

use super::super::refusal::{Refusal, code, text};
use super::super::site::Site;
use super::super::site::audit::Subject;
use super::super::site::door::{Door, Forced, operation};
use super::super::site::effect::{EffectKind, EffectOf};
use super::super::wire::xml::Node;
use super::fields::{Fields, limited};
use super::lists;

/// A door command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Open,
    ForceOpen,
    ForceClosed,
    SetFree,
}

/// Which of the two status requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusForm {
    AllTypes,
    IpOnly,
}

/// `SaltoDBDoorList.Read`.
pub(super) fn list(site: &Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let most = lists::page_size(fields)?;
    let start = fields.scalar("StartingFromExtDoorID")?.unwrap_or("").to_owned();
    let mut empty = Vec::new();
    for kind in ["Door_Zone", "Door_Location", "Door_Function"] {
        if fields.flag(&format!("ReturnMembership_{kind}"))? {
            empty.push(format!("SaltoDB.MembershipList.{kind}"));
        }
    }
    fields.finish()?;
    let rows = site.doors.range(start..).map(|(_, door)| print(door).with_all(empty.iter().map(Node::new)));
    let (page, end) = lists::page("SaltoDBDoorList", most, rows);
    Ok(vec![page, lists::eof(end)])
}

fn print(door: &Door) -> Node {
    let fixed = [
        ("GPF1", ""),
        ("GPF2", ""),
        ("OpenTime", "6"),
        ("OpenTimeADA", "20"),
        ("OpeningMode", "0"),
        ("TimedPeriodsTableID", "0"),
        ("AutomaticChangesTableID", "0"),
        ("KeypadCode", "0000"),
        ("AuditOnKeys", "1"),
        ("AntipassbackEnabled", "0"),
        ("OutwardAntipassback", "0"),
        ("UpdateRequired", "0"),
    ];
    Node::new("SaltoDBDoor")
        .with(Node::leaf("ExtDoorID", door.id.as_str()))
        .with(Node::leaf("Name", door.name.as_str()))
        .with(Node::leaf("Description", door.description.as_str()))
        .with_all(fixed.iter().map(|(name, value)| Node::leaf(*name, *value)))
        .with(Node::leaf("BatteryStatus", "-1"))
}

/// A door as the request names it, and the door if there is one.
type NamedDoor = (String, Option<Door>);

/// The doors a command or status request names; `None` when it has no list.
fn named(site: &Site, fields: &mut Fields<'_>) -> Result<Option<Vec<NamedDoor>>, Refusal> {
    let names = fields.items("DoorNameList", "DoorID")?;
    let ids = fields.items("ExtDoorIDList", "ExtDoorID")?;
    fields.finish()?;
    if names.is_none() && ids.is_none() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for node in names.into_iter().flatten() {
        let name = limited("DoorID", &node.text, 100)?;
        let door = site.door_by_name(&name).cloned();
        found.push((name, door));
    }
    for node in ids.into_iter().flatten() {
        let id = limited("ExtDoorID", &node.text, 32)?;
        let door = site.doors.get(&id).cloned();
        found.push((door.as_ref().map_or(id, |door| door.name.clone()), door));
    }
    if found.is_empty() {
        return Err(Refusal::new(code::INVALID, "No door is named"));
    }
    Ok(Some(found))
}

/// `OnlineDoor.Open` and the emergency commands. A door that cannot do it is told per door, not as an exception.
pub(super) fn command(site: &mut Site, fields: &mut Fields<'_>, command: Command) -> Result<Vec<Node>, Refusal> {
    let doors = named(site, fields)?.ok_or_else(|| Refusal::new(code::INVALID, "No door is named"))?;
    let mut results = Node::new("OnlineDoorActionResultList");
    for (name, door) in doors {
        let code = door.map_or(code::DOOR_NOT_FOUND, |door| act(site, door, command));
        results.children.push(
            Node::new("OnlineDoorActionResult")
                .with(Node::leaf("DoorID", name))
                .with(Node::leaf("ErrorCode", code.to_string()))
                .with(Node::leaf("ErrorMessage", if code == 0 { "" } else { text(code) })),
        );
    }
    Ok(vec![results])
}

fn act(site: &mut Site, mut door: Door, command: Command) -> u16 {
    if !door.online {
        return code::BUSINESS_RULE;
    }
    if !door.communication {
        return code::NO_COMMUNICATION;
    }
    let was = door.forced;
    let (kind, operation) = match command {
        Command::Open if was == Forced::Closed => return code::BUSINESS_RULE,
        Command::Open => (EffectKind::DoorOpened, operation::OPENED_ONLINE),
        Command::ForceOpen => (EffectKind::DoorForcedOpen, operation::FORCED_OPENING),
        Command::ForceClosed => (EffectKind::DoorForcedClosed, operation::FORCED_CLOSING),
        Command::SetFree => match was {
            Forced::No => return 0,
            Forced::Open => (EffectKind::DoorSetFree, operation::FORCED_OPENING_END),
            Forced::Closed => (EffectKind::DoorSetFree, operation::FORCED_CLOSING_END),
        },
    };
    door.forced = match command {
        Command::Open => was,
        Command::ForceOpen => Forced::Open,
        Command::ForceClosed => Forced::Closed,
        Command::SetFree => Forced::No,
    };
    let id = door.id.clone();
    if door.forced != was {
        site.put_door(door);
    }
    site.effect(kind, &EffectOf { door: Some(&id), ..EffectOf::default() });
    site.record(site.instant(), operation, &id, Subject::Operator, None, None);
    0
}

/// `OnlineDoor.GetOnlineStatusList` and its older form. Unknown doors are left out; doors that are not online show −1.
pub(super) fn status(site: &Site, fields: &mut Fields<'_>, form: StatusForm) -> Result<Vec<Node>, Refusal> {
    let doors = match named(site, fields)? {
        Some(doors) => doors.into_iter().filter_map(|(_, door)| door).collect(),
        None => site.doors.values().filter(|door| door.online).cloned().collect::<Vec<_>>(),
    };
    let (list, item) = match form {
        StatusForm::AllTypes => ("OnlineDoorStatusList", "OnlineDoorStatus"),
        StatusForm::IpOnly => ("OnlineIPDoorStatusList", "OnlineIPDoorStatus"),
    };
    let rows = doors.iter().map(|door| {
        let known = |value: i32| if door.online { value.to_string() } else { "-1".to_owned() };
        let heard = |value: i32| if door.reachable() { value.to_string() } else { "-1".to_owned() };
        let mut node = Node::new(item).with(Node::leaf("DoorID", door.name.as_str()));
        if form == StatusForm::AllTypes {
            node.children.push(Node::leaf("DoorType", known(0)));
        }
        node.with(Node::leaf("CommStatus", known(i32::from(door.communication))))
            .with(Node::leaf("DoorStatus", heard(door.status())))
            .with(Node::leaf("BatteryStatus", heard(door.battery)))
            .with(Node::leaf("TamperStatus", heard(door.tamper)))
    });
    Ok(vec![Node::new(list).with_all(rows)])
}
