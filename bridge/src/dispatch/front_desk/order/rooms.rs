//! Which door is meant by the name of a room.

use super::super::super::engine::Engine;
use super::super::DeskRoom;
use super::{Refusal, refusal};

impl Engine {
    pub(super) fn entrances_of(&self, lock_system: &str, rooms: &[DeskRoom]) -> Result<Vec<String>, Refusal> {
        let mut entrances = Vec::with_capacity(rooms.len());
        for room in rooms {
            let entrance = self.entrance_of(lock_system, room)?;
            let catalog = self.systems.get(lock_system).map(|system| &system.catalog);
            if !catalog.and_then(|catalog| catalog.entrances.get(&entrance)).is_some_and(|door| door.card) {
                return Err(refusal("entrance_not_usable", "the door of the room does not open with cards"));
            }
            entrances.push(entrance);
        }
        Ok(entrances)
    }

    /// The door of a room: as configured, or the one door whose name is the room's, or the door with that id.
    pub(super) fn entrance_of(&self, lock_system: &str, room: &DeskRoom) -> Result<String, Refusal> {
        let unknown = || refusal("entrance_not_found", "no door of the lock system has the name of the room");
        let Some(system) = self.systems.get(lock_system) else { return Err(unknown()) };
        if let Some(entrance) = &room.entrance {
            let known = system.catalog.entrances.contains_key(entrance);
            return if known { Ok(entrance.clone()) } else { Err(unknown()) };
        }
        let mut named = system.catalog.named(&room.name);
        match (named.next(), named.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            (Some(_), Some(_)) => Err(refusal("entrance_ambiguous", "several doors have the name of the room")),
            (None, _) if system.catalog.entrances.contains_key(&room.name) => Ok(room.name.clone()),
            (None, _) => Err(unknown()),
        }
    }
}
