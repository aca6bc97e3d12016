//! What commands mean where cards are keys for rooms, and the lock system keeps no record of the person. Pure, as
//! [`work`](super::work).
//!
//! A grant is accepted into the holder's record here and reaches the lock system when a card is made. What is taken away ends
//! there only if it was the last key of its stay, by a check-out; else the card opens until its own end, or until the next
//! new key for the room is used. Every answer says which of the two it is.

mod attempt;
mod ends;
mod make;
mod wishes;

use lockbridge_protocol::proto::tunnel::{CommandError, Evidence, Medium, TruthLevel, command::Body};

use self::ends::delete_credential;
use self::make::encode_key;
use self::wishes::put_grant;
use super::phones;
use super::work::{Change, Context, Prepared, error, no_credential};
use crate::grant::{Grant, Holder, NoKey};
use crate::system::KeyService;

pub(super) use attempt::{KeyAttempt, doubtful, issued};
pub(super) use ends::{and_release, conclude};
pub(super) use make::planned_key;

/// Rooms whose record decides what this body means.
pub(super) fn rooms_of(body: &Body, holder: Option<&Holder>, keys: &KeyService) -> Vec<String> {
    let granted = match body {
        Body::PutGrant(put) => put.entrance_external_ids.as_slice(),
        _ => &[],
    };
    let known = holder.into_iter().flat_map(|holder| {
        let on_cards = holder.credentials.iter().flat_map(|credential| &credential.rooms);
        holder.grants.iter().flat_map(|grant| &grant.entrances).chain(on_cards)
    });
    granted.iter().chain(known).filter(|door| keys.rooms.contains(*door)).cloned().collect()
}

/// Whether rights of this grant live on keys: all of them, or, where people are kept too, those of grants with a room.
pub(super) fn is_key_grant(entrances: &[String], context: &Context<'_>) -> bool {
    let description = context.adapter.description();
    description
        .keys
        .as_ref()
        .is_some_and(|keys| !description.keeps_people || entrances.iter().any(|door| keys.rooms.contains(door)))
}

/// The holder as far as the lock server keeps people: without what lives on keys, and without the phone that only they are
/// sent to.
pub(super) fn recorded(holder: &Holder, context: &Context<'_>) -> Holder {
    let mut recorded = holder.clone();
    recorded.grants.retain(|grant| !is_key_grant(&grant.entrances, context));
    let names = |grants: &[Grant], id: &str| {
        grants.iter().any(|grant| grant.methods.iter().any(|method| method.credential_id == id))
    };
    let grants = std::mem::take(&mut recorded.grants);
    recorded.credentials.retain(|credential| {
        let id = credential.credential_id.as_str();
        credential.medium() != Medium::MobileKey || names(&grants, id) || !is_key_credential(Some(holder), id, context)
    });
    recorded.grants = grants;
    recorded
}

/// What a body means if it is about keys; `None` where a record of a person decides.
pub(super) fn prepare(body: &Body, user_id: &str, context: &Context<'_>) -> Option<Prepared> {
    let description = context.adapter.description();
    let keys = description.keys.as_ref()?;
    let unknown =
        || Prepared::Refused(error("user_not_found", "this bridge does not know the user at this lock system"));
    let known = context.holder.as_ref();
    let grant = |id: &str| known.and_then(|holder| holder.grants.iter().find(|grant| grant.grant_id == id));
    let is_key = |credential_id: &str| !description.keeps_people || is_key_credential(known, credential_id, context);
    Some(match body {
        Body::PutGrant(put) if is_key_grant(&put.entrance_external_ids, context) => {
            let mut holder = known.cloned().unwrap_or_default();
            if !holder.put_grant(put, context.now_ms, |credential| context.revoked.contains(credential)) {
                return Some(Prepared::Superseded);
            }
            if let Some(order) = context.desk {
                holder.stay = Some(order.clone());
                holder.replan_at_ms = holder.look_again_at(None);
            }
            put_grant(context, user_id, holder, &put.grant_id, keys)
        }
        Body::DeleteGrant(delete)
            if grant(&delete.grant_id)
                .map_or(!description.keeps_people, |grant| is_key_grant(&grant.entrances, context)) =>
        {
            let Some(mut holder) = known.cloned() else {
                return Some(nothing("this bridge knows nothing of this user"));
            };
            holder.delete_grant(&delete.grant_id);
            conclude(context, user_id, Change::put(holder.clone()), Change::put(holder), keys, Evidence::default())
        }
        Body::DeleteCredential(delete) if is_key(&delete.credential_id) => {
            delete_credential(context, user_id, &delete.credential_id, keys)
        }
        Body::EncodeCredential(encode) if is_key(&encode.credential_id) => match known {
            None => no_credential(),
            Some(holder) => encode_key(context, user_id, holder, encode, keys),
        },
        _ if description.keeps_people => return None,
        Body::PutUser(put) => {
            let mut holder = known.cloned().unwrap_or_default();
            let Some(user) = &put.user else { return Some(unknown()) };
            if !holder.put_person(user, put.revision) {
                return Some(Prepared::Superseded);
            }
            kept(holder)
        }
        Body::PutCredential(put) => match known.cloned() {
            None => unknown(),
            Some(mut holder) => {
                holder.put_credential(&put.credential_id, put.medium);
                kept(holder)
            }
        },
        Body::SuspendUser(suspend) => match known.cloned() {
            None => unknown(),
            Some(mut holder) => {
                holder.suspended = suspend.suspended;
                phones::conclude(context, user_id, &holder, None, keys, Evidence::default())
            }
        },
        Body::DeleteUser(_) => conclude(context, user_id, Change::keep(), Change::forget(), keys, Evidence::default()),
        Body::SetGroupMembership(_) => cannot("keeps no access groups of people: its keys are made for rooms"),
        Body::AssignCard(_) | Body::ScanToAssign(_) => {
            cannot("keeps no cards of people: encode the card instead of assigning it")
        }
        Body::UnlockEntrance(_) => cannot("cannot open a door from afar"),
        _ => return None,
    })
}

fn is_key_credential(holder: Option<&Holder>, credential_id: &str, context: &Context<'_>) -> bool {
    let Some(holder) = holder else { return false };
    holder.credential(credential_id).is_some_and(|credential| !credential.rooms.is_empty())
        || holder.grants.iter().any(|grant| {
            grant.methods.iter().any(|method| method.credential_id == credential_id)
                && is_key_grant(&grant.entrances, context)
        })
}

fn cannot(what: &str) -> Prepared {
    Prepared::Refused(error("not_supported", format!("this lock system {what}")))
}

fn at_bridge(detail: String) -> Evidence {
    Evidence { truth: TruthLevel::Bridge as i32, detail, ..Evidence::default() }
}

fn nothing(detail: &str) -> Prepared {
    Prepared::Nothing(Box::new(at_bridge(detail.to_owned())), Change::keep())
}

fn kept(holder: Holder) -> Prepared {
    let detail = "kept by the bridge; the lock system hears of it when a key is made".to_owned();
    Prepared::Nothing(Box::new(at_bridge(detail)), Change::put(holder))
}

fn no_key(why: NoKey) -> Prepared {
    Prepared::Refused(no_key_error(why))
}

fn no_key_error(why: NoKey) -> CommandError {
    let code = match why {
        NoKey::NoEnd => "ends_at_required",
        NoKey::NoRoom | NoKey::TooManyRooms => "cannot_create_requested_access_methods",
    };
    error(code, why.to_string())
}
