//! What is taken away: the keys that nobody wishes for any more end, as far as the lock system can end them.

use lockbridge_protocol::proto::tunnel::{Evidence, TruthLevel};

use super::super::release::{Released, release};
use super::super::work::{Change, Context, Fate, Prepared, Steps, work};
use super::{at_bridge, nothing};
use crate::grant::Holder;
use crate::system::{EffectClass, KeyService};

/// Adds to what happens to the record of a person what has to happen to their keys: a suspended or deleted person has none.
pub(in crate::dispatch) fn and_release(
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

pub(super) fn delete_credential(
    context: &Context<'_>,
    user_id: &str,
    credential_id: &str,
    keys: &KeyService,
) -> Prepared {
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
pub(in crate::dispatch) fn conclude(
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
