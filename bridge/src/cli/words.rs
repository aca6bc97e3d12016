//! Codes of the daemon in the words of who stands at the desk. JSON keeps the codes.

use crate::dispatch::{EncoderJob, EncoderStage};

/// What a command does.
pub(super) fn kind(code: &str) -> &str {
    match code {
        "put_user" => "change holder",
        "suspend_user" => "suspend or unblock holder",
        "delete_user" => "remove holder",
        "set_group_membership" => "change access groups",
        "put_grant" => "give access",
        "delete_grant" => "take access away",
        "put_credential" => "prepare card",
        "delete_credential" => "cancel card",
        "assign_card" => "assign card",
        "encode_credential" => "write card",
        "scan_credential" => "read card",
        "scan_to_assign" => "read and assign card",
        "unlock_entrance" => "open door",
        "refresh_inventory" => "read doors and holders",
        "run_diagnostics" => "diagnose",
        "cancel_command" => "cancel a command",
        other => other,
    }
}

/// How urgent it is.
pub(super) fn urgency(priority: u8) -> &'static str {
    match priority {
        0 => "revoke first",
        1 => "person waits",
        2 => "access",
        _ => "background",
    }
}

/// What it waits for; empty: its turn.
pub(super) fn waits_for(code: &str) -> String {
    match code {
        "" => String::new(),
        "card_removal" => "the card before it to be taken off".into(),
        "lock_system" => "the lock server to answer".into(),
        "retry" => "the next try".into(),
        "inventory" => "the first list of doors from the lock server".into(),
        "state_key" => "the state key to be put back".into(),
        "disk_full" => "space on the disk".into(),
        "clock" => "the clock to be set".into(),
        "bridge_quarantined" => "the end of the quarantine".into(),
        "quarantine_replay" => "the cloud to send again what was lost".into(),
        "journal_lost" => "the cloud to name what the damaged journal lost".into(),
        "brake" => "the brake to be released".into(),
        other => match other.strip_prefix("policy:") {
            Some(rule) => format!("the local policy ({rule})"),
            None => other.to_owned(),
        },
    }
}

/// A job at an encoder, for who waits for it.
pub(super) fn encoder_job(job: &EncoderJob) -> String {
    match (job.stage, job.position) {
        (EncoderStage::RemoveCard, _) => {
            format!("Take the finished card off the encoder {} and have the next one ready.", job.encoder)
        }
        (EncoderStage::Waiting, 0 | 1) => format!("Next at the encoder {}.", job.encoder),
        (EncoderStage::Waiting, place) => format!("Number {place} in line at the encoder {}.", job.encoder),
        (EncoderStage::Preparing, _) => format!("At the encoder {}: asking the lock system.", job.encoder),
        (EncoderStage::PresentCard, _) => {
            format!("Present the card at the encoder {} and leave it there until the result is shown.", job.encoder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_words_and_unknown_ones_stay() {
        assert_eq!((kind("encode_credential"), kind("new_thing")), ("write card", "new_thing"));
        assert_eq!(waits_for("policy:grants_per_hour"), "the local policy (grants_per_hour)");
        assert_eq!((waits_for("").as_str(), waits_for("other").as_str()), ("", "other"));
        assert_eq!((urgency(0), urgency(9)), ("revoke first", "background"));
    }
}
