//! Frames that come from the bridge.

use super::super::flow::from_wire;
use super::super::violation::Violation;
use super::{HubAction, HubSession, Phase, Step};
use crate::proto::tunnel::{BridgeFrame, bridge_frame};

impl HubSession {
    pub(super) fn receive(&mut self, frame: BridgeFrame, actions: &mut Vec<HubAction>) -> Step {
        match frame.body {
            Some(bridge_frame::Body::Hello(hello)) if self.phase == Phase::Waiting => self.hello(hello, actions),
            Some(other) if self.phase != Phase::Open || frame.epoch == 0 => {
                let when = if self.phase == Phase::Open { "after Welcome" } else { "before Welcome" };
                Err(Violation::Unexpected { frame: name(&other), when }.into())
            }
            _ if frame.epoch != self.epoch => {
                self.ignored = self.ignored.saturating_add(1);
                Ok(())
            }
            Some(body) => self.receive_open(body, actions),
            None => Ok(()), // `decode` refuses a frame without body
        }
    }

    fn receive_open(&mut self, body: bridge_frame::Body, actions: &mut Vec<HubAction>) -> Step {
        match body {
            bridge_frame::Body::Hello(_) => {
                return Err(Violation::Unexpected { frame: "Hello", when: "after Welcome" }.into());
            }
            bridge_frame::Body::Credit(credit) => {
                self.credited = true;
                if self.credits.grant(from_wire(&credit.totals)) {
                    self.blocked = false;
                }
                actions.push(HubAction::Credit { room: self.credits.room(), reason: credit.reason });
            }
            bridge_frame::Body::CommandsDurable(durable) => {
                let through = durable.through;
                let news = self.deliveries.acknowledge(through).map_err(|last| Violation::AcknowledgedUnsent {
                    what: "deliveries",
                    through,
                    last,
                })?;
                if news {
                    actions.push(HubAction::CommandsDurable(through));
                }
            }
            bridge_frame::Body::Reports(batch) => {
                let window = u64::from(self.settings.report_window).max(1);
                for report in &batch.reports {
                    let sequence = report.sequence;
                    self.reports.accept(sequence).map_err(|expected| Violation::OutOfOrder {
                        what: "report",
                        expected,
                        found: sequence,
                    })?;
                    if self.reports.in_flight() > window {
                        return Err(Violation::Window { sequence, window }.into());
                    }
                }
                if !batch.reports.is_empty() {
                    actions.push(HubAction::Reports(batch.reports));
                }
            }
            bridge_frame::Body::Heartbeat(heartbeat) => actions.push(HubAction::Heartbeat(heartbeat)),
            bridge_frame::Body::Health(health) => actions.push(HubAction::Health(health)),
            bridge_frame::Body::LaneGap(gap) => actions.push(HubAction::LaneGap(gap)),
            bridge_frame::Body::Draining(_) => {
                self.bridge_drains = true;
                actions.push(HubAction::BridgeDraining);
            }
        }
        Ok(())
    }
}

fn name(body: &bridge_frame::Body) -> &'static str {
    match body {
        bridge_frame::Body::Hello(_) => "Hello",
        bridge_frame::Body::Credit(_) => "CreditGrant",
        bridge_frame::Body::CommandsDurable(_) => "CommandsDurable",
        bridge_frame::Body::Reports(_) => "ReportBatch",
        bridge_frame::Body::Heartbeat(_) => "BridgeHeartbeat",
        bridge_frame::Body::Health(_) => "HealthReport",
        bridge_frame::Body::LaneGap(_) => "LaneGap",
        bridge_frame::Body::Draining(_) => "Draining",
    }
}
