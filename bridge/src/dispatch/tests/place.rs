//! The place behind the fake lock system: its people, cards, doors and keys, the script of what goes wrong there next, and
//! the counts of what was done, which are the witnesses of these tests.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::CardOnEncoder;

use crate::system::{KeySeen, KeyTarget, Operation, Performed, Retry, UserTarget};

/// What the lock system does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// Refuses, certainly without effect.
    Refuse(&'static str, Retry),
    /// Has the effect, and the answer is lost.
    SilentDone,
    /// Has no effect, and no answer comes.
    SilentNothing,
    /// Waits this long first.
    Slow(Duration),
}

#[derive(Debug, Default, Clone)]
pub(super) struct FakeUser {
    pub(super) target: Option<UserTarget>,
    pub(super) card: Option<String>,
    pub(super) up_to_date: bool,
}

#[derive(Debug, Default)]
pub(super) struct Site {
    pub(super) script: VecDeque<Script>,
    pub(super) users: BTreeMap<String, FakeUser>,
    /// Physical writes by holder.
    pub(super) encodes: BTreeMap<String, u32>,
    pub(super) unlocks: u32,
    /// Names of operations in the order they arrived.
    pub(super) calls: Vec<String>,
    pub(super) reachable: bool,
    /// Before a probe is answered.
    pub(super) probe_pause: Duration,
    /// Readings of the event log that were begun, and whether there is something in it.
    pub(super) readings: u32,
    pub(super) has_events: bool,
    /// Answers to observations are lost.
    pub(super) blind: bool,
    pub(super) at_once: usize,
    pub(super) at_once_most: usize,
    /// Keys for rooms, as written.
    pub(super) keys: Vec<KeyTarget>,
    /// Keys that came to phones, by number.
    pub(super) sent: BTreeMap<String, u32>,
    /// What lies on the encoder.
    pub(super) key_seen: Option<KeySeen>,
    pub(super) encoder_jobs: usize,
    pub(super) encoder_jobs_most: usize,
}

impl Site {
    /// What the lock system does with an operation, and what it says of it.
    pub(super) fn apply(&mut self, operation: &Operation, keeps_people: bool) -> Performed {
        match operation {
            Operation::ApplyUser(target) => {
                let user = self.users.entry(target.user_id.clone()).or_default();
                let changed = user.target.as_ref() != Some(target);
                user.target = Some(target.clone());
                user.up_to_date &= !changed;
                let card_update_needed = user.card.is_some() && !user.up_to_date;
                Performed { card_update_needed, ..Performed::default() }
            }
            Operation::DeleteUser { user_id } => {
                self.users.remove(user_id);
                Performed::default()
            }
            Operation::Encode { key, .. } if !keeps_people => {
                self.keys.push(key.clone());
                let key_valid_until_ms = key.window.and_then(|window| window.ends_at_ms);
                Performed { key_valid_until_ms, ..Performed::default() }
            }
            Operation::SendKey { phone, key } => {
                self.keys.push(key.clone());
                *self.sent.entry(phone.0.clone()).or_default() += 1;
                Performed::default()
            }
            Operation::Encode { user_id, .. } => {
                *self.encodes.entry(user_id.clone()).or_default() += 1;
                let user = self.users.entry(user_id.clone()).or_default();
                let number = user.card.clone().unwrap_or_else(|| format!("04{user_id}"));
                user.card = Some(number.clone());
                user.up_to_date = true;
                Performed { card_number: number, ..Performed::default() }
            }
            Operation::CancelKey { user_id } => {
                self.users.entry(user_id.clone()).or_default().card = None;
                Performed::default()
            }
            Operation::Unlock { .. } => {
                self.unlocks += 1;
                Performed::default()
            }
            Operation::CheckOut { .. } | Operation::ChangeStay { .. } => Performed::default(),
            Operation::ReadCard { .. } => Performed {
                card_on_encoder: Some(CardOnEncoder::default()),
                key_seen: self.key_seen.clone().map(Box::new),
                ..Performed::default()
            },
            Operation::AssignCard { user_id, card_number } => {
                self.users.entry(user_id.clone()).or_default().card = Some(card_number.clone());
                Performed { card_number: card_number.clone(), ..Performed::default() }
            }
        }
    }
}
