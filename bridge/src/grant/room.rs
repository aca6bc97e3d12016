//! What this bridge knows of one room whose keys it makes: which stays it began, and who holds keys of them.
//!
//! A record changes by [`RoomEdit`]s that are applied to what is stored when they are written down, so that two commands about
//! one room never overwrite each other. Stored sealed, as one value.

use prost::Message;

/// Stays remembered of one room: the present one, and those that a doubtful newer one may have left in force.
const STAYS: usize = 4;

/// A room.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Room {
    /// The newest last.
    #[prost(message, repeated, tag = "1")]
    pub stays: Vec<Stay>,
}

/// A stay that this bridge began, or may have begun.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Stay {
    /// The reservation's key, or the grant's id where there is none.
    #[prost(string, tag = "1")]
    pub stay: String,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub ends_at_ms: i64,
    /// Keys that exist, or may.
    #[prost(message, repeated, tag = "3")]
    pub keys: Vec<RoomKey>,
    /// It is not known whether it began.
    #[prost(bool, tag = "4")]
    pub is_doubtful: bool,
}

/// A key of a stay.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RoomKey {
    /// The cloud's id of the holder.
    #[prost(string, tag = "1")]
    pub user_id: String,
    /// The cloud's id of the credential.
    #[prost(string, tag = "2")]
    pub credential_id: String,
    /// Of the request that wrote it.
    #[prost(string, tag = "3")]
    pub mark: String,
    /// It is not known whether it was written.
    #[prost(bool, tag = "4")]
    pub is_doubtful: bool,
    /// Until when it is wished for, ms since the epoch.
    #[prost(int64, tag = "5")]
    pub ends_at_ms: i64,
}

/// A change of a room's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEdit {
    /// A key was written, or may have been; a new key begins the stay.
    Key {
        /// Of which stay.
        stay: String,
        /// The key.
        key: RoomKey,
        /// It begins the stay.
        is_new: bool,
    },
    /// It became known whether the request with this mark wrote its key.
    Settled {
        /// Of the request.
        mark: String,
        /// It did.
        written: bool,
    },
    /// A credential's key is not wished for any more.
    Taken {
        /// The cloud's id of the holder.
        user_id: String,
        /// The cloud's id of the credential.
        credential_id: String,
    },
    /// A credential's key is wished for until another moment.
    Until {
        /// The cloud's id of the credential.
        credential_id: String,
        /// Milliseconds since the epoch.
        ends_at_ms: i64,
    },
    /// The stay was checked out.
    Ended {
        /// Which.
        stay: String,
    },
}

impl Room {
    /// The stay that the room is given to, if it lasts at `now_ms`.
    pub fn current(&self, now_ms: i64) -> Option<&Stay> {
        self.stays.last().filter(|stay| stay.ends_at_ms > now_ms)
    }

    /// Whether the present stay would be left without a key if that credential's went.
    pub fn is_last_key(&self, credential_id: &str, now_ms: i64) -> bool {
        self.current(now_ms)
            .is_some_and(|stay| !stay.keys.is_empty() && stay.keys.iter().all(|key| key.credential_id == credential_id))
    }

    /// The key that a request wrote, by its mark.
    pub fn key_with_mark(&self, mark: &str) -> Option<&RoomKey> {
        self.stays.iter().flat_map(|stay| &stay.keys).find(|key| !mark.is_empty() && key.mark == mark)
    }

    /// Applies a change.
    pub fn apply(&mut self, edit: RoomEdit) {
        match edit {
            RoomEdit::Key { stay, key, is_new } => self.add(stay, key, is_new),
            RoomEdit::Settled { mark, written } => self.settle(&mark, written),
            RoomEdit::Taken { user_id, credential_id } => {
                for stay in &mut self.stays {
                    stay.keys.retain(|key| key.user_id != user_id || key.credential_id != credential_id);
                }
            }
            RoomEdit::Until { credential_id, ends_at_ms } => {
                if let Some(stay) = self.stays.last_mut() {
                    for key in stay.keys.iter_mut().filter(|key| key.credential_id == credential_id) {
                        key.ends_at_ms = ends_at_ms;
                    }
                    stay.ends_at_ms = stay.wished_end();
                }
            }
            RoomEdit::Ended { stay } => self.stays.retain(|known| known.stay != stay),
        }
        self.stays.retain(|stay| !stay.keys.is_empty());
    }

    fn add(&mut self, stay: String, key: RoomKey, is_new: bool) {
        let doubtful = key.is_doubtful;
        let known = self.stays.last_mut().filter(|known| known.stay == stay && !is_new);
        if let Some(known) = known {
            // The same credential on newer plastic, or the same plastic again. Of a doubtful one the older may still be it.
            known.keys.retain(|other| doubtful || other.credential_id != key.credential_id);
            known.keys.push(key);
            known.ends_at_ms = known.wished_end();
            known.is_doubtful &= doubtful;
            return;
        }
        if is_new && !doubtful {
            // The keys of every stay before have ended.
            self.stays.clear();
        }
        self.stays.push(Stay {
            stay,
            ends_at_ms: key.ends_at_ms,
            keys: vec![key],
            // A copy without a check-in that we know of: somebody else began the stay, and the lock system knows it.
            is_doubtful: doubtful && is_new,
        });
        let surplus = self.stays.len().saturating_sub(STAYS);
        self.stays.drain(..surplus);
    }

    fn settle(&mut self, mark: &str, written: bool) {
        let Some(at) = self.stays.iter().position(|stay| stay.keys.iter().any(|key| key.mark == mark)) else { return };
        if let Some(stay) = self.stays.get_mut(at) {
            if written {
                for key in stay.keys.iter_mut().filter(|key| key.mark == mark) {
                    key.is_doubtful = false;
                }
            } else {
                stay.keys.retain(|key| key.mark != mark);
            }
            let began = written && stay.is_doubtful;
            stay.is_doubtful &= !written;
            if began {
                self.stays.drain(..at);
            }
        }
    }
}

impl Stay {
    fn wished_end(&self) -> i64 {
        self.keys.iter().map(|key| key.ends_at_ms).max().unwrap_or(self.ends_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(credential: &str, mark: &str, is_doubtful: bool) -> RoomKey {
        RoomKey {
            user_id: format!("user-{credential}"),
            credential_id: credential.into(),
            mark: mark.into(),
            is_doubtful,
            ends_at_ms: 1000,
        }
    }

    fn put(room: &mut Room, stay: &str, key: RoomKey, is_new: bool) {
        room.apply(RoomEdit::Key { stay: stay.into(), key, is_new });
    }

    fn marks(room: &Room) -> Vec<Vec<&str>> {
        room.stays.iter().map(|stay| stay.keys.iter().map(|key| key.mark.as_str()).collect()).collect()
    }

    #[test]
    fn a_new_key_ends_the_stay_before_and_a_doubtful_one_only_when_it_is_settled() {
        let mut room = Room::default();
        put(&mut room, "a", key("c1", "m1", false), true);
        put(&mut room, "a", key("c2", "m2", false), false);
        assert_eq!(marks(&room), [vec!["m1", "m2"]]);
        put(&mut room, "b", key("c3", "m3", true), true);
        assert_eq!(marks(&room), [vec!["m1", "m2"], vec!["m3"]]);
        let mut not_done = room.clone();
        not_done.apply(RoomEdit::Settled { mark: "m3".into(), written: false });
        assert_eq!(not_done.current(0).map(|stay| stay.stay.as_str()), Some("a"));
        room.apply(RoomEdit::Settled { mark: "m3".into(), written: true });
        assert_eq!(marks(&room), [vec!["m3"]]);
        assert!(!room.stays[0].is_doubtful && !room.stays[0].keys[0].is_doubtful);
        assert_eq!(room.current(1000), None, "over");
    }

    #[test]
    fn a_stay_without_keys_is_forgotten() {
        let mut room = Room::default();
        put(&mut room, "a", key("c1", "m1", false), true);
        put(&mut room, "a", key("c2", "m2", true), false);
        assert!(!room.is_last_key("c1", 0), "a key that may exist counts");
        room.apply(RoomEdit::Taken { user_id: "user-c2".into(), credential_id: "c2".into() });
        assert!(room.is_last_key("c1", 0));
        assert!(!room.is_last_key("c1", 1000), "what is over needs no check-out");
        room.apply(RoomEdit::Taken { user_id: "user-c1".into(), credential_id: "c1".into() });
        assert_eq!(room, Room::default());
    }

    #[test]
    fn a_doubtful_copy_of_one_credential_keeps_the_key_that_exists() {
        let mut room = Room::default();
        put(&mut room, "a", key("c1", "m1", false), true);
        put(&mut room, "a", key("c1", "m2", true), false);
        assert_eq!(marks(&room), [vec!["m1", "m2"]]);
        assert!(!room.stays[0].is_doubtful, "the stay itself is certain");
        room.apply(RoomEdit::Settled { mark: "m2".into(), written: false });
        assert_eq!(marks(&room), [vec!["m1"]]);
    }

    #[test]
    fn the_end_of_a_stay_is_that_of_its_longest_key() {
        let mut room = Room::default();
        put(&mut room, "a", key("c1", "m1", false), true);
        put(&mut room, "a", key("c2", "m2", false), false);
        room.apply(RoomEdit::Until { credential_id: "c1".into(), ends_at_ms: 3000 });
        assert_eq!(room.stays[0].ends_at_ms, 3000);
        room.apply(RoomEdit::Until { credential_id: "c1".into(), ends_at_ms: 500 });
        assert_eq!(room.stays[0].ends_at_ms, 1000);
    }

    #[test]
    fn a_room_never_grows_without_bound() {
        let mut room = Room::default();
        for number in 0..40 {
            put(&mut room, &format!("s{number}"), key(&format!("c{number}"), &format!("m{number}"), true), true);
        }
        assert_eq!(room.stays.len(), STAYS);
    }
}
