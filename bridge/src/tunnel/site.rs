//! What the bridge tells the hub about itself: Hello at the start, what holds now after that.

use std::collections::BTreeMap;

use lockbridge_protocol::ids::CommandId;
use lockbridge_protocol::limits::{LOST_RANGES, TUNNEL_VERSIONS};
use lockbridge_protocol::proto::tunnel as wire;
use lockbridge_protocol::proto::tunnel::{
    DeliveryRange, HealthReason, HealthReport, Hello, LockSystemDescription, LockSystemHealth,
};
use lockbridge_protocol::tunnel::frame::HEALTH_REASONS;

use crate::dispatch::{EncoderJob, EncoderStage, Resume, TunnelFeed};
use crate::health::{Health, Reason, ReasonCode, Scope};
use crate::system::Description;

/// Longest message of a reason on the wire, in bytes; the whole report has to fit one frame.
const MESSAGE_BYTES: usize = 500;

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Site {
    /// Of the client certificate.
    pub bridge_id: String,
    /// Of this binary.
    pub software_version: String,
    /// As configured.
    pub lock_systems: Vec<Description>,
    /// 16 random bytes of this process.
    pub boot_nonce: [u8; 16],
}

impl Site {
    /// The first frame of a session.
    pub(super) fn hello(&self, resume: &Resume, bridge_time_ms: i64) -> Hello {
        Hello {
            version_minimum: *TUNNEL_VERSIONS.start(),
            version_maximum: *TUNNEL_VERSIONS.end(),
            bridge_id: self.bridge_id.clone(),
            store_id: resume.store_id.to_vec(),
            boot_counter: resume.boot_counter,
            boot_nonce: self.boot_nonce.to_vec(),
            journal_sequence: resume.journal_sequence,
            commands_durable_through: resume.commands_durable_through,
            reports_first_kept: resume.reports_first_kept,
            reports_last: resume.reports_last,
            highest_epoch_seen: resume.highest_epoch_seen,
            software_version: self.software_version.clone(),
            bridge_time_ms,
            lock_systems: self.lock_systems.iter().map(describe).collect(),
            quarantine: resume.quarantine.clone(),
            quarantine_left: resume.quarantine_left,
        }
    }

    /// What holds now, from the registry; `inventory_at` is the time of the last complete scan by lock system.
    pub(super) fn health(
        &self,
        health: &Health,
        inventory_at: &BTreeMap<String, i64>,
        feed: &TunnelFeed,
    ) -> HealthReport {
        let reasons = health.reasons();
        let of = |scope: &Scope| reasons.iter().filter(move |reason| reason.scope == *scope).collect::<Vec<_>>();
        let lock_systems = self.lock_systems.iter().filter_map(|system| {
            let held = of(&Scope::LockSystem(system.lock_system.clone()));
            let holds = |code| held.iter().any(|reason| reason.code == code);
            // Not heard since the start: what the cloud knew of it before is the best that anybody knows.
            if holds(ReasonCode::LockConnecting) {
                return None;
            }
            let reachable = !holds(ReasonCode::LockServer);
            Some(LockSystemHealth {
                lock_system: system.lock_system.clone(),
                reachable,
                logged_in: reachable && !holds(ReasonCode::LockLogin),
                reason: held.first().map(|reason| on_wire(reason)),
                inventory_at_ms: inventory_at.get(&system.lock_system).copied().unwrap_or_default(),
            })
        });
        let others = reasons.iter().filter(|reason| !matches!(reason.scope, Scope::LockSystem(_)));
        HealthReport {
            lock_systems: lock_systems.collect(),
            reasons: others.take(HEALTH_REASONS).map(on_wire).collect(),
            quarantine: feed.quarantine.clone(),
            quarantine_left: feed.quarantine_left,
            lost: feed.lost.iter().take(LOST_RANGES).map(|(first, last)| range(*first, *last)).collect(),
            encoder_jobs: feed.encoder_jobs.iter().map(job).collect(),
        }
    }
}

fn job(job: &EncoderJob) -> wire::EncoderJob {
    let stage = match job.stage {
        EncoderStage::Waiting => wire::EncoderStage::Waiting,
        EncoderStage::RemoveCard => wire::EncoderStage::RemoveCard,

        EncoderStage::Preparing => wire::EncoderStage::Preparing,
        EncoderStage::PresentCard => wire::EncoderStage::PresentCard,
    };
    wire::EncoderJob {
        lock_system: job.lock_system.clone(),
        encoder_external_id: job.encoder.clone(),
        command_id: CommandId::parse(&job.command_id).map(|id| id.0.to_vec()).unwrap_or_default(),
        stage: stage.into(),
        position: job.position,
    }
}

fn range(first: u64, last: u64) -> DeliveryRange {
    DeliveryRange { first, last }
}

fn describe(system: &Description) -> LockSystemDescription {
    LockSystemDescription {
        lock_system: system.lock_system.clone(),
        kind: system.kind.to_owned(),
        display_name: system.display_name.clone(),
        time_zone: system.time_zone.clone(),
    }
}

fn on_wire(reason: &Reason) -> HealthReason {
    let mut message = reason.message.clone();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    HealthReason { code: reason.code.code().to_owned(), message, since_ms: reason.since_ms }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn of_a_lock_system_that_was_not_heard_yet_the_cloud_is_told_nothing() {
        let description = |name: &str| Description {
            lock_system: name.into(),
            kind: "salto_space",
            display_name: "Tower".into(),
            time_zone: "UTC".into(),
            keeps_people: true,
            keys: None,
        };
        let lock_systems = ["asked", "away", "locked", "well"].map(description).into();
        let site = Site { bridge_id: "b".into(), software_version: "1".into(), lock_systems, boot_nonce: [0; 16] };
        let health = Health::new(Arc::new(ManualClock::at(1)));
        for (name, code) in [
            ("asked", ReasonCode::LockConnecting),
            ("away", ReasonCode::LockServer),
            ("locked", ReasonCode::LockLogin),
            ("well", ReasonCode::LockClock),
        ] {
            health.raise(Scope::LockSystem(name.into()), code, "because");
        }
        let report = site.health(&health, &BTreeMap::new(), &TunnelFeed::default());
        let told = report.lock_systems.iter().map(|it| (it.lock_system.as_str(), it.reachable, it.logged_in));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [("away", false, false), ("locked", true, false), ("well", true, true)]);
        assert_eq!(report.reasons, [], "what is wrong with a lock system stands with it alone");
    }
}
