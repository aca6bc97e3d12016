//! All records of the site, the indexes over them, and what changed since the last commit.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::super::wire::time::LocalTime;
use super::access::Access;
use super::audit::{self, Event, Subject};
use super::card::Card;
use super::door::Door;
use super::effect::{Effect, EffectKind, EffectOf};
use super::user::{Permission, User};

/// A user access level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// `ExtGroupID`.
    pub id: String,
    /// Name, unique among the groups.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Doors of the level; the members are told by the users.
    pub doors: Vec<Permission>,
}

/// An encoder on somebody's desk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoder {
    /// Name, its only address.
    pub name: String,
    /// Whether the server reaches it.
    pub plugged: bool,
    /// Whether an attendant puts the card a job asks for at once: a fresh blank, or the user's present card.
    pub auto_feed: bool,
    /// Chip serial of the card that lies on it.
    pub card: Option<String>,
}

/// An entry of the denylist. The list only grows; an entry stops to count when its key has expired anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Place in the list, from 1.
    pub sequence: u64,
    /// The key.
    pub key: u64,
    /// Chip serial it was on.
    pub serial: String,
    /// When the key ends by itself; `None` is never.
    pub until: Option<LocalTime>,
}

/// Numbers and switches of the whole site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Next `EventID`.
    pub event: u64,
    /// Next key number.
    pub key: u64,
    /// Next effect number.
    pub effect: u64,
    /// How far the site's clock is ahead of the machine's, in seconds.
    pub clock_offset_seconds: i64,
    /// Entries the denylist may hold.
    pub denylist_capacity: usize,
    /// Whether SHIP, and mobile keys, are in the licence, and how many users are.
    pub ship_licensed: bool,
    pub mobile_licensed: bool,
    pub user_limit: usize,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            event: 95_000_001,
            key: 1,
            effect: 1,
            clock_offset_seconds: 0,
            denylist_capacity: 65_535,
            ship_licensed: true,
            mobile_licensed: true,
            user_limit: 1_000_000,
        }
    }
}

/// One changed record; a line of the change log holds those of one request, the snapshot those of the whole site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    User(User),
    UserGone(String),
    Group(Group),
    GroupGone(String),
    Door(Door),
    Card(Card),
    Encoder(Encoder),
    Denied(Denied),
    Event(Event),
    Counters(Counters),
}

/// The site.
#[derive(Debug, Default)]
pub struct Site {
    /// By `ExtUserID`, which is also the paging order.
    pub users: BTreeMap<String, User>,
    /// By `ExtGroupID`.
    pub groups: BTreeMap<String, Group>,
    /// By `ExtDoorID`.
    pub doors: BTreeMap<String, Door>,
    /// By chip serial.
    pub cards: BTreeMap<String, Card>,
    /// By name.
    pub encoders: BTreeMap<String, Encoder>,
    /// In the order of their sequence.
    pub denylist: Vec<Denied>,
    /// In the order of their id.
    pub audit: VecDeque<Event>,
    /// Numbers and switches.
    pub counters: Counters,
    /// Stands still at this instant when set (unit tests).
    pub fixed_clock: Option<Timestamp>,
    zone: Option<TimeZone>,
    names: HashMap<String, String>,
    serials: HashMap<String, String>,
    members: BTreeMap<String, BTreeSet<String>>,
    denied: HashMap<u64, u64>,
    changed: Vec<Change>,
    effects: Vec<Effect>,
}

impl Site {
    /// An empty site in a zone.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone: Some(zone), ..Self::default() }
    }

    /// The site's clock as an instant.
    pub fn instant(&self) -> Timestamp {
        let now = self.fixed_clock.unwrap_or_else(Timestamp::now);
        now.checked_add(jiff::SignedDuration::from_secs(self.counters.clock_offset_seconds)).unwrap_or(now)
    }

    /// An instant in the server's zone.
    pub fn local(&self, instant: Timestamp) -> LocalTime {
        LocalTime::at(instant, self.zone.as_ref().unwrap_or(&TimeZone::UTC))
    }

    /// The server's local time.
    pub fn now(&self) -> LocalTime {
        self.local(self.instant())
    }

    /// Who has this full name.
    pub fn user_by_name(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// Whose present key is on this chip.
    pub fn user_by_serial(&self, serial: &str) -> Option<&User> {
        self.serials.get(serial).and_then(|id| self.users.get(id))
    }

    /// The door of this name.
    pub fn door_by_name(&self, name: &str) -> Option<&Door> {
        self.doors.values().find(|door| door.name == name)
    }

    /// Ids of the members of a group.
    pub fn members(&self, group: &str) -> Vec<String> {
        self.members.get(group).map(|ids| ids.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a key is on the denylist as of a sequence.
    pub fn is_denied(&self, key: u64, sequence: u64) -> bool {
        self.denied.get(&key).is_some_and(|entry| *entry <= sequence)
    }

    /// The newest sequence of the denylist.
    pub fn denylist_sequence(&self) -> u64 {
        self.denylist.last().map_or(0, |entry| entry.sequence)
    }

    /// Whether the denylist takes no further entry.
    pub fn denylist_full(&self) -> bool {
        let capacity = self.counters.denylist_capacity;
        self.denylist.len() >= capacity && {
            let now = self.now();
            self.denylist.iter().filter(|entry| entry.until.is_none_or(|until| until > now)).count() >= capacity
        }
    }

    /// Stores a user; a card key takes the status that the difference asks for.
    pub fn put_user(&mut self, mut user: User) {
        let before = self.users.get(&user.id).map(|old| Access::of(self, old));
        if let (Some(before), Some(_)) = (before, &user.key) {
            let after = Access::of(self, &user);
            if let (Some(status), Some(key)) = (before.status_after(&after), user.key.as_mut()) {
                key.status = key.status.max(status);
            }
        }
        self.store_user(user);
    }

    /// Stores a user as it is.
    pub fn store_user(&mut self, user: User) {
        self.change(Change::User(user));
    }

    /// Removes a user and its memberships.
    pub fn remove_user(&mut self, id: &str) {
        self.change(Change::UserGone(id.to_owned()));
    }

    /// Stores a group; the keys of its members take the status that the difference asks for.
    pub fn put_group(&mut self, group: Group) {
        let members = self.keyed_members(&group.id);
        self.change(Change::Group(group));
        self.settle(members);
    }

    /// Removes a group from the site and from its members.
    pub fn remove_group(&mut self, id: &str) {
        for member in self.members(id) {
            if let Some(mut user) = self.users.get(&member).cloned() {
                user.groups.retain(|membership| membership.group != id);
                self.put_user(user);
            }
        }
        self.change(Change::GroupGone(id.to_owned()));
    }

    fn keyed_members(&self, group: &str) -> Vec<(String, Access)> {
        let members = self.members.get(group).into_iter().flatten();
        let users = members.filter_map(|id| self.users.get(id)).filter(|user| user.key.is_some());
        users.map(|user| (user.id.clone(), Access::of(self, user))).collect()
    }

    fn settle(&mut self, before: Vec<(String, Access)>) {
        for (id, before) in before {
            let Some(mut user) = self.users.get(&id).cloned() else { continue };
            let Some(status) = before.status_after(&Access::of(self, &user)) else { continue };
            if let Some(key) = user.key.as_mut() {
                key.status = key.status.max(status);
            }
            self.store_user(user);
        }
    }

    /// Stores a door.
    pub fn put_door(&mut self, door: Door) {
        self.change(Change::Door(door));
    }

    /// Stores a card.
    pub fn put_card(&mut self, card: Card) {
        self.change(Change::Card(card));
    }

    /// Stores an encoder.
    pub fn put_encoder(&mut self, encoder: Encoder) {
        self.change(Change::Encoder(encoder));
    }

    /// Stores the numbers and switches.
    pub fn put_counters(&mut self, counters: Counters) {
        self.change(Change::Counters(counters));
    }

    /// Adds a key to the denylist.
    pub fn deny(&mut self, key: u64, serial: String, until: Option<LocalTime>) {
        let sequence = self.denylist_sequence() + 1;
        self.change(Change::Denied(Denied { sequence, key, serial, until }));
    }

    /// Draws the next key number.
    pub fn next_key(&mut self) -> u64 {
        let mut counters = self.counters.clone();
        let key = counters.key;
        counters.key += 1;
        self.put_counters(counters);
        key
    }

    /// Writes an event to the audit trail. A cardholder is named by the user id, an operator by `name`.
    pub fn record(
        &mut self,
        at: Timestamp,
        operation: i32,
        door: &str,
        subject: Subject,
        user: Option<&str>,
        serial: Option<&str>,
    ) {
        let name = match subject {
            Subject::Operator => "SHIP".to_owned(),
            Subject::Door => door.to_owned(),
            Subject::Cardholder => user.and_then(|id| self.users.get(id)).map(User::full_name).unwrap_or_default(),
        };
        let event = Event {
            id: self.counters.event,
            at,
            operation,
            door: door.to_owned(),
            subject,
            user: user.map(str::to_owned),
            name,
            serial: serial.map(str::to_owned),
        };
        self.change(Change::Event(event));
    }

    /// Counts a physical effect. It is on disk, synced, before the answer leaves.
    pub fn effect(&mut self, kind: EffectKind, of: &EffectOf<'_>) {
        let effect = Effect {
            number: self.counters.effect,
            kind,
            user: of.user.map(str::to_owned),
            serial: of.serial.map(str::to_owned),
            door: of.door.map(str::to_owned),
            encoder: of.encoder.map(str::to_owned),
            at: self.instant(),
        };
        self.counters.effect += 1;
        self.effects.push(effect);
    }

    /// What changed, and what was done, since the last call.
    pub fn take_changes(&mut self) -> (Vec<Change>, Vec<Effect>) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.effects))
    }

    /// The whole site as changes, for a snapshot.
    pub fn all(&self) -> impl Iterator<Item = Change> {
        std::iter::once(Change::Counters(self.counters.clone()))
            .chain(self.groups.values().cloned().map(Change::Group))
            .chain(self.doors.values().cloned().map(Change::Door))
            .chain(self.users.values().cloned().map(Change::User))
            .chain(self.cards.values().cloned().map(Change::Card))
            .chain(self.encoders.values().cloned().map(Change::Encoder))
            .chain(self.denylist.iter().cloned().map(Change::Denied))
            .chain(self.audit.iter().cloned().map(Change::Event))
    }

    fn change(&mut self, change: Change) {
        self.apply(change.clone());
        self.changed.push(change);
    }

    /// Puts one change into the records and indexes. Applying the same change again changes nothing.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::User(user) => {
                self.forget_user(&user.id);
                self.names.insert(user.full_name(), user.id.clone());
                if let Some(key) = &user.key {
                    self.serials.insert(key.serial.clone(), user.id.clone());
                }
                for membership in &user.groups {
                    self.members.entry(membership.group.clone()).or_default().insert(user.id.clone());
                }
                self.users.insert(user.id.clone(), user);
            }
            Change::UserGone(id) => self.forget_user(&id),
            Change::Group(group) => {
                self.groups.insert(group.id.clone(), group);
            }
            Change::GroupGone(id) => {
                self.groups.remove(&id);
            }
            Change::Door(door) => {
                self.doors.insert(door.id.clone(), door);
            }
            Change::Card(card) => {
                self.cards.insert(card.serial.clone(), card);
            }
            Change::Encoder(encoder) => {
                self.encoders.insert(encoder.name.clone(), encoder);
            }
            Change::Denied(entry) => {
                if entry.sequence > self.denylist_sequence() {
                    self.denied.insert(entry.key, entry.sequence);
                    self.denylist.push(entry);
                }
            }
            Change::Event(event) => {
                self.counters.event = self.counters.event.max(event.id + 1);
                audit::append(&mut self.audit, event);
            }
            Change::Counters(counters) => {
                // Events and effects count themselves; an older copy of the numbers must not turn them back.
                let (event, effect) = (self.counters.event, self.counters.effect);
                self.counters = counters;
                self.counters.event = self.counters.event.max(event);
                self.counters.effect = self.counters.effect.max(effect);
            }
        }
    }

    fn forget_user(&mut self, id: &str) {
        let Some(old) = self.users.remove(id) else { return };
        let name = old.full_name();
        if self.names.get(&name).is_some_and(|owner| owner == id) {
            self.names.remove(&name);
        }
        if let Some(key) = &old.key
            && self.serials.get(&key.serial).is_some_and(|owner| owner == id)
        {
            self.serials.remove(&key.serial);
        }
        for membership in &old.groups {
            if let Some(ids) = self.members.get_mut(&membership.group) {
                ids.remove(id);
            }
        }
    }
}
