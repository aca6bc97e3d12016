//! The hub's end of one session, made for a server that reads deliveries from a database.
//!
//! The server's loop: [`HubSession::handle`] what arrives and do the actions; then, while [`HubSession::wanted`] names
//! something, read that from the database, number it durably if it is new, and pass it to [`HubSession::deliver`], which takes
//! as many as credit allows.

mod deliver;
mod receive;
mod types;
mod welcome;

pub use types::{Admission, DeliverError, HubAction, HubEnd, HubEvent, HubSettings, Refusal, Wanted};

use std::time::Duration;

use super::flow::{Credits, Incoming, Outgoing};
use super::timers::Liveness;
use super::violation::{Close, Violation};
use crate::limits::WELCOME_TIMEOUT;
use crate::proto::tunnel::{
    BridgeFrame, Drain, Hello, HubFrame, HubHeartbeat, Quarantine, RefuseCode, ReportsDurable, hub_frame as body,
};
use crate::tunnel::frame;

/// From Drain to the close: time for acknowledgements that are on their way.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Admitting,
    Open,
    Ended,
}

/// The hub's machine of one session; see the [module](super) for the picture.
#[derive(Debug)]
pub struct HubSession {
    phase: Phase,
    settings: HubSettings,
    bridge_id: String,
    hello: Option<Box<Hello>>,
    hello_by: Duration,
    liveness: Liveness,
    epoch: u64,
    deliveries: Outgoing,
    /// Numbered before this session: resent without credit, once the bridge's first grant says that it takes deliveries.
    numbered_before: u64,
    credited: bool,
    credits: Credits,
    blocked: bool,
    reports: Incoming,
    bridge_drains: bool,
    close_at: Option<Duration>,
    quarantine: Option<Quarantine>,
    ignored: u64,
}

type Step = Result<(), HubEnd>;

impl HubSession {
    /// Waits for Hello on a fresh connection of `bridge_id`, the one of the client certificate. `random` spreads the pings.
    pub fn new(settings: HubSettings, bridge_id: impl Into<String>, random: u64, now: Duration) -> Self {
        Self {
            phase: Phase::Waiting,
            settings,
            bridge_id: bridge_id.into(),
            hello: None,
            hello_by: now.saturating_add(WELCOME_TIMEOUT),
            liveness: Liveness::new(random, now),
            epoch: 0,
            deliveries: Outgoing::after(0, 0),
            numbered_before: 0,
            credited: false,
            credits: Credits::default(),
            blocked: false,
            reports: Incoming::after(0),
            bridge_drains: false,
            close_at: None,
            quarantine: None,
            ignored: 0,
        }
    }

    /// Takes one event; the actions are to be done in order. After a `Close`, nothing more comes.
    pub fn handle(&mut self, event: HubEvent<'_>, now: Duration) -> Vec<HubAction> {
        let mut actions = Vec::new();
        if self.phase == Phase::Ended {
            return actions;
        }
        if let Err(end) = self.step(event, now, &mut actions) {
            self.phase = Phase::Ended;
            actions.push(HubAction::Close(close_for(&end), end));
        }
        actions
    }

    /// When [`HubEvent::Timer`] is due; `None` once ended.
    pub fn deadline(&self) -> Option<Duration> {
        let next = self.liveness.deadline();
        match self.phase {
            Phase::Waiting => Some(next.min(self.hello_by)),
            Phase::Admitting | Phase::Open => Some(self.close_at.map_or(next, |at| next.min(at))),
            Phase::Ended => None,
        }
    }

    /// Whether the session is open: Welcome sent, not ended.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Of this session; 0 before Welcome.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The bridge's quarantine, as this session has told it.
    pub fn quarantine(&self) -> Option<&Quarantine> {
        self.quarantine.as_ref()
    }

    /// When the bridge was last heard; feed it to [`Presence`](super::Presence).
    pub fn last_heard(&self) -> Duration {
        self.liveness.last_heard()
    }

    /// Deliveries sent and not yet acknowledged in this session.
    pub fn deliveries_in_flight(&self) -> u64 {
        self.deliveries.in_flight()
    }

    /// Frames of other epochs that were ignored.
    pub fn ignored_frames(&self) -> u64 {
        self.ignored
    }

    fn step(&mut self, event: HubEvent<'_>, now: Duration, actions: &mut Vec<HubAction>) -> Step {
        match event {
            HubEvent::Message(bytes) => {
                self.liveness.heard(now);
                let frame: BridgeFrame = frame::decode(bytes).map_err(Violation::from)?;
                self.receive(frame, actions)
            }
            HubEvent::Text => Err(Violation::Text.into()),
            HubEvent::Oversized(size) => Err(Violation::oversized(<BridgeFrame as frame::Frame>::NAME, size).into()),
            HubEvent::Alive => {
                self.liveness.heard(now);
                Ok(())
            }
            HubEvent::Timer => self.timer(now, actions),
            HubEvent::Admit(admission) => self.admit(*admission, now, actions),
            HubEvent::Refuse(refusal) => self.refuse(refusal, actions),
            HubEvent::ReportsDurable(through) => {
                if self.reports.acknowledge(through) {
                    self.send_open(body::Body::ReportsDurable(ReportsDurable { through }), actions)?;
                }
                Ok(())
            }
            HubEvent::Heartbeat(hub_time_ms) => self.heartbeat(hub_time_ms, actions),
            HubEvent::Quarantine(holds, hub_time_ms) => {
                // Before it is open, the admission that is being made decides.
                if self.phase != Phase::Open || self.quarantine == holds {
                    return Ok(());
                }
                self.quarantine = holds;
                self.heartbeat(hub_time_ms, actions)
            }
            HubEvent::Witness(witness) => self.send_open(body::Body::Witness(witness), actions),
            HubEvent::LostCommands(lost) => self.send_open(body::Body::LostCommands(lost), actions),
            HubEvent::Drain { from_s, to_s } => {
                if self.phase != Phase::Open {
                    let mut refusal = Refusal::new(RefuseCode::Busy, "the hub stops");
                    refusal.retry_after = Some(Duration::from_secs(to_s.max(1).into()));
                    return self.refuse(refusal, actions);
                }
                if self.close_at.is_none() {
                    self.close_at = Some(now.saturating_add(DRAIN_GRACE));
                    self.send(body::Body::Drain(Drain { from_s, to_s }), actions)?;
                }
                Ok(())
            }
            HubEvent::Disconnected(detail) => {
                Err(if self.close_at.is_some() { HubEnd::Drained } else { HubEnd::Disconnected(detail) })
            }
        }
    }

    fn heartbeat(&self, hub_time_ms: i64, actions: &mut Vec<HubAction>) -> Step {
        let heartbeat = HubHeartbeat { hub_time_ms, quarantine: self.quarantine.clone() };
        self.send_open(body::Body::Heartbeat(heartbeat), actions)
    }

    fn timer(&mut self, now: Duration, actions: &mut Vec<HubAction>) -> Step {
        if self.phase == Phase::Waiting && now >= self.hello_by {
            return Err(HubEnd::NoHello);
        }
        if self.close_at.is_some_and(|at| now >= at) {
            return Err(HubEnd::Drained);
        }
        let due = self.liveness.due(now);
        if due.dead {
            return Err(HubEnd::Silent);
        }
        if due.ping {
            actions.push(HubAction::Ping);
        }
        if due.heartbeat {
            actions.push(HubAction::HeartbeatDue);
        }
        Ok(())
    }

    fn send_open(&self, body: body::Body, actions: &mut Vec<HubAction>) -> Step {
        if self.phase == Phase::Open { self.send(body, actions) } else { Ok(()) }
    }

    fn send(&self, body: body::Body, actions: &mut Vec<HubAction>) -> Step {
        let frame = HubFrame { epoch: self.epoch, body: Some(body) };
        actions.push(HubAction::Send(frame::encode(&frame).map_err(HubEnd::Unsendable)?));
        Ok(())
    }
}

fn close_for(end: &HubEnd) -> Close {
    match end {
        HubEnd::Violation(violation) => violation.close(),
        HubEnd::Refused(refusal) => Close::new(1008, &refusal.message),
        HubEnd::NoHello => Close::new(1002, &end.to_string()),
        HubEnd::Unsendable(_) => Close::new(1011, &end.to_string()),
        HubEnd::Silent | HubEnd::Disconnected(_) | HubEnd::Drained => Close::going_away(&end.to_string()),
    }
}
