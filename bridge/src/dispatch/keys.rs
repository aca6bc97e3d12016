//! What commands mean where cards are keys for rooms, and the lock system keeps no record of the person. Pure, as
//! [`work`](super::work).
//!
//! A grant is accepted into the holder's record here and reaches the lock system when a card is made. What is taken away ends
//! there only if it was the last key of its stay, by a check-out; else the card opens until its own end, or until the next
//! new key for the room is used. Every answer says which of the two it is.

use lockbridge_protocol::proto::tunnel::{
    CommandError, EncodeCredential, Evidence, KeyOperation, Medium, TruthLevel, command::Body,
};
use serde::{Deserialize, Serialize};

use super::phones;
use super::release::{Released, release};
use super::work::{Change, Context, Fate, Prepared, Steps, Work, error, no_credential, work};
use crate::grant::{Credential, Grant, Holder, NoKey, PlannedKey, RoomEdit, RoomKey, plan_key};
use crate::system::{EffectClass, KeyKind, KeyService, KeyTarget, Operation};

/// What a key was asked to be, kept with the intent: a card that is read later is compared with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyAttempt {
    /// Of which stay.
    pub(super) stay: String,
    /// What was asked for.
    pub(super) key: KeyTarget,
    /// The credential whose phone it went to; empty for a card, whose command names its credential.
    #[serde(default)]
    pub(super) phone_credential: String,
}

impl KeyAttempt {
    /// How the rooms change by this key, written for certain or perhaps.
    pub(super) fn edits(&self, user_id: &str, credential_id: &str, is_doubtful: bool) -> Vec<(String, RoomEdit)> {
        let key = RoomKey {
            user_id: user_id.to_owned(),
            credential_id: credential_id.to_owned(),
            mark: self.key.mark.clone(),
            is_doubtful,
            ends_at_ms: self.key.window.and_then(|window| window.ends_at_ms).unwrap_or(i64::MAX),
        };
        let is_new = self.key.kind == KeyKind::New;
        let edit = |room: &String| (room.clone(), RoomEdit::Key { stay: self.stay.clone(), key: key.clone(), is_new });
        self.key.rooms.iter().map(edit).collect()
    }

    /// How the rooms change when it is known whether it was written.
    pub(super) fn settled(&self, written: bool) -> Vec<(String, RoomEdit)> {
        let edit = |room: &String| (room.clone(), RoomEdit::Settled { mark: self.key.mark.clone(), written });
        self.key.rooms.iter().map(edit).collect()
    }
}

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

/// Adds to what happens to the record of a person what has to happen to their keys: a suspended or deleted person has none.
pub(super) fn and_release(
    prepared: Prepared,
    user_id: &str,
    after: Option<&Holder>,
    context: &Context<'_>,
) -> Prepared {
    let description = context.adapter.description();
    let (Prepared::Begin(mut work), Some(keys)) = (prepared.clone(), &description.keys) else { return prepared };
    let released = release(context, user_id, after, keys);
    if let Steps::Operations(operations) = &mut work.steps {
        operations.splice(0..0, released.operations.iter().cloned());
    }
    work.done.rooms.clone_from(&released.edits);
    if let Fate::Put(holder) = &mut work.done.holder {
        released.forget_rooms(holder);
    }
    Prepared::Begin(work)
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

fn put_grant(context: &Context<'_>, user_id: &str, mut holder: Holder, grant_id: &str, keys: &KeyService) -> Prepared {
    let Some(grant) = holder.grants.iter().find(|grant| grant.grant_id == grant_id).cloned() else {
        return no_key(NoKey::NoRoom);
    };
    let is_made = |medium| medium == Medium::Card || (medium == Medium::MobileKey && keys.mobile_keys);
    if !grant.methods.is_empty() && !grant.methods.iter().any(|method| is_made(method.medium())) {
        let message = if keys.mobile_keys {
            "this lock system makes cards and keys for phones only, and the grant asks for neither"
        } else {
            "this lock system makes cards only, and the grant asks for none"
        };
        return Prepared::Refused(error("cannot_create_requested_access_methods", message));
    }
    let mut evidence = match alone(&grant, &holder, keys, context.now_ms) {
        Ok(evidence) => evidence,
        Err(why) => return no_key(why),
    };
    let changed = context.holder.as_ref().is_none_or(|before| {
        let old = before.grants.iter().find(|old| old.grant_id == grant_id);
        old.is_none_or(|old| {
            (&old.entrances, old.starts_at_ms, old.ends_at_ms)
                != (&grant.entrances, grant.starts_at_ms, grant.ends_at_ms)
        })
    });
    if changed {
        for credential in holder.credentials.iter_mut().filter(|credential| grant.is_for(&credential.credential_id)) {
            evidence.card_update_needed |= credential.issued && credential.medium() == Medium::Card;
            credential.up_to_date = false;
        }
    }
    holder.drop_ended(context.now_ms);
    evidence.schedule_modified = grant.schedule_modified();
    // A room that fell out is not wished for any more, whatever becomes of the check-out.
    phones::conclude(context, user_id, &holder, Some(&grant), keys, evidence)
}

/// What of a grant can be on a key.
fn alone(grant: &Grant, holder: &Holder, keys: &KeyService, now_ms: i64) -> Result<Evidence, NoKey> {
    let solo = Holder { grants: vec![Grant { methods: Vec::new(), ..grant.clone() }], ..Holder::default() };
    let split = |missing: &dyn Fn(&String) -> bool| -> Evidence {
        let (missing, given) = grant.entrances.iter().cloned().partition(|door| missing(door));
        Evidence { granted_entrance_external_ids: given, missing_entrance_external_ids: missing, ..Evidence::default() }
    };
    match plan_key(&solo, "", keys, now_ms) {
        Ok(planned) => Ok(split(&|door| planned.missing.contains(door))),
        // Over already: nothing will be on any key.
        Err(_) if grant.is_over(now_ms) => Ok(split(&|_| true)),
        // Further doors alone come onto the key for a room that another grant gives.
        Err(NoKey::NoRoom)
            if grant.entrances.iter().any(|door| keys.areas.contains(door))
                && holder.grants.iter().any(|other| other.entrances.iter().any(|door| keys.rooms.contains(door))) =>
        {
            Ok(split(&|door| !keys.areas.contains(door)))
        }
        Err(why) => Err(why),
    }
}

fn delete_credential(context: &Context<'_>, user_id: &str, credential_id: &str, keys: &KeyService) -> Prepared {
    let Some(holder) = context.holder.clone() else { return nothing("this bridge knows no card of this user") };
    let mut without = holder.clone();
    without.delete_credential(credential_id);
    let until = holder.credential(credential_id).map_or(0, |credential| credential.valid_until_ms);
    let mut after = without.clone();
    if context.compensates {
        // The wish stays; only the card that may exist goes. A new one has to be encoded.
        after = holder.clone();
        if let Some(credential) = after.credential_mut(credential_id) {
            credential.issued = false;
            credential.maybe_issued = false;
            credential.card_number.clear();
            credential.rooms.clear();
        }
    }
    let released = release(context, user_id, Some(&without), keys);
    let mut evidence = at_bridge(released.words());
    evidence.key_valid_until_ms = until;
    // Its key stays listed until it is known to be gone, so that asking again finds it.
    begin_release(context, released, Change::keep(), Change::put(after), evidence)
}

/// Ends the keys that nobody wishes for any more and moves the ends of stays. `failed`: the holder if that cannot be done.
pub(super) fn conclude(
    context: &Context<'_>,
    user_id: &str,
    failed: Change,
    done: Change,
    keys: &KeyService,
    evidence: Evidence,
) -> Prepared {
    let released = release(context, user_id, done.holder_after(), keys);
    let detail = released.words();
    begin_release(context, released, failed, done, Evidence { truth: TruthLevel::Bridge as i32, detail, ..evidence })
}

fn begin_release(
    context: &Context<'_>,
    released: Released,
    failed: Change,
    done: Change,
    mut evidence: Evidence,
) -> Prepared {
    let mut done = done.with_rooms(released.edits.clone());
    if let Fate::Put(holder) = &mut done.holder {
        released.forget_rooms(holder);
    }
    if released.operations.is_empty() {
        return Prepared::Nothing(Box::new(evidence), done);
    }
    evidence.truth = TruthLevel::Server as i32;
    evidence.key_cancelled = released.checked_out;
    let class = released.operations.iter().map(|operation| context.adapter.effect_class(operation)).max();
    let mut work = work(context, Steps::Operations(released.operations), class.unwrap_or(EffectClass::Repeatable));
    work.evidence = evidence;
    work.failed = failed;
    work.doubtful = work.failed.clone();
    work.done = done;
    Prepared::Begin(Box::new(work))
}

fn encode_key(
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
    let key = KeyTarget {
        kind,
        rooms: planned.rooms.clone(),
        areas: planned.areas.clone(),
        window: Some(planned.window),
        stay: planned.stay.clone(),
        mark: context.mark.clone(),
    };
    let attempt = KeyAttempt { stay: planned.stay, key: key.clone(), phone_credential: String::new() };
    let done = issued(holder, credential_id, &attempt);
    let operation = Operation::Encode {
        user_id: user_id.to_owned(),
        encoder: encode.encoder_external_id.clone(),
        key: key.clone(),
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
pub(super) fn planned_key(
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

/// The holder when the key was made.
pub(super) fn issued(holder: &Holder, credential_id: &str, attempt: &KeyAttempt) -> Holder {
    let mut holder = holder.clone();
    if let Some(credential) = holder.credential_mut(credential_id) {
        credential.issued = true;
        credential.maybe_issued = false;
        credential.up_to_date = true;
        with_rooms(credential, attempt);
    }
    holder
}

fn with_rooms(credential: &mut Credential, attempt: &KeyAttempt) {
    credential.rooms.extend(attempt.key.rooms.iter().cloned());
    credential.rooms.sort_unstable();
    credential.rooms.dedup();
}

/// The holder and the rooms when it is not known whether a key was written: for security it was.
pub(super) fn doubtful(holder: &Holder, user_id: &str, credential_id: &str, attempt: &KeyAttempt) -> Change {
    let mut holder = holder.clone();
    if let Some(credential) = holder.credential_mut(credential_id) {
        credential.maybe_issued = true;
        with_rooms(credential, attempt);
    }
    Change::put(holder).with_rooms(attempt.edits(user_id, credential_id, true))
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
