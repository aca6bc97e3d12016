//! Making a key for a room: what is on it, and whether it is a new one or a copy.

use lockbridge_protocol::proto::tunnel::{CommandError, EncodeCredential, KeyOperation, Medium};

use super::super::work::{Change, Context, Prepared, Steps, Work, error, no_credential, work};
use super::{KeyAttempt, doubtful, issued, no_key_error};
use crate::grant::{Holder, PlannedKey, plan_key};
use crate::system::{KeyKind, KeyService, Operation};

pub(super) fn encode_key(
    context: &Context<'_>,
    user_id: &str,
    holder: &Holder,
    encode: &EncodeCredential,
    keys: &KeyService,
) -> Prepared {
    let credential_id = &encode.credential_id;
    let Some(known) = holder.credential(credential_id) else { return no_credential() };
    if known.medium() != Medium::Card {
        return Prepared::Refused(error("incompatible_card_format", "the credential is not a card"));
    }
    if holder.suspended {
        return Prepared::Refused(error("acs_user_inactive", "the holder of this card is suspended"));
    }
    let (planned, kind) = match planned_key(context, holder, credential_id, encode.operation(), keys) {
        Ok(planned) => planned,
        Err(refusal) => return Prepared::Refused(refusal),
    };
    let attempt = KeyAttempt::of(context, &planned, kind, String::new());
    let done = issued(holder, credential_id, &attempt);
    let operation = Operation::Encode {
        user_id: user_id.to_owned(),
        encoder: encode.encoder_external_id.clone(),
        key: attempt.key.clone(),
    };
    let class = context.adapter.effect_class(&operation);
    let mut work: Work = work(context, Steps::Operations(vec![operation]), class);
    work.at_encoder(context, &encode.encoder_external_id);
    work.evidence.granted_entrance_external_ids = planned.rooms.iter().chain(&planned.areas).cloned().collect();
    work.evidence.missing_entrance_external_ids = planned.missing.into_iter().collect();
    work.done = Change::put(done).with_rooms(attempt.edits(user_id, credential_id, false));
    work.doubtful = doubtful(holder, user_id, credential_id, &attempt);
    work.rooms = planned.rooms;
    work.key = Some(attempt);
    Prepared::Begin(Box::new(work))
}

/// The key that is to be made for a credential now, and as what: rooms in the order in which the server is to see them.
pub(in crate::dispatch) fn planned_key(
    context: &Context<'_>,
    holder: &Holder,
    credential_id: &str,
    asked: KeyOperation,
    keys: &KeyService,
) -> Result<(PlannedKey, KeyKind), CommandError> {
    let mut planned = plan_key(holder, credential_id, keys, context.now_ms).map_err(no_key_error)?;
    let of_stay = |room: &String| {
        let current = context.rooms.get(room).and_then(|record| record.current(context.now_ms));
        current.is_some_and(|stay| stay.stay == planned.stay)
    };
    // A copy is asked for where the stay began, even if another room would come first by now.
    if let Some(at) = planned.rooms.iter().position(of_stay) {
        let main = planned.rooms.remove(at);
        planned.rooms.insert(0, main);
    }
    let kind = kind_of_key(context, &planned, asked, keys)?;
    Ok((planned, kind))
}

/// A new key or a copy. The stay that the rooms are given to decides, unless the one who asks says which: a wrong new key
/// locks a guest out, a wrong copy lets a former guest in.
fn kind_of_key(
    context: &Context<'_>,
    planned: &PlannedKey,
    asked: KeyOperation,
    keys: &KeyService,
) -> Result<KeyKind, CommandError> {
    match asked {
        KeyOperation::NewKey => return Ok(KeyKind::New),
        KeyOperation::Copy => return Ok(KeyKind::Copy),
        KeyOperation::Unspecified | KeyOperation::AssignNew | KeyOperation::UpdateCurrent => {}
    }
    let mut kind = KeyKind::New;
    for (index, room) in planned.rooms.iter().enumerate() {
        let Some(stay) = context.rooms.get(room).and_then(|record| record.current(context.now_ms)) else { continue };
        if stay.stay == planned.stay {
            if index == 0 {
                kind = KeyKind::Copy;
            }
        } else if !keys.early_keys || planned.window.starts_at_ms < stay.ends_at_ms {
            let message = format!(
                "room {room} is given to another stay: a new key would end its keys. Use the same reservation key for a copy, \
                 or delete the other grant first"
            );
            return Err(error("room_occupied", message));
        }
    }
    Ok(kind)
}
