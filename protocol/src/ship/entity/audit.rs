//! `SaltoDBAuditTrailEvent`: something happened at a door.

use jiff::civil::DateTime;

use super::entity;
use crate::ship::enumeration::SubjectType;
use crate::ship::value::Personal;

entity! {
    /// An event of the audit trail.
    AuditEvent = "SaltoDBAuditTrailEvent" {
        /// Ascending number, above 32 bits in the long run.
        event_id: i64 = "EventID",
        /// Server local time, or UTC when that was asked for.
        time: DateTime = "EventDateTime",
        /// What; see [`operation`](crate::ship::operation).
        operation: i64 = "Operation",
        /// At the inner reader.
        is_exit: bool = "IsExit",
        /// Door, named as asked for.
        door: String = "DoorID",
        /// Kind of subject.
        subject_type: SubjectType = "SubjectType",
        /// Subject, named as asked for; a name of a person unless identifiers were asked for.
        subject: Personal = "SubjectID",
    }
}
