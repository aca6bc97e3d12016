//! What the policy says of one command at one moment.

use jiff::civil::Time;
use lockbridge_protocol::proto::tunnel::{Priority, command::Body};

use super::{Policy, SystemPolicy};

const DAY_MS: i64 = 24 * 3_600_000;
/// A stay of thirty-one days from noon to noon, started late, is still thirty-one days.
pub(super) const VALIDITY_TOLERANCE_MS: i64 = DAY_MS;

/// When the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A delivery came in: what is wrong for good is refused.
    Accept,
    /// The effect is about to begin: rates count, and what may pass later waits.
    Begin,
}

/// What the policy needs to know besides the command.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Which lock system.
    pub lock_system: &'a str,
    /// The command's kind, by name.
    pub kind: &'a str,
    /// Its priority.
    pub priority: Priority,
    /// The lowest policy version it accepts.
    pub minimum_version: u64,
    /// Wall time, ms since the epoch.
    pub now_ms: i64,
    /// The site's wall clock.
    pub local_time: Time,
    /// The local brake.
    pub brake: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Go on.
    Allowed,
    /// Not now: wait, and ask again.
    Wait(&'static str),
    /// Never: rule and sentence.
    Breach {
        /// `policy:<rule>`.
        rule: &'static str,
        /// What was asked and what the policy says.
        message: String,
    },
}

impl Ruling {
    fn breach(rule: &'static str, message: impl Into<String>) -> Self {
        Self::Breach { rule, message: message.into() }
    }
}

/// Asks `policy` (`None`: no valid file). `rate(subject, hours)` tells how often something was begun lately; `rooms` are
/// the rooms that an encode opens.
pub(super) fn check(
    policy: Option<&Policy>,
    moment: Moment,
    facts: Facts<'_>,
    body: &Body,
    rooms: &[String],
    rate: &dyn Fn(&str, u64) -> u64,
) -> Ruling {
    if facts.priority == Priority::Safety {
        return Ruling::Allowed;
    }
    let waits = moment == Moment::Begin && !is_interactive(facts.priority);
    let Some(policy) = policy else {
        // A slip in the file must not throw away what was accepted.
        return if waits {
            Ruling::Wait("policy:no_policy")
        } else {
            Ruling::breach(
                "policy:no_policy",
                "the local policy file is missing or not valid, so only revokes are allowed",
            )
        };
    };
    if policy.version < facts.minimum_version {
        let (found, asked) = (policy.version, facts.minimum_version);
        return Ruling::breach(
            "policy:version",
            format!("the command needs policy version {asked}; the bridge has version {found}"),
        );
    }
    let Some(system) = policy.system(facts.lock_system) else {
        return Ruling::breach("policy:lock_system", format!("the policy allows nothing at `{}`", facts.lock_system));
    };
    if system.allow.as_ref().is_some_and(|allow| !allow.contains(facts.kind)) {
        return Ruling::breach(
            "policy:allow",
            format!("the policy does not allow `{}` at `{}`", facts.kind, facts.lock_system),
        );
    }
    if facts.brake && is_braked(body) {
        return if is_interactive(facts.priority) {
            Ruling::breach("policy:brake", "the local brake is on: no encoding and no new grants")
        } else if moment == Moment::Begin {
            Ruling::Wait("policy:brake")
        } else {
            Ruling::Allowed
        };
    }
    let ruling = content(system, facts, body);
    if ruling != Ruling::Allowed || moment == Moment::Accept {
        return ruling;
    }
    rates(system, body, rooms, rate)
}

fn is_interactive(priority: Priority) -> bool {
    priority == Priority::Interactive
}

/// Stopped by the brake: whatever writes a card, opens a door or gives a right (rule I9).
fn is_braked(body: &Body) -> bool {
    matches!(
        body,
        Body::PutGrant(_)
            | Body::SetGroupMembership(_)
            | Body::PutCredential(_)
            | Body::AssignCard(_)
            | Body::EncodeCredential(_)
            | Body::ScanToAssign(_)
            | Body::UnlockEntrance(_)
    )
}

fn content(system: &SystemPolicy, facts: Facts<'_>, body: &Body) -> Ruling {
    match body {
        Body::PutGrant(put) => {
            let refused = put.entrance_external_ids.iter().find(|door| !is_allowed_entrance(system, door));
            if let Some(door) = refused {
                return Ruling::breach("policy:entrance", format!("the policy does not allow entrance `{door}`"));
            }
            let Some(days) = system.max_validity_days else { return Ruling::Allowed };
            let start = put.starts_at_ms.max(facts.now_ms);
            let longest = i64::from(days).saturating_mul(DAY_MS).saturating_add(VALIDITY_TOLERANCE_MS);
            if put.ends_at_ms == 0 || put.ends_at_ms.saturating_sub(start) > longest {
                return Ruling::breach(
                    "policy:max_validity",
                    format!("the policy allows grants of at most {days} days"),
                );
            }
            Ruling::Allowed
        }
        Body::UnlockEntrance(unlock) if !is_allowed_entrance(system, &unlock.entrance_external_id) => Ruling::breach(
            "policy:entrance",
            format!("the policy does not allow entrance `{}`", unlock.entrance_external_id),
        ),
        Body::EncodeCredential(_) | Body::ScanToAssign(_) | Body::UnlockEntrance(_) => match system.hours {
            Some((from, until)) if !is_within(facts.local_time, from, until) => Ruling::breach(
                "policy:hours",
                format!("the policy allows this only from {from} until {until}, by the site's clock"),
            ),
            _ => Ruling::Allowed,
        },
        _ => Ruling::Allowed,
    }
}

/// Encodes over the rate are refused, because somebody stands there; grants over the rate wait.
fn rates(system: &SystemPolicy, body: &Body, rooms: &[String], rate: &dyn Fn(&str, u64) -> u64) -> Ruling {
    match body {
        Body::EncodeCredential(encode) => {
            let encoder = encodes_subject(&encode.encoder_external_id);
            if rate(&encoder, 1) >= system.encodes_per_hour {
                return Ruling::breach(
                    "policy:encodes_per_hour",
                    "this encoder has written as many cards as an hour allows",
                );
            }
            if rate(&encoder, 24) >= system.encodes_per_day {
                return Ruling::breach(
                    "policy:encodes_per_day",
                    "this encoder has written as many cards as a day allows",
                );
            }
            match rooms.iter().find(|room| rate(&room_subject(room), 24) >= system.encodes_per_room_per_day) {
                Some(room) => Ruling::breach(
                    "policy:encodes_per_room_per_day",
                    format!("as many cards were written for `{room}` as a day allows"),
                ),
                None => Ruling::Allowed,
            }
        }
        Body::PutGrant(_) if rate(GRANTS_SUBJECT, 1) >= system.grants_per_hour => {
            Ruling::Wait("policy:grants_per_hour")
        }
        _ => Ruling::Allowed,
    }
}

const GRANTS_SUBJECT: &str = "grants";

fn encodes_subject(encoder: &str) -> String {
    format!("encodes:{encoder}")
}

fn room_subject(room: &str) -> String {
    format!("room:{room}")
}

/// What an attempt of this command counts towards.
pub fn subjects(body: &Body, rooms: &[String]) -> Vec<String> {
    match body {
        Body::PutGrant(_) => vec![GRANTS_SUBJECT.to_owned()],
        Body::EncodeCredential(encode) => std::iter::once(encodes_subject(&encode.encoder_external_id))
            .chain(rooms.iter().map(|room| room_subject(room)))
            .collect(),
        _ => vec![],
    }
}

fn is_within(now: Time, from: Time, until: Time) -> bool {
    if from <= until { from <= now && now < until } else { now >= from || now < until }
}

fn is_allowed_entrance(system: &SystemPolicy, entrance: &str) -> bool {
    system.entrances.iter().any(|pattern| matches_pattern(pattern, entrance))
}

/// `*` stands for any run of characters; all else for itself.
pub(super) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
