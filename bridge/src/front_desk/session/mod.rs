//! One connection with the property software: the link, its orders, their answers, and the limits of a bad peer.
//!
//! * This module: the wire and the link, and when what is done. `orders`: what is asked on it, and what is told.
//! * `pace`: how many records are read in a second.
//!
//! Promises: whatever the peer does, deadlines are kept, the end of the bridge is not held up, and what waits has a bound: one
//! read's records, [`DESK_PENDING`] orders. Never: answers on a link that is not alive.

mod orders;
mod pace;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::time::Duration;

use jiff::civil::DateTime;
use lockbridge_protocol::fias::id::RecordId;
use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind};
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{Repeat, SerialSettings};
use lockbridge_protocol::fias::session::key_system::{KeySystemSession, KeySystemSettings};
use lockbridge_protocol::fias::session::{CloseReason, Disposition, LinkAction, Moment};
use lockbridge_protocol::fias::wire::{Wire, WireEvent};
use lockbridge_protocol::line::Checksum;
use lockbridge_protocol::signed::sha256;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::orders::{Pending, Told};
use self::pace::{Admission, Pace};
use super::memory::Memory;
use super::serve::FrontDesk;
use crate::dispatch::DeskAnswer;
use crate::health::ReasonCode;
use crate::limits::DESK_PENDING;
use crate::link::{CodecCounts, Endpoint, Line, Meter, Opener};

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
    pace: Pace,
    /// The record in hand; used again for the next one.
    body: Vec<u8>,
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
            pace: Pace::default(),
            body: Vec::new(),
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
            self.events().await;
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
                // Back-pressure instead of memory: while records wait for their turn the peer has to wait.
                read = line.read(&mut buffer), if !self.wire.has_event() => match read {
                    Ok(count) => {
                        let now = self.now();
                        self.wire.read(buffer.get(..count).unwrap_or_default(), now);
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
        let more = if self.wire.has_event() { self.pace.opens_at() } else { None };
        let deadlines = [self.link.deadline(), self.wire.deadline(), more].into_iter().flatten();
        let next = deadlines.chain(self.pending.iter().map(|pending| pending.deadline)).min();
        let pause = next.map_or(Duration::from_secs(60), |next| next.saturating_sub(self.now()));
        // A clock that lags behind the timer by its own resolution must not make this spin.
        Instant::now() + pause.max(Duration::from_millis(1))
    }

    async fn flush(&mut self, line: &mut Line) -> Result<(), String> {
        while let Some(bytes) = self.wire.output() {
            if let Err(error) = line.write(bytes).await {
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
        self.overdue();
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

    /// Acts on what came in, as far as the pace allows.
    async fn events(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        while self.wire.has_event() {
            match self.pace.admits(self.now()) {
                Admission::Yes => {}
                Admission::No { is_first } => {
                    if is_first {
                        warn!(
                            front_desk = self.desk.config.name,
                            "The front desk sends more records than are read in a second."
                        );
                    }
                    break;
                }
            }
            match self.wire.event() {
                Some(WireEvent::Record { body: came, is_repeated }) => {
                    came.clone_into(&mut body);
                    self.record(&body, is_repeated).await;
                }
                Some(WireEvent::Delivery(ticket, delivery)) => self.delivered(ticket, delivery),
                None => break,
            }
        }
        self.body = body;
    }

    async fn record(&mut self, body: &[u8], is_repeated: bool) {
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
