//! Doors: as the database keeps them, as the online service sees them, and what became of a command to one.

use super::entity;
use crate::ship::enumeration::{BatteryStatus, CommunicationStatus, DoorStatus, DoorType, OpeningMode, TamperStatus};
use crate::ship::xml::Element;

entity! {
    /// Membership of a door in a zone.
    DoorZoneMembership = "SaltoDB.Membership.Door_Zone" {
        /// The door.
        door_id: String = "ExtDoorID",
        /// The zone.
        zone_id: String = "ExtZoneID",
    }
}

entity! {
    /// A door of the database.
    Door = "SaltoDBDoor" {
        /// Key.
        external_id: String = "ExtDoorID",
        /// Name, unique; some requests address doors by it.
        name: String = "Name",
        /// For people.
        description: String = "Description",
        /// Free field.
        general_purpose_1: String = "GPF1",
        /// Free field.
        general_purpose_2: String = "GPF2",
        /// Seconds it stays open.
        open_time: i64 = "OpenTime",
        /// Seconds it stays open for users with extended opening.
        open_time_extended: i64 = "OpenTimeADA",
        /// When it stands open by itself.
        opening_mode: OpeningMode = "OpeningMode",
        /// Weekly windows of the mode.
        timed_periods_table: i64 = "TimedPeriodsTableID",
        /// Table of automatic changes.
        automatic_changes_table: i64 = "AutomaticChangesTableID",
        /// Code of the keypad.
        keypad_code: crate::ship::value::Personal = "KeypadCode",
        /// Openings are written to the keys.
        audit_on_keys: bool = "AuditOnKeys",
        /// Antipassback applies.
        antipassback_enabled: bool = "AntipassbackEnabled",
        /// Antipassback applies outward.
        outward_antipassback: bool = "OutwardAntipassback",
        /// The lock waits for new data. Read-only.
        update_required: bool = "UpdateRequired",
        /// Scale not known; -1 not told. Read-only.
        battery_status: i64 = "BatteryStatus",
        /// Zones, when asked for.
        zones: Vec<DoorZoneMembership> = "SaltoDB.MembershipList.Door_Zone",
        /// Not used here; kept as it came.
        locations: Element = "SaltoDB.MembershipList.Door_Location",
        /// Not used here; kept as it came.
        functions: Element = "SaltoDB.MembershipList.Door_Function",
    }
}

entity! {
    /// State of a door. A door that is not online has -1 in all fields.
    OnlineDoorStatus = "OnlineDoorStatus" {
        /// Door, by *name*.
        door: String = "DoorID",
        /// Absent in the older form for wired doors.
        door_type: DoorType = "DoorType",
        /// Whether the server reaches it.
        communication: CommunicationStatus = "CommStatus",
        /// Open, closed and so on.
        status: DoorStatus = "DoorStatus",
        /// Battery.
        battery: BatteryStatus = "BatteryStatus",
        /// Tamper contact.
        tamper: TamperStatus = "TamperStatus",
    }
}

entity! {
    /// What became of a command to one door.
    DoorActionResult = "OnlineDoorActionResult" {
        /// Door, as the server names it.
        door: String = "DoorID",
        /// 0 done, else an [`error_code`](crate::ship::error_code).
        error_code: i64 = "ErrorCode",
        /// For people.
        error_message: String = "ErrorMessage",
    }
}
