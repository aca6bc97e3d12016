//! A key that is about to be made, and what becomes of the holder and of rooms by it: written for certain, or perhaps.

use serde::{Deserialize, Serialize};

use super::super::work::{Change, Context};
use crate::grant::{Credential, Holder, PlannedKey, RoomEdit, RoomKey};
use crate::system::{KeyKind, KeyTarget};

/// What a key was asked to be, kept with the intent: a card that is read later is compared with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::dispatch) struct KeyAttempt {
    /// Of which stay.
    pub(in crate::dispatch) stay: String,
    /// What was asked for.
    pub(in crate::dispatch) key: KeyTarget,
    /// The credential whose phone it went to; empty for a card, whose command names its credential.
    #[serde(default)]
    pub(in crate::dispatch) phone_credential: String,
}

impl KeyAttempt {
    /// The planned key as a new one or a copy; `phone_credential`: where it goes to a phone.
    pub(in crate::dispatch) fn of(
        context: &Context<'_>,
        planned: &PlannedKey,
        kind: KeyKind,
        phone_credential: String,
    ) -> Self {
        let key = KeyTarget {
            kind,
            rooms: planned.rooms.clone(),
            areas: planned.areas.clone(),
            window: Some(planned.window),
            stay: planned.stay.clone(),
            mark: context.mark.clone(),
        };
        Self { stay: planned.stay.clone(), key, phone_credential }
    }

    /// How the rooms change by this key, written for certain or perhaps.
    pub(in crate::dispatch) fn edits(
        &self,
        user_id: &str,
        credential_id: &str,
        is_doubtful: bool,
    ) -> Vec<(String, RoomEdit)> {
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
    pub(in crate::dispatch) fn settled(&self, written: bool) -> Vec<(String, RoomEdit)> {
        let edit = |room: &String| (room.clone(), RoomEdit::Settled { mark: self.key.mark.clone(), written });
        self.key.rooms.iter().map(edit).collect()
    }
}

/// The holder when the key was made.
pub(in crate::dispatch) fn issued(holder: &Holder, credential_id: &str, attempt: &KeyAttempt) -> Holder {
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
pub(in crate::dispatch) fn doubtful(
    holder: &Holder,
    user_id: &str,
    credential_id: &str,
    attempt: &KeyAttempt,
) -> Change {
    let mut holder = holder.clone();
    if let Some(credential) = holder.credential_mut(credential_id) {
        credential.maybe_issued = true;
        with_rooms(credential, attempt);
    }
    Change::put(holder).with_rooms(attempt.edits(user_id, credential_id, true))
}
