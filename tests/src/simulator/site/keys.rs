//! Issuing, re-writing and cancelling the card key of a user.

use super::super::refusal::{Refusal, code};
use super::super::wire::time::{LocalTime, Period};
use super::access::rights;
use super::audit::Subject;
use super::card::{Contents, Written};
use super::database::Site;
use super::door::operation;
use super::effect::{EffectKind, EffectOf};
use super::user::{Key, KeyStatus, User};

/// Days a key that cannot be cancelled may reach into the future.
pub const NON_CANCELLABLE_DAYS: i64 = 7;

/// Which of the two write requests is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// A first key, on a card that is nobody's.
    Assign,
    /// The present key again, on the present card.
    Update,
}

/// Validity a key written now gets: from the activation, for the update period, never beyond the user's expiry.
pub fn key_period(user: &User, now: LocalTime) -> Period {
    let length = user.number("KeyRevalidation.UpdatePeriod");
    let revalidation = match (length, user.number("KeyRevalidation.UnitOfUpdatePeriod")) {
        (0, _) => None,
        (hours, 1) => Some(now.plus_seconds(hours * 3600)),
        (days, _) => Some(now.end_of_day_after(days)),
    };
    let end = match (revalidation, user.expires()) {
        (Some(one), Some(two)) => one.min(two),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => LocalTime::OPEN,
    };
    Period { start: user.time("UserActivation"), end }
}

/// `CurrentKeyStatus`.
pub fn status_code(user: &User, now: LocalTime) -> i32 {
    match &user.key {
        None => i32::from(user.has_mobile_key()),
        Some(key) if key.period.end != LocalTime::OPEN && key.period.end <= now => 5,
        Some(key) => match key.status {
            KeyStatus::UpToDate => 1,
            KeyStatus::UpdateRecommended => 2,
            KeyStatus::UpdateRequired => 3,
            KeyStatus::ReeditionRequired => 4,
        },
    }
}

/// Whether the write could begin at all, before anybody looks at a card.
pub fn check_user(site: &Site, user: &str, write: Write) -> Result<(), Refusal> {
    let user = site.users.get(user).ok_or_else(|| Refusal::of(code::USER_NOT_FOUND))?;
    match (write, &user.key) {
        (Write::Assign, Some(_)) => Err(Refusal::of(code::HAS_KEY)),
        (Write::Update, None) => Err(Refusal::of(code::NO_KEY)),
        _ if site.denylist_full() => Err(Refusal::new(code::NO_MORE_KEYS, "The blacklist is full")),
        _ => Ok(()),
    }
}

/// Whether the key of this user may be written on this card.
pub fn check_card(site: &Site, user: &str, serial: &str, write: Write, capacity: usize) -> Result<(), Refusal> {
    check_user(site, user, write)?;
    let Some(card) = site.cards.get(serial).filter(|card| card.compatible) else {
        return Err(Refusal::of(code::NOT_RECOGNISED));
    };
    let holder = site.user_by_serial(&card.serial).map(|holder| holder.id.as_str());
    if holder.is_some_and(|holder| holder != user) {
        return Err(Refusal::of(code::SERIAL_IN_USE));
    }
    if write == Write::Update && holder != Some(user) {
        return Err(Refusal::new(code::NOT_RECOGNISED, "This is not the user's present key"));
    }
    let doors = site.users.get(user).map(|user| rights(site, user).len()).unwrap_or_default();
    if doors > capacity {
        return Err(Refusal::new(code::DOES_NOT_FIT, format!("{doors} doors do not fit on a key of {capacity}")));
    }
    Ok(())
}

/// Writes the key; the caller checked it. Returns nothing: from here on it has happened.
pub fn write(site: &mut Site, user: &str, serial: &str, write: Write, encoder: &str) {
    let kind = match write {
        Write::Assign => EffectKind::CardWritten,
        Write::Update => EffectKind::CardUpdated,
    };
    if put_on_card(site, user, serial) {
        site.effect(kind, &EffectOf { user: Some(user), serial: Some(serial), encoder: Some(encoder), door: None });
    }
}

/// Writes the key at an online reader.
pub fn write_at_reader(site: &mut Site, user: &str, serial: &str, door: &str) {
    if put_on_card(site, user, serial) {
        let of = EffectOf { user: Some(user), serial: Some(serial), door: Some(door), encoder: None };
        site.effect(EffectKind::CardUpdatedAtReader, &of);
        site.record(site.instant(), operation::KEY_UPDATED, door, Subject::Cardholder, Some(user), Some(serial));
    }
}

fn put_on_card(site: &mut Site, user: &str, serial: &str) -> bool {
    let (Some(mut user), Some(mut card)) = (site.users.get(user).cloned(), site.cards.get(serial).cloned()) else {
        return false;
    };
    let number = user.key.as_ref().map_or_else(|| site.next_key(), |key| key.number);
    let period = key_period(&user, site.now());
    let before = card.written().filter(|written| written.key == number);
    let (edition, carried) = before.map_or((1, Vec::new()), |written| (written.edition + 1, written.carried.clone()));
    card.contents = Contents::Key(Written {
        key: number,
        edition,
        user: user.id.clone(),
        valid: period,
        expires: user.expires(),
        rights: if user.flag("IsBanned") { Vec::new() } else { rights(site, &user) },
        denylist: site.denylist_sequence(),
        carried,
    });
    user.key = Some(Key { number, serial: serial.to_owned(), period, status: KeyStatus::UpToDate });
    site.put_card(card);
    site.store_user(user);
    true
}

/// A write that was cut off: the card is unreadable for locks; a present key has to be written again.
pub fn spoil(site: &mut Site, user: &str, serial: &str, encoder: &str) {
    let Some(mut card) = site.cards.get(serial).cloned() else { return };
    card.contents = Contents::Partial;
    site.put_card(card);
    if let Some(mut holder) = site.users.get(user).cloned()
        && let Some(key) = holder.key.as_mut().filter(|key| key.serial == serial)
    {
        key.status = KeyStatus::ReeditionRequired;
        site.store_user(holder);
    }
    let of = EffectOf { user: Some(user), serial: Some(serial), encoder: Some(encoder), door: None };
    site.effect(EffectKind::CardPartlyWritten, &of);
    site.record(site.instant(), operation::KEY_INCOMPLETE, encoder, Subject::Cardholder, Some(user), Some(serial));
}

/// Takes the key from a user: cancellable keys go to the denylist. The card itself keeps what is written on it.
pub fn cancel(site: &mut Site, user: &str) -> Result<(), Refusal> {
    let mut user = site.users.get(user).cloned().ok_or_else(|| Refusal::of(code::USER_NOT_FOUND))?;
    let key = user.key.take().ok_or_else(|| Refusal::of(code::NO_KEY))?;
    if user.flag("KeyIsCancellableThroughBlacklist") {
        if site.denylist_full() {
            return Err(Refusal::new(code::BUSINESS_RULE, "The blacklist is full"));
        }
        let until = (key.period.end != LocalTime::OPEN).then_some(key.period.end);
        site.deny(key.number, key.serial.clone(), until);
    }
    let of = EffectOf { user: Some(&user.id), serial: Some(&key.serial), ..EffectOf::default() };
    site.effect(EffectKind::KeyCancelled, &of);
    site.store_user(user);
    Ok(())
}
