//! Keys for phones at a key service: when one is due, and what has to happen for it. Pure, as [`keys`].
//!
//! A card is written when somebody stands at an encoder. A phone needs nobody, so its key goes out with the grant that asks for
//! it, once the grant begins: before that the room may be another guest's, whose keys a new one would end. What becomes of a
//! key whose answer is lost is known to the holder of the phone alone: it is in doubt, and is not sent again by itself.

use lockbridge_protocol::proto::tunnel::{CommandError, Evidence, KeyOperation, Medium, TruthLevel, command::Body};

use super::keys::{self, KeyAttempt};
use super::work::{Change, Context, Fate, Prepared, Steps, error, work};
use crate::grant::{Credential, Grant, Holder};
use crate::system::{EffectClass, KeyService, Operation, PhoneNumber};

/// A key that is due.
struct Due {
    phone: PhoneNumber,
    attempt: KeyAttempt,
    granted: Vec<String>,
    missing: Vec<String>,
}

/// Why none goes out now.
enum Not {
    /// No phone asks for one, or it has it.
    Wanted,
    /// Not before that moment, ms since the epoch.
    Before(i64),
    /// It cannot be.
    Possible(CommandError),
}

/// [`keys::conclude`], and then the key that a phone of the holder is to have. `grant`: the one that was put; without it any
/// that stands.
pub(super) fn conclude(
    context: &Context<'_>,
    user_id: &str,
    holder: &Holder,
    grant: Option<&Grant>,
    keys: &KeyService,
    evidence: Evidence,
) -> Prepared {
    let due = due(context, holder, grant, keys);
    let done = Change::put(holder.clone());
    let concluded = keys::conclude(context, user_id, done.clone(), done, keys, evidence);
    match due {
        Ok(due) => with_key(context, user_id, holder, due, concluded),
        Err(Not::Wanted) => concluded,
        // Only a grant asks for a key; a person who is let in again gets it with the next one if it cannot go out now.
        Err(Not::Before(_) | Not::Possible(_)) if grant.is_none() => concluded,
        Err(Not::Before(at_ms)) => Prepared::Later(at_ms),
        Err(Not::Possible(refusal)) => Prepared::Refused(refusal),
    }
}

/// What is known after the process ended in the middle of such a command: what it wished stands, and the phone may have the key.
pub(super) fn in_doubt(known: Option<Holder>, body: &Body, user_id: &str, attempt: &KeyAttempt, now_ms: i64) -> Change {
    let mut holder = known.unwrap_or_default();
    match body {
        Body::PutGrant(put) => {
            let _is_newest = holder.put_grant(put, now_ms, |_| false);
        }
        Body::SuspendUser(suspend) => holder.suspended = suspend.suspended,
        _ => {}
    }
    keys::doubtful(&holder, user_id, &attempt.phone_credential, attempt)
}

fn due(context: &Context<'_>, holder: &Holder, grant: Option<&Grant>, keys: &KeyService) -> Result<Due, Not> {
    if !keys.mobile_keys || holder.suspended || grant.is_some_and(|grant| grant.is_over(context.now_ms)) {
        return Err(Not::Wanted);
    }
    let credential = asked_for(holder, grant).ok_or(Not::Wanted)?;
    let phone = holder.person.as_ref().map(|person| person.phone_number.trim().to_owned()).unwrap_or_default();
    if phone.is_empty() {
        let message = "a mobile key is sent to a telephone number, and this person has none: give one (phone_number), then \
                       ask again";
        return Err(Not::Possible(error("cannot_create_requested_access_methods", message)));
    }
    if let Some(grant) = grant.filter(|grant| grant.starts_at_ms > context.now_ms) {
        return Err(Not::Before(grant.starts_at_ms));
    }
    let id = credential.credential_id.as_str();
    let (planned, kind) =
        keys::planned_key(context, holder, id, KeyOperation::Unspecified, keys).map_err(Not::Possible)?;
    if planned.window.starts_at_ms > context.now_ms {
        return Err(Not::Before(planned.window.starts_at_ms));
    }
    let names_room = |grant: &Grant| grant.entrances.iter().any(|door| keys.rooms.contains(door));
    if grant.is_some_and(|grant| names_room(grant) && grant.stay() != planned.stay) {
        // The phone holds one stay at a time, and that of another grant lasts.
        return Err(Not::Before(planned.window.ends_at_ms.unwrap_or(i64::MAX)));
    }
    Ok(Due {
        phone: PhoneNumber(phone),
        attempt: KeyAttempt::of(context, &planned, kind, id.to_owned()),
        granted: planned.rooms.into_iter().chain(planned.areas).collect(),
        missing: planned.missing.into_iter().collect(),
    })
}

/// The phone of the grant, or of any grant, that lacks its key or has an older one.
fn asked_for<'holder>(holder: &'holder Holder, grant: Option<&Grant>) -> Option<&'holder Credential> {
    holder.credentials.iter().find(|credential| {
        let named = |grant: &Grant| grant.methods.iter().any(|method| method.credential_id == credential.credential_id);
        credential.medium() == Medium::MobileKey
            && !(credential.issued && credential.up_to_date)
            && grant.map_or_else(|| holder.grants.iter().any(named), named)
    })
}

fn with_key(context: &Context<'_>, user_id: &str, holder: &Holder, due: Due, concluded: Prepared) -> Prepared {
    let mut work = match concluded {
        Prepared::Begin(work) => work,
        Prepared::Nothing(evidence, done) => {
            let mut begun = work(context, Steps::Operations(Vec::new()), EffectClass::Repeatable);
            begun.evidence = *evidence;
            begun.failed = Change::put(holder.clone());
            begun.done = done;
            Box::new(begun)
        }
        other => return other,
    };
    let Due { phone, attempt, granted, missing } = due;
    let id = attempt.phone_credential.clone();
    let send = Operation::SendKey { phone, key: attempt.key.clone() };
    work.class = work.class.max(context.adapter.effect_class(&send));
    if let Steps::Operations(operations) = &mut work.steps {
        operations.push(send);
    }
    // Its turn on the line, and then its answer.
    work.deadline = context.config.call_timeout.saturating_mul(2);
    work.evidence.truth = TruthLevel::Server as i32;
    work.evidence.granted_entrance_external_ids.retain(|door| !missing.contains(door));
    for door in granted {
        if !work.evidence.granted_entrance_external_ids.contains(&door) {
            work.evidence.granted_entrance_external_ids.push(door);
        }
    }
    work.evidence.missing_entrance_external_ids.extend(missing);
    work.evidence.missing_entrance_external_ids.sort_unstable();
    work.evidence.missing_entrance_external_ids.dedup();
    if let Fate::Put(done) = &mut work.done.holder {
        let mut issued = keys::issued(done, &id, &attempt);
        if let Some(credential) = issued.credential_mut(&id) {
            credential.valid_until_ms = attempt.key.window.and_then(|window| window.ends_at_ms).unwrap_or_default();
        }
        **done = issued;
    }
    work.done.rooms.extend(attempt.edits(user_id, &id, false));
    work.doubtful = keys::doubtful(holder, user_id, &id, &attempt);
    work.key = Some(attempt);
    Prepared::Begin(work)
}
