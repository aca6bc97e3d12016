//! The owner of one line: brings the link up and keeps it, opens each encoder's request, and tells each what became of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockbridge_protocol::fias::cryptogram::SiteKey;
use lockbridge_protocol::fias::id::FieldId;
use lockbridge_protocol::fias::key::{KeyRecord, KeyRecordKind};
use lockbridge_protocol::fias::key_table::{KeyTable, Match, Ticket};
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{Delivery, Repeat, SerialSettings};
use lockbridge_protocol::fias::session::pms::{PmsSession, PmsSettings};
use lockbridge_protocol::fias::session::{CloseReason, Disposition, LinkAction, Medium, Moment};
use lockbridge_protocol::fias::wire::{RecordTicket, Wire, WireEvent};
use lockbridge_protocol::line::{Checksum, CodePage};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::job::{Board, Job, Outcome};
use crate::config::{FiasConfig, read_link_key};
use crate::link::{CodecCounts, Endpoint, Line, LineError, Meter, Opener, Statistics};
use crate::system::turn::refuse_waiting;

/// Bytes taken from the line at once.
const READ_BYTES: usize = 4096;
/// A key service that cannot prove itself is not listened to for this long: only a person can mend that.
const UNTRUSTED_PAUSE: Duration = Duration::from_secs(60);

/// What people can do about one.
const UNTRUSTED_REMEDY: &str = "Give both sides the same key: link_key_file here, and the key at the key service";

/// Makes lines.
pub(super) trait Source: Send + 'static {
    /// One attempt, at a bounded pace. Dropping the future is safe.
    fn open(&mut self) -> impl Future<Output = Result<Line, LineError>> + Send;
}

impl Source for Opener {
    async fn open(&mut self) -> Result<Line, LineError> {
        Self::open(self).await
    }
}

/// A request whose answer is awaited.
struct Open {
    job: Job,
    /// Its acknowledgement, where there are any.
    sent: Option<RecordTicket>,
}

/// One line and its requests.
pub(super) struct Driver<S> {
    source: S,
    jobs: mpsc::Receiver<Job>,
    board: Arc<Board>,
    statistics: Arc<Statistics>,
    config: FiasConfig,
    zone: TimeZone,
    lock_system: String,
    /// Monotonic times of the machines count from here.
    base: Instant,
    /// Over all connections: a late answer can come on the next one.
    table: KeyTable,
    open: BTreeMap<Ticket, Open>,
}

/// What belongs to one connection.
struct Connection {
    wire: Wire,
    link: PmsSession,
    meter: Meter,
    close: Option<CloseReason>,
    /// The record in hand; used again for the next one.
    body: Vec<u8>,
}

impl Connection {
    /// Carries what the codec counted over to the line.
    fn count(&mut self) {
        let serial = self.wire.serial_statistics();
        self.meter.update(CodecCounts {
            line: self.wire.line_statistics(),
            refusals: serial.refusals,
            retries: serial.repeats.saturating_add(serial.enquiries),
        });
    }
}

impl<S: Source> Driver<S> {
    pub(super) fn new(
        source: S,
        jobs: mpsc::Receiver<Job>,
        board: Arc<Board>,
        statistics: Arc<Statistics>,
        config: &FiasConfig,
        zone: TimeZone,
        lock_system: String,
    ) -> Self {
        Self {
            source,
            jobs,
            board,
            statistics,
            config: config.clone(),
            zone,
            lock_system,
            base: Instant::now(),
            table: KeyTable::new(config.hold),
            open: BTreeMap::new(),
        }
    }

    /// Until nobody can ask any more.
    pub(super) async fn run(mut self) {
        loop {
            // Without its key the bridge cannot tell whom to trust, and takes nobody in.
            if let Err(error) = read_link_key(self.config.link_key.as_ref()).await {
                tracing::warn!(lock_system = self.lock_system, %error, "The key of the link cannot be used.");
                if self.rest(&error.to_string()).await.is_break() {
                    return;
                }
                continue;
            }
            let opened = tokio::select! {
                opened = self.source.open() => opened,
                job = self.jobs.recv() => match job {
                    // Nobody is there: whoever asks is told at once.
                    Some(job) => {
                        job.refuse(Outcome::Down("no key service is connected".to_owned()));
                        continue;
                    }
                    None => return,
                },
            };
            match opened {
                Ok(line) => {
                    // Waiting may have taken hours: the key may be another one by now. One that is none is told above.
                    let Ok(key) = read_link_key(self.config.link_key.as_ref()).await else { continue };
                    if self.serve(line, key).await.is_break() {
                        return;
                    }
                }
                Err(error) => {
                    let why = format!("{error}. {}", error.remedy());
                    tracing::debug!(lock_system = self.lock_system, why, "The line does not open.");
                    if self.refuse_waiting(&why).is_break() {
                        return;
                    }
                }
            }
        }
    }

    fn connection(&self, key: Option<SiteKey>) -> Connection {
        let is_port = matches!(self.config.endpoint, Endpoint::Serial(_));
        let wire = if self.config.acknowledges {
            let baud = match &self.config.endpoint {
                Endpoint::Serial(port) => port.baud,
                _ => SerialSettings::default().baud,
            };
            let checksum = if self.config.checksum { Checksum::Checked } else { Checksum::Absent };
            Wire::serial(SerialSettings {
                checksum,
                baud,
                reply_timeout: self.config.acknowledge_timeout,
                settle: self.config.settle,
                silence: self.config.silence,
                ..SerialSettings::default()
            })
        } else {
            Wire::plain()
        };
        let medium = if is_port { Medium::Serial } else { Medium::Tcp };
        let link = PmsSession::new(PmsSettings { key, ..PmsSettings::new(medium) });
        Connection { wire, link, meter: Meter::new(Arc::clone(&self.statistics)), close: None, body: Vec::new() }
    }

    /// Uses an open line until it ends.
    async fn serve(&mut self, mut line: Line, key: Option<SiteKey>) -> ControlFlow<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut connection = self.connection(key);
        tracing::debug!(lock_system = self.lock_system, line = line.place(), "The line is open.");
        self.board.show(Err("the key service is connected, and its link is not alive yet".to_owned()));
        let actions = connection.link.link_up(self.moment());
        self.act(&mut connection, actions);
        loop {
            if let Err((why, unsent)) = flush(&mut connection, &mut line).await {
                self.lost(&mut connection, &why, unsent);
                return ControlFlow::Continue(());
            }
            if let Some(reason) = connection.close.take() {
                let CloseReason::Untrusted(_) = reason else {
                    self.lost(&mut connection, &reason.to_string(), 0);
                    return ControlFlow::Continue(());
                };
                let why = format!("{reason}. {UNTRUSTED_REMEDY}");
                self.lost(&mut connection, &why, 0);
                tracing::warn!(lock_system = self.lock_system, why, "The key service is not trusted.");
                drop(line);
                return self.rest(&why).await;
            }
            let wake = [connection.link.deadline(), connection.wire.deadline(), self.table.deadline()];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                read = line.read(&mut buffer) => match read {
                    Ok(count) => {
                        let now = self.now();
                        connection.wire.read(buffer.get(..count).unwrap_or_default(), now);
                        self.events(&mut connection);
                    }
                    Err(error) => {
                        self.lost(&mut connection, &error.to_string(), 0);
                        return ControlFlow::Continue(());
                    }
                },
                () = at(self.base, wake), if wake.is_some() => self.tick(&mut connection),
                job = self.jobs.recv() => match job {
                    Some(job) => self.begin(&mut connection, job),
                    None => return ControlFlow::Break(()),
                },
            }
            connection.count();
        }
    }

    fn begin(&mut self, connection: &mut Connection, job: Job) {
        if !job.begin() {
            return;
        }
        if !connection.link.is_alive() {
            return job.end(Outcome::Down("the link with the key service is not alive".to_owned()));
        }
        let id = job.ask.record.kind.id();
        let Some(wanted) = connection.link.wanted(id) else {
            return job.end(Outcome::Unusable(format!("the key service did not ask for {id} records")));
        };
        if job.ask.record.kind == KeyRecordKind::Change && !wanted.contains(FieldId::DEPARTURE) {
            let why = format!("the key service did not ask for {} in {id} records", FieldId::DEPARTURE);
            return job.end(Outcome::Unusable(why));
        }
        let record = KeyRecord { sent_at: Some(self.moment().local), ..job.ask.record.clone() };
        let body = match record.write(Some(wanted), self.config.code_page) {
            Ok(body) => body,
            Err(error) => return job.end(Outcome::Unusable(error.to_string())),
        };
        let now = self.now();
        let ticket = match self.table.open(&record, now, job.ask.timeout) {
            Ok(ticket) => ticket,
            Err(refused) => return job.end(Outcome::NotOpened(refused)),
        };
        match connection.wire.send(&body, Repeat::OnlyIfRefused, now) {
            Ok(sent) => {
                let sent = connection.wire.acknowledges().then_some(sent);
                self.open.insert(ticket, Open { job, sent });
            }
            Err(error) => {
                self.table.withdraw(ticket);
                job.end(Outcome::NotArrived(error.to_string()));
            }
        }
    }

    fn events(&mut self, connection: &mut Connection) {
        let mut body = std::mem::take(&mut connection.body);
        while let Some(event) = connection.wire.event() {
            match event {
                WireEvent::Record { body: came, .. } => {
                    came.clone_into(&mut body);
                    self.record(connection, &body);
                }
                WireEvent::Delivery(sent, delivery) => self.delivered(sent, delivery),
            }
        }
        connection.body = body;
    }

    fn record(&mut self, connection: &mut Connection, body: &[u8]) {
        let Ok(record) = Record::read(body) else { return };
        let outcome = connection.link.record(record, self.moment());
        self.act(connection, outcome.actions);
        if outcome.disposition != Disposition::Data {
            return;
        }
        let code_page: CodePage = self.config.code_page;
        let Some(key) = KeyRecord::read(record, code_page) else { return };
        if !matches!(key.kind, KeyRecordKind::Answer | KeyRecordKind::ReadAnswer) {
            return;
        }
        match self.table.answer(&key, self.now()) {
            Match::Answer(ticket) => {
                if let Some(open) = self.open.remove(&ticket) {
                    open.job.end(Outcome::Answered(Box::new(key)));
                }
            }
            // An answer names no request of its own, so believing one for another would be a guess.
            other => tracing::info!(
                lock_system = self.lock_system,
                encoder = key.encoder,
                status = key.status,
                what = ?other,
                "An answer of the key service belongs to no open request."
            ),
        }
    }

    fn delivered(&mut self, sent: RecordTicket, delivery: Delivery) {
        let found = self.open.iter().find(|(_, open)| open.sent == Some(sent)).map(|(ticket, _)| *ticket);
        // Unknown: its answer may still come, and tells more than the acknowledgement would have.
        if let (Some(ticket), Delivery::Refused) = (found, delivery) {
            self.table.withdraw(ticket);
            if let Some(open) = self.open.remove(&ticket) {
                open.job.end(Outcome::NotArrived("the key service refused the record as damaged".to_owned()));
            }
        }
    }

    fn act(&mut self, connection: &mut Connection, actions: Vec<LinkAction>) {
        for action in actions {
            match action {
                LinkAction::Send(record) => {
                    if let Err(error) = connection.wire.send(&record, Repeat::AsSpecified, self.now()) {
                        tracing::debug!(lock_system = self.lock_system, %error, "A record of the link was dropped.");
                    }
                }
                LinkAction::Alive => {
                    let told = connection.link.description().map(|told| format!("{} {}", told.family, told.version));
                    self.board.show(Ok(told.unwrap_or_default()));
                }
                LinkAction::NotAlive => {
                    self.board.show(Err("the key service began the link anew".to_owned()));
                    self.all_unknown("the key service began the link anew before it answered");
                }
                LinkAction::Close(reason) => connection.close = Some(reason),
            }
        }
    }

    fn tick(&mut self, connection: &mut Connection) {
        let now = self.now();
        connection.wire.tick(now);
        self.events(connection);
        let actions = connection.link.tick(self.moment());
        self.act(connection, actions);
        for ticket in self.table.tick(now) {
            if let Some(open) = self.open.remove(&ticket) {
                open.job.end(Outcome::Unknown("the key service did not answer in time".to_owned()));
            }
        }
    }

    /// The line is gone. `unsent`: bytes of the last frame that certainly went nowhere.
    fn lost(&mut self, connection: &mut Connection, why: &str, unsent: usize) {
        connection.wire.link_lost(unsent);
        // What was queued behind others certainly did not arrive.
        self.events(connection);
        let _states = connection.link.link_lost();
        self.all_unknown(why);
        connection.count();
        self.board.show(Err(why.to_owned()));
        tracing::debug!(lock_system = self.lock_system, why, "The line has ended; it is opened again.");
    }

    fn all_unknown(&mut self, why: &str) {
        for ticket in self.table.link_lost(self.now()) {
            if let Some(open) = self.open.remove(&ticket) {
                open.job.end(Outcome::Unknown(why.to_owned()));
            }
        }
    }

    /// Leaves the line closed for a while, until a person may have mended what is wrong. Nobody waits for it in vain.
    async fn rest(&mut self, why: &str) -> ControlFlow<()> {
        self.board.show(Err(why.to_owned()));
        let end = Instant::now() + UNTRUSTED_PAUSE;
        loop {
            match timeout_at(end, self.jobs.recv()).await {
                Ok(Some(job)) => job.refuse(Outcome::Down(why.to_owned())),
                Ok(None) => return ControlFlow::Break(()),
                Err(_) => return ControlFlow::Continue(()),
            }
        }
    }

    /// The line does not open: nobody waits for it in vain.
    fn refuse_waiting(&mut self, why: &str) -> ControlFlow<()> {
        self.board.show(Err(why.to_owned()));
        refuse_waiting(&mut self.jobs, || Outcome::Down(why.to_owned()))
    }

    fn now(&self) -> Duration {
        self.base.elapsed()
    }

    fn moment(&self) -> Moment {
        let local = Timestamp::now().to_zoned(self.zone.clone()).datetime();
        Moment { now: self.now(), local, random: rand::random() }
    }
}

/// Writes what is due. A frame that did not go out whole was certainly not received; the serial protocol judges that itself.
async fn flush(connection: &mut Connection, line: &mut Line) -> Result<(), (String, usize)> {
    while let Some(bytes) = connection.wire.output() {
        line.write(bytes).await.map_err(|error| (error.to_string(), error.unsent()))?;
    }
    Ok(())
}

async fn at(base: Instant, deadline: Option<Duration>) {
    if let Some(deadline) = deadline {
        sleep_until(base + deadline).await;
    }
}
