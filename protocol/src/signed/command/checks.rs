//! Values that no honest authority signs, refused with the name of the field.

use super::{CommandError, INTERACTIVE_LIFE_MS, field, mode_of, priority_of};
use crate::ids::CommandId;
use crate::limits;
use crate::proto::tunnel::command::Body;
use crate::proto::tunnel::{Command, KeyOperation, Medium, Mode, Priority, User};

pub(super) fn envelope(command: &Command, body: &Body) -> Result<(), CommandError> {
    if command.mode() != mode_of(body) {
        return Err(field("mode", "does not fit the kind of command"));
    }
    require("lock_system", &command.lock_system)?;
    require("lane", &command.lane)?;
    if command.lane_sequence == 0 {
        return Err(field("lane_sequence", "starts at 1"));
    }
    if command.expires_at_ms <= 0 {
        return Err(field("expires_at_ms", "is required"));
    }
    if command.not_before_ms < 0 || command.not_before_ms >= command.expires_at_ms {
        return Err(field("not_before_ms", "must lie before expires_at_ms"));
    }
    if command.cancels_below > command.lane_sequence {
        return Err(field("cancels_below", "reaches beyond the command's own place in the lane"));
    }
    if command.cancels_below != 0 && priority_of(body) != Priority::Safety {
        return Err(field("cancels_below", "belongs to safety commands only"));
    }
    if command.mode() == Mode::Interactive {
        let longest = i64::try_from(limits::START_DELAY_MAXIMUM.as_millis()).unwrap_or(i64::MAX);
        if i64::from(command.max_start_delay_ms) > longest {
            return Err(field("max_start_delay_ms", "is over the maximum of 60 s"));
        }
        if command.not_before_ms == 0 {
            return Err(field("not_before_ms", "is required for interactive commands"));
        }
        if command.expires_at_ms.saturating_sub(command.not_before_ms) > INTERACTIVE_LIFE_MS {
            return Err(field("expires_at_ms", "is more than 120 s after not_before_ms of an interactive command"));
        }
    }
    Ok(())
}

pub(super) fn body(body: &Body) -> Result<(), CommandError> {
    match body {
        Body::PutUser(put) => check_user(put.user.as_ref()),
        Body::SuspendUser(suspend) => require("user_id", &suspend.user_id),
        Body::DeleteUser(delete) => require("user_id", &delete.user_id),
        Body::SetGroupMembership(set) => {
            require("user_id", &set.user_id)?;
            require_all("group_external_ids", &set.group_external_ids)
        }
        Body::PutGrant(put) => {
            require("grant_id", &put.grant_id)?;
            check_user(put.user.as_ref())?;
            if put.entrance_external_ids.is_empty() {
                return Err(field("entrance_external_ids", "names no entrance"));
            }
            require_all("entrance_external_ids", &put.entrance_external_ids)?;
            if put.starts_at_ms <= 0
                || put.ends_at_ms < 0
                || (put.ends_at_ms != 0 && put.ends_at_ms <= put.starts_at_ms)
            {
                return Err(field("ends_at_ms", "must lie after starts_at_ms"));
            }
            put.methods.iter().try_for_each(|method| {
                require("methods.access_method_id", &method.access_method_id)?;
                require("methods.credential_id", &method.credential_id)?;
                check_medium("methods.medium", method.medium)
            })
        }
        Body::DeleteGrant(delete) => {
            require("grant_id", &delete.grant_id)?;
            require("user_id", &delete.user_id)
        }
        Body::PutCredential(put) => {
            require("credential_id", &put.credential_id)?;
            require("user_id", &put.user_id)?;
            check_medium("medium", put.medium)
        }
        Body::DeleteCredential(delete) => {
            require("credential_id", &delete.credential_id)?;
            require("user_id", &delete.user_id)
        }
        Body::AssignCard(assign) => {
            require("credential_id", &assign.credential_id)?;
            require("user_id", &assign.user_id)?;
            require("card_number", &assign.card_number)
        }
        Body::EncodeCredential(encode) => {
            require("credential_id", &encode.credential_id)?;
            require("user_id", &encode.user_id)?;
            require("encoder_external_id", &encode.encoder_external_id)?;
            match KeyOperation::try_from(encode.operation) {
                Ok(
                    KeyOperation::AssignNew | KeyOperation::UpdateCurrent | KeyOperation::NewKey | KeyOperation::Copy,
                ) => Ok(()),
                _ => Err(field("operation", "must say whether the card is new, the present one, or a copy")),
            }
        }
        Body::ScanCredential(scan) => require("encoder_external_id", &scan.encoder_external_id),
        Body::ScanToAssign(scan) => {
            require("encoder_external_id", &scan.encoder_external_id)?;
            require("credential_id", &scan.credential_id)?;
            require("user_id", &scan.user_id)
        }
        Body::UnlockEntrance(unlock) => require("entrance_external_id", &unlock.entrance_external_id),
        Body::CancelCommand(cancel) => {
            CommandId::from_bytes(&cancel.command_id).map(drop).ok_or_else(|| field("command_id", "must have 16 bytes"))
        }
        Body::RefreshInventory(_) | Body::RunDiagnostics(_) => Ok(()),
    }
}

fn check_user(user: Option<&User>) -> Result<(), CommandError> {
    let user = user.ok_or_else(|| field("user", "is missing"))?;
    require("user.user_id", &user.user_id)?;
    require("user.full_name", user.full_name.trim())?;
    if user.starts_at_ms < 0 || user.ends_at_ms < 0 || (user.ends_at_ms != 0 && user.ends_at_ms <= user.starts_at_ms) {
        return Err(field("user.ends_at_ms", "must lie after user.starts_at_ms"));
    }
    Ok(())
}

fn check_medium(name: &'static str, medium: i32) -> Result<(), CommandError> {
    match Medium::try_from(medium) {
        Ok(Medium::Card | Medium::MobileKey) => Ok(()),
        _ => Err(field(name, "is not a medium this bridge knows")),
    }
}

fn require(name: &'static str, value: &str) -> Result<(), CommandError> {
    if value.is_empty() { Err(field(name, "is empty")) } else { Ok(()) }
}

fn require_all(name: &'static str, values: &[String]) -> Result<(), CommandError> {
    values.iter().try_for_each(|value| require(name, value))
}
