//! One connection with the property software: the link, its orders, their answers, and the limits of a bad peer.

use std::pin::Pin;
use std::time::Duration;

use jiff::civil::DateTime;
use lockbridge_protocol::fias::id::RecordId;
use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind};
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{Delivery, Repeat, SerialSettings};
use lockbridge_protocol::fias::session::key_system::{KeySystemSession, KeySystemSettings};
use lockbridge_protocol::fias::session::{CloseReason, Disposition, LinkAction, Moment};
use lockbridge_protocol::fias::wire::{RecordTicket, Wire, WireEvent};
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::signed::sha256;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::memory::Memory;
use super::serve::FrontDesk;
use super::{answer, request};
use crate::dispatch::{DeskAnswer, DeskAnswers, DeskOrderRequest, EngineRequest};
use crate::health::ReasonCode;
use crate::limits::{DESK_PENDING, DESK_RECORDS_PER_SECOND};
use crate::link::{CodecCounts, Endpoint, Line, Meter, Opener};

/// Asking the engine means waiting for a place in its queue, never longer.
const ENGINE_WAIT: Duration = Duration::from_secs(5);
/// Our answer leaves this long before the property software stops waiting.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// Pause of the read while a peer sends more than anybody needs.
const FLOOD_PAUSE: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The bridge stops.
    Stopped,
    /// Another connection takes its place.
    Replaced(Line),
    /// It ended; why, for people.
    Lost(String),
}

/// An order that waits for its answer.
#[derive(Debug)]
struct Pending {
    ticket: u64,
    record: KeyRecord,
    request: [u8; 32],
    asked: Duration,
    deadline: Duration,
}

/// An answer whose acknowledgement is awaited.
#[derive(Debug)]
struct Told {
    wire: RecordTicket,
    request: [u8; 32],
    asked: Duration,
}

/// One connection.
pub(super) struct Session<'desk> {
    desk: &'desk FrontDesk,
    wire: Wire,
    link: KeySystemSession,
    memory: &'desk mut Memory,
    pending: Vec<Pending>,
    /// Answers that wait for the link to be alive.
    ready: Vec<(Pending, KeyRecord)>,
    told: Vec<Told>,
    answers: mpsc::Sender<(u64, DeskAnswer)>,
    answered: mpsc::Receiver<(u64, DeskAnswer)>,
    next_ticket: u64,
    close: Option<CloseReason>,
    was_alive: bool,
    was_introduced: bool,
    stopping: bool,
    /// Records in the second that began then.
    records: (Duration, u32),
    meter: Meter,
}

impl<'desk> Session<'desk> {
    pub(super) fn new(desk: &'desk FrontDesk, settings: KeySystemSettings, memory: &'desk mut Memory) -> Self {
        let wire = if desk.config.acknowledges {
            let baud = match &desk.config.endpoint {
                Endpoint::Serial(port) => port.baud,
                // What a converter has behind it, nobody knows: the slowest usual speed makes the waits long enough.
                _ => SerialSettings::default().baud,
            };
            let checksum = if desk.config.checksum { Checksum::Checked } else { Checksum::Absent };
            Wire::serial(SerialSettings { checksum, baud, ..SerialSettings::default() })
        } else {
            Wire::plain()
        };
        // Each order is answered twice at most.
        let (answers, answered) = mpsc::channel(DESK_PENDING.saturating_mul(2));
        Self {
            desk,
            wire,
            link: KeySystemSession::new(settings),
            memory,
            pending: Vec::new(),
            ready: Vec::new(),
            told: Vec::new(),
            answers,
            answered,
            next_ticket: 0,
            close: None,
            was_alive: false,
            was_introduced: false,
            stopping: false,
            records: (Duration::ZERO, 0),
            meter: Meter::new(std::sync::Arc::clone(&desk.statistics)),
        }
    }

    /// The link was alive at least once.
    pub(super) fn was_alive(&self) -> bool {
        self.was_alive
    }

    /// We said who we are, with our proof where one is needed.
    pub(super) fn was_introduced(&self) -> bool {
        self.was_introduced
    }

    /// Works on one connection until it ends. `away` is raised while the link is not alive.
    pub(super) async fn run(
        &mut self,
        mut line: Line,
        others: &mut Opener,
        away: &mut Pin<&mut Sleep>,
        stop: &CancellationToken,
    ) -> End {
        let mut buffer = [0; 4096];
        let listens = matches!(self.desk.config.endpoint, Endpoint::Listen { .. });
        let actions = self.link.link_up(self.moment());
        self.act(actions);
        loop {
            if let Err(problem) = self.flush(&mut line).await {
                return self.lost(problem);
            }
            if let Some(reason) = self.close.take() {
                return if self.stopping { End::Stopped } else { self.lost(reason.to_string()) };
            }
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.stopping => {
                    self.stopping = true;
                    let actions = self.link.end(self.moment());
                    self.act(actions);
                    if self.link.deadline().is_none() {
                        return End::Stopped;
                    }
                }
                () = away.as_mut(), if !self.link.is_alive() && !away.is_elapsed() => {
                    let message = format!("front desk `{}` is connected, but its link does not come up", self.desk.config.name);
                    self.desk.health.raise(self.desk.scope(), ReasonCode::FrontDesk, message);
                }
                Some((ticket, told)) = self.answered.recv() => self.answer(ticket, &told),
                () = tokio::time::sleep_until(wake) => self.tick(),
                read = line.read(&mut buffer) => match read {
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        self.wire.read(bytes, self.now());
                        self.events().await;
                    }
                    Err(error) => return self.lost(error.to_string()),
                },
                opened = others.open(), if listens => match opened {
                    Ok(next) if self.desk.config.replaces => {
                        warn!(front_desk = self.desk.config.name, peer = next.place(), "A second connection takes the place of the first.");
                        self.lost("another connection took its place".to_owned());
                        return End::Replaced(next);
                    }
                    Ok(next) => {
                        warn!(front_desk = self.desk.config.name, peer = next.place(), "A second connection was refused.");
                        drop(next);
                    }
                    Err(error) => debug!(front_desk = self.desk.config.name, %error, "Another connection was not taken."),
                },
            }
            self.count();
        }
    }

    fn now(&self) -> Duration {
        self.desk.clock.since_boot()
    }

    fn moment(&self) -> Moment {
        let local: DateTime = self.desk.clock.wall().to_zoned(self.desk.config.time_zone.clone()).datetime();
        Moment { now: self.now(), local, random: rand::random() }
    }

    /// When something has to be done although nothing comes.
    fn wake(&self) -> Instant {
        let deadlines = [self.link.deadline(), self.wire.deadline()].into_iter().flatten();
        let next = deadlines.chain(self.pending.iter().map(|pending| pending.deadline)).min();
        let pause = next.map_or(Duration::from_secs(60), |next| next.saturating_sub(self.now()));
        // A clock that lags behind the timer by its own resolution must not make this spin.
        Instant::now() + pause.max(Duration::from_millis(1))
    }

    async fn flush(&mut self, line: &mut Line) -> Result<(), String> {
        while let Some(bytes) = self.wire.output() {
            if let Err(error) = line.write(&bytes).await {
                let unsent = match &error {
                    crate::link::LineError::Write { unsent, .. } => *unsent,
                    _ => 0,
                };
                self.wire.link_lost(unsent);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    /// Deadlines of the link, the wire and the orders.
    fn tick(&mut self) {
        self.wire.tick(self.now());
        let actions = self.link.tick(self.moment());
        self.act(actions);
        let now = self.now();
        while let Some(at) = self.pending.iter().position(|pending| pending.deadline <= now) {
            let pending = self.pending.swap_remove(at);
            let is_card = matches!(pending.record.kind, KeyRecordKind::Request | KeyRecordKind::Read);
            let answer = answer::overdue(&pending.record, is_card);
            self.tell(pending, answer);
        }
    }

    fn act(&mut self, actions: Vec<LinkAction>) {
        for action in actions {
            match action {
                LinkAction::Send(record) => {
                    if let Err(error) = self.wire.send(&record, Repeat::AsSpecified, self.now()) {
                        warn!(front_desk = self.desk.config.name, %error, "A record to the front desk was dropped.");
                    }
                }
                LinkAction::Alive => {
                    self.was_alive = true;
                    self.desk.health.clear(self.desk.scope(), ReasonCode::FrontDesk);
                    info!(front_desk = self.desk.config.name, "The front desk's link is alive.");
                    for (pending, answer) in std::mem::take(&mut self.ready) {
                        self.tell(pending, answer);
                    }
                }
                LinkAction::NotAlive => {
                    info!(front_desk = self.desk.config.name, "The front desk's link is not alive.");
                }
                LinkAction::Close(reason) => self.close = Some(reason),
            }
        }
    }

    async fn events(&mut self) {
        while let Some(event) = self.wire.event() {
            match event {
                WireEvent::Record { body, is_repeated } => self.record(&body, is_repeated).await,
                WireEvent::Delivery(ticket, delivery) => self.delivered(ticket, delivery),
            }
        }
    }

    async fn record(&mut self, body: &[u8], is_repeated: bool) {
        let now = self.now();
        if now >= self.records.0.saturating_add(Duration::from_secs(1)) {
            self.records = (now, 0);
        }
        self.records.1 = self.records.1.saturating_add(1);
        if self.records.1 > DESK_RECORDS_PER_SECOND {
            // Back-pressure instead of memory: the peer has to wait.
            if self.records.1 == DESK_RECORDS_PER_SECOND.saturating_add(1) {
                warn!(
                    front_desk = self.desk.config.name,
                    "The front desk sends more records than are read in a second."
                );
            }
            tokio::time::sleep(FLOOD_PAUSE).await;
        }
        let Ok(record) = Record::read(body) else {
            debug!(front_desk = self.desk.config.name, bytes = body.len(), "A frame without a record was skipped.");
            return;
        };
        let outcome = self.link.record(record, self.moment());
        // Whatever is answered to a start is our introduction.
        self.was_introduced |= record.id() == RecordId::LINK_START;
        self.act(outcome.actions);
        match outcome.disposition {
            Disposition::Link => {}
            Disposition::Dropped => {
                debug!(front_desk = self.desk.config.name, record = %record.id(), "A record came before the link was alive.");
            }
            Disposition::Data => match KeyRecord::read(record, self.desk.config.code_page) {
                Some(key) if !matches!(key.kind, KeyRecordKind::Answer | KeyRecordKind::ReadAnswer) => {
                    self.order(key, sha256(body), is_repeated).await;
                }
                // Guests, rooms and whatever else is told: keys need none of it.
                _ => debug!(front_desk = self.desk.config.name, record = %record.id(), "A record was skipped."),
            },
        }
    }

    async fn order(&mut self, record: KeyRecord, request: [u8; 32], is_repeated: bool) {
        let now = self.now();
        let deadline = now.saturating_add(self.patience());
        if self.pending.iter().any(|pending| pending.request == request) {
            debug!(
                front_desk = self.desk.config.name,
                "A record came again while it is carried out; it is answered once."
            );
            return;
        }
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let ticket = self.next_ticket;
        let pending = Pending { ticket, record, request, asked: now, deadline };
        let config = &self.desk.config;
        info!(front_desk = config.name, record = %pending.record.kind.id(), encoder = pending.record.encoder, "The front desk asks.");
        let wish = match request::wish(&pending.record, config, self.desk.clock.wall_ms()) {
            Ok(wish) => wish,
            Err(unusable) => {
                info!(front_desk = config.name, reason = unusable.0, "The front desk's record is no order.");
                let answer = answer::unusable(&pending.record, &unusable.0);
                return self.tell(pending, answer);
            }
        };
        if self.pending.len() >= DESK_PENDING {
            let answer = answer::answer(&pending.record, &DeskAnswer::Busy, config);
            return self.tell(pending, answer);
        }
        let order = DeskOrderRequest {
            desk: config.name.clone(),
            lock_system: config.lock_system.clone(),
            encoder: request::encoder(&pending.record.encoder, config),
            wish,
            request,
            may_be_repeated: self.memory.may_be_repeated(&request, is_repeated, now),
        };
        let answers = DeskAnswers::new(ticket, self.answers.clone());
        let asked = EngineRequest::FrontDesk { order: Box::new(order), answers };
        if let Ok(Ok(())) = tokio::time::timeout(ENGINE_WAIT, self.desk.engine.send(asked)).await {
            self.pending.push(pending);
        } else {
            let stopped = DeskAnswer::Refused { code: "draining".to_owned(), message: String::new() };
            let answer = answer::answer(&pending.record, &stopped, config);
            self.tell(pending, answer);
        }
    }

    /// How long an order may take: as configured, and less if the property software told that it waits less.
    fn patience(&self) -> Duration {
        let told = self.link.configuration().and_then(|told| told.key_timeout_seconds).filter(|seconds| *seconds > 1);
        let own = self.desk.config.answer_timeout;
        told.map_or(own, |seconds| own.min(Duration::from_secs(u64::from(seconds)).saturating_sub(ANSWER_MARGIN)))
    }

    fn answer(&mut self, ticket: u64, told: &DeskAnswer) {
        let Some(at) = self.pending.iter().position(|pending| pending.ticket == ticket) else {
            // Its time was over; the engine's reports tell what came of it.
            return;
        };
        if *told == DeskAnswer::Asking {
            // The lock system may tell while somebody still waits; else the deadline answers.
            return;
        }
        let pending = self.pending.swap_remove(at);
        if let DeskAnswer::Refused { code, message } = told {
            info!(front_desk = self.desk.config.name, code, reason = message, "The front desk's order was refused.");
        }
        let answer = answer::answer(&pending.record, told, &self.desk.config);
        self.tell(pending, answer);
    }

    fn tell(&mut self, pending: Pending, mut answer: KeyRecord) {
        if !self.link.is_alive() {
            if self.ready.len() < DESK_PENDING {
                self.ready.push((pending, answer));
            }
            return;
        }
        answer.sent_at = Some(self.moment().local);
        let config = &self.desk.config;
        info!(front_desk = config.name, status = answer.status, text = answer.text, "The front desk is answered.");
        // Who heard that it is not known has not heard how it ended: asking again is no wish for another card.
        let is_end = !answer::is_open(&answer);
        let body = answer.write(None, config.code_page).or_else(|_| {
            // What came in cannot always be said back: without what is not needed, it is plain.
            let plain = KeyRecord { reservation: String::new(), room: "-".to_owned(), ..answer };
            plain.write(None, config.code_page)
        });
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                warn!(front_desk = config.name, %error, "An answer cannot be written; the front desk waits in vain.");
                return;
            }
        };
        match self.wire.send(&body, Repeat::AsSpecified, self.now()) {
            Ok(_) if !is_end => {}
            Ok(wire) if self.wire.acknowledges() => {
                self.told.push(Told { wire, request: pending.request, asked: pending.asked });
            }
            Ok(_) => self.memory.arrived(pending.request, pending.asked, self.now()),
            Err(error) => warn!(front_desk = config.name, %error, "An answer was not sent."),
        }
    }

    fn delivered(&mut self, ticket: RecordTicket, delivery: Delivery) {
        let Some(at) = self.told.iter().position(|told| told.wire == ticket) else { return };
        let told = self.told.swap_remove(at);
        if delivery == Delivery::Acknowledged {
            self.memory.arrived(told.request, told.asked, self.now());
        } else {
            warn!(front_desk = self.desk.config.name, ?delivery, "The front desk did not acknowledge an answer.");
        }
    }

    fn count(&mut self) {
        let serial = self.wire.serial_statistics();
        self.meter.update(CodecCounts {
            line: self.wire.line_statistics(),
            refusals: serial.refusals,
            retries: serial.repeats.saturating_add(serial.enquiries),
        });
    }

    fn lost(&mut self, problem: String) -> End {
        let actions = self.link.link_lost();
        self.act(actions);
        let open = self.pending.len().saturating_add(self.ready.len());
        if open > 0 {
            warn!(
                front_desk = self.desk.config.name,
                open, "Orders of the front desk go on, but it cannot be answered."
            );
        }
        self.count();
        End::Lost(problem)
    }
}
