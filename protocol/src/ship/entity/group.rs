//! `SaltoDBGroup`: an access level, users who share rights.

use super::{UserGroupMembership, entity};
use crate::ship::value::Period;

entity! {
    /// A right of an access level at one door.
    GroupDoorPermission = "SaltoDB.AccessPermission.Group_Door" {
        /// The access level; may be left out inside it.
        group_id: String = "ExtGroupID",
        /// The door.
        door_id: String = "ExtDoorID",
        /// Weekly windows, by number; inferred from the form for users.
        timezone_table: i64 = "TimezoneTableID",
        /// Whether `period` counts.
        use_period: bool = "UsePeriod",
        /// When it holds, local time.
        period: Period = "Period",
    }
}

entity! {
    /// A right of an access level at all doors of a zone.
    GroupZonePermission = "SaltoDB.AccessPermission.Group_Zone" {
        /// The access level; may be left out inside it.
        group_id: String = "ExtGroupID",
        /// The zone.
        zone_id: String = "ExtZoneID",
        /// Weekly windows, by number; inferred from the form for users.
        timezone_table: i64 = "TimezoneTableID",
        /// Whether `period` counts.
        use_period: bool = "UsePeriod",
        /// When it holds, local time.
        period: Period = "Period",
    }
}

entity! {
    /// An access level. An absent field was not told, or is not to be changed.
    Group = "SaltoDBGroup" {
        /// Key, chosen by the host.
        external_id: String = "ExtGroupID",
        /// For people.
        name: String = "Name",
        /// For people.
        description: String = "Description",
        /// Doors; present means the whole list.
        doors: Vec<GroupDoorPermission> = "SaltoDB.AccessPermissionList.Group_Door",
        /// Zones; present means the whole list.
        zones: Vec<GroupZonePermission> = "SaltoDB.AccessPermissionList.Group_Zone",
        /// Members; present means the whole list.
        members: Vec<UserGroupMembership> = "SaltoDB.MembershipList.User_Group",
    }
}
