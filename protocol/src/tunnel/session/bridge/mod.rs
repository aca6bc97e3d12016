//! The bridge's end of one session.

mod types;

pub use types::{BridgeAction, BridgeEnd, BridgeEvent, ReportsWanted, Welcomed};

use std::time::Duration;

use super::flow::{Credits, Incoming, Outgoing, to_wire};
use super::timers::Liveness;
use super::violation::{Close, Violation};
use super::{priority_of, resume};
use crate::limits::{BATCH_ITEMS, HEARTBEAT_INTERVAL, WELCOME_TIMEOUT};
use crate::proto::tunnel::{
    BridgeFrame, CommandsDurable, CreditGrant, DeliveryBatch, Draining, HealthReport, Hello, HubFrame, NumberedReport,
    Priority, Quarantine, Refuse, ReportBatch, Welcome, bridge_frame as body, hub_frame,
};
use crate::tunnel::frame::{self, FrameError};

/// Reports in flight at most, whatever Welcome allows: bounds what one end holds for the other.
const WINDOW_MAXIMUM: u64 = 4096;

/// A hub that drains closes within 5 s; one that forgot is left after this.
const HUB_DRAIN_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Opening,
    Open,
    Ended,
}

/// The bridge's machine of one session; see the [module](super) for the picture.
#[derive(Debug)]
pub struct BridgeSession {
    phase: Phase,
    hello: Hello,
    liveness: Liveness,
    welcome_by: Duration,
    epoch: u64,
    heartbeat: Duration,
    deliveries: Incoming,
    told_durable: u64,
    reports: Outgoing,
    report_window: u64,
    /// Deliveries up to here come without credit.
    numbered_before: u64,
    credits: Credits,
    credit_reason: String,
    health: Option<HealthReport>,
    draining: bool,
    hub_drains: Option<HubDrain>,
    quarantine: Option<Quarantine>,
    ignored: u64,
}

#[derive(Debug, Clone, Copy)]
struct HubDrain {
    from: Duration,
    to: Duration,
    close_by: Duration,
}

type Step = Result<(), BridgeEnd>;

impl BridgeSession {
    /// Begins a session on a fresh connection; the action sends Hello. `random` spreads the pings.
    pub fn open(hello: Hello, random: u64, now: Duration) -> Result<(Self, BridgeAction), FrameError> {
        let first = frame::encode(&BridgeFrame { epoch: 0, body: Some(body::Body::Hello(hello.clone())) })?;
        let session = Self {
            phase: Phase::Greeting,
            liveness: Liveness::new(random, now),
            welcome_by: now.saturating_add(WELCOME_TIMEOUT),
            epoch: 0,
            heartbeat: HEARTBEAT_INTERVAL,
            deliveries: Incoming::after(hello.commands_durable_through),
            told_durable: hello.commands_durable_through,
            reports: Outgoing::after(0, hello.reports_last),
            report_window: 0,
            numbered_before: 0,
            credits: Credits::default(),
            credit_reason: String::new(),
            health: None,
            draining: false,
            hub_drains: None,
            quarantine: None,
            ignored: 0,
            hello,
        };
        Ok((session, BridgeAction::Send(first)))
    }

    /// Takes one event; the actions are to be done in order. After a `Close`, nothing more comes.
    pub fn handle(&mut self, event: BridgeEvent<'_>, now: Duration) -> Vec<BridgeAction> {
        let mut actions = Vec::new();
        if self.phase == Phase::Ended {
            return actions;
        }
        if let Err(end) = self.step(event, now, &mut actions) {
            self.phase = Phase::Ended;
            let end = match (end, self.hub_drains) {
                (BridgeEnd::Disconnected(_) | BridgeEnd::Silent, Some(drain)) => drained(drain),
                (end, _) => end,
            };
            actions.push(BridgeAction::Close(close_for(&end), end));
        }
        actions
    }

    /// When [`BridgeEvent::Timer`] is due; `None` once ended.
    pub fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Greeting => Some(self.liveness.deadline().min(self.welcome_by)),
            Phase::Opening | Phase::Open => {
                let next = self.liveness.deadline();
                Some(self.hub_drains.map_or(next, |drain| next.min(drain.close_by)))
            }
            Phase::Ended => None,
        }
    }

    /// Which reports may be sent now, if any.
    pub fn reports_wanted(&self) -> Option<ReportsWanted> {
        if self.phase != Phase::Open {
            return None;
        }
        let unsent = self.reports.last().saturating_add(1).saturating_sub(self.reports.next());
        let room = self.report_window.saturating_sub(self.reports.in_flight());
        let count = usize::try_from(unsent.min(room)).unwrap_or(usize::MAX).min(BATCH_ITEMS);
        (count > 0).then(|| ReportsWanted { from: self.reports.next(), count })
    }

    /// Whether deliveries and reports may flow.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Of this session; 0 before Welcome.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Frames of other epochs that were ignored.
    pub fn ignored_frames(&self) -> u64 {
        self.ignored
    }

    fn step(&mut self, event: BridgeEvent<'_>, now: Duration, actions: &mut Vec<BridgeAction>) -> Step {
        match event {
            BridgeEvent::Message(bytes) => {
                self.liveness.heard(now);
                let frame: HubFrame = frame::decode(bytes).map_err(Violation::from)?;
                self.receive(frame, now, actions)
            }
            BridgeEvent::Text => Err(Violation::Text.into()),
            BridgeEvent::Oversized(size) => Err(Violation::oversized(<HubFrame as frame::Frame>::NAME, size).into()),
            BridgeEvent::Alive => {
                self.liveness.heard(now);
                Ok(())
            }
            BridgeEvent::Timer => self.timer(now, actions),
            BridgeEvent::EpochDurable => {
                if self.phase == Phase::Opening {
                    self.phase = Phase::Open;
                    // The first heartbeat, due at once, brings the health report along.
                    self.liveness.start_heartbeat(self.heartbeat, now);
                    self.tell_durable(actions)?;
                    if self.draining {
                        self.send(body::Body::Draining(Draining {}), actions)?;
                    }
                }
                Ok(())
            }
            BridgeEvent::CommandsDurable(through) => {
                self.deliveries.acknowledge(through);
                self.tell_durable(actions)
            }
            BridgeEvent::Credit(totals, reason) => {
                if self.phase == Phase::Open && (self.credits.grant(totals) || self.credit_reason != reason) {
                    reason.clone_into(&mut self.credit_reason);
                    let grant = CreditGrant { totals: to_wire(totals), reason: reason.to_owned() };
                    self.send(body::Body::Credit(grant), actions)?;
                }
                Ok(())
            }
            BridgeEvent::ReportsMade(last) => {
                self.reports.grow(last);
                Ok(())
            }
            BridgeEvent::Reports(reports) => self.send_reports(reports, actions),
            BridgeEvent::Heartbeat(figures) => self.send_open(body::Body::Heartbeat(figures), actions),
            BridgeEvent::Health(health) => {
                if self.health.as_ref() != Some(&health) {
                    self.health = Some(health.clone());
                    self.send_open(body::Body::Health(health), actions)?;
                }
                Ok(())
            }
            BridgeEvent::LaneGap(gap) => self.send_open(body::Body::LaneGap(gap), actions),
            BridgeEvent::Drain => {
                if !std::mem::replace(&mut self.draining, true) {
                    self.send_open(body::Body::Draining(Draining {}), actions)?;
                }
                Ok(())
            }
            BridgeEvent::Finish => Err(BridgeEnd::Finished),
            BridgeEvent::Disconnected(detail) => Err(BridgeEnd::Disconnected(detail)),
        }
    }

    fn timer(&mut self, now: Duration, actions: &mut Vec<BridgeAction>) -> Step {
        if self.phase == Phase::Greeting && now >= self.welcome_by {
            return Err(BridgeEnd::NoWelcome);
        }
        if let Some(drain) = self.hub_drains.filter(|drain| now >= drain.close_by) {
            return Err(drained(drain));
        }
        let due = self.liveness.due(now);
        if due.dead {
            return Err(BridgeEnd::Silent);
        }
        if due.ping {
            actions.push(BridgeAction::Ping);
        }
        if due.heartbeat {
            if let Some(health) = self.health.clone() {
                self.send_open(body::Body::Health(health), actions)?;
            }
            actions.push(BridgeAction::HeartbeatDue);
        }
        Ok(())
    }

    fn receive(&mut self, frame: HubFrame, now: Duration, actions: &mut Vec<BridgeAction>) -> Step {
        match frame.body {
            Some(hub_frame::Body::Refuse(refuse)) if frame.epoch == 0 || frame.epoch == self.epoch => {
                Err(refused(refuse))
            }
            Some(hub_frame::Body::Welcome(welcome)) if self.phase == Phase::Greeting => {
                self.welcome(frame.epoch, welcome, actions)
            }
            Some(other) if self.phase == Phase::Greeting => {
                Err(Violation::Unexpected { frame: name(&other), when: "before Welcome" }.into())
            }
            _ if frame.epoch != self.epoch => {
                self.ignored = self.ignored.saturating_add(1);
                Ok(())
            }
            Some(body) => self.receive_open(body, now, actions),
            None => Ok(()), // `decode` refuses a frame without body
        }
    }

    fn welcome(&mut self, epoch: u64, welcome: Welcome, actions: &mut Vec<BridgeAction>) -> Step {
        if welcome.boot_nonce != self.hello.boot_nonce {
            return Err(Violation::BootNonce.into());
        }
        let (minimum, maximum) = (self.hello.version_minimum, self.hello.version_maximum);
        if !(minimum..=maximum).contains(&welcome.version) {
            return Err(Violation::Version { chosen: welcome.version, minimum, maximum }.into());
        }
        if epoch <= self.hello.highest_epoch_seen {
            return Err(Violation::EpochNotHigher { epoch, seen: self.hello.highest_epoch_seen }.into());
        }
        let theirs = welcome.reports_durable_through;
        // A journal that went back lacks reports that the cloud holds; the engine counts on behind them.
        let cursor = if welcome.quarantine.is_some() { theirs.min(self.hello.reports_last) } else { theirs };
        if !resume::cursor_fits(&self.hello, cursor) {
            let (first_kept, last) = (self.hello.reports_first_kept, self.hello.reports_last);
            return Err(BridgeEnd::CursorMismatch { theirs, first_kept, last });
        }
        self.phase = Phase::Opening;
        self.epoch = epoch;
        self.numbered_before = welcome.deliveries_numbered_through;
        self.reports = Outgoing::after(theirs, self.reports.last());
        self.report_window = u64::from(welcome.report_window).clamp(1, WINDOW_MAXIMUM);
        self.heartbeat = heartbeat_interval(welcome.heartbeat_interval_ms);
        actions.push(BridgeAction::HubTime(welcome.hub_time_ms));
        actions.push(BridgeAction::Welcomed(Welcomed {
            epoch,
            reports_durable_through: theirs,
            reconnect_window_s: welcome.reconnect_window_s,
            workspace_name: welcome.workspace_name,
            quarantine: welcome.quarantine.clone(),
        }));
        self.quarantine = welcome.quarantine;
        Ok(())
    }

    fn receive_open(&mut self, body: hub_frame::Body, now: Duration, actions: &mut Vec<BridgeAction>) -> Step {
        match body {
            hub_frame::Body::Deliveries(batch) => self.receive_deliveries(batch, actions),
            hub_frame::Body::ReportsDurable(durable) => {
                let news = self.reports.acknowledge(durable.through).map_err(|last| Violation::AcknowledgedUnsent {
                    what: "reports",
                    through: durable.through,
                    last,
                })?;
                if news {
                    actions.push(BridgeAction::ReportsDurable(durable.through));
                }
                Ok(())
            }
            hub_frame::Body::Heartbeat(heartbeat) => {
                actions.push(BridgeAction::HubTime(heartbeat.hub_time_ms));
                if self.quarantine != heartbeat.quarantine {
                    self.quarantine.clone_from(&heartbeat.quarantine);
                    actions.extend(heartbeat.quarantine.map(BridgeAction::Quarantine));
                }
                Ok(())
            }
            hub_frame::Body::Witness(witness) => {
                actions.push(BridgeAction::Witness(witness));
                Ok(())
            }
            hub_frame::Body::LostCommands(lost) => {
                actions.push(BridgeAction::LostCommands(lost));
                Ok(())
            }
            hub_frame::Body::Drain(drain) => {
                let second = |count: u32| Duration::from_secs(count.into());
                self.hub_drains = Some(HubDrain {
                    from: second(drain.from_s),
                    to: second(drain.to_s),
                    close_by: now.saturating_add(HUB_DRAIN_LIMIT),
                });
                Ok(())
            }
            other @ (hub_frame::Body::Welcome(_) | hub_frame::Body::Refuse(_)) => {
                Err(Violation::Unexpected { frame: name(&other), when: "after Welcome" }.into())
            }
        }
    }

    fn receive_deliveries(&mut self, batch: DeliveryBatch, actions: &mut Vec<BridgeAction>) -> Step {
        for delivery in &batch.deliveries {
            let sequence = delivery.delivery_sequence;
            self.deliveries.accept(sequence).map_err(|expected| Violation::OutOfOrder {
                what: "delivery",
                expected,
                found: sequence,
            })?;
            let priority: Priority = priority_of(delivery);
            if sequence <= self.numbered_before {
                self.credits.overdraw(priority);
            } else {
                self.credits.take(priority).map_err(|granted| Violation::Credit { priority, sequence, granted })?;
            }
        }
        // Those that crossed our Draining on the way are left; the next session brings them again.
        if !self.draining && !batch.deliveries.is_empty() {
            actions.push(BridgeAction::Deliver(batch.deliveries));
        }
        Ok(())
    }

    fn send_reports(&mut self, reports: Vec<NumberedReport>, actions: &mut Vec<BridgeAction>) -> Step {
        if self.phase != Phase::Open {
            return Ok(());
        }
        // An acknowledgement may have come while these were read and signed.
        let due: Vec<_> = reports
            .into_iter()
            .skip_while(|report| report.sequence < self.reports.next())
            .zip(self.reports.next()..)
            .take_while(|(report, sequence)| {
                report.sequence == *sequence
                    && sequence.saturating_sub(self.acknowledged_reports()) <= self.report_window
            })
            .map(|(report, _)| report)
            .collect();
        for batch in frame::batches(due) {
            for _ in &batch {
                self.reports.sent();
            }
            self.send(body::Body::Reports(ReportBatch { reports: batch }), actions)?;
        }
        Ok(())
    }

    fn tell_durable(&mut self, actions: &mut Vec<BridgeAction>) -> Step {
        let through = self.deliveries.acknowledged();
        if self.phase == Phase::Open && through > self.told_durable {
            self.told_durable = through;
            self.send(body::Body::CommandsDurable(CommandsDurable { through }), actions)?;
        }
        Ok(())
    }

    fn acknowledged_reports(&self) -> u64 {
        self.reports.next().saturating_sub(1).saturating_sub(self.reports.in_flight())
    }

    fn send_open(&self, body: body::Body, actions: &mut Vec<BridgeAction>) -> Step {
        if self.phase == Phase::Open { self.send(body, actions) } else { Ok(()) }
    }

    fn send(&self, body: body::Body, actions: &mut Vec<BridgeAction>) -> Step {
        let frame = BridgeFrame { epoch: self.epoch, body: Some(body) };
        actions.push(BridgeAction::Send(frame::encode(&frame).map_err(BridgeEnd::Unsendable)?));
        Ok(())
    }
}

fn refused(refuse: Refuse) -> BridgeEnd {
    BridgeEnd::Refused {
        code: refuse.code(),
        versions: (refuse.version_minimum, refuse.version_maximum),
        retry_after: (refuse.retry_after_s > 0).then(|| Duration::from_secs(refuse.retry_after_s.into())),
        message: refuse.message,
    }
}

fn drained(drain: HubDrain) -> BridgeEnd {
    BridgeEnd::Drained { from: drain.from, to: drain.to }
}

fn close_for(end: &BridgeEnd) -> Close {
    match end {
        BridgeEnd::Violation(violation) => violation.close(),
        BridgeEnd::Refused { .. } => Close::new(1000, "refused"),
        BridgeEnd::CursorMismatch { .. } | BridgeEnd::Unsendable(_) => Close::new(1008, &end.to_string()),
        BridgeEnd::Drained { .. }
        | BridgeEnd::Silent
        | BridgeEnd::NoWelcome
        | BridgeEnd::Disconnected(_)
        | BridgeEnd::Finished => Close::going_away(&end.to_string()),
    }
}

/// What the hub asks for, within 5 s and the 60 s of rule G3; 0 leaves it at 60 s.
pub(super) fn heartbeat_interval(milliseconds: u32) -> Duration {
    match milliseconds {
        0 => HEARTBEAT_INTERVAL,
        some => Duration::from_millis(some.into()).clamp(Duration::from_secs(5), HEARTBEAT_INTERVAL),
    }
}

fn name(body: &hub_frame::Body) -> &'static str {
    match body {
        hub_frame::Body::Welcome(_) => "Welcome",
        hub_frame::Body::Refuse(_) => "Refuse",
        hub_frame::Body::Deliveries(_) => "DeliveryBatch",
        hub_frame::Body::ReportsDurable(_) => "ReportsDurable",
        hub_frame::Body::Heartbeat(_) => "HubHeartbeat",
        hub_frame::Body::Drain(_) => "Drain",
        hub_frame::Body::Witness(_) => "Witness",
        hub_frame::Body::LostCommands(_) => "LostCommands",
    }
}
