//! A card for a person who is kept at the lock system: the first one, or the one that they have.

use std::collections::BTreeSet;

use lockbridge_protocol::proto::tunnel::{KeyOperation, Medium};

use super::decide::{begin, no_credential};
use super::{Change, Context, Prepared, error};
use crate::grant::Holder;
use crate::system::{KeyKind, KeyTarget, Operation, UserObservation};

pub(super) fn prepare_encode(
    context: &Context<'_>,
    user_id: &str,
    holder: Holder,
    seen: &UserObservation,
    encode: &lockbridge_protocol::proto::tunnel::EncodeCredential,
) -> Prepared {
    let Some(known) = holder.credential(&encode.credential_id) else { return no_credential() };
    if known.medium() != Medium::Card {
        return Prepared::Refused(error("incompatible_card_format", "the credential is not a card"));
    }
    if !seen.exists {
        return Prepared::Refused(error(
            "user_not_found",
            "the lock server does not know the holder of this credential",
        ));
    }
    let kind = match encode.operation() {
        KeyOperation::Unspecified if seen.has_card => KeyKind::Update,
        KeyOperation::UpdateCurrent => KeyKind::Update,
        // A person has one card here, so a copy can only be a second first one: refused below.
        KeyOperation::Unspecified | KeyOperation::AssignNew | KeyOperation::NewKey | KeyOperation::Copy => {
            KeyKind::First
        }
    };
    if kind == KeyKind::First && seen.has_card {
        return Prepared::Refused(error(
            "credential_cannot_be_reissued",
            "the holder has a card already: update that card, or delete its credential first",
        ));
    }
    let granted = holder.grants.iter().filter(|grant| !grant.is_over(context.now_ms));
    let doors: BTreeSet<String> = granted.flat_map(|grant| &grant.entrances).cloned().collect();
    let is_room = |door: &String| context.catalog.entrances.get(door).is_some_and(|entrance| entrance.reservable);
    let (rooms, areas): (Vec<String>, Vec<String>) = doors.into_iter().partition(is_room);
    let mut done = holder.clone();
    if let Some(credential) = done.credential_mut(&encode.credential_id) {
        credential.issued = true;
        credential.maybe_issued = false;
        credential.up_to_date = true;
    }
    let mut doubtful = holder;
    if let Some(credential) = doubtful.credential_mut(&encode.credential_id) {
        credential.maybe_issued = true;
    }
    let key = KeyTarget { kind, rooms: rooms.clone(), areas, window: None, stay: String::new(), mark: String::new() };
    let operation = Operation::Encode { user_id: user_id.into(), encoder: encode.encoder_external_id.clone(), key };
    let mut prepared = begin(context, operation, Change::put(done), Change::put(doubtful));
    if let Prepared::Begin(work) = &mut prepared {
        work.rooms = rooms;
    }
    prepared
}
