//! Which operations carry out each kind of command, where it is not about keys for rooms.

use lockbridge_protocol::proto::tunnel::{Evidence, TruthLevel, command::Body};

use super::super::keys;
use super::encode::prepare_encode;
use super::rights::{Wish, apply_user, delete_credential};
use super::{Change, Context, Prepared, Steps, Work, error, user_of};
use crate::system::{EffectClass, Operation};

/// Decides what a command means now.
pub(in crate::dispatch) fn prepare(body: &Body, context: &Context<'_>) -> Prepared {
    let user_id = user_of(body).unwrap_or_default();
    if let Some(prepared) = keys::prepare(body, user_id, context) {
        return prepared;
    }
    let unknown =
        || Prepared::Refused(error("user_not_found", "this bridge does not know the user at this lock system"));
    match body {
        Body::PutUser(put) => {
            let mut holder = context.holder.clone().unwrap_or_default();
            let Some(user) = &put.user else { return unknown() };
            if !holder.put_person(user, put.revision) {
                return Prepared::Superseded;
            }
            apply_user(context, user_id, holder, Wish::Other)
        }
        Body::SuspendUser(suspend) => match context.holder.clone() {
            None => unknown(),
            Some(mut holder) => {
                holder.suspended = suspend.suspended;
                let wish = if suspend.suspended { Wish::Revoke } else { Wish::Other };
                let applied = apply_user(context, user_id, holder.clone(), wish);
                keys::and_release(applied, user_id, Some(&holder), context)
            }
        },
        Body::DeleteUser(_) => {
            let delete = Operation::DeleteUser { user_id: user_id.into() };
            keys::and_release(begin(context, delete, Change::forget(), Change::keep()), user_id, None, context)
        }
        Body::SetGroupMembership(set) => {
            let Some(mut holder) = context.holder.clone() else { return unknown() };
            if set.revision < holder.memberships_revision {
                return Prepared::Superseded;
            }
            if holder.memberships.is_empty() {
                holder.member_since_ms = context.now_ms;
            }
            holder.memberships.clone_from(&set.group_external_ids);
            holder.memberships_revision = set.revision;
            apply_user(context, user_id, holder, Wish::Other)
        }
        Body::PutGrant(put) => {
            let mut holder = context.holder.clone().unwrap_or_default();
            if !holder.put_grant(put, context.now_ms, |credential| context.revoked.contains(credential)) {
                return Prepared::Superseded;
            }
            if let Some(order) = context.desk {
                holder.stay = Some(order.clone());
            }
            apply_user(context, user_id, holder, Wish::Grant(&put.grant_id))
        }
        Body::DeleteGrant(delete) => match (context.holder.clone(), context.observation) {
            (Some(mut holder), _) => {
                holder.delete_grant(&delete.grant_id);
                apply_user(context, user_id, holder, Wish::Revoke)
            }
            (None, None) => Prepared::Observe,
            (None, Some(seen)) if !seen.exists => nothing("the lock server does not know this user"),
            (None, Some(_)) => Prepared::Refused(error(
                "grant_not_found",
                "the lock server has this user but this bridge does not know its grants: put them again, or delete the user",
            )),
        },
        Body::PutCredential(put) => match context.holder.clone() {
            None => unknown(),
            Some(mut holder) => {
                holder.put_credential(&put.credential_id, put.medium);
                apply_user(context, user_id, holder, Wish::Other)
            }
        },
        Body::DeleteCredential(delete) => delete_credential(context, user_id, &delete.credential_id),
        Body::AssignCard(assign) => {
            let Some(mut holder) = context.holder.clone() else { return unknown() };
            let Some(credential) = holder.credential_mut(&assign.credential_id) else { return no_credential() };
            credential.card_number.clone_from(&assign.card_number);
            credential.up_to_date = false;
            let operation = Operation::AssignCard { user_id: user_id.into(), card_number: assign.card_number.clone() };
            begin(context, operation, Change::put(holder), Change::keep())
        }
        Body::EncodeCredential(encode) => {
            let Some(holder) = context.holder.clone() else { return no_credential() };
            let Some(seen) = context.observation else { return Prepared::Observe };
            prepare_encode(context, user_id, holder, seen, encode)
        }
        Body::ScanCredential(scan) => {
            let operation = Operation::ReadCard { encoder: scan.encoder_external_id.clone() };
            begin(context, operation, Change::keep(), Change::keep())
        }
        Body::ScanToAssign(scan) => {
            let Some(holder) = context.holder.clone() else { return unknown() };
            if holder.credential(&scan.credential_id).is_none() {
                return no_credential();
            }
            let assign = Operation::AssignCard { user_id: user_id.into(), card_number: String::new() };
            let steps =
                Steps::ReadThenAssign { encoder: scan.encoder_external_id.clone(), user_id: user_id.to_owned() };
            let mut work = work(context, steps, context.adapter.effect_class(&assign));
            work.encoder = Some(scan.encoder_external_id.clone());
            work.device.clone_from(&scan.encoder_external_id);
            work.deadline = context.config.encode_timeout;
            work.done = Change::put(holder);
            Prepared::Begin(Box::new(work))
        }
        Body::UnlockEntrance(unlock) => {
            let operation = Operation::Unlock { entrance: unlock.entrance_external_id.clone() };
            begin(context, operation, Change::keep(), Change::keep())
        }
        Body::RefreshInventory(_) => Prepared::Begin(Box::new(work(context, Steps::Scan, EffectClass::Repeatable))),
        Body::RunDiagnostics(_) => Prepared::Begin(Box::new(work(context, Steps::Probe, EffectClass::Repeatable))),
        Body::CancelCommand(_) => Prepared::Refused(error("uncategorized_error", "a cancel is decided by the engine")),
    }
}

pub(in crate::dispatch) fn no_credential() -> Prepared {
    Prepared::Refused(error(
        "credential_not_found",
        "this bridge does not know the credential: its grant has not reached the lock server",
    ))
}

pub(super) fn nothing(detail: &str) -> Prepared {
    let evidence = Evidence { truth: TruthLevel::Server as i32, detail: detail.to_owned(), ..Evidence::default() };
    Prepared::Nothing(Box::new(evidence), Change::keep())
}

pub(in crate::dispatch) fn work(context: &Context<'_>, steps: Steps, class: EffectClass) -> Work {
    Work {
        steps,
        class,
        device: context.config.name.clone(),
        encoder: None,
        deadline: context.config.call_timeout,
        done: Change::keep(),
        doubtful: Change::keep(),
        failed: Change::keep(),
        evidence: Evidence { truth: TruthLevel::Server as i32, ..Evidence::default() },
        rooms: Vec::new(),
        key: None,
    }
}

pub(super) fn begin(context: &Context<'_>, operation: Operation, done: Change, doubtful: Change) -> Prepared {
    let class = context.adapter.effect_class(&operation);
    let mut work = work(context, Steps::Operations(Vec::new()), class);
    if let Operation::Encode { encoder, .. } | Operation::ReadCard { encoder } = &operation {
        work.at_encoder(context, encoder);
    }
    work.steps = Steps::Operations(vec![operation]);
    work.done = done;
    work.doubtful = doubtful;
    Prepared::Begin(Box::new(work))
}
