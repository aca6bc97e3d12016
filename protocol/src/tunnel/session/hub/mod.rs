//! The hub's end of one session, made for a server that reads deliveries from a database.
//!
//! The server's loop: [`HubSession::handle`] what arrives and do the actions; then, while [`HubSession::wanted`] names
//! something, read that from the database, number it durably if it is new, and pass it to [`HubSession::deliver`], which takes
//! as many as credit allows.

mod types;

pub use types::{Admission, DeliverError, HubAction, HubEnd, HubEvent, HubSettings, Refusal, Wanted};

use std::time::Duration;

use super::bridge::heartbeat_interval;
use super::flow::{Credits, Incoming, Outgoing, from_wire};
use super::priority_of;
use super::resume::{cloud_restored, suspicion};
use super::timers::Liveness;
use super::violation::{Close, Violation};
use crate::limits::{COMMAND_BYTES, TUNNEL_VERSIONS, WELCOME_TIMEOUT};
use crate::proto::tunnel::{
    BridgeFrame, Delivery, DeliveryBatch, Drain, Hello, HubFrame, HubHeartbeat, Priority, Quarantine, Refuse,
    RefuseCode, ReportsDurable, Welcome, bridge_frame, hub_frame as body,
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

    /// What could be sent now.
    pub fn wanted(&self) -> Wanted {
        if !self.may_deliver() {
            return Wanted::Nothing;
        }
        let (from, through) = (self.deliveries.next(), self.deliveries.last());
        if !self.credited {
            return Wanted::Nothing;
        }
        if from <= self.numbered_before {
            return Wanted::Resend { from, through: self.numbered_before };
        }
        let room = self.room();
        if self.blocked || room == [0; 4] {
            return Wanted::Nothing;
        }
        if from <= through { Wanted::Resend { from, through } } else { Wanted::New { from, room } }
    }

    /// Sends a prefix of `deliveries`: as many, from the first on, as credit allows. Says how many are dealt with (sent, or
    /// decided by the bridge meanwhile); the rest is to be offered again when [`wanted`](Self::wanted) names it.
    pub fn deliver(&mut self, deliveries: Vec<Delivery>) -> Result<(usize, Vec<HubAction>), DeliverError> {
        if !self.may_deliver() {
            return Ok((0, Vec::new()));
        }
        // All that is offered is numbered, and so comes before anything new even if credit ends before it.
        if !self.credited {
            return Ok((0, Vec::new()));
        }
        let offered = deliveries.last().map_or(0, |last| last.delivery_sequence);
        let mut taken = 0_usize;
        let mut due = Vec::new();
        let mut failed = None;
        for delivery in deliveries {
            let (sequence, expected) = (delivery.delivery_sequence, self.deliveries.next());
            if sequence < expected && due.is_empty() {
                taken = taken.saturating_add(1);
                continue;
            }
            let size = delivery.command.as_ref().map_or(0, prost::Message::encoded_len);
            if sequence != expected {
                failed = Some(DeliverError::OutOfOrder { expected, found: sequence });
                break;
            }
            if size > COMMAND_BYTES || size == 0 {
                failed = Some(DeliverError::TooLarge { sequence, size });
                break;
            }
            if sequence <= self.numbered_before {
                self.credits.overdraw(priority_of(&delivery));
            } else if self.credits.take(priority_of(&delivery)).is_err() {
                self.blocked = true;
                break;
            }
            self.deliveries.sent();
            taken = taken.saturating_add(1);
            due.push(delivery);
        }
        if failed.is_none() {
            self.deliveries.grow(offered);
        }
        // What was good before a mistake is sent: it is numbered and holds credit.
        let mut actions = Vec::new();
        for deliveries in frame::batches(due) {
            let sent = self.send(body::Body::Deliveries(DeliveryBatch { deliveries }), &mut actions);
            if let Err(end) = sent {
                self.phase = Phase::Ended;
                actions.push(HubAction::Close(close_for(&end), end));
            }
        }
        match failed {
            Some(error) if actions.is_empty() => Err(error),
            _ => Ok((taken, actions)),
        }
    }

    /// Whether a command of this priority could be sent now, once what is numbered before it is sent.
    pub fn has_room(&self, priority: Priority) -> bool {
        self.may_deliver() && self.room().get(super::slot(priority)).is_some_and(|room| *room > 0)
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

    /// Credit, less what a bridge in quarantine is not given (rule H9).
    fn room(&self) -> [u64; 4] {
        let [safety, interactive, convergent, background] = self.credits.room();
        if self.quarantine.is_some() && self.deliveries.next() > self.deliveries.last() {
            [safety, 0, 0, background]
        } else {
            [safety, interactive, convergent, background]
        }
    }

    fn may_deliver(&self) -> bool {
        self.phase == Phase::Open && !self.bridge_drains && self.close_at.is_none()
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

    fn refuse(&mut self, refusal: Refusal, actions: &mut Vec<HubAction>) -> Step {
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

    fn receive(&mut self, frame: BridgeFrame, actions: &mut Vec<HubAction>) -> Step {
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

    fn hello(&mut self, hello: Hello, actions: &mut Vec<HubAction>) -> Step {
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

    fn admit(&mut self, known: Admission, now: Duration, actions: &mut Vec<HubAction>) -> Step {
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
