//! What a user may open: direct permissions and those of the groups, folded into one list of rights.

use serde::{Deserialize, Serialize};

use super::super::wire::time::{LocalTime, Period};
use super::database::Site;
use super::user::{KeyStatus, User};

/// A door and when it may be opened; without a period: always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// `ExtDoorID`.
    pub door: String,
    /// When; `None` is always.
    pub period: Option<Period>,
}

impl Right {
    fn covers(&self, other: &Self) -> bool {
        self.door == other.door
            && match (&self.period, &other.period) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(theirs)) => mine.start <= theirs.start && theirs.end <= mine.end,
            }
    }
}

/// The parts of a user record that end up on a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Doors and periods.
    pub rights: Vec<Right>,
    start: LocalTime,
    expires: Option<LocalTime>,
    banned: bool,
    revalidation: (String, String),
}

impl Access {
    /// What the database says about a user now.
    pub fn of(site: &Site, user: &User) -> Self {
        Self {
            rights: rights(site, user),
            start: user.time("UserActivation"),
            expires: user.expires(),
            banned: user.flag("IsBanned"),
            revalidation: (
                user.get("KeyRevalidation.UpdatePeriod").to_owned(),
                user.get("KeyRevalidation.UnitOfUpdatePeriod").to_owned(),
            ),
        }
    }

    /// The status a card written under `self` takes when the database now says `new`; `None` when nothing on it changes.
    pub fn status_after(&self, new: &Self) -> Option<KeyStatus> {
        if self == new {
            return None;
        }
        let lost = self.rights.iter().any(|old| !new.rights.iter().any(|right| right.covers(old)));
        let shorter = match (self.expires, new.expires) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => new < old,
        };
        let taken = lost || shorter || new.start > self.start || (new.banned && !self.banned);
        Some(if taken { KeyStatus::UpdateRequired } else { KeyStatus::UpdateRecommended })
    }
}

/// All rights of a user, in a fixed order, without repetition.
pub fn rights(site: &Site, user: &User) -> Vec<Right> {
    let mut found: Vec<Right> =
        user.doors.iter().map(|given| Right { door: given.door.clone(), period: given.period }).collect();
    for membership in &user.groups {
        let Some(group) = site.groups.get(&membership.group) else { continue };
        for given in &group.doors {
            let period = match (membership.period, given.period) {
                (None, other) | (other, None) => other,
                (Some(one), Some(two)) => Some(Period { start: one.start.max(two.start), end: one.end.min(two.end) }),
            };
            if period.is_none_or(|period| period.start < period.end) {
                found.push(Right { door: given.door.clone(), period });
            }
        }
    }
    found.sort_by(|one, two| {
        let order = |right: &Right| right.period.map(|period| (period.start, period.end));
        one.door.cmp(&two.door).then_with(|| order(one).cmp(&order(two)))
    });
    found.dedup();
    found
}
