//! What may keep a command from beginning on site: the local policy, the brake, and a clock that is not trusted.

use jiff::tz::TimeZone;
use lockbridge_protocol::proto::tunnel::{Command, Priority, command::Body};
use lockbridge_protocol::signed::command::priority_of;

use super::super::engine::Engine;
use crate::command::policy::{self, Moment, Ruling};
use crate::health::{ReasonCode, Scope};
use crate::state::fold::bucket_of;

/// A clock before this has not been set since power-on (rule N2). 2026-01-01.
const CLOCK_FLOOR_MS: i64 = 1_767_225_600_000;

impl Engine {
    /// Asks the local policy.
    pub(in crate::dispatch) fn ask_policy(
        &self,
        moment: Moment,
        command: &Command,
        body: &Body,
        kind: &str,
        priority: Priority,
        rooms: &[String],
    ) -> Ruling {
        let zone =
            self.systems.get(&command.lock_system).map_or(TimeZone::UTC, |system| system.config.time_zone.clone());
        let facts = policy::Facts {
            lock_system: &command.lock_system,
            kind,
            priority,
            minimum_version: command.minimum_policy_version,
            now_ms: self.clock.wall_ms(),
            local_time: self.clock.wall().to_zoned(zone).time(),
            brake: self.meta.brake,
        };
        let now = bucket_of(self.clock.wall_ms());
        policy::check(self.policy.as_ref(), moment, facts, body, rooms, &|subject, hours| {
            // Six buckets an hour. What cannot be counted is taken as too many.
            let first = now.saturating_sub(hours.saturating_mul(6).saturating_sub(1));
            self.view().rate(&command.lock_system, subject, first).unwrap_or(u64::MAX)
        })
    }

    /// What the bridge gives itself writes anew what was allowed before, so only the brake can stop it: rights written
    /// anew may open a door.
    pub(super) fn ask_brake(&self, body: &Body) -> Ruling {
        if self.meta.brake && priority_of(body) != Priority::Safety {
            return Ruling::Wait("policy:brake");
        }
        Ruling::Allowed
    }

    /// Whether the wall clock may decide what is written on cards (rules N2, N3).
    pub(in crate::dispatch) fn time_is_trusted(&self) -> bool {
        self.clock.wall_ms() >= CLOCK_FLOOR_MS && !self.health.holds(&Scope::Bridge, ReasonCode::ClockUntrusted)
    }
}
