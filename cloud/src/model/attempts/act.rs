//! Starting an attempt: checked, recorded, and either refused at once or sent as an interactive command.

use lockbridge_protocol::proto::tunnel as proto;
use proto::KeyOperation;
use proto::command::Body;

use super::{About, Action, Attempt, begin, get, settle};
use crate::model::credentials::{self, Credential};
use crate::model::systems::{self, System};
use crate::model::users::{self, User};
use crate::model::{ModelError, Work, commands, sql};

/// An encoder or an entrance: its system, and its name there.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) acs_system_id: String,
    pub(crate) external_id: String,
}

/// Writes a card: the holder's first, or the same card again with newer rights.
pub(crate) fn encode(work: &Work<'_>, encoder: &Device, credential: &Credential) -> Result<Attempt, ModelError> {
    let system = systems::get(work, &encoder.acs_system_id)?;
    check_credential(encoder, credential)?;
    let (user, rights) = holder(work, credential)?;
    let attempt = begin(
        work,
        Action::Encode,
        &About {
            acs_system_id: &system.acs_system_id,
            acs_credential_id: Some(&credential.acs_credential_id),
            rights_revision: rights,
            ..About::default()
        },
    )?;
    if credential.deleting {
        return settle::deny(work, &attempt, "credential_deleted", "The credential is being deleted.");
    }
    if let Some(attempt) = refuse_unreachable(work, &system, &attempt)? {
        return Ok(attempt);
    }
    if let Some(other) = other_pending(work, credential, &attempt)? {
        let message = format!("Action attempt {other} about this credential has not ended yet; wait for its end.");
        return settle::deny(work, &attempt, "uncategorized_error", &message);
    }
    if credential.is_issued && credential.encoded_rights >= user.rights_revision && !update_wanted(work, &user)? {
        let message = "The card carries everything already. One credential is one card; for a lost card delete the \
                       credential first.";
        return settle::deny(work, &attempt, "credential_cannot_be_reissued", message);
    }
    refuse_not_ready(work, credential, &user, rights)?;
    let has_card = credential.is_issued || user.card_at_server;
    let operation = if has_card { KeyOperation::UpdateCurrent } else { KeyOperation::AssignNew };
    let body = Body::EncodeCredential(proto::EncodeCredential {
        credential_id: credential.acs_credential_id.clone(),
        user_id: user.acs_user_id,
        encoder_external_id: encoder.external_id.clone(),
        operation: operation.into(),
    });
    send(work, &system, body, &attempt)
}

/// Reads the card on an encoder.
pub(crate) fn scan(work: &Work<'_>, encoder: &Device) -> Result<Attempt, ModelError> {
    let system = systems::get(work, &encoder.acs_system_id)?;
    let attempt = begin(work, Action::Scan, &About { acs_system_id: &system.acs_system_id, ..About::default() })?;
    if let Some(attempt) = refuse_unreachable(work, &system, &attempt)? {
        return Ok(attempt);
    }
    let body = Body::ScanCredential(proto::ScanCredential { encoder_external_id: encoder.external_id.clone() });
    send(work, &system, body, &attempt)
}

/// Makes the card on an encoder the holder's card; the holder's card credential is made if there is none.
pub(crate) fn scan_to_assign(work: &Work<'_>, encoder: &Device, user: &User) -> Result<Attempt, ModelError> {
    let system = systems::get(work, &encoder.acs_system_id)?;
    if user.acs_system_id != encoder.acs_system_id {
        return Err(ModelError::invalid("acs_encoder_id", "the encoder and the user are of different acs_systems"));
    }
    let credential = match credentials::of_user(work, &user.acs_user_id, "card")? {
        Some(credential) => credential,
        None => credentials::create(work, &system, user, "card")?,
    };
    let (attempt, refused) = begin_assignment(work, Action::ScanToAssign, &system, &credential)?;
    if let Some(refused) = refused {
        return Ok(refused);
    }
    let body = Body::ScanToAssign(proto::ScanToAssign {
        encoder_external_id: encoder.external_id.clone(),
        credential_id: credential.acs_credential_id,
        user_id: user.acs_user_id.clone(),
    });
    send(work, &system, body, &attempt)
}

/// Makes a card with a known serial the holder's card.
pub(crate) fn assign_card(work: &Work<'_>, credential: &Credential, card_number: &str) -> Result<Attempt, ModelError> {
    let system = systems::get(work, &credential.acs_system_id)?;
    let (user, _) = holder(work, credential)?;
    let (attempt, refused) = begin_assignment(work, Action::AssignCard, &system, credential)?;
    if let Some(refused) = refused {
        return Ok(refused);
    }
    let body = Body::AssignCard(proto::AssignCard {
        credential_id: credential.acs_credential_id.clone(),
        user_id: user.acs_user_id,
        card_number: card_number.to_owned(),
    });
    send(work, &system, body, &attempt)
}

fn begin_assignment(
    work: &Work<'_>,
    action: Action,
    system: &System,
    credential: &Credential,
) -> Result<(String, Option<Attempt>), ModelError> {
    let (user, rights) = holder(work, credential)?;
    if user.synced_at.is_none() {
        let message =
            format!("the lock server does not hold acs_user {} yet; try again when it does", user.acs_user_id);
        return Err(ModelError::refused("credential_not_ready_for_encoding", message));
    }
    let about = About {
        acs_system_id: &system.acs_system_id,
        acs_credential_id: Some(&credential.acs_credential_id),
        rights_revision: rights,
        ..About::default()
    };
    let attempt = begin(work, action, &about)?;
    let refused = if let Some(refused) = refuse_unreachable(work, system, &attempt)? {
        Some(refused)
    } else if credential.is_issued {
        let message = "The credential has a card already; delete the credential before giving the holder another card.";
        Some(settle::deny(work, &attempt, "credential_cannot_be_reissued", message)?)
    } else if let Some(other) = other_pending(work, credential, &attempt)? {
        let message = format!("Action attempt {other} about this credential has not ended yet; wait for its end.");
        Some(settle::deny(work, &attempt, "uncategorized_error", &message)?)
    } else {
        None
    };
    Ok((attempt, refused))
}

/// Opens a door now.
pub(crate) fn unlock(work: &Work<'_>, entrance: &Device) -> Result<Attempt, ModelError> {
    let system = systems::get(work, &entrance.acs_system_id)?;
    let about = About { acs_system_id: &system.acs_system_id, acs_entrance_id: Some(&entrance.id), ..About::default() };
    let attempt = begin(work, Action::Unlock, &about)?;
    if let Some(attempt) = refuse_unreachable(work, &system, &attempt)? {
        return Ok(attempt);
    }
    let body = Body::UnlockEntrance(proto::UnlockEntrance { entrance_external_id: entrance.external_id.clone() });
    send(work, &system, body, &attempt)
}

/// Asks the bridge to take a pending attempt back. It ends as cancelled if it had not begun, and as it ends otherwise.
pub(crate) fn cancel(work: &Work<'_>, id: &str) -> Result<Attempt, ModelError> {
    let attempt = get(work, id)?;
    if attempt.is_over(work.now_ms) {
        let message = format!("action attempt {id} has ended; what it did stays");
        return Err(ModelError::refused("action_attempt_ended", message));
    }
    let system = systems::get(work, &attempt.acs_system_id)?;
    commands::cancel(work, &system, id)?;
    Ok(attempt)
}

fn send(work: &Work<'_>, system: &System, body: Body, attempt: &str) -> Result<Attempt, ModelError> {
    commands::interact(work, system, body, attempt)?;
    get(work, attempt)
}

/// No command is signed for somebody who would wait in vain.
fn refuse_unreachable(work: &Work<'_>, system: &System, attempt: &str) -> Result<Option<Attempt>, ModelError> {
    match systems::obstacle(work, system)? {
        Some(message) => settle::deny(work, attempt, "bridge_disconnected", &message).map(Some),
        None => Ok(None),
    }
}

fn check_credential(encoder: &Device, credential: &Credential) -> Result<(), ModelError> {
    if !credential.is_card() {
        let message = format!("a {} is not written by an encoder, only cards are", credential.access_method);
        return Err(ModelError::invalid("acs_credential_id", message));
    }
    if credential.acs_system_id != encoder.acs_system_id {
        return Err(ModelError::invalid(
            "acs_encoder_id",
            "the encoder and the credential are of different acs_systems",
        ));
    }
    Ok(())
}

fn holder(work: &Work<'_>, credential: &Credential) -> Result<(User, i64), ModelError> {
    let Some(id) = &credential.acs_user_id else {
        let message = format!("credential {} has no acs_user; assign it first", credential.acs_credential_id);
        return Err(ModelError::refused("credential_not_assigned", message));
    };
    Ok((users::get(work, id)?, users::rights_at_server(work, id)?))
}

/// Encode may only be offered when the lock server holds something that the card lacks.
fn refuse_not_ready(work: &Work<'_>, credential: &Credential, user: &User, rights: i64) -> Result<(), ModelError> {
    let id = &credential.acs_credential_id;
    let missing = if user.synced_at.is_none() {
        "the lock server does not hold its user yet"
    } else if credential.synced_at.is_none() {
        "the lock server does not hold it yet"
    } else if credential.is_issued && rights <= credential.encoded_rights && !update_wanted(work, user)? {
        "the changed rights are not at the lock server yet"
    } else {
        return Ok(());
    };
    let message =
        format!("credential {id} is not ready for encoding: {missing}; wait until pending_mutations is empty");
    Err(ModelError::refused("credential_not_ready_for_encoding", message))
}

/// The lock server itself said that it has something newer for the card.
fn update_wanted(work: &Work<'_>, user: &User) -> Result<bool, ModelError> {
    let query = "SELECT 1 FROM acs_user WHERE acs_user_id = ?1 AND update_needed_at_server";
    Ok(sql::exists(work.connection, query, [&user.acs_user_id])?)
}

fn other_pending(work: &Work<'_>, credential: &Credential, attempt: &str) -> Result<Option<String>, ModelError> {
    Ok(sql::one(
        work.connection,
        "SELECT action_attempt_id FROM action_attempt
         WHERE acs_credential_id = ?1 AND status = 'pending' AND deadline_at > ?2 AND action_attempt_id <> ?3",
        (&credential.acs_credential_id, work.now_ms, attempt),
        |row| row.get(0),
    )?)
}
