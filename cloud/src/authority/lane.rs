//! Which lane a command belongs to: all commands about one resource share one, so that they run in order (rule C3).

use lockbridge_protocol::proto::tunnel::command::Body;

/// The lane of a command; `None` for a cancel, which goes into the lane of its target.
///
/// Everything about one holder shares a lane, because rights must be at the lock server before a card is encoded.
pub fn lane_of(body: &Body) -> Option<String> {
    let user = |user_id: &str| Some(format!("user:{user_id}"));
    match body {
        Body::PutUser(put) => user(put.user.as_ref().map_or("", |user| &user.user_id)),
        Body::SuspendUser(suspend) => user(&suspend.user_id),
        Body::DeleteUser(delete) => user(&delete.user_id),
        Body::SetGroupMembership(membership) => user(&membership.user_id),
        Body::PutGrant(put) => user(put.user.as_ref().map_or("", |user| &user.user_id)),
        Body::DeleteGrant(delete) => user(&delete.user_id),
        Body::PutCredential(put) => user(&put.user_id),
        Body::DeleteCredential(delete) => user(&delete.user_id),
        Body::AssignCard(assign) => user(&assign.user_id),
        Body::EncodeCredential(encode) => user(&encode.user_id),
        Body::ScanCredential(scan) => Some(format!("encoder:{}", scan.encoder_external_id)),
        Body::ScanToAssign(scan) => Some(format!("encoder:{}", scan.encoder_external_id)),
        Body::UnlockEntrance(unlock) => Some(format!("entrance:{}", unlock.entrance_external_id)),
        Body::RefreshInventory(_) | Body::RunDiagnostics(_) => Some("system".to_owned()),
        Body::CancelCommand(_) => None,
    }
}
