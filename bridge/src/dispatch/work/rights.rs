//! Rights of one person, written whole; and the credential that is taken from them.

use lockbridge_protocol::proto::tunnel::{Evidence, Medium, TruthLevel};

use super::super::keys;
use super::decide::{begin, nothing};
use super::{Change, Context, Prepared, Steps, error};
use crate::config::RightsMode;
use crate::grant::{Holder, plan};
use crate::system::Operation;

/// Why rights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish<'a> {
    /// A grant, by id: its doors are told.
    Grant(&'a str),
    /// Something is taken away.
    Revoke,
    /// Anything else.
    Other,
}

/// Rights of `holder`, written whole.
pub(super) fn apply_user(context: &Context<'_>, user_id: &str, mut holder: Holder, wish: Wish<'_>) -> Prepared {
    let mode = context.config.rights_mode();
    let planned = plan(user_id, &keys::recorded(&holder, context), context.catalog, context.now_ms, mode);
    let grant = match wish {
        Wish::Grant(id) => holder.grants.iter().find(|grant| grant.grant_id == id).cloned(),
        Wish::Revoke | Wish::Other => None,
    };
    let mut evidence = Evidence {
        truth: TruthLevel::Server as i32,
        group_external_ids: planned.groups.iter().cloned().collect(),
        ..Evidence::default()
    };
    if let Some(grant) = grant {
        let (missing, given): (Vec<String>, Vec<String>) =
            grant.entrances.iter().cloned().partition(|door| planned.missing.contains(door));
        if given.is_empty() && mode == RightsMode::LevelsOnly && !grant.entrances.is_empty() {
            return Prepared::Refused(error(
                "setup_required",
                "no access level of the lock system fits inside the granted doors: make one there",
            ));
        }
        if let (Some(_), Some(door)) = (context.desk, missing.first()) {
            // A guest with a card that does not open the room is worse than none.
            let message = format!("the lock system cannot give entrance `{door}`");
            return Prepared::Refused(error("setup_required", message));
        }
        evidence.granted_entrance_external_ids = given;
        evidence.missing_entrance_external_ids = missing;
        evidence.schedule_modified = grant.schedule_modified();
    }
    holder.drop_ended(context.now_ms);
    holder.written_groups = planned.groups.into_iter().collect();
    holder.cards_lag();
    holder.replan_at_ms = holder.look_again_at(planned.replan_at_ms);
    let after = Change::put(holder);
    let prepared = begin(context, Operation::ApplyUser(planned.target), after.clone(), Change::keep());
    match prepared {
        Prepared::Begin(mut work) => {
            work.evidence = evidence;
            // A revoke that could not be carried out stays wished for: the next write of this holder leaves it out.
            if wish == Wish::Revoke {
                work.doubtful = after.clone();
                work.failed = after;
            }
            Prepared::Begin(work)
        }
        other => other,
    }
}

pub(super) fn delete_credential(context: &Context<'_>, user_id: &str, credential_id: &str) -> Prepared {
    let cancel = Operation::CancelKey { user_id: user_id.into() };
    let Some(mut holder) = context.holder.clone() else {
        return match context.observation {
            None => Prepared::Observe,
            Some(seen) if seen.exists && seen.has_card => {
                let mut prepared = begin(context, cancel, Change::keep(), Change::keep());
                if let Prepared::Begin(work) = &mut prepared {
                    work.evidence.key_cancelled = true;
                }
                prepared
            }
            Some(_) => nothing("the lock server knows no card of this user"),
        };
    };
    let known = holder.credential(credential_id).cloned();
    let carries_card = known.as_ref().is_some_and(|credential| {
        credential.medium() == Medium::Card
            && (credential.issued || credential.maybe_issued || !credential.card_number.is_empty())
    });
    if context.compensates {
        // The wish stays; only the card that may exist goes. A new one has to be encoded.
        if let Some(credential) = holder.credential_mut(credential_id) {
            credential.issued = false;
            credential.maybe_issued = false;
            credential.card_number.clear();
        }
    } else {
        holder.delete_credential(credential_id);
    }
    let mut prepared = apply_user(context, user_id, holder, Wish::Revoke);
    if let Prepared::Begin(work) = &mut prepared
        && (carries_card || context.compensates)
        && let Steps::Operations(operations) = &mut work.steps
    {
        work.class = work.class.max(context.adapter.effect_class(&cancel));
        operations.insert(0, cancel);
        work.evidence.key_cancelled = true;
    }
    prepared
}
