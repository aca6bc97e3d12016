//! A cardholder record: scalar fields by a table, the card key, the permissions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::wire::time::{LocalTime, Period};

/// What a scalar field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of at most this many characters.
    Text(usize),
    /// `0` or `1`.
    Bool,
    /// A number of this range.
    Int(i64, i64),
    /// A local time.
    Time,
    /// Upper-case hexadecimal text of at most this many digits.
    Hex(usize),
    /// Told by the server, refused in a request. Printed by hand.
    ReadOnly,
}

/// A scalar field of `SaltoDBUser`.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Element name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The value of a user for whom it was never set.
    pub default: &'static str,
}

const fn field(name: &'static str, kind: Kind, default: &'static str) -> Field {
    Field { name, kind, default }
}

/// All scalar fields after `ExtUserID`, in the order servers print them. Lengths are those of the vendor's database table.
pub const FIELDS: &[Field] = &[
    field("Title", Kind::Text(10), ""),
    field("FirstName", Kind::Text(40), ""),
    field("LastName", Kind::Text(50), ""),
    field("Office", Kind::Bool, "0"),
    field("AuditOpenings", Kind::Bool, "1"),
    field("UseADA", Kind::Bool, "0"),
    field("UseAntipassback", Kind::Bool, "0"),
    field("CalendarID", Kind::Int(0, 255), "0"),
    field("UseLockCalendar", Kind::Bool, "1"),
    field("GPF1", Kind::Text(40), ""),
    field("GPF2", Kind::Text(40), ""),
    field("GPF3", Kind::Text(40), ""),
    field("GPF4", Kind::Text(40), ""),
    field("GPF5", Kind::Text(40), ""),
    field("AutoKeyEdit.ROMCode", Kind::Hex(32), ""),
    field("CurrentROMCode", Kind::ReadOnly, ""),
    field("UserActivation", Kind::Time, "2000-01-01T00:00:00"),
    field("UserExpiration.Enabled", Kind::Bool, "0"),
    field("UserExpiration", Kind::Time, "2000-01-01T00:00:00"),
    field("KeyExpirationDifferentFromUserExpiration", Kind::Bool, "1"),
    field("KeyRevalidation.UpdatePeriod", Kind::Int(0, 3650), "30"),
    field("KeyRevalidation.UnitOfUpdatePeriod", Kind::Int(0, 1), "0"),
    field("CurrentKeyExists", Kind::ReadOnly, ""),
    field("CurrentKeyPeriod", Kind::ReadOnly, ""),
    field("CurrentKeyStatus", Kind::ReadOnly, ""),
    field("PINEnabled", Kind::Bool, "0"),
    field("PINCode", Kind::Text(8), ""),
    field("WiegandCode", Kind::Text(32), ""),
    field("IsBanned", Kind::Bool, "0"),
    field("KeyIsCancellableThroughBlacklist", Kind::Bool, "1"),
    field("LockdownEnabled", Kind::Bool, "0"),
    field("OverrideLockdown", Kind::Bool, "0"),
    field("OverridePrivacy", Kind::Bool, "0"),
    field("LocationFunctionTimezoneTableID", Kind::Int(0, 1024), "0"),
    field("PhoneNumber", Kind::Text(50), ""),
    field("MobileAppType", Kind::Int(0, 3), "0"),
    field("ExtLimitedEntryGroupID", Kind::Text(32), ""),
    field("PictureFileName", Kind::Text(255), ""),
    field("AuthorizationCodeList", Kind::Text(1024), ""),
];

/// State of a card key as `CurrentKeyStatus` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// 1: the card holds what the database says.
    UpToDate,
    /// 2: rights were added or prolonged since the card was written.
    UpdateRecommended,
    /// 3: rights were taken away or shortened since the card was written.
    UpdateRequired,
    /// 4: the last write did not finish; the card has to be written again.
    ReeditionRequired,
}

/// The one card key a user may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Identity of the key in locks and denylist; a re-encode keeps it, a new assignment draws a new one.
    pub number: u64,
    /// Chip serial of the card, upper-case hexadecimal.
    pub serial: String,
    /// What was written on the card as its validity; an end of [`LocalTime::OPEN`] means without end.
    pub period: Period,
    /// How the card compares with the database.
    pub status: KeyStatus,
}

/// A right at one door, of a user or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// `ExtDoorID`.
    pub door: String,
    /// `TimezoneTableID`: 0 and 1 mean always; the site has no others.
    pub timetable: i64,
    /// Set when `UsePeriod` is 1.
    pub period: Option<Period>,
}

/// A user's place in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// `ExtGroupID`.
    pub group: String,
    /// Set when `UsePeriod` is 1.
    pub period: Option<Period>,
}

/// A cardholder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `ExtUserID`.
    pub id: String,
    /// Scalar fields that differ from their default.
    pub fields: BTreeMap<String, String>,
    /// The card key, if one was issued.
    pub key: Option<Key>,
    /// Direct door permissions, in the order the host sent them.
    pub doors: Vec<Permission>,
    /// Memberships, in the order the host sent them.
    pub groups: Vec<Membership>,
}

impl User {
    /// A user with default fields and no rights.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), fields: BTreeMap::new(), key: None, doors: Vec::new(), groups: Vec::new() }
    }

    /// The value of a scalar field, stored or default.
    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or_else(
            || FIELDS.iter().find(|field| field.name == name).map_or("", |field| field.default),
            String::as_str,
        )
    }

    /// Sets a scalar field to an already checked value.
    pub fn set(&mut self, field: &Field, value: String) {
        if value == field.default {
            self.fields.remove(field.name);
        } else {
            self.fields.insert(field.name.to_owned(), value);
        }
    }

    /// A field of kind [`Kind::Bool`].
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == "1"
    }

    /// A field of kind [`Kind::Time`].
    pub fn time(&self, name: &str) -> LocalTime {
        LocalTime::parse(self.get(name)).unwrap_or(LocalTime::OPEN)
    }

    /// A field of kind [`Kind::Int`].
    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Title, first and last name as one text: unique in a site, and how events name the person.
    pub fn full_name(&self) -> String {
        let parts = ["Title", "FirstName", "LastName"].map(|name| self.get(name));
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// When the person stops having access, if ever.
    pub fn expires(&self) -> Option<LocalTime> {
        self.flag("UserExpiration.Enabled").then(|| self.time("UserExpiration"))
    }

    /// Whether a mobile key is published: a phone number and one of the mobile key applications.
    pub fn has_mobile_key(&self) -> bool {
        self.number("MobileAppType") >= 2 && !self.get("PhoneNumber").is_empty()
    }
}
