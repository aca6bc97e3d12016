//! One session on one open websocket: moves bytes, time and the engine's feed through the session machine.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lockbridge_protocol::limits::BATCH_BYTES;
use lockbridge_protocol::proto::tunnel::{BridgeHeartbeat, LaneGap, NumberedReport};
use lockbridge_protocol::tunnel::session::{BridgeAction, BridgeEnd, BridgeEvent, BridgeSession, Close, Welcomed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::actor::{Shared, TRY};
use super::engine_link::{EngineLink, LinkEvent};
use super::websocket::{Guard, Guarded};
use super::writer;
use crate::dispatch::{EngineRequest, LaneGapNotice, TunnelFeed};
use crate::health::{ReasonCode, Scope};

/// From the close frame to letting the socket go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Difference of the clocks that is told to people (rule N3).
const SKEW_MS: u64 = 30_000;
/// Skew beyond which no dates are written to a lock system (rule N3).
const SKEW_UNTRUSTED_MS: u64 = 120_000;

/// How a session ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: BridgeEnd,
    /// How long it was open; `None` if it never was.
    pub(super) up: Option<Duration>,
    /// The hub's Welcome, if it came.
    pub(super) welcomed: Option<Welcomed>,
    /// The engine is gone, and so is the reason to dial again.
    pub(super) engine_stopped: bool,
}

struct Connected<'a> {
    shared: &'a Shared,
    session: BridgeSession,
    link: EngineLink,
    out: mpsc::Sender<Message>,
    feed: watch::Receiver<TunnelFeed>,
    inventory_at: watch::Receiver<BTreeMap<String, i64>>,
    feed_changed: bool,
    health_changed: bool,
    told_gaps: Vec<LaneGapNotice>,
    missing_report: Option<u64>,
    opened_at: Option<Duration>,
    welcomed: Option<Welcomed>,
    end: Option<(Close, BridgeEnd)>,
    engine_stopped: bool,
}

/// Speaks until the session ends. `first` is the Hello of `session`; the try as a whole ends at `try_by`.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    (socket, guard): (WebSocketStream<Guarded<S>>, Arc<Guard>),
    (session, first): (BridgeSession, BridgeAction),
    try_by: Duration,
) -> Outcome {
    let (sink, mut stream) = socket.split();
    let (out, messages) = mpsc::channel(writer::QUEUE);
    let mut writing = pin!(writer::run(sink, messages));
    let mut health = shared.health.subscribe();
    let mut connected = Connected {
        shared,
        session,
        link: EngineLink::new(shared.engine.clone()),
        out,
        feed: shared.engine.feed(),
        inventory_at: shared.inventory_at.clone(),
        feed_changed: true,
        health_changed: true,
        told_gaps: Vec::new(),
        missing_report: None,
        opened_at: None,
        welcomed: None,
        end: None,
        engine_stopped: false,
    };
    connected.act(first);
    let mut drain_told = false;
    while connected.end.is_none() {
        shared.pulse.turn();
        connected.push();
        if connected.end.is_some() {
            break;
        }
        let now = shared.clock.since_boot();
        let mut deadline = connected.session.deadline().unwrap_or(now);
        if connected.opened_at.is_none() {
            deadline = deadline.min(try_by);
        }
        let may_read = connected.link.is_idle();
        tokio::select! {
            () = shared.stop.cancelled() => connected.event(BridgeEvent::Finish),
            () = shared.draining.cancelled(), if !drain_told => {
                drain_told = true;
                connected.event(BridgeEvent::Drain);
            }
            written = &mut writing => {
                let detail = written.err().map_or_else(String::new, |error| error.to_string());
                connected.event(BridgeEvent::Disconnected(detail));
            }
            () = sleep(deadline.saturating_sub(now)) => {
                connected.alive(guard.heard());
                if !may_read {
                    // Nothing was read because the engine has its hands full; that is not the hub's silence.
                    connected.event(BridgeEvent::Alive);
                }
                connected.event(BridgeEvent::Timer);
                connected.check_try(try_by);
            }
            event = connected.link.next() => connected.engine_event(&event),
            changed = connected.feed.changed() => match changed {
                Ok(()) => connected.feed_changed = true,
                Err(_) => connected.stop_with_engine(),
            },
            Ok(()) = health.changed() => connected.health_changed = true,
            Ok(()) = connected.inventory_at.changed() => connected.health_changed = true,
            // Only wakes: the queue to the socket has room again.
            () = has_room_again(&connected.out), if connected.out.capacity() <= writer::RESERVED => {}
            message = stream.next(), if may_read => connected.message(message),
            // Only to be seen alive.
            () = shared.pulse.rest() => {}
        }
    }
    let Connected { out, end, opened_at, welcomed, engine_stopped, .. } = connected;
    let (close, end) = end.unwrap_or_else(|| (Close::going_away(""), BridgeEnd::Finished));
    if !matches!(end, BridgeEnd::Disconnected(_) | BridgeEnd::Silent) {
        // A full queue means a socket that takes nothing; then the close frame is not worth a wait.
        let frame = CloseFrame { code: close.code.into(), reason: close.reason.into() };
        if out.try_send(Message::Close(Some(frame))).is_ok() {
            drop(out);
            let goodbye = async {
                let Ok(Ok(mut socket)) = writing.await.map(|sink| sink.reunite(stream)) else { return };
                // Closing a socket with unread bytes in it would reset it, and the close frame could be lost on its way.
                let mut rest = [0; 4096];
                while socket.get_mut().read(&mut rest).await.is_ok_and(|count| count > 0) {}
            };
            // Whether the hub said goodbye in time changes nothing.
            timeout(CLOSE_TIMEOUT, goodbye).await.unwrap_or_default();
        }
    }
    let up = opened_at.map(|at| shared.clock.since_boot().saturating_sub(at));
    Outcome { end, up, welcomed, engine_stopped }
}

async fn has_room_again(out: &mpsc::Sender<Message>) {
    // The places are given back at once. A closed queue is told by the writer itself.
    drop(out.reserve_many(writer::RESERVED + 1).await);
}

impl Connected<'_> {
    fn event(&mut self, event: BridgeEvent<'_>) {
        for action in self.session.handle(event, self.shared.clock.since_boot()) {
            self.act(action);
        }
    }

    /// Any bytes at `at`, as of half a message, are a sign of life.
    fn alive(&mut self, at: Duration) {
        for action in self.session.handle(BridgeEvent::Alive, at) {
            self.act(action);
        }
    }

    fn act(&mut self, action: BridgeAction) {
        match action {
            BridgeAction::Send(bytes) => self.queue(Message::Binary(bytes)),
            BridgeAction::Ping => self.queue(Message::Ping(bytes::Bytes::new())),
            BridgeAction::Welcomed(welcomed) => {
                let quarantine = welcomed.quarantine.clone();
                self.link.open(welcomed.epoch, welcomed.reports_durable_through, quarantine);
                self.welcomed = Some(welcomed);
            }
            BridgeAction::Deliver(deliveries) => self.link.queue(EngineRequest::Deliver(deliveries)),
            BridgeAction::ReportsDurable(through) => self.link.queue(EngineRequest::ReportsDurable(through)),
            BridgeAction::Witness(witness) => self.link.queue(EngineRequest::Witness(witness)),
            BridgeAction::LostCommands(lost) => self.link.queue(EngineRequest::LostCommands(lost)),
            BridgeAction::Quarantine(told) => self.link.queue(EngineRequest::Quarantined(told)),
            BridgeAction::HubTime(milliseconds) => self.compare_clocks(milliseconds),
            BridgeAction::HeartbeatDue => {
                let figures = self.figures();
                self.event(BridgeEvent::Heartbeat(figures));
            }
            BridgeAction::Close(close, end) => self.end = Some((close, end)),
        }
    }

    fn queue(&mut self, message: Message) {
        if self.out.try_send(message).is_err() && self.end.is_none() {
            let detail = "the socket takes nothing and its queue is full".to_owned();
            self.event(BridgeEvent::Disconnected(detail));
        }
    }

    fn message(&mut self, message: Option<Result<Message, tungstenite::Error>>) {
        match message {
            Some(Ok(Message::Binary(bytes))) => self.event(BridgeEvent::Message(&bytes)),
            Some(Ok(Message::Text(_))) => self.event(BridgeEvent::Text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => self.event(BridgeEvent::Alive),
            Some(Ok(Message::Close(frame))) => {
                let detail = frame.map_or_else(
                    || "the hub closed it without a reason".to_owned(),
                    |frame| format!("the hub closed it with code {}: {}", u16::from(frame.code), frame.reason),
                );
                self.event(BridgeEvent::Disconnected(detail));
            }
            Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, .. }))) => {
                self.event(BridgeEvent::Oversized(size));
            }
            Some(Err(error)) => self.event(BridgeEvent::Disconnected(error.to_string())),
            None => self.event(BridgeEvent::Disconnected("the hub closed the connection".into())),
        }
    }

    fn engine_event(&mut self, event: &LinkEvent) {
        match event {
            LinkEvent::Taken => {}
            LinkEvent::Stopped => self.stop_with_engine(),
            LinkEvent::Opened => {
                self.event(BridgeEvent::EpochDurable);
                self.opened_at = Some(self.shared.clock.since_boot());
                self.feed_changed = true;
                self.health_changed = true;
                if let Some(welcomed) = &self.welcomed {
                    self.shared.session_opened(welcomed);
                }
            }
        }
    }

    fn stop_with_engine(&mut self) {
        self.engine_stopped = true;
        self.event(BridgeEvent::Finish);
    }

    fn check_try(&mut self, try_by: Duration) {
        if self.opened_at.is_none() && self.end.is_none() && self.shared.clock.since_boot() >= try_by {
            let detail = format!("no session came of it within {} s", TRY.as_secs());
            self.event(BridgeEvent::Disconnected(detail));
        }
    }

    /// Hands on what changed and what the window allows, as far as the queue to the socket has room.
    fn push(&mut self) {
        if !self.session.is_open() {
            return;
        }
        // Part of the health report is what the feed says of a quarantine.
        if (self.health_changed || self.feed_changed) && self.has_room() {
            self.health_changed = false;
            let feed = self.feed.borrow().clone();
            let health = self.shared.site.health(&self.shared.health, &self.inventory_at.borrow(), &feed);
            self.event(BridgeEvent::Health(health));
        }
        if self.feed_changed && self.has_room() {
            self.feed_changed = false;
            self.missing_report = None;
            self.push_feed();
        }
        while self.end.is_none() && self.has_room() && self.push_reports() {}
    }

    fn push_feed(&mut self) {
        let feed = self.feed.borrow_and_update().clone();
        self.event(BridgeEvent::CommandsDurable(feed.commands_durable_through));
        self.event(BridgeEvent::Credit(feed.credits, feed.credit_reason));
        self.event(BridgeEvent::ReportsMade(feed.reports_last));
        self.told_gaps.retain(|told| feed.lane_gaps.contains(told));
        for gap in feed.lane_gaps {
            if self.told_gaps.contains(&gap) {
                continue;
            }
            if !self.has_room() {
                self.feed_changed = true;
                break;
            }
            self.told_gaps.push(gap.clone());
            let LaneGapNotice { lock_system, lane, expected, have } = gap;
            self.event(BridgeEvent::LaneGap(LaneGap { lock_system, lane, expected, have }));
        }
    }

    /// Reads, signs and sends one batch; whether there may be more.
    fn push_reports(&mut self) -> bool {
        let Some(wanted) = self.session.reports_wanted().filter(|wanted| self.missing_report != Some(wanted.from))
        else {
            return false;
        };
        let read = self.shared.engine.outbox().read(wanted.from, wanted.count, BATCH_BYTES);
        let mut reports = Vec::with_capacity(read.len());
        for (sequence, report) in read {
            match self.shared.signer.sign(report) {
                Ok(signed) => reports.push(NumberedReport { sequence, report: Some(signed) }),
                Err(error) => {
                    self.event(BridgeEvent::Disconnected(format!("report {sequence} could not be signed: {error}")));
                    return false;
                }
            }
        }
        self.event(BridgeEvent::Reports(reports));
        // An outbox without the wanted report would be asked for ever; the next change of the feed asks again.
        if self.session.reports_wanted().is_some_and(|next| next.from == wanted.from) {
            self.missing_report = Some(wanted.from);
        }
        true
    }

    fn has_room(&self) -> bool {
        self.out.capacity() > writer::RESERVED
    }

    fn figures(&self) -> BridgeHeartbeat {
        let feed = self.feed.borrow();
        BridgeHeartbeat {
            journal_sequence: feed.journal_sequence,
            bridge_time_ms: self.shared.clock.wall_ms(),
            queued: feed.queued,
            executing: feed.executing,
            in_doubt: feed.in_doubt,
            outbox: feed.outbox,
        }
    }

    fn compare_clocks(&self, hub_ms: i64) {
        let own_ms = self.shared.clock.wall_ms();
        let skew_ms = own_ms.abs_diff(hub_ms);
        let side = if own_ms < hub_ms { "behind" } else { "ahead of" };
        let message = format!("This machine's clock is {} s {side} the cloud's.", skew_ms / 1000);
        for (code, limit_ms) in [(ReasonCode::Clock, SKEW_MS), (ReasonCode::ClockUntrusted, SKEW_UNTRUSTED_MS)] {
            if skew_ms > limit_ms {
                self.shared.health.raise(Scope::Bridge, code, message.clone());
            } else {
                self.shared.health.clear(Scope::Bridge, code);
            }
        }
    }
}
