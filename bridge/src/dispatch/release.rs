//! Keys that nobody wishes for any more, and stays whose end moved: what has to happen at the lock system, what becomes of the
//! rooms, and what can honestly be said of it. Pure.

use std::collections::BTreeMap;

use super::work::Context;
use crate::grant::{Holder, Room, RoomEdit};
use crate::system::{KeyService, Operation};

/// What has to happen at the lock system for keys that are not wished for any more.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) operations: Vec<Operation>,
    pub(super) edits: Vec<(String, RoomEdit)>,
    /// (credential, room) pairs that are gone.
    taken: Vec<(String, String)>,
    sentences: Vec<String>,
    pub(super) checked_out: bool,
}

impl Released {
    /// What is to be said of it.
    pub(super) fn words(&self) -> String {
        if self.sentences.is_empty() {
            "kept by the bridge; the lock system hears of it when a key is made".to_owned()
        } else {
            self.sentences.join("; ")
        }
    }

    /// Takes what is gone out of the holder's record.
    pub(super) fn forget_rooms(&self, holder: &mut Holder) {
        for credential in &mut holder.credentials {
            let id = credential.credential_id.clone();
            credential.rooms.retain(|room| !self.taken.contains(&(id.clone(), room.clone())));
            if credential.rooms.is_empty() && self.taken.iter().any(|(taken, _)| *taken == id) {
                credential.issued = false;
                credential.maybe_issued = false;
                credential.up_to_date = false;
            }
        }
    }
}

/// Compares the holder as known with the holder as it shall be.
pub(super) fn release(context: &Context<'_>, user_id: &str, after: Option<&Holder>, keys: &KeyService) -> Released {
    let mut released = Released::default();
    let Some(before) = &context.holder else { return released };
    let mut rooms: BTreeMap<&str, Room> = BTreeMap::new();
    for credential in &before.credentials {
        for room in &credential.rooms {
            let record = rooms.entry(room).or_insert_with(|| context.rooms.get(room).cloned().unwrap_or_default());
            match wished_until(after, &credential.credential_id, room, context.now_ms) {
                Some(ends_at_ms) => {
                    released.move_end(record, room, &credential.credential_id, ends_at_ms, context, keys);
                }
                None => released.take(record, room, (user_id, &credential.credential_id), context, keys),
            }
        }
    }
    released
}

/// Until when a key of a credential for a room is wished for.
fn wished_until(after: Option<&Holder>, credential_id: &str, room: &str, now_ms: i64) -> Option<i64> {
    let holder = after.filter(|holder| !holder.suspended && holder.credential(credential_id).is_some())?;
    holder
        .grants
        .iter()
        .filter(|grant| !grant.is_over(now_ms) && grant.is_for(credential_id))
        .filter(|grant| grant.entrances.iter().any(|door| door == room))
        .map(|grant| if grant.ends_at_ms == 0 { i64::MAX } else { grant.ends_at_ms })
        .max()
}

impl Released {
    fn take(
        &mut self,
        record: &mut Room,
        room: &str,
        (user_id, credential_id): (&str, &str),
        context: &Context<'_>,
        keys: &KeyService,
    ) {
        let stay = record.current(context.now_ms).map(|stay| stay.stay.clone());
        let last = record.is_last_key(credential_id, context.now_ms);
        let taken = RoomEdit::Taken { user_id: user_id.to_owned(), credential_id: credential_id.to_owned() };
        record.apply(taken.clone());
        self.edits.push((room.to_owned(), taken));
        self.taken.push((credential_id.to_owned(), room.to_owned()));
        match stay {
            Some(stay) if last && keys.checks_out => {
                self.operations.push(Operation::CheckOut { room: room.to_owned(), stay: stay.clone() });
                let ended = RoomEdit::Ended { stay };
                record.apply(ended.clone());
                self.edits.push((room.to_owned(), ended));
                self.checked_out = true;
                self.sentences.push(format!(
                    "room {room} is checked out; a lock without a network opens to the card until its end, or until the \
                     next new key is used there"
                ));
            }
            Some(_) => self.sentences.push(format!(
                "this key opens room {room} until its end, or until the next new key is used there: single keys of a \
                 stay cannot be cancelled"
            )),
            None => self.sentences.push(format!("the stay in room {room} is over")),
        }
    }

    fn move_end(
        &mut self,
        record: &mut Room,
        room: &str,
        credential_id: &str,
        ends_at_ms: i64,
        context: &Context<'_>,
        keys: &KeyService,
    ) {
        let Some(stay) = record.current(context.now_ms) else { return };
        let (name, end) = (stay.stay.clone(), stay.ends_at_ms);
        let known = stay.keys.iter().any(|key| key.credential_id == credential_id && key.ends_at_ms != ends_at_ms);
        if stay.is_doubtful || !known || ends_at_ms == i64::MAX {
            return;
        }
        let until = RoomEdit::Until { credential_id: credential_id.to_owned(), ends_at_ms };
        record.apply(until.clone());
        self.edits.push((room.to_owned(), until));
        let moved = record.stays.last().map_or(end, |stay| stay.ends_at_ms);
        if moved != end && keys.changes_stays {
            self.operations.push(Operation::ChangeStay { room: room.to_owned(), stay: name, ends_at_ms: moved });
            self.sentences.push(format!(
                "the stay in room {room} has its new end at the lock system; at a lock without a network the key keeps the \
                 old one until it is made again"
            ));
        }
    }
}
