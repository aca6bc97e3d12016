//! The site's lock server as it is outside the daemon's memory: holders, cards, and its own count of every effect.
//!
//! Effects are applied by [`Site::apply`] alone, both when they happen and when the site is rebuilt as of a cut.

use std::collections::BTreeMap;

use lockbridge::system::{Operation, Performed, RightTarget, UserObservation, UserTarget};

/// A holder at the lock server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    pub(crate) target: Option<UserTarget>,
    pub(crate) card: Option<String>,
    pub(crate) up_to_date: bool,
}

/// The lock server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    pub(crate) people: BTreeMap<String, Person>,
    /// Cards written, by holder.
    pub(crate) encodes: BTreeMap<String, u64>,
    /// Openings, by door.
    pub(crate) openings: BTreeMap<String, u64>,
    /// Everything else that was written.
    pub(crate) writes: u64,
}

impl Site {
    /// Has the effect of one operation.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Performed {
        match operation {
            Operation::ApplyUser(target) => {
                self.writes += 1;
                let person = self.people.entry(target.user_id.clone()).or_default();
                person.up_to_date &= person.target.as_ref() == Some(target);
                person.target = Some(target.clone());
                let card_update_needed = person.card.is_some() && !person.up_to_date;
                Performed { card_update_needed, ..Performed::default() }
            }
            Operation::DeleteUser { user_id } => {
                self.writes += 1;
                self.people.remove(user_id);
                Performed::default()
            }
            Operation::Encode { user_id, .. } => {
                let count = self.encodes.entry(user_id.clone()).or_default();
                *count += 1;
                let person = self.people.entry(user_id.clone()).or_default();
                let number = person.card.clone().unwrap_or_else(|| format!("04{count:02X}"));
                person.card = Some(number.clone());
                person.up_to_date = true;
                Performed { card_number: number, ..Performed::default() }
            }
            Operation::CancelKey { user_id } => {
                self.writes += 1;
                self.people.entry(user_id.clone()).or_default().card = None;
                Performed::default()
            }
            Operation::AssignCard { user_id, card_number } => {
                self.writes += 1;
                self.people.entry(user_id.clone()).or_default().card = Some(card_number.clone());
                Performed { card_number: card_number.clone(), ..Performed::default() }
            }
            Operation::Unlock { entrance } => {
                *self.openings.entry(entrance.clone()).or_default() += 1;
                Performed::default()
            }
            Operation::ReadCard { .. }
            | Operation::SendKey { .. }
            | Operation::CheckOut { .. }
            | Operation::ChangeStay { .. } => Performed::default(),
        }
    }

    /// What it says of a holder.
    pub(crate) fn observe(&self, user_id: &str) -> UserObservation {
        let person = self.people.get(user_id);
        UserObservation {
            exists: person.is_some(),
            has_card: person.is_some_and(|person| person.card.is_some()),
            card_number: person.and_then(|person| person.card.clone()).unwrap_or_default(),
            key_period_ms: (0, 0),
            card_up_to_date: person.is_some_and(|person| person.up_to_date),
            suspended: false,
        }
    }

    /// Doors the holder may open; empty also when nobody of that name is there.
    pub(crate) fn doors(&self, user_id: &str) -> Vec<String> {
        let target = self.people.get(user_id).and_then(|person| person.target.as_ref());
        let rights = target.filter(|target| target.window.is_some()).map(|target| target.rights.as_slice());
        let doors = rights.unwrap_or_default().iter().map(|right| match &right.target {
            RightTarget::Entrance(door) => door.clone(),
            RightTarget::Group(group) => format!("group {group}"),
        });
        doors.collect()
    }

    /// Cards written, over everybody.
    pub(crate) fn cards(&self) -> u64 {
        self.encodes.values().sum()
    }
}

/// A blind operation: counted, never repeatable.
pub(crate) fn is_blind(operation: &Operation) -> bool {
    matches!(operation, Operation::Encode { .. } | Operation::SendKey { .. } | Operation::Unlock { .. })
}

/// The lane that an operation's command stands in.
pub(crate) fn lane_of(operation: &Operation) -> String {
    match operation {
        Operation::ApplyUser(UserTarget { user_id, .. })
        | Operation::DeleteUser { user_id }
        | Operation::Encode { user_id, .. }
        | Operation::CancelKey { user_id }
        | Operation::AssignCard { user_id, .. } => format!("user:{user_id}"),
        Operation::Unlock { entrance } => format!("entrance:{entrance}"),
        Operation::SendKey { key, .. } => format!("entrance:{}", key.rooms.join("+")),
        Operation::CheckOut { room, .. } | Operation::ChangeStay { room, .. } => format!("entrance:{room}"),
        Operation::ReadCard { encoder } => format!("encoder:{encoder}"),
    }
}
