//! Doors and groups of one lock system as last observed.

use std::collections::{BTreeMap, BTreeSet};

use lockbridge_protocol::proto::tunnel::{InventoryItem, Medium, inventory_item::Kind};

/// What a door can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Opens with a card.
    pub card: bool,
    /// Opens with a mobile key.
    pub mobile_key: bool,
    /// A room that reservations own.
    pub reservable: bool,
}

impl Entrance {
    /// Whether a credential of this medium opens the door.
    pub fn opens_with(self, medium: Medium) -> bool {
        match medium {
            Medium::Card => self.card,
            Medium::MobileKey => self.mobile_key,
            Medium::Unspecified => false,
        }
    }
}

/// Doors and groups by the lock system's own ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Doors.
    pub entrances: BTreeMap<String, Entrance>,
    /// Groups and their doors.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// Encoders.
    pub encoders: BTreeSet<String>,
    /// Names of doors, for people.
    pub names: BTreeMap<String, String>,
}

impl Catalog {
    /// Takes in one observed object; users are not part of the catalog.
    pub fn observe(&mut self, item: &InventoryItem) {
        let id = item.external_id.clone();
        match &item.kind {
            Some(Kind::Entrance(_)) if item.removed => {
                self.entrances.remove(&id);
                self.names.remove(&id);
            }
            Some(Kind::Entrance(seen)) => {
                let entrance = Entrance {
                    card: seen.can_unlock_with_card,
                    mobile_key: seen.can_unlock_with_mobile_key,
                    reservable: seen.can_belong_to_reservation,
                };
                self.names.insert(id.clone(), item.display_name.clone());
                self.entrances.insert(id, entrance);
            }
            Some(Kind::Group(_)) if item.removed => {
                self.groups.remove(&id);
            }
            Some(Kind::Group(seen)) => {
                self.groups.insert(id, seen.entrance_external_ids.iter().cloned().collect());
            }
            Some(Kind::Encoder(_)) if item.removed => {
                self.encoders.remove(&id);
            }
            Some(Kind::Encoder(_)) => {
                self.encoders.insert(id);
            }
            Some(Kind::User(_)) | None => {}
        }
    }

    /// Doors of this name, word for word.
    pub fn named<'all>(&'all self, name: &'all str) -> impl Iterator<Item = &'all str> {
        self.names.iter().filter(move |(_, named)| *named == name).map(|(id, _)| id.as_str())
    }
}
