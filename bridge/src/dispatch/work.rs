//! What a command means at a lock system, here and now. Pure: command, holder, observation and inventory in; operations,
//! evidence and the holder as it will be out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{
    CommandError, DeskOrder, Evidence, KeyOperation, Medium, TruthLevel, command::Body,
};

use super::keys::{self, KeyAttempt};
use crate::config::{LockSystemConfig, RightsMode};
use crate::grant::{Catalog, Holder, Room, RoomEdit, plan};
use crate::system::{EffectClass, KeyKind, KeyTarget, LockSystem, Operation, UserObservation};

/// What is done at the lock system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Steps {
    /// These, one after the other.
    Operations(Vec<Operation>),
    /// Read the card on the encoder and make it the holder's.
    ReadThenAssign {
        /// Where.
        encoder: String,
        /// Whose.
        user_id: String,
    },
    /// A complete inventory scan.
    Scan,
    /// One cheap question.
    Probe,
}

/// What becomes of what is known: of the holder, and of rooms.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Change {
    pub(super) holder: Fate,
    /// Rooms that it is about, and how they change.
    pub(super) rooms: Vec<(String, RoomEdit)>,
}

/// What becomes of the holder's record.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Fate {
    /// Nothing.
    #[default]
    Keep,
    /// This.
    Put(Box<Holder>),
    /// Forgotten.
    Forget,
}

impl Change {
    /// Nothing changes.
    pub(super) fn keep() -> Self {
        Self::default()
    }

    /// The holder is this from now on.
    pub(super) fn put(holder: Holder) -> Self {
        Self { holder: Fate::Put(Box::new(holder)), rooms: Vec::new() }
    }

    /// The holder is forgotten.
    pub(super) fn forget() -> Self {
        Self { holder: Fate::Forget, rooms: Vec::new() }
    }

    /// The holder as it will be; `None` also when nothing changes.
    pub(super) fn holder_after(&self) -> Option<&Holder> {
        match &self.holder {
            Fate::Put(holder) => Some(holder),
            Fate::Keep | Fate::Forget => None,
        }
    }

    /// The same, and rooms change.
    pub(super) fn with_rooms(self, rooms: Vec<(String, RoomEdit)>) -> Self {
        Self { rooms, ..self }
    }
}

/// An attempt that is about to begin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) steps: Steps,
    pub(super) class: EffectClass,
    /// Lock system or encoder.
    pub(super) device: String,
    /// To be leased.
    pub(super) encoder: Option<String>,
    pub(super) deadline: Duration,
    /// The holder when it is done.
    pub(super) done: Change,
    /// The holder when it is in doubt: a revoke stays wished for, a card that may exist is listed (rule B8).
    pub(super) doubtful: Change,
    /// The holder when it failed: a revoke stays wished for.
    pub(super) failed: Change,
    /// What can be said already.
    pub(super) evidence: Evidence,
    /// Rooms that an encode opens, for the policy.
    pub(super) rooms: Vec<String>,
    /// The key for a room that is about to be written.
    pub(super) key: Option<KeyAttempt>,
}

impl Work {
    /// It is done on that encoder, in front of a person.
    pub(super) fn at_encoder(&mut self, context: &Context<'_>, encoder: &str) {
        self.encoder = Some(encoder.to_owned());
        encoder.clone_into(&mut self.device);
        self.deadline = context.config.encode_timeout;
        self.evidence.truth = TruthLevel::Medium as i32;
    }

    /// Rooms whose record it rests on and changes: no other work about them may be under way.
    pub(super) fn rooms_touched(&self) -> BTreeSet<String> {
        let changes = [&self.done, &self.doubtful, &self.failed];
        changes.into_iter().flat_map(|change| &change.rooms).map(|(room, _)| room.clone()).collect()
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Prepared {
    /// Begin.
    Begin(Box<Work>),
    /// The holder has to be observed first.
    Observe,
    /// Not before that moment, ms since the epoch.
    Later(i64),
    /// Nothing is left to do.
    Nothing(Box<Evidence>, Change),
    /// It cannot be done.
    Refused(CommandError),
    /// Something newer is in force.
    Superseded,
}

/// All that the decision rests on.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) config: &'a LockSystemConfig,
    pub(super) adapter: &'a dyn LockSystem,
    pub(super) catalog: &'a Catalog,
    pub(super) holder: Option<Holder>,
    pub(super) observation: Option<&'a UserObservation>,
    /// What is known of the rooms that it may be about.
    pub(super) rooms: BTreeMap<String, Room>,
    /// For a key, if one is made.
    pub(super) mark: String,
    pub(super) now_ms: i64,
    /// Credentials that later commands of the lane took away.
    pub(super) revoked: &'a BTreeSet<String>,
    /// Given on site: a revoke then compensates a doubt and leaves the wish in force.
    pub(super) compensates: bool,
    /// What the front desk asked, if it did.
    pub(super) desk: Option<&'a DeskOrder>,
}

/// The holder that a body is about.
pub(super) fn user_of(body: &Body) -> Option<&str> {
    match body {
        Body::PutUser(put) => put.user.as_ref().map(|user| user.user_id.as_str()),
        Body::SuspendUser(suspend) => Some(&suspend.user_id),
        Body::DeleteUser(delete) => Some(&delete.user_id),
        Body::SetGroupMembership(set) => Some(&set.user_id),
        Body::PutGrant(put) => put.user.as_ref().map(|user| user.user_id.as_str()),
        Body::DeleteGrant(delete) => Some(&delete.user_id),
        Body::PutCredential(put) => Some(&put.user_id),
        Body::DeleteCredential(delete) => Some(&delete.user_id),
        Body::AssignCard(assign) => Some(&assign.user_id),
        Body::EncodeCredential(encode) => Some(&encode.user_id),
        Body::ScanToAssign(scan) => Some(&scan.user_id),
        Body::ScanCredential(_)
        | Body::UnlockEntrance(_)
        | Body::RefreshInventory(_)
        | Body::RunDiagnostics(_)
        | Body::CancelCommand(_) => None,
    }
}

/// The encoder that a body needs.
pub(super) fn encoder_of(body: &Body) -> Option<&str> {
    match body {
        Body::EncodeCredential(encode) => Some(&encode.encoder_external_id),
        Body::ScanCredential(scan) => Some(&scan.encoder_external_id),
        Body::ScanToAssign(scan) => Some(&scan.encoder_external_id),
        _ => None,
    }
}

/// An error of ours, without a vendor's words.
pub(super) fn error(code: &str, message: impl Into<String>) -> CommandError {
    CommandError { code: code.to_owned(), message: message.into(), ..CommandError::default() }
}

/// Decides what a command means now.
pub(super) fn prepare(body: &Body, context: &Context<'_>) -> Prepared {
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

pub(super) fn no_credential() -> Prepared {
    Prepared::Refused(error(
        "credential_not_found",
        "this bridge does not know the credential: its grant has not reached the lock server",
    ))
}

fn nothing(detail: &str) -> Prepared {
    let evidence = Evidence { truth: TruthLevel::Server as i32, detail: detail.to_owned(), ..Evidence::default() };
    Prepared::Nothing(Box::new(evidence), Change::keep())
}

pub(super) fn work(context: &Context<'_>, steps: Steps, class: EffectClass) -> Work {
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

fn begin(context: &Context<'_>, operation: Operation, done: Change, doubtful: Change) -> Prepared {
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

/// Why rights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish<'a> {
    /// A grant, by id: its doors are told.
    Grant(&'a str),
    /// Something is taken away.
    Revoke,
    /// Anything else.
    Other,
}

/// Rights of `holder`, written whole.
fn apply_user(context: &Context<'_>, user_id: &str, mut holder: Holder, wish: Wish<'_>) -> Prepared {
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

fn delete_credential(context: &Context<'_>, user_id: &str, credential_id: &str) -> Prepared {
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

fn prepare_encode(
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
