//! `SaltoDBUser`: a person with at most one card key and one mobile key.

use jiff::civil::DateTime;

use super::entity;
use crate::ship::enumeration::{CurrentKeyStatus, MobileAppType};
use crate::ship::value::{Period, Personal};
use crate::ship::xml::Element;

entity! {
    /// A right of a user at one door. Only `door_id` is needed in a request.
    UserDoorPermission = "SaltoDB.AccessPermission.User_Door" {
        /// The user; may be left out inside a user.
        user_id: String = "ExtUserID",
        /// The door.
        door_id: String = "ExtDoorID",
        /// Weekly windows, by number.
        timezone_table: i64 = "TimezoneTableID",
        /// Whether `period` counts.
        use_period: bool = "UsePeriod",
        /// When it holds, local time.
        period: Period = "Period",
    }
}

entity! {
    /// A right of a user at all doors of a zone; its form is inferred from that of a door.
    UserZonePermission = "SaltoDB.AccessPermission.User_Zone" {
        /// The user.
        user_id: String = "ExtUserID",
        /// The zone.
        zone_id: String = "ExtZoneID",
        /// Weekly windows, by number.
        timezone_table: i64 = "TimezoneTableID",
        /// Whether `period` counts.
        use_period: bool = "UsePeriod",
        /// When it holds, local time.
        period: Period = "Period",
    }
}

entity! {
    /// Membership of a user in an access level.
    UserGroupMembership = "SaltoDB.Membership.User_Group" {
        /// The user; may be left out inside a user.
        user_id: String = "ExtUserID",
        /// The access level; may be left out inside an access level.
        group_id: String = "ExtGroupID",
        /// Whether `period` counts.
        use_period: bool = "UsePeriod",
        /// When it holds, local time.
        period: Period = "Period",
    }
}

entity! {
    /// A person as Space keeps it. An absent field was not told, or is not to be changed.
    User = "SaltoDBUser" {
        /// Key, chosen by the host; at most 32 characters.
        external_id: String = "ExtUserID",
        /// Tenancy, when partitions are used.
        partition_id: String = "ExtPartitionID",
        /// At most 10 characters; title and names together are unique in Space.
        title: Personal = "Title",
        /// At most 40 characters.
        first_name: Personal = "FirstName",
        /// At most 50 characters.
        last_name: Personal = "LastName",
        /// May leave doors in office mode.
        office: bool = "Office",
        /// The card carries its openings back to updating readers.
        audit_openings: bool = "AuditOpenings",
        /// Doors stay open for longer.
        use_extended_opening: bool = "UseADA",
        /// Antipassback applies.
        use_antipassback: bool = "UseAntipassback",
        /// Calendar, by number.
        calendar_id: i64 = "CalendarID",
        /// The calendar of the lock counts.
        use_lock_calendar: bool = "UseLockCalendar",
        /// Free field; at most 40 characters.
        general_purpose_1: Personal = "GPF1",
        /// Free field; at most 40 characters.
        general_purpose_2: Personal = "GPF2",
        /// Free field; at most 40 characters.
        general_purpose_3: Personal = "GPF3",
        /// Free field; at most 40 characters.
        general_purpose_4: Personal = "GPF4",
        /// Free field; at most 40 characters.
        general_purpose_5: Personal = "GPF5",
        /// Chip serial of a card that becomes this user's when shown at an updating reader.
        auto_key_edit_rom_code: String = "AutoKeyEdit.ROMCode",
        /// Chip serial of the present key, all zeros for a mobile key. Read-only.
        current_rom_code: String = "CurrentROMCode",
        /// Start of validity, local time.
        activation: DateTime = "UserActivation",
        /// Whether `expiration` counts.
        expiration_enabled: bool = "UserExpiration.Enabled",
        /// End of validity, local time.
        expiration: DateTime = "UserExpiration",
        /// The key ends by revalidation, not with the user.
        key_expiration_differs: bool = "KeyExpirationDifferentFromUserExpiration",
        /// How long a key lives between updates.
        revalidation_period: i64 = "KeyRevalidation.UpdatePeriod",
        /// Unit of it: 0 days, 1 hours (inferred).
        revalidation_unit: i64 = "KeyRevalidation.UnitOfUpdatePeriod",
        /// The user has a card or mobile key. Read-only.
        current_key_exists: bool = "CurrentKeyExists",
        /// Validity on the key, local time. Read-only.
        current_key_period: Period = "CurrentKeyPeriod",
        /// The key against the rights. Read-only.
        current_key_status: CurrentKeyStatus = "CurrentKeyStatus",
        /// A PIN is asked for.
        pin_enabled: bool = "PINEnabled",
        /// The PIN.
        pin_code: Personal = "PINCode",
        /// Code for readers of others.
        wiegand_code: Personal = "WiegandCode",
        /// Blocked.
        is_banned: bool = "IsBanned",
        /// A lost key can be put on the denylist.
        cancellable_through_blacklist: bool = "KeyIsCancellableThroughBlacklist",
        /// May start a lockdown.
        lockdown_enabled: bool = "LockdownEnabled",
        /// Opens in a lockdown.
        override_lockdown: bool = "OverrideLockdown",
        /// Opens against the privacy button.
        override_privacy: bool = "OverridePrivacy",
        /// Weekly windows of location rights.
        location_function_timezone_table: i64 = "LocationFunctionTimezoneTableID",
        /// `+`, country code and number.
        phone_number: Personal = "PhoneNumber",
        /// How the phone gets its key.
        mobile_app: MobileAppType = "MobileAppType",
        /// Limited entry group.
        limited_entry_group_id: String = "ExtLimitedEntryGroupID",
        /// Picture, a path at the server.
        picture_file_name: Personal = "PictureFileName",
        /// Not used here; kept as it came.
        authorization_codes: Element = "AuthorizationCodeList",
        /// Doors; present means the whole list.
        doors: Vec<UserDoorPermission> = "SaltoDB.AccessPermissionList.User_Door",
        /// Zones; present means the whole list.
        zones: Vec<UserZonePermission> = "SaltoDB.AccessPermissionList.User_Zone",
        /// Access levels; present means the whole list.
        groups: Vec<UserGroupMembership> = "SaltoDB.MembershipList.User_Group",
        /// Not used here; kept as it came.
        locations: Element = "SaltoDB.AccessPermissionList.User_Location",
        /// Not used here; kept as it came.
        functions: Element = "SaltoDB.AccessPermissionList.User_Function",
        /// Not used here; kept as it came.
        outputs: Element = "SaltoDB.AccessPermissionList.User_Output",
        /// Not used here; kept as it came.
        room_reservations: Element = "SaltoDB.AccessPermissionList.User_RoomReservation",
    }
}

impl User {
    /// Without the fields that only the server writes and that a request must not carry.
    #[must_use]
    pub fn without_read_only(self) -> Self {
        Self {
            current_rom_code: None,
            current_key_exists: None,
            current_key_period: None,
            current_key_status: None,
            ..self
        }
    }
}
