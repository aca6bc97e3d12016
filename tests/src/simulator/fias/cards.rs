//! What opens doors at a simulated key system: cards with keys, and for each room the generation of its keys.
//!
//! A new key begins a generation; a duplicate belongs to the present one; ending the keys of a room makes all of them worthless. A
//! key system that is on-line also ends and changes the keys of one reservation, and no others.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::Record;

/// The key on a card.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    /// Its room.
    pub room: String,
    generation: u64,
    /// As told.
    pub reservation: String,
    /// Day of its end, as told.
    pub departure: String,
    /// Time of its end, as told.
    pub departure_time: String,
    /// Its one use is over, or it was ended by its reservation.
    is_over: bool,
    one_shot: bool,
}

/// What became of a request that names a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many keys were changed or ended.
    Keys(usize),
    /// All of them have ended before.
    Ended,
    /// There never was one.
    Nothing,
}

/// All cards and rooms.
#[derive(Debug, Default)]
pub struct Cards {
    cards: BTreeMap<String, Option<Key>>,
    generations: BTreeMap<String, u64>,
}

impl Cards {
    /// Without cards.
    pub fn new(rooms: &[String]) -> Self {
        Self { cards: BTreeMap::new(), generations: rooms.iter().map(|room| (room.clone(), 0)).collect() }
    }

    /// Every card by its serial.
    pub fn all(&self) -> &BTreeMap<String, Option<Key>> {
        &self.cards
    }

    /// Every room.
    pub fn generations(&self) -> &BTreeMap<String, u64> {
        &self.generations
    }

    /// A card is there, blank unless it is known.
    pub fn add(&mut self, serial: &str) {
        self.cards.entry(serial.to_owned()).or_default();
    }

    /// The key on a card.
    pub fn key(&self, serial: &str) -> Option<&Key> {
        self.cards.get(serial)?.as_ref()
    }

    /// Writes what a `KR` asks for.
    pub fn write(&mut self, request: &Record, serial: &str) {
        let room = request.text("RN").to_owned();
        let generation = self.generations.entry(room.clone()).or_default();
        if request.text("KT") == "N" {
            *generation += 1;
        }
        let key = Key {
            room,
            generation: *generation,
            reservation: request.text("G#").to_owned(),
            departure: request.text("GD").to_owned(),
            departure_time: request.text("DT").to_owned(),
            is_over: false,
            one_shot: request.text("KT") == "O",
        };
        self.cards.insert(serial.to_owned(), Some(key));
    }

    /// Holds a card to a door.
    pub fn present(&mut self, serial: &str, room: &str) -> bool {
        let generation = self.generations.get(room).copied();
        let Some(Some(key)) = self.cards.get_mut(serial) else { return false };
        let opens = key.room == room && Some(key.generation) == generation && !key.is_over;
        key.is_over |= opens && key.one_shot;
        opens
    }

    /// Ends all keys of a room; `false`: there is no such room.
    pub fn end_room(&mut self, room: &str) -> bool {
        self.generations.get_mut(room).map(|generation| *generation += 1).is_some()
    }

    /// Ends the keys of one reservation in a room.
    pub fn end(&mut self, room: &str, reservation: &str) -> Found {
        self.each(room, reservation, |key| key.is_over = true)
    }

    /// Carries a `KM` out: another end, another room, for the keys of one reservation.
    pub fn change(&mut self, request: &Record) -> Found {
        let room = request.get("RO").unwrap_or_else(|| request.text("RN"));
        let (to, generation) = (request.text("RN"), self.generations.get(request.text("RN")).copied());
        self.each(room, request.text("G#"), |key| {
            to.clone_into(&mut key.room);
            key.generation = generation.unwrap_or(key.generation);
            for (name, place) in [("GD", &mut key.departure), ("DT", &mut key.departure_time)] {
                if let Some(value) = request.get(name) {
                    value.clone_into(place);
                }
            }
        })
    }

    fn each(&mut self, room: &str, reservation: &str, mut act: impl FnMut(&mut Key)) -> Found {
        let generation = self.generations.get(room).copied().unwrap_or_default();
        let of_stay = |key: &&mut Key| key.room == room && key.reservation == reservation;
        let (mut known, mut done) = (false, 0);
        for key in self.cards.values_mut().flatten().filter(of_stay) {
            known = true;
            if key.generation == generation && !key.is_over {
                act(key);
                done += 1;
            }
        }
        match (known, done) {
            (_, done @ 1..) => Found::Keys(done),
            (true, 0) => Found::Ended,
            (false, 0) => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, room: &str, reservation: &str) -> Record {
        Record::new(id).with("RN", room).with("G#", reservation)
    }

    /// A new key and a duplicate of one reservation, a duplicate of a sharer, and a key of another room.
    fn cards() -> Cards {
        let mut cards = Cards::new(&["101".to_owned(), "102".to_owned()]);
        for (serial, room, reservation, kind) in
            [("A", "101", "1", "N"), ("B", "101", "1", "D"), ("C", "101", "2", "D"), ("D", "102", "1", "N")]
        {
            cards.write(&request("KR", room, reservation).with("KT", kind).with("GD", "261124"), serial);
        }
        cards
    }

    fn open(cards: &mut Cards, room: &str) -> String {
        ["A", "B", "C", "D"].into_iter().filter(|serial| cards.present(serial, room)).collect()
    }

    #[test]
    fn a_change_moves_the_keys_of_one_reservation_in_one_room_and_no_others() {
        let mut cards = cards();
        assert_eq!(cards.change(&request("KM", "101", "1").with("GD", "261201")), Found::Keys(2));
        let ends: Vec<&str> = cards.all().values().flatten().map(|key| key.departure.as_str()).collect();
        assert_eq!(ends, ["261201", "261201", "261124", "261124"]);
        assert_eq!(cards.change(&request("KM", "102", "2").with("RO", "101")), Found::Keys(1));
        assert_eq!((open(&mut cards, "101").as_str(), open(&mut cards, "102").as_str()), ("AB", "CD"));
        assert_eq!(cards.change(&request("KM", "101", "9")), Found::Nothing);
    }

    #[test]
    fn keys_end_by_reservation_or_all_of_a_room() {
        let mut cards = cards();
        assert_eq!(cards.end("101", "1"), Found::Keys(2));
        assert_eq!(cards.end("101", "1"), Found::Ended);
        assert_eq!(cards.change(&request("KM", "101", "1")), Found::Ended);
        assert_eq!(cards.end("101", "9"), Found::Nothing);
        assert_eq!(open(&mut cards, "101"), "C");
        assert!(cards.end_room("101") && !cards.end_room("999"));
        assert_eq!((open(&mut cards, "101").as_str(), open(&mut cards, "102").as_str()), ("", "D"));
    }
}
