//! The rooms that keys are made for, of key services that can be asked for none.

use std::collections::BTreeSet;

use super::section::Section;

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRoom {
    /// Its name or number at the key service, spelled exactly as there; leading zeros count.
    pub name: String,
    /// The entrance that it is for the cloud; where SHIP is joined, its `ExtDoorID`. The name when not given.
    pub entrance: String,
    /// For people; the name when not given.
    pub display_name: String,
}

/// What is wrong with a name, and what would do.
pub(super) type NameProblem = fn(&str) -> Option<(String, &'static str)>;

/// Reads the rooms, whose names are `spelled` so, and notes their entrances.
pub(super) fn rooms(
    section: &mut Section,
    entrances: &mut BTreeSet<String>,
    spelled: &str,
    problem: NameProblem,
) -> Vec<KeyRoom> {
    let mut names = BTreeSet::new();
    let mut rooms = Vec::new();
    for mut item in section.items("rooms", "name", &format!("a list of rooms, each by its {spelled}")) {
        let name = item.required("name", &format!("the room's {spelled}"));
        let entrance = item.text("entrance").or_else(|| name.clone());
        let display_name = item.text("display_name").or_else(|| name.clone());
        if let (Some(name), Some(entrance), Some(display_name)) = (name, entrance, display_name) {
            if let Some((found, expected)) = problem(&name) {
                item.problem("name", Some(&found), expected);
            } else if !names.insert(name.clone()) || !entrances.insert(entrance.clone()) {
                item.problem("name", Some(&format!("{name:?} again")), "each room and each entrance once");
            }
            rooms.push(KeyRoom { name, entrance, display_name });
        }
        item.finish("name, entrance, display_name");
    }
    if rooms.is_empty() {
        section.missing("rooms", "the rooms that keys are made for");
    }
    rooms
}
