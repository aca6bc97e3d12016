//! Doubts about keys for rooms, settled by reading the card: nobody keeps a record that could be asked, but the card says what
//! is on it (rule B7). A person has to lay it on an encoder.

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::proto::tunnel::Evidence;

use super::engine::{Engine, EngineError};
use super::finish::Detail;
use super::keys::KeyAttempt;
use crate::command::machine::{Event, Verdict};
use crate::state::fold::{CommandRecord, Phase, SEALED_BEFORE};
use crate::system::{KeyKind, KeySeen};

/// Minutes are the finest that keys tell.
const MINUTE_MS: i64 = 60_000;

/// Whether the card is the key that was asked for. `false` proves nothing: it may be another card.
fn is_that_key(attempt: &KeyAttempt, seen: &KeySeen) -> bool {
    // A phone is laid on no encoder.
    if !attempt.phone_credential.is_empty() {
        return false;
    }
    let key = &attempt.key;
    if !seen.mark.is_empty() {
        return seen.mark == key.mark;
    }
    // Without a mark only the first key of a stay is unlike every other: copies of one stay are all alike.
    let end = |ms: i64| ms.div_euclid(MINUTE_MS);
    let asked_end = key.window.and_then(|window| window.ends_at_ms).map(end);
    key.kind == KeyKind::New
        && seen.is_original == Some(true)
        && seen.is_current == Some(true)
        && seen.rooms.first() == key.rooms.first()
        && asked_end.is_some()
        && seen.ends_at_ms.map(end) == asked_end
}

impl Engine {
    /// What the key of an attempt was asked to be; `None`: it was not a key for a room.
    pub(super) fn key_attempt(&self, record: &CommandRecord) -> Option<KeyAttempt> {
        let plain = self.sealer.open(SEALED_BEFORE, &record.sealed_before).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    /// A key was read: the doubt that it answers is settled.
    pub(super) async fn settle_by_reading(&mut self, lock_system: &str, seen: &KeySeen) -> Result<(), EngineError> {
        let doubts: Vec<CommandId> =
            self.queue.iter().filter(|(_, slot)| slot.phase == Phase::InDoubt).map(|(id, _)| *id).collect();
        for id in doubts {
            let Some(loaded) = self.load(&id)? else { continue };
            let Some(attempt) = self.key_attempt(&loaded.record) else { continue };
            if loaded.record.lock_system != lock_system || !is_that_key(&attempt, seen) {
                continue;
            }
            let who = self.systems.get(lock_system).map_or("", |system| system.adapter.description().kind);
            let change = self.settled_change(&loaded, Verdict::Done, None)?;
            let evidence = Evidence {
                key_valid_until_ms: seen.ends_at_ms.unwrap_or_default(),
                detail: "the card was read, and it is the key that was asked for".to_owned(),
                ..Evidence::default()
            };
            let resolution = Some(("device", who.to_owned()));
            let detail = Detail { evidence, change, resolution, ..Detail::default() };
            return self.transition(id, Event::Resolved(Verdict::Done), detail).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{KeyTarget, Window};

    fn attempt(kind: KeyKind) -> KeyAttempt {
        let window = Some(Window { starts_at_ms: 0, ends_at_ms: Some(10 * MINUTE_MS + 17) });
        let key =
            KeyTarget { kind, rooms: vec!["101".into()], areas: vec![], window, stay: "s".into(), mark: "AAAA".into() };
        KeyAttempt { stay: "s".into(), key, phone_credential: String::new() }
    }

    fn seen(mark: &str) -> KeySeen {
        KeySeen {
            mark: mark.into(),
            rooms: vec!["101".into()],
            ends_at_ms: Some(10 * MINUTE_MS),
            is_original: Some(true),
            is_current: Some(true),
        }
    }

    #[test]
    fn a_mark_decides_alone() {
        for kind in [KeyKind::New, KeyKind::Copy] {
            assert!(is_that_key(&attempt(kind), &seen("AAAA")));
            assert!(!is_that_key(&attempt(kind), &seen("BBBB")), "all else is alike");
        }
    }

    #[test]
    fn no_card_settles_what_went_to_a_phone() {
        let sent = KeyAttempt { phone_credential: "c".into(), ..attempt(KeyKind::New) };
        assert!(!is_that_key(&sent, &seen("")) && !is_that_key(&sent, &seen("AAAA")));
    }

    #[test]
    fn without_a_mark_only_a_first_key_can_be_known_again() {
        assert!(is_that_key(&attempt(KeyKind::New), &seen("")));
        assert!(!is_that_key(&attempt(KeyKind::Copy), &seen("")));
        let others = [
            KeySeen { rooms: vec!["102".into()], ..seen("") },
            KeySeen { ends_at_ms: Some(11 * MINUTE_MS), ..seen("") },
            KeySeen { ends_at_ms: None, ..seen("") },
            KeySeen { is_original: None, ..seen("") },
            KeySeen { is_current: Some(false), ..seen("") },
        ];
        for other in others {
            assert!(!is_that_key(&attempt(KeyKind::New), &other), "{other:?}");
        }
    }
}
