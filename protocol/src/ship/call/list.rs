//! Lists: users, access levels, doors, events.

use super::{Call, field, note_unknown, records};
use crate::ship::Notes;
use crate::ship::entity::{AuditEvent, Door, Entity, Group, User};
use crate::ship::enumeration::{ShowDoorIdAs, ShowUserIdAs};
use crate::ship::paging::{Page, PageRequest};
use crate::ship::value::FieldValue;
use crate::ship::xml::Element;

/// `MaxCount`, the start, and a flag for each part that is wanted.
fn page_params(page: &PageRequest, start: &str, wanted: &[(&str, bool)]) -> Vec<Element> {
    let mut params = vec![i64::from(page.max_count).write("MaxCount")];
    if let Some(identifier) = &page.starting_from {
        params.push(identifier.write(start));
    }
    params.extend(wanted.iter().filter(|(_, wanted)| *wanted).map(|(name, _)| true.write(name)));
    params
}

fn read_page<T: Entity>(params: &Element, list: &str, notes: &mut Notes) -> Page<T> {
    note_unknown(params, &[list, "EOF"], notes);
    Page { items: records(params, list, notes), is_last: field(params, "EOF", notes) }
}

/// One page of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadUsers {
    /// Which.
    pub page: PageRequest,
    /// With access levels.
    pub groups: bool,
    /// With doors.
    pub doors: bool,
    /// With zones.
    pub zones: bool,
}

impl Call for ReadUsers {
    type Answer = Page<User>;

    fn name(&self) -> &'static str {
        "SaltoDBUserList.Read"
    }

    fn params(&self) -> Vec<Element> {
        let wanted = [
            ("ReturnMembership_User_Group", self.groups),
            ("ReturnAccessPermissions_User_Door", self.doors),
            ("ReturnAccessPermissions_User_Zone", self.zones),
        ];
        page_params(&self.page, "StartingFromExtUserID", &wanted)
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Page<User> {
        read_page(params, "SaltoDBUserList", notes)
    }
}

/// One page of access levels. The request follows the naming pattern of the others and was not seen in the wild: a server
/// that does not know it answers 502.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadGroups {
    /// Which.
    pub page: PageRequest,
    /// With doors.
    pub doors: bool,
    /// With zones.
    pub zones: bool,
}

impl Call for ReadGroups {
    type Answer = Page<Group>;

    fn name(&self) -> &'static str {
        "SaltoDBGroupList.Read"
    }

    fn params(&self) -> Vec<Element> {
        let wanted =
            [("ReturnAccessPermissions_Group_Door", self.doors), ("ReturnAccessPermissions_Group_Zone", self.zones)];
        page_params(&self.page, "StartingFromExtGroupID", &wanted)
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Page<Group> {
        read_page(params, "SaltoDBGroupList", notes)
    }
}

/// One page of doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadDoors {
    /// Which.
    pub page: PageRequest,
    /// With zones.
    pub zones: bool,
}

impl Call for ReadDoors {
    type Answer = Page<Door>;

    fn name(&self) -> &'static str {
        "SaltoDBDoorList.Read"
    }

    fn params(&self) -> Vec<Element> {
        page_params(&self.page, "StartingFromExtDoorID", &[("ReturnMembership_Door_Zone", self.zones)])
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Page<Door> {
        read_page(params, "SaltoDBDoorList", notes)
    }
}

/// A stretch of the audit trail. No end mark is known: it ends with a page that is not full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAuditTrail {
    /// At most so many.
    pub max_count: u32,
    /// First number wanted, inclusive.
    pub starting_from: Option<i64>,
    /// In Space's own filter language.
    pub filter: Option<String>,
    /// How doors are named.
    pub doors_as: ShowDoorIdAs,
    /// How people are named.
    pub users_as: ShowUserIdAs,
    /// Newest first.
    pub descending: bool,
    /// Times in UTC instead of server local time.
    pub in_utc: bool,
}

impl Call for ReadAuditTrail {
    type Answer = Vec<AuditEvent>;

    fn name(&self) -> &'static str {
        "SaltoDBAuditTrail.Read"
    }

    fn params(&self) -> Vec<Element> {
        let mut params = vec![i64::from(self.max_count).write("MaxCount")];
        params.extend(self.starting_from.map(|start| start.write("StartingFromEventID")));
        params.extend(self.filter.as_ref().map(|filter| filter.write("FilterExpression")));
        params.push(self.doors_as.write("ShowDoorIDAs"));
        params.push(self.users_as.write("ShowUserIDAs"));
        params.push(self.descending.write("DescendingOrder"));
        params.push(self.in_utc.write("ShowTimeInUTC"));
        params
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Vec<AuditEvent> {
        note_unknown(params, &["SaltoDBAuditTrail", "EOF"], notes);
        records(params, "SaltoDBAuditTrail", notes)
    }
}
