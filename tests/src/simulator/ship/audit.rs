//! `SaltoDBAuditTrail.Read`.

use jiff::tz::TimeZone;

use super::super::refusal::{Refusal, code};
use super::super::site::Site;
use super::super::site::audit::{Event, Subject};
use super::super::site::filter::{Filter, Row};
use super::super::wire::time::LocalTime;
use super::super::wire::xml::Node;
use super::fields::Fields;
use super::lists;

struct Shown {
    door: String,
    subject: String,
    time: LocalTime,
}

/// Pages through the trail by event id.
pub(super) fn read(site: &Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    let most = lists::page_size(fields)?;
    let start = fields.number("StartingFromEventID")?;
    let filter = fields.scalar("FilterExpression")?.filter(|text| !text.is_empty());
    let door_as = within(fields.number("ShowDoorIDAs")?, 1, "ShowDoorIDAs")?;
    let user_as = within(fields.number("ShowUserIDAs")?, 2, "ShowUserIDAs")?;
    let descending = fields.flag("DescendingOrder")?;
    let utc = fields.flag("ShowTimeInUTC")?;
    fields.finish()?;
    let filter = filter.map(Filter::parse).transpose();
    let filter = filter.map_err(|error| Refusal::new(code::INVALID, error.to_string()))?;
    // The trail is in the order of its ids, so the start is found by halving.
    let start = start.map(|start| u64::try_from(start).unwrap_or(0));
    let first = start.map_or(0, |start| site.audit.partition_point(|event| event.id < start));
    let last = start.map_or(site.audit.len(), |start| site.audit.partition_point(|event| event.id <= start));
    let range: Box<dyn Iterator<Item = &Event>> =
        if descending { Box::new(site.audit.range(..last).rev()) } else { Box::new(site.audit.range(first..)) };
    let rows = range.filter_map(|event| {
        let shown = show(site, event, door_as, user_as, utc);
        let row = Row {
            door: &shown.door,
            subject: &shown.subject,
            subject_type: i64::from(event.subject.code()),
            operation: i64::from(event.operation),
            time: shown.time,
        };
        filter.as_ref().is_none_or(|filter| filter.matches(&row)).then(|| print(event, shown))
    });
    let (page, _) = lists::page("SaltoDBAuditTrail", most, rows);
    Ok(vec![page])
}

fn show(site: &Site, event: &Event, door_as: i64, user_as: i64, utc: bool) -> Shown {
    let door = match site.doors.get(&event.door) {
        Some(door) if door_as == 0 => door.name.clone(),
        _ => event.door.clone(),
    };
    let subject = match (event.subject, user_as) {
        (Subject::Cardholder, 1) => event.user.clone().unwrap_or_default(),
        (Subject::Cardholder, 2) => event.serial.clone().unwrap_or_default(),
        _ => event.name.clone(),
    };
    let time = if utc { LocalTime::at(event.at, &TimeZone::UTC) } else { site.local(event.at) };
    Shown { door, subject, time }
}

fn print(event: &Event, shown: Shown) -> Node {
    Node::new("SaltoDBAuditTrailEvent")
        .with(Node::leaf("EventID", event.id.to_string()))
        .with(Node::leaf("EventDateTime", shown.time.print()))
        .with(Node::leaf("Operation", event.operation.to_string()))
        .with(lists::bool_leaf("IsExit", false))
        .with(Node::leaf("DoorID", shown.door))
        .with(Node::leaf("SubjectType", event.subject.code().to_string()))
        .with(Node::leaf("SubjectID", shown.subject))
}

fn within(value: Option<i64>, highest: i64, name: &str) -> Result<i64, Refusal> {
    match value.unwrap_or(0) {
        value if (0..=highest).contains(&value) => Ok(value),
        _ => Err(Refusal::new(code::INVALID, format!("{name} is out of range"))),
    }
}
