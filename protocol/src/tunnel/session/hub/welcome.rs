//! From Hello to Welcome: whether the bridge is admitted, and where both sides go on.

use std::time::Duration;

use super::super::bridge::heartbeat_interval;
use super::super::flow::{Incoming, Outgoing};
use super::super::resume::{cloud_restored, suspicion};
use super::{Admission, HubAction, HubEnd, HubSession, Phase, Refusal, Step};
use crate::limits::TUNNEL_VERSIONS;
use crate::proto::tunnel::{Hello, Refuse, RefuseCode, Welcome, hub_frame as body};

impl HubSession {
    pub(super) fn refuse(&mut self, refusal: Refusal, actions: &mut Vec<HubAction>) -> Step {
        let seconds = refusal.retry_after.map_or(0, |wait| u32::try_from(wait.as_secs().max(1)).unwrap_or(u32::MAX));
        let refuse = Refuse {
            code: refusal.code.into(),
            message: refusal.message.clone(),
            version_minimum: *TUNNEL_VERSIONS.start(),
            version_maximum: *TUNNEL_VERSIONS.end(),
            retry_after_s: seconds,
        };
        self.send(body::Body::Refuse(refuse), actions)?;
        Err(HubEnd::Refused(refusal))
    }

    pub(super) fn hello(&mut self, hello: Hello, actions: &mut Vec<HubAction>) -> Step {
        if hello.version_maximum < *TUNNEL_VERSIONS.start() || hello.version_minimum > *TUNNEL_VERSIONS.end() {
            let message = format!(
                "this bridge ({}) speaks tunnel versions {} to {}, this hub {} to {}",
                hello.software_version,
                hello.version_minimum,
                hello.version_maximum,
                TUNNEL_VERSIONS.start(),
                TUNNEL_VERSIONS.end()
            );
            return self.refuse(Refusal::new(RefuseCode::VersionUnsupported, message), actions);
        }
        if hello.bridge_id != self.bridge_id {
            let message = "Hello names another bridge than the client certificate";
            return self.refuse(Refusal::new(RefuseCode::IdentityUnknown, message), actions);
        }
        self.phase = Phase::Admitting;
        let hello = Box::new(hello);
        self.hello = Some(hello.clone());
        actions.push(HubAction::Hello(hello));
        Ok(())
    }

    pub(super) fn admit(&mut self, known: Admission, now: Duration, actions: &mut Vec<HubAction>) -> Step {
        let Some(hello) = self.hello.take().filter(|_| self.phase == Phase::Admitting) else {
            return Ok(()); // admitted twice, or ended meanwhile
        };
        let suspected = || known.quarantine.is_none().then(|| suspicion(&hello, &known).map(|found| found.sentence));
        if let Some(sentence) = cloud_restored(&hello, &known).or_else(|| suspected().flatten()) {
            return self.refuse(Refusal::new(RefuseCode::StateRolledBack, sentence), actions);
        }
        // A cloud restored from an older copy can lack reports that the bridge was told it has. They cannot come back.
        let first_kept = hello.reports_first_kept.saturating_sub(1);
        if first_kept > known.reports_durable_through {
            actions.push(HubAction::ReportsMissing(known.reports_durable_through.saturating_add(1), first_kept));
        }
        let reports_durable_through = known.reports_durable_through.max(first_kept);
        self.phase = Phase::Open;
        self.epoch = known.epoch;
        self.deliveries = Outgoing::after(hello.commands_durable_through, known.deliveries_sent_through);
        self.numbered_before = self.deliveries.last();
        self.reports = Incoming::after(reports_durable_through);
        let welcome = Welcome {
            version: hello.version_maximum.min(*TUNNEL_VERSIONS.end()),
            boot_nonce: hello.boot_nonce,
            hub_time_ms: known.hub_time_ms,
            reports_durable_through,
            heartbeat_interval_ms: self.settings.heartbeat_interval_ms,
            reconnect_window_s: self.settings.reconnect_window_s,
            report_window: self.settings.report_window,
            workspace_id: known.workspace_id,
            workspace_name: known.workspace_name,
            deliveries_numbered_through: self.numbered_before,
            quarantine: known.quarantine.clone(),
        };
        self.quarantine = known.quarantine;
        self.send(body::Body::Welcome(welcome), actions)?;
        self.liveness.start_heartbeat(heartbeat_interval(self.settings.heartbeat_interval_ms), now);
        actions.push(HubAction::Opened);
        if hello.commands_durable_through > known.deliveries_durable_through {
            actions.push(HubAction::CommandsDurable(hello.commands_durable_through));
        }
        Ok(())
    }
}
