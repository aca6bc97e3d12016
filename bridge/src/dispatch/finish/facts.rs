//! What was learned of a holder and of rooms, sealed as facts of the entry that ends a command.

use std::collections::BTreeMap;

use lockbridge_protocol::proto::journal::Fact;
use prost::Message;

use super::super::begin::Loaded;
use super::super::engine::{Engine, EngineError};
use super::super::work::{Change, Fate, user_of};
use crate::state::fold::SEALED_FACT;

impl Engine {
    /// What becomes of the holder and of rooms.
    pub(super) fn facts_of(&self, loaded: &Loaded, change: &Change) -> Result<Vec<Fact>, EngineError> {
        let Some(user_id) = user_of(&loaded.body) else { return Ok(Vec::new()) };
        let fact = Fact {
            kind: "holder".into(),
            lock_system: loaded.record.lock_system.clone(),
            id: user_id.to_owned(),
            ..Fact::default()
        };
        let mut facts = self.room_facts(&loaded.record.lock_system, change)?;
        match &change.holder {
            Fate::Keep => {}
            Fate::Forget => facts.push(fact),
            Fate::Put(holder) => facts.push(Fact {
                sealed: self.sealer.seal(SEALED_FACT, &holder.encode_to_vec())?,
                replan_at_ms: holder.replan_at_ms,
                ..fact
            }),
        }
        Ok(facts)
    }

    /// Rooms as they are with their edits; one without a stay is forgotten.
    fn room_facts(&self, lock_system: &str, change: &Change) -> Result<Vec<Fact>, EngineError> {
        let mut rooms = BTreeMap::new();
        for (id, edit) in &change.rooms {
            if !rooms.contains_key(id) {
                rooms.insert(id, self.room(lock_system, id)?);
            }
            if let Some(room) = rooms.get_mut(id) {
                room.apply(edit.clone());
            }
        }
        let mut facts = Vec::with_capacity(rooms.len().saturating_add(1));
        for (id, room) in rooms {
            let sealed = if room.stays.is_empty() {
                Vec::new()
            } else {
                self.sealer.seal(SEALED_FACT, &room.encode_to_vec())?
            };
            let (kind, lock_system, id) = ("room".to_owned(), lock_system.to_owned(), id.clone());
            facts.push(Fact { kind, lock_system, id, sealed, replan_at_ms: 0 });
        }
        Ok(facts)
    }
}
