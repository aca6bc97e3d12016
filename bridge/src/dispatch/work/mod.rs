//! What a command means at a lock system, here and now. Pure: command, holder, observation and inventory in; operations,
//! evidence and the holder as it will be out.

mod decide;
mod encode;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{CommandError, DeskOrder, Evidence, TruthLevel, command::Body};

use super::keys::KeyAttempt;
use crate::config::LockSystemConfig;
use crate::grant::{Catalog, Holder, Room, RoomEdit};
use crate::system::{EffectClass, LockSystem, Operation, UserObservation};

pub(super) use decide::{no_credential, prepare, work};

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
