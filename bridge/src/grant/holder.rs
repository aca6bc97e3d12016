//! What this bridge knows of one holder at one lock system: the wish of the cloud as far as it was carried out.
//!
//! Stored sealed, as one value; it holds names and card serials.

use lockbridge_protocol::proto::tunnel::{Medium, PutGrant, User};
use prost::Message;

/// A start this little in the past is not worth telling: it is the way from the caller to here.
const START_TOLERANCE_MS: i64 = 60_000;

/// A holder.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Holder {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub person: Option<Person>,
    /// Explicit block.
    #[prost(bool, tag = "2")]
    pub suspended: bool,
    /// Access groups besides what grants bring.
    #[prost(string, repeated, tag = "3")]
    pub memberships: Vec<String>,
    /// Of the last membership set.
    #[prost(uint64, tag = "4")]
    pub memberships_revision: u64,
    /// When membership began, for a person without a schedule.
    #[prost(int64, tag = "5")]
    pub member_since_ms: i64,
    /// Grants that stand.
    #[prost(message, repeated, tag = "6")]
    pub grants: Vec<Grant>,
    /// Credentials that stand, or may.
    #[prost(message, repeated, tag = "7")]
    pub credentials: Vec<Credential>,
    /// Groups through which rights were last written: when their doors change, the rights have to be written again.
    #[prost(string, repeated, tag = "8")]
    pub written_groups: Vec<String>,
    /// When rights have to be written again although nothing was asked; 0: never.
    #[prost(int64, tag = "9")]
    pub replan_at_ms: i64,
}

/// Name and schedule.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Person {
    /// For people at the lock system's own screens.
    #[prost(string, tag = "1")]
    pub full_name: String,
    /// E.164.
    #[prost(string, tag = "2")]
    pub phone_number: String,
    /// 0: none.
    #[prost(int64, tag = "3")]
    pub starts_at_ms: i64,
    /// 0: none.
    #[prost(int64, tag = "4")]
    pub ends_at_ms: i64,
    /// Of the last `PutUser`.
    #[prost(uint64, tag = "5")]
    pub revision: u64,
    /// For the cloud's matching only.
    #[prost(string, tag = "6")]
    pub email_address: String,
}

/// A grant.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Grant {
    /// The cloud's id.
    #[prost(string, tag = "1")]
    pub grant_id: String,
    /// The newest known.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// Doors, by the lock system's ids.
    #[prost(string, repeated, tag = "3")]
    pub entrances: Vec<String>,
    /// Start in force.
    #[prost(int64, tag = "4")]
    pub starts_at_ms: i64,
    /// 0: open end.
    #[prost(int64, tag = "5")]
    pub ends_at_ms: i64,
    /// Ways to open.
    #[prost(message, repeated, tag = "6")]
    pub methods: Vec<Method>,
    /// Start as asked for; another one than in force when that lay in the past.
    #[prost(int64, tag = "7")]
    pub asked_starts_at_ms: i64,
    /// Grants with the same one share a stay; may be empty.
    #[prost(string, tag = "8")]
    pub reservation_key: String,
}

impl Grant {
    /// The start lay in the past and was moved.
    pub fn schedule_modified(&self) -> bool {
        self.starts_at_ms != self.asked_starts_at_ms
    }

    /// Whether it is over at `now_ms`.
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.ends_at_ms != 0 && self.ends_at_ms <= now_ms
    }
}

/// A way to open.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Method {
    /// The cloud's credential id.
    #[prost(string, tag = "1")]
    pub credential_id: String,
    /// `tunnel.v1.Medium`.
    #[prost(enumeration = "Medium", tag = "2")]
    pub medium: i32,
}

/// A credential.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Credential {
    /// The cloud's id.
    #[prost(string, tag = "1")]
    pub credential_id: String,
    /// `tunnel.v1.Medium`.
    #[prost(enumeration = "Medium", tag = "2")]
    pub medium: i32,
    /// A card carries it.
    #[prost(bool, tag = "3")]
    pub issued: bool,
    /// A card may carry it: an encode is in doubt. For security that counts as issued (rule B8).
    #[prost(bool, tag = "4")]
    pub maybe_issued: bool,
    /// Chip serial, hexadecimal.
    #[prost(string, tag = "5")]
    pub card_number: String,
    /// Rights at the server are on the card.
    #[prost(bool, tag = "6")]
    pub up_to_date: bool,
    /// End of validity on the card, when told.
    #[prost(int64, tag = "7")]
    pub valid_until_ms: i64,
    /// Rooms that the card is, or may be, a key for: rights that no lock server holds.
    #[prost(string, repeated, tag = "8")]
    pub rooms: Vec<String>,
}

impl Holder {
    /// Takes over name and schedule; `false` when something newer is known.
    pub fn put_person(&mut self, user: &User, revision: u64) -> bool {
        let known = self.person.as_ref().map_or(0, |person| person.revision);
        if revision < known {
            return false;
        }
        self.person = Some(Person {
            full_name: user.full_name.clone(),
            phone_number: user.phone_number.clone(),
            starts_at_ms: user.starts_at_ms,
            ends_at_ms: user.ends_at_ms,
            revision,
            email_address: user.email_address.clone(),
        });
        true
    }

    /// Takes over a grant and the credentials it names; `false` when something newer is known. `revoked` tells which
    /// credentials a later command has taken away already.
    pub fn put_grant(&mut self, put: &PutGrant, now_ms: i64, revoked: impl Fn(&str) -> bool) -> bool {
        let old = self.grants.iter().find(|grant| grant.grant_id == put.grant_id);
        if old.is_some_and(|old| put.revision < old.revision) {
            return false;
        }
        let same_start = old.filter(|old| old.asked_starts_at_ms == put.starts_at_ms).map(|old| old.starts_at_ms);
        let in_past = put.starts_at_ms.saturating_add(START_TOLERANCE_MS) < now_ms;
        let starts_at_ms = same_start.unwrap_or(if in_past { now_ms } else { put.starts_at_ms });
        let methods: Vec<Method> = put
            .methods
            .iter()
            .filter(|method| !revoked(&method.credential_id))
            .map(|method| Method { credential_id: method.credential_id.clone(), medium: method.medium })
            .collect();
        for method in &methods {
            self.put_credential(&method.credential_id, method.medium);
        }
        let mut entrances = put.entrance_external_ids.clone();
        entrances.sort_unstable();
        entrances.dedup();
        self.grants.retain(|grant| grant.grant_id != put.grant_id);
        self.grants.push(Grant {
            grant_id: put.grant_id.clone(),
            revision: put.revision,
            entrances,
            starts_at_ms,
            ends_at_ms: put.ends_at_ms,
            methods,
            asked_starts_at_ms: put.starts_at_ms,
            reservation_key: put.reservation_key.clone(),
        });
        self.grants.sort_by(|left, right| left.grant_id.cmp(&right.grant_id));
        if let Some(user) = put.user.as_ref() {
            // A grant carries the person as the cloud knew it; a newer record of the person alone wins.
            let revision = self.person.as_ref().map_or(0, |person| person.revision);
            if self.person.is_none() || revision == 0 {
                self.put_person(user, 0);
            }
        }
        true
    }

    /// Forgets a grant; what only it needed goes with the next plan.
    pub fn delete_grant(&mut self, grant_id: &str) -> bool {
        let before = self.grants.len();
        self.grants.retain(|grant| grant.grant_id != grant_id);
        self.grants.len() != before
    }

    /// Makes a credential known.
    pub fn put_credential(&mut self, credential_id: &str, medium: i32) {
        if self.credential(credential_id).is_none() {
            self.credentials.push(Credential {
                credential_id: credential_id.to_owned(),
                medium,
                ..Credential::default()
            });
            self.credentials.sort_by(|left, right| left.credential_id.cmp(&right.credential_id));
        }
    }

    /// Forgets a credential, in grants too.
    pub fn delete_credential(&mut self, credential_id: &str) {
        self.credentials.retain(|credential| credential.credential_id != credential_id);
        for grant in &mut self.grants {
            grant.methods.retain(|method| method.credential_id != credential_id);
        }
    }

    /// A known credential.
    pub fn credential(&self, credential_id: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.credential_id == credential_id)
    }

    /// The same, to change.
    pub fn credential_mut(&mut self, credential_id: &str) -> Option<&mut Credential> {
        self.credentials.iter_mut().find(|credential| credential.credential_id == credential_id)
    }

    /// Some card of the holder exists, or may.
    pub fn may_hold_card(&self) -> bool {
        self.credentials.iter().any(|credential| credential.issued || credential.maybe_issued)
    }

    /// Rights at the server changed: cards lag behind.
    pub fn cards_lag(&mut self) {
        for credential in &mut self.credentials {
            credential.up_to_date = false;
        }
    }

    /// Drops grants that ended before `before_ms`, so that a holder does not grow for ever.
    pub fn drop_ended(&mut self, before_ms: i64) {
        self.grants.retain(|grant| !grant.is_over(before_ms));
    }
}
