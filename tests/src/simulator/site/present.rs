//! A person holds a card to a door.
//!
//! An online door that reaches the server asks it: the present records decide, and openings that the card carried from
//! offline locks enter the audit trail. With updating readers switched on it also rewrites a key whose status is 2 or 3,
//! writes a first key on the chip named by a user's `AutoKeyEdit.ROMCode`, and erases a key that was cancelled.
//! Every other door decides alone ([`Door::decide_alone`]), learns the denylist the card carries, notes the decision in its
//! own log and leaves a copy of the note on the card.

use serde::Serialize;

use super::access::rights;
use super::audit::Subject;
use super::card::{CARRIED_EVENTS, Card, Carried, Contents};
use super::database::Site;
use super::door::{Decision, Door, Forced, decide_rights, operation};
use super::effect::{EffectKind, EffectOf};
use super::keys::{self, status_code};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Presented {
    /// Name of the door.
    pub door: String,
    /// Whether the door stood alone in its decision.
    pub offline: bool,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// Whether the card was rewritten or erased by the reader.
    pub card_changed: bool,
}

/// Presents a card at a door. `None` when there is no such card or door (by id or by name).
pub fn present(site: &mut Site, serial: &str, door: &str, updating_readers: bool) -> Option<Presented> {
    let door = site.doors.get(door).or_else(|| site.door_by_name(door))?.clone();
    let card = site.cards.get(serial)?.clone();
    let presented =
        if door.reachable() { online(site, card, &door, updating_readers) } else { offline(site, card, door) };
    if presented.decision.opened {
        let user = site.cards.get(serial).and_then(Card::written).map(|written| written.user.clone());
        let id = site.door_by_name(&presented.door).map(|door| door.id.clone());
        let of = EffectOf { user: user.as_deref(), serial: Some(serial), door: id.as_deref(), encoder: None };
        site.effect(EffectKind::DoorOpenedByCard, &of);
    }
    Some(presented)
}

fn offline(site: &mut Site, mut card: Card, mut door: Door) -> Presented {
    if card.compatible
        && let Some(written) = card.written()
    {
        door.denylist = door.denylist.max(written.denylist);
    }
    let clock = jiff::SignedDuration::from_secs(door.clock_offset_seconds);
    let at = site.instant().checked_add(clock).unwrap_or_else(|_| site.instant());
    let decision = door.decide_alone(&card, site.local(at), |key| site.is_denied(key, door.denylist));
    let mut card_changed = false;
    if let Some(operation) = decision.operation {
        let user = card.written().map(|written| written.user.clone());
        let sequence = door.note(at, operation, user, &card.serial);
        if let Contents::Key(written) = &mut card.contents {
            if written.carried.len() >= CARRIED_EVENTS {
                written.carried.remove(0);
            }
            written.carried.push(Carried { door: door.id.clone(), sequence });
            card_changed = true;
        }
    }
    let name = door.name.clone();
    site.put_door(door);
    if card_changed {
        site.put_card(card);
    }
    Presented { door: name, offline: true, decision, card_changed: false }
}

fn online(site: &mut Site, card: Card, door: &Door, updating_readers: bool) -> Presented {
    let serial = card.serial.clone();
    deliver(site, &serial);
    let mut card_changed = false;
    if updating_readers && card.compatible {
        card_changed = update_at_reader(site, &serial, &door.id);
    }
    let card = site.cards.get(&serial).cloned().unwrap_or(card);
    let decision = decide_online(site, &card, door);
    if let Some(operation) = decision.operation {
        let user = card.written().map(|written| written.user.clone());
        site.record(site.instant(), operation, &door.id, Subject::Cardholder, user.as_deref(), Some(&serial));
    }
    Presented { door: door.name.clone(), offline: false, decision, card_changed }
}

fn decide_online(site: &Site, card: &Card, door: &Door) -> Decision {
    match door.forced {
        Forced::Closed => return Decision::refused(operation::EMERGENCY, "the door is forced closed"),
        Forced::Open => return Decision::OPENED,
        Forced::No => {}
    }
    let written = match &card.contents {
        _ if !card.compatible => return Decision::UNREADABLE,
        Contents::Blank => return Decision::UNREADABLE,
        Contents::Partial => return Decision::refused(operation::KEY_DAMAGED, "the data on the card are damaged"),
        Contents::Key(written) => written,
    };
    let holder = site.user_by_serial(&card.serial);
    let Some(user) = holder.filter(|user| user.key.as_ref().is_some_and(|key| key.number == written.key)) else {
        return Decision::refused(operation::KEY_CANCELLED, "the key is not valid any more");
    };
    let now = site.now();
    if user.flag("IsBanned") {
        return Decision::refused(operation::KEY_CANCELLED, "the user is banned");
    }
    if now < user.time("UserActivation") {
        return Decision::refused(operation::NOT_YET_ACTIVE, "the user is not yet active");
    }
    if user.expires().is_some_and(|end| end <= now) {
        return Decision::refused(operation::EXPIRED, "the user has expired");
    }
    decide_rights(&door.id, &rights(site, user), now)
}

fn update_at_reader(site: &mut Site, serial: &str, door: &str) -> bool {
    let Some(card) = site.cards.get(serial).cloned() else { return false };
    let now = site.now();
    if let Some(user) = site.user_by_serial(serial) {
        let id = user.id.clone();
        let due = matches!(status_code(user, now), 2 | 3) && !user.flag("IsBanned");
        if due {
            keys::write_at_reader(site, &id, serial, door);
        }
        return due;
    }
    if card.written().is_some() {
        let user = card.written().map(|written| written.user.clone());
        site.put_card(Card { contents: Contents::Blank, ..card });
        let of = EffectOf { user: user.as_deref(), serial: Some(serial), door: Some(door), encoder: None };
        site.effect(EffectKind::CardErasedAtReader, &of);
        site.record(site.instant(), operation::KEY_DELETED, door, Subject::Cardholder, user.as_deref(), Some(serial));
        return true;
    }
    let waiting = site.users.values().find(|user| user.key.is_none() && user.get("AutoKeyEdit.ROMCode") == serial);
    let Some(id) = waiting.map(|user| user.id.clone()) else { return false };
    keys::write_at_reader(site, &id, serial, door);
    true
}

/// Brings the offline openings on a card into the audit trail, as any online reader or encoder does.
pub fn deliver(site: &mut Site, serial: &str) {
    let Some(mut card) = site.cards.get(serial).cloned() else { return };
    let Contents::Key(written) = &mut card.contents else { return };
    let carried = std::mem::take(&mut written.carried);
    if carried.is_empty() {
        return;
    }
    site.put_card(card);
    for note in carried {
        collect(site, &note.door, Some(note.sequence));
    }
}

/// Moves entries of a lock's log to the audit trail: all of them, or one. Returns how many.
pub fn collect(site: &mut Site, door: &str, sequence: Option<u64>) -> usize {
    let Some(mut door) = site.doors.get(door).cloned() else { return 0 };
    let wanted = |entry: u64| sequence.is_none_or(|sequence| sequence == entry);
    let (taken, left): (Vec<_>, Vec<_>) = door.log.drain(..).partition(|entry| wanted(entry.sequence));
    door.log = left.into();
    let id = door.id.clone();
    if !taken.is_empty() {
        site.put_door(door);
    }
    for entry in &taken {
        site.record(entry.at, entry.operation, &id, Subject::Cardholder, entry.user.as_deref(), Some(&entry.serial));
    }
    taken.len()
}
