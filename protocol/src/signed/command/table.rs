//! What each body is: fixed here on both ends, never taken from the wire (rule A4).

use crate::proto::tunnel::command::Body;
use crate::proto::tunnel::{Mode, Priority};

/// Name of a body, as in the schema.
pub fn kind_of(body: &Body) -> &'static str {
    match body {
        Body::PutUser(_) => "put_user",
        Body::SuspendUser(_) => "suspend_user",
        Body::DeleteUser(_) => "delete_user",
        Body::SetGroupMembership(_) => "set_group_membership",
        Body::PutGrant(_) => "put_grant",
        Body::DeleteGrant(_) => "delete_grant",
        Body::PutCredential(_) => "put_credential",
        Body::DeleteCredential(_) => "delete_credential",
        Body::AssignCard(_) => "assign_card",
        Body::EncodeCredential(_) => "encode_credential",
        Body::ScanCredential(_) => "scan_credential",
        Body::ScanToAssign(_) => "scan_to_assign",
        Body::UnlockEntrance(_) => "unlock_entrance",
        Body::RefreshInventory(_) => "refresh_inventory",
        Body::RunDiagnostics(_) => "run_diagnostics",
        Body::CancelCommand(_) => "cancel_command",
    }
}

/// Priority of a body (rule C5): what takes access away goes first.
pub fn priority_of(body: &Body) -> Priority {
    match body {
        Body::SuspendUser(suspend) if suspend.suspended => Priority::Safety,
        Body::DeleteUser(_) | Body::DeleteGrant(_) | Body::DeleteCredential(_) | Body::CancelCommand(_) => {
            Priority::Safety
        }
        Body::EncodeCredential(_) | Body::ScanCredential(_) | Body::ScanToAssign(_) | Body::UnlockEntrance(_) => {
            Priority::Interactive
        }
        Body::RefreshInventory(_) | Body::RunDiagnostics(_) => Priority::Background,
        Body::PutUser(_)
        | Body::SuspendUser(_)
        | Body::SetGroupMembership(_)
        | Body::PutGrant(_)
        | Body::PutCredential(_)
        | Body::AssignCard(_) => Priority::Convergent,
    }
}

/// Mode of a body (rule A5): a person waits for exactly the interactive priority.
pub fn mode_of(body: &Body) -> Mode {
    if priority_of(body) == Priority::Interactive { Mode::Interactive } else { Mode::Convergent }
}
