//! Begins the link of a FIAS line, in the part that the bridge plays there.
//!
//! Toward a key service the link is brought up and ended again, as at every start of the daemon. Toward property software it is
//! not: behind an introduction its records would come, and nobody here could carry them out. A wrong key makes some property
//! software close its port until a person enters the key again, so none is tried.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockbridge_protocol::fias::cryptogram::SiteKey;
use lockbridge_protocol::fias::id::RecordId;
use lockbridge_protocol::fias::link::moment_record;
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::fias::serial::{Repeat, SerialSettings};
use lockbridge_protocol::fias::session::pms::{PmsSession, PmsSettings};
use lockbridge_protocol::fias::session::{CloseReason, LinkAction, Medium, Moment};
use lockbridge_protocol::fias::wire::{Wire, WireEvent};
use lockbridge_protocol::line::Checksum;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout_at};

use super::open::{NotOpen, open};
use super::sample::{Sample, Seen};
use crate::check::cloud_proxy::is_hidden;
use crate::config::SecretSource;
use crate::link::{Endpoint, Limits, Line};
use crate::net::chain_text;

/// Property software begins by itself; after this it is asked.
const ASK_AFTER: Duration = Duration::from_secs(3);
/// Whoever introduces itself to our question is no property software.
const SECOND_THOUGHT: Duration = Duration::from_millis(1_500);
/// Records that came and could not be read: what is wrong is plain by then.
const ENOUGH: usize = 4;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::check) enum Other {
    /// A lock vendor's key service.
    KeyService,
    /// The property software of the site.
    PropertySoftware,
}

/// How long the other end may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::check) struct Patience {
    /// To connect to us: it tries anew at its own pace.
    pub(in crate::check) connect: Duration,
    /// To bring the link up; a second start is sent within it.
    pub(in crate::check) talk: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), talk: Duration::from_secs(15) }
    }
}

/// A line and how it is used.
#[derive(Debug, Clone)]
pub(in crate::check) struct Subject {
    pub(in crate::check) name: String,
    pub(in crate::check) endpoint: Endpoint,
    pub(in crate::check) other: Other,
    pub(in crate::check) acknowledges: bool,
    pub(in crate::check) checksum: bool,
    pub(in crate::check) zone: TimeZone,
    pub(in crate::check) link_key: Option<SecretSource>,
    pub(in crate::check) patience: Patience,
}

/// What is known of the key of an authenticated link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::check) enum Key {
    /// None is configured.
    None,
    /// It can be read; a key service has to prove that it has it too.
    Used,
    /// This user may not read it; why.
    Hidden(String),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::check) enum Heard {
    /// The key service introduced itself, as this, and the link was alive.
    Alive(String),
    /// The property software began the link, or said that it is alive.
    Started,
    /// The key service does not have our key; the words of the reason.
    Untrusted(String),
    /// Records came; their frames end with a checksum, which is off here.
    ChecksumThere,
    /// Records came without the checksum that is on here.
    ChecksumMissing,
    /// Records came whose checksums do not fit.
    Damaged,
    /// The other end wants acknowledgements, which are off here.
    WantsAcknowledgements,
    /// The other end acknowledges nothing, and they are on here.
    NoAcknowledgements,
    /// NAK to everything.
    Refused,
    /// Records came, of the part that we play ourselves.
    SamePart,
    /// Records came, and the introduction did not end.
    Unfinished,
    /// Our records are acknowledged, and none came.
    Deaf,
    /// Bytes, and none that means anything.
    Garbage(u64),
    /// Not one byte.
    Nothing,
    /// The line ended.
    Lost,
}

/// All that was found out.
#[derive(Debug)]
pub(in crate::check) struct Found {
    pub(in crate::check) line: Result<Heard, NotOpen>,
    pub(in crate::check) key: Key,
}

/// The key cannot be used; its words.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::check) struct UnusableKey(pub(in crate::check) String);

/// Begins the link. Ends within opening, connecting and talking.
pub(in crate::check) async fn run(subject: &Subject) -> Result<Found, UnusableKey> {
    let (site_key, key) = link_key(subject.link_key.as_ref())?;
    let line = match open(&subject.name, &subject.endpoint, Limits::default(), subject.patience.connect).await {
        Ok(line) => line,
        Err(not_open) => return Ok(Found { line: Err(not_open), key }),
    };
    let mut talk = Talk::new(subject, line);
    let end = match subject.other {
        Other::KeyService => talk.as_property_software(site_key).await,
        Other::PropertySoftware => talk.as_key_system().await,
    };
    Ok(Found { line: Ok(judge(subject, &talk.sample.seen(), end)), key })
}

fn link_key(source: Option<&SecretSource>) -> Result<(Option<SiteKey>, Key), UnusableKey> {
    let Some(source) = source else { return Ok((None, Key::None)) };
    match source.read() {
        Ok(text) => match SiteKey::read(text.expose_secret()) {
            Ok(key) => Ok((Some(key), Key::Used)),
            Err(error) => Err(UnusableKey(error.to_string())),
        },
        Err(error) if is_hidden(&error) => Ok((None, Key::Hidden(error.to_string()))),
        Err(error) => Err(UnusableKey(chain_text(&error))),
    }
}

/// How talking ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// As it should.
    Good(Heard),
    /// The line did.
    Lost,
    /// Time did, or what came is of no use.
    Over,
}

struct Talk<'subject> {
    subject: &'subject Subject,
    line: Line,
    wire: Wire,
    sample: Sample,
    /// Records that were read.
    read: usize,
    begun: Instant,
    end: Instant,
}

impl<'subject> Talk<'subject> {
    fn new(subject: &'subject Subject, line: Line) -> Self {
        let wire = if subject.acknowledges {
            let checksum = if subject.checksum { Checksum::Checked } else { Checksum::Absent };
            let usual = SerialSettings::default();
            let baud = if let Endpoint::Serial(port) = &subject.endpoint { port.baud } else { usual.baud };
            Wire::serial(SerialSettings { checksum, baud, ..usual })
        } else {
            Wire::plain()
        };
        let begun = Instant::now();
        Self { subject, line, wire, sample: Sample::default(), read: 0, begun, end: begun + subject.patience.talk }
    }

    /// Brings the link up, and ends it in good order.
    async fn as_property_software(&mut self, key: Option<SiteKey>) -> End {
        let medium = if matches!(self.subject.endpoint, Endpoint::Serial(_)) { Medium::Serial } else { Medium::Tcp };
        let mut link = PmsSession::new(PmsSettings { key, ..PmsSettings::new(medium) });
        let mut actions = link.link_up(self.moment());
        let mut good = None;
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    LinkAction::Send(record) => self.send(&record),
                    LinkAction::Alive => {
                        let told = link.description();
                        let who = told.map(|told| format!("{} {}", told.family, told.version)).unwrap_or_default();
                        good = Some(Heard::Alive(who.trim().to_owned()));
                        actions.extend(link.end(self.moment()));
                    }
                    LinkAction::NotAlive => {}
                    LinkAction::Close(CloseReason::Untrusted(why)) => {
                        return End::Good(Heard::Untrusted(why.to_string()));
                    }
                    LinkAction::Close(_) => return good.map_or(End::Lost, End::Good),
                }
            }
            if !actions.is_empty() {
                continue;
            }
            match self.step(link.deadline()).await {
                Step::Records(records) => {
                    for body in &records {
                        if let Ok(record) = Record::read(body) {
                            actions.extend(link.record(record, self.moment()).actions);
                        }
                    }
                }
                Step::Time => actions.extend(link.tick(self.moment())),
                Step::Lost => return good.map_or(End::Lost, End::Good),
                Step::Over => return good.map_or(End::Over, End::Good),
            }
        }
    }

    /// Waits for the start of the link, and asks for it once.
    async fn as_key_system(&mut self) -> End {
        let mut ask_at = Some(ASK_AFTER);
        let mut good_at = None;
        loop {
            let deadline = [ask_at, good_at].into_iter().flatten().min();
            match self.step(deadline).await {
                Step::Records(records) => {
                    for id in records.iter().filter_map(|body| Record::read(body).ok()).map(Record::id) {
                        match id {
                            // It sends one by itself, too; whoever plays our part introduces itself to the next.
                            RecordId::LINK_START if good_at.is_none() => {
                                self.ask();
                                ask_at = None;
                                good_at = Some(self.begun.elapsed().saturating_add(SECOND_THOUGHT));
                            }
                            RecordId::LINK_START => {}
                            RecordId::LINK_DESCRIPTION | RecordId::LINK_RECORD => return End::Good(Heard::SamePart),
                            RecordId::LINK_END => return End::Lost,
                            _ => return End::Good(Heard::Started),
                        }
                    }
                }
                Step::Time => {
                    let now = self.begun.elapsed();
                    if good_at.is_some_and(|at| at <= now) {
                        return End::Good(Heard::Started);
                    }
                    if ask_at.take_if(|at| *at <= now).is_some() {
                        self.ask();
                    }
                }
                Step::Lost => return End::Lost,
                Step::Over => return if good_at.is_some() { End::Good(Heard::Started) } else { End::Over },
            }
        }
    }

    fn ask(&mut self) {
        if let Ok(record) = moment_record(RecordId::LINK_START, self.moment().local) {
            self.send(&record);
        }
    }

    fn send(&mut self, record: &[u8]) {
        // Full or too long it never is here; what is not sent shows as silence.
        let _unsent = self.wire.send(record, Repeat::AsSpecified, self.begun.elapsed());
    }

    /// Until records came, `deadline` has passed, or nothing more is to be expected.
    async fn step(&mut self, deadline: Option<Duration>) -> Step {
        let mut buffer = [0; 1024];
        let mut unread = 0_usize;
        loop {
            while let Some(bytes) = self.wire.output() {
                if self.line.write(bytes).await.is_err() {
                    return Step::Lost;
                }
            }
            let mut records = Vec::new();
            while let Some(event) = self.wire.event() {
                if let WireEvent::Record { body, .. } = event {
                    records.push(body.to_vec());
                }
            }
            if !records.is_empty() {
                self.read = self.read.saturating_add(records.len());
                return Step::Records(records);
            }
            let now = Instant::now();
            if now >= self.end || unread >= ENOUGH {
                return Step::Over;
            }
            if deadline.is_some_and(|deadline| self.begun + deadline <= now) {
                return Step::Time;
            }
            let due = [deadline, self.wire.deadline()].into_iter().flatten().map(|due| self.begun + due);
            let wake = due.chain([self.end]).min().unwrap_or(self.end);
            match timeout_at(wake, self.line.read(&mut buffer)).await {
                Ok(Ok(count)) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.sample.take(bytes);
                    self.wire.read(bytes, self.begun.elapsed());
                    unread = self.sample.seen().records.len().saturating_sub(self.read);
                }
                Ok(Err(_)) => return Step::Lost,
                Err(_) => self.wire.tick(self.begun.elapsed()),
            }
        }
    }

    fn moment(&self) -> Moment {
        let local = Timestamp::now().to_zoned(self.subject.zone.clone()).datetime();
        Moment { now: self.begun.elapsed(), local, random: rand::random() }
    }
}

enum Step {
    Records(Vec<Vec<u8>>),
    Time,
    Lost,
    Over,
}

/// What is wrong, from what came and how it ended.
fn judge(subject: &Subject, seen: &Seen, end: End) -> Heard {
    match end {
        // It begins by itself, whether it understands us or not.
        End::Good(Heard::Started) => wrong_setting(subject, seen).unwrap_or(Heard::Started),
        End::Good(heard) => heard,
        End::Lost | End::Over if seen.records.is_empty() => without_records(subject, seen, end == End::Lost),
        End::Lost | End::Over => wrong_setting(subject, seen).unwrap_or_else(|| {
            let introduces = |id: &RecordId| matches!(*id, RecordId::LINK_DESCRIPTION | RecordId::LINK_RECORD);
            match subject.other {
                _ if seen.refused > seen.acknowledged => Heard::Refused,
                Other::KeyService if !seen.records.iter().any(introduces) => Heard::SamePart,
                _ if end == End::Lost => Heard::Lost,
                _ => Heard::Unfinished,
            }
        }),
    }
}

fn without_records(subject: &Subject, seen: &Seen, is_lost: bool) -> Heard {
    match seen {
        Seen { refused: 1.., .. } => Heard::Refused,
        Seen { acknowledged: 1.., .. } => Heard::Deaf,
        Seen { enquiries: 1.., .. } if !subject.acknowledges => Heard::WantsAcknowledgements,
        _ if is_lost => Heard::Lost,
        Seen { bytes: 0, .. } => Heard::Nothing,
        _ => Heard::Garbage(seen.bytes),
    }
}

/// Records came: do the two ends frame them alike?
fn wrong_setting(subject: &Subject, seen: &Seen) -> Option<Heard> {
    let unfit = seen.without_checksum.saturating_add(seen.damaged);
    let is_checked = seen.with_checksum > unfit;
    if !subject.acknowledges {
        return (is_checked || seen.enquiries > 0).then_some(Heard::WantsAcknowledgements);
    }
    if is_checked && !subject.checksum {
        return Some(Heard::ChecksumThere);
    }
    // An end without acknowledgements sends no single byte beside its records.
    if seen.acknowledged == 0 && seen.refused == 0 && seen.enquiries == 0 {
        return Some(Heard::NoAcknowledgements);
    }
    let is_missing = seen.without_checksum > seen.with_checksum;
    let is_damaged = seen.damaged > seen.with_checksum;
    match (is_missing, is_damaged) {
        (true, _) if subject.checksum => Some(Heard::ChecksumMissing),
        (_, true) if subject.checksum => Some(Heard::Damaged),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
