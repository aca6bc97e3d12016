//! The PMS's end of a link.
//!
//! ```text
//!          link_up: LS             LD, LR..., LA: (LC) LA
//!   Down ─────────────► Starting ─────────────────────────► Alive
//!    ▲                   ▲  │ LS again, until LD and an LR came  │ LD: Starting, without a new LS
//!    │                   │  ▼                                    │ LS: LA
//!    │          serial: Pausing ◄───────── LE: LE ───────────────┤
//!    └──────────────────── TCP: Close ◄────────────── Ending ◄───┘ end: LE
//! ```

use std::time::Duration;

use jiff::civil::DateTime;

use super::{CloseReason, Disposition, LinkAction, Medium, Moment, Outcome, send};
use crate::fias::cryptogram::{CryptogramError, SiteKey};
use crate::fias::id::{FieldId, RecordId};
use crate::fias::limits::DESCRIBED_RECORDS;
use crate::fias::link::{ASK_KEY_TIMEOUT, LinkConfiguration, LinkDescription, LinkRecord, moment_record};
use crate::fias::record::Record;
use crate::fias::value::{FieldList, read_moment};

/// A peer that asks again and again is answered this often; two PMSs by mistake on one line would never stop.
const START_ANSWER_INTERVAL: Duration = Duration::from_secs(1);

/// How this end behaves.
#[derive(Debug, Clone)]
pub struct PmsSettings {
    /// What the link runs over.
    pub medium: Medium,
    /// Between two `LS` while the link does not come up.
    pub start_interval: Duration,
    /// For the answer to an own `LE`.
    pub end_timeout: Duration,
    /// On a serial line, from an `LE` to the next `LS`.
    pub restart_pause: Duration,
    /// Told to a key system that asks.
    pub configuration: LinkConfiguration,
    /// The site's key; with one, a key system has to prove that it has it too.
    pub key: Option<SiteKey>,
}

impl PmsSettings {
    /// What the specification says for this medium.
    pub fn new(medium: Medium) -> Self {
        Self {
            medium,
            start_interval: Duration::from_secs(10),
            end_timeout: Duration::from_secs(if medium == Medium::Tcp { 2 } else { 3 }),
            restart_pause: Duration::from_secs(4),
            configuration: LinkConfiguration { key_timeout_seconds: Some(60), ..LinkConfiguration::default() },
            key: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Starting { again: Duration },
    Alive,
    Ending { deadline: Duration },
    Pausing { deadline: Duration },
}

/// The PMS's end.
#[derive(Debug)]
pub struct PmsSession {
    settings: PmsSettings,
    state: State,
    description: Option<LinkDescription>,
    wanted: Vec<LinkRecord>,
    /// Of the last own `LS`.
    started: Option<(Duration, DateTime)>,
}

impl PmsSession {
    /// Not connected yet.
    pub fn new(settings: PmsSettings) -> Self {
        Self { settings, state: State::Down, description: None, wanted: Vec::new(), started: None }
    }

    /// Somebody is there.
    pub fn link_up(&mut self, at: Moment) -> Vec<LinkAction> {
        self.forget();
        vec![self.start(at)]
    }

    /// The connection or the device is gone.
    pub fn link_lost(&mut self) -> Vec<LinkAction> {
        let state = std::mem::replace(&mut self.state, State::Down);
        self.forget();
        if state == State::Alive { vec![LinkAction::NotAlive] } else { Vec::new() }
    }

    /// Ends the link in good order.
    pub fn end(&mut self, at: Moment) -> Vec<LinkAction> {
        let mut actions = Vec::new();
        if matches!(self.state, State::Starting { .. } | State::Alive) {
            if self.state == State::Alive {
                actions.push(LinkAction::NotAlive);
            }
            self.state = State::Ending { deadline: at.now.saturating_add(self.settings.end_timeout) };
            actions.push(send(moment_record(RecordId::LINK_END, at.local)));
        }
        actions
    }

    /// A record came in.
    pub fn record(&mut self, record: Record<'_>, at: Moment) -> Outcome {
        if self.state == State::Down {
            return Outcome { disposition: Disposition::Dropped, actions: Vec::new() };
        }
        match record.id() {
            RecordId::LINK_START => Outcome::link(self.asked(at)),
            RecordId::LINK_DESCRIPTION => Outcome::link(self.described(record, at)),
            RecordId::LINK_RECORD => {
                if let Some(wanted) = LinkRecord::read(record) {
                    self.wanted.retain(|each| each.record != wanted.record);
                    if self.wanted.len() < DESCRIBED_RECORDS {
                        self.wanted.push(wanted);
                    }
                }
                Outcome::link(Vec::new())
            }
            RecordId::LINK_ALIVE => Outcome::link(self.confirmed(at)),
            RecordId::LINK_END => Outcome::link(self.ended(at)),
            // LC is ours to send; a peer that sends it means nothing by it.
            id if id.is_link() => Outcome::link(Vec::new()),
            _ if self.state == State::Alive => Outcome { disposition: Disposition::Data, actions: Vec::new() },
            _ => {
                // On a serial line the peer may not know that the link went.
                let idle = self.settings.medium == Medium::Serial && matches!(self.state, State::Starting { .. });
                let actions = if idle && self.may_start(at) { vec![self.start(at)] } else { Vec::new() };
                Outcome { disposition: Disposition::Dropped, actions }
            }
        }
    }

    /// Acts on a deadline that has passed.
    pub fn tick(&mut self, at: Moment) -> Vec<LinkAction> {
        if self.deadline().is_none_or(|deadline| at.now < deadline) {
            return Vec::new();
        }
        match self.state {
            State::Down | State::Alive => Vec::new(),
            State::Starting { .. } | State::Pausing { .. } => vec![self.start(at)],
            State::Ending { .. } => {
                self.state = State::Down;
                vec![LinkAction::Close(CloseReason::Ended)]
            }
        }
    }

    /// When [`Self::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Down | State::Alive => None,
            State::Starting { again: deadline } | State::Ending { deadline } | State::Pausing { deadline } => {
                Some(deadline)
            }
        }
    }

    /// Data may be sent and is acted on.
    pub fn is_alive(&self) -> bool {
        self.state == State::Alive
    }

    /// The fields that the key system wants in such a record; `None`: it does not want the record at all.
    pub fn wanted(&self, record: RecordId) -> Option<&FieldList> {
        self.wanted.iter().find(|each| each.record == record).map(|each| &each.fields)
    }

    /// Who the key system says it is.
    pub fn description(&self) -> Option<&LinkDescription> {
        self.description.as_ref()
    }

    fn forget(&mut self) {
        self.description = None;
        self.wanted.clear();
        self.started = None;
    }

    fn start(&mut self, at: Moment) -> LinkAction {
        self.state = State::Starting { again: at.now.saturating_add(self.settings.start_interval) };
        self.started = Some((at.now, at.local));
        send(moment_record(RecordId::LINK_START, at.local))
    }

    fn may_start(&self, at: Moment) -> bool {
        self.started.is_none_or(|(last, _)| at.now >= last.saturating_add(START_ANSWER_INTERVAL))
    }

    fn asked(&mut self, at: Moment) -> Vec<LinkAction> {
        match self.state {
            State::Alive => vec![send(moment_record(RecordId::LINK_ALIVE, at.local))],
            State::Starting { .. } if !self.may_start(at) => Vec::new(),
            State::Starting { .. } | State::Pausing { .. } => vec![self.start(at)],
            State::Down | State::Ending { .. } => Vec::new(),
        }
    }

    fn described(&mut self, record: Record<'_>, at: Moment) -> Vec<LinkAction> {
        let description = LinkDescription::read(record);
        if let Some(key) = &self.settings.key {
            let start = self.started.ok_or(CryptogramError::Wrong);
            // A year of two digits: the moment is compared as it was sent.
            if let Err(error) = start.and_then(|(_, local)| key.check(&description.cryptogram, local)) {
                let was_alive = std::mem::replace(&mut self.state, State::Down) == State::Alive;
                self.forget();
                let mut actions = if was_alive { vec![LinkAction::NotAlive] } else { Vec::new() };
                actions.push(LinkAction::Close(CloseReason::Untrusted(error)));
                return actions;
            }
        }
        let was_alive = self.state == State::Alive;
        if was_alive || matches!(self.state, State::Pausing { .. }) {
            self.state = State::Starting { again: at.now.saturating_add(self.settings.start_interval) };
        }
        self.description = Some(description);
        self.wanted.clear();
        if was_alive { vec![LinkAction::NotAlive] } else { Vec::new() }
    }

    fn confirmed(&mut self, at: Moment) -> Vec<LinkAction> {
        if !matches!(self.state, State::Starting { .. }) {
            // While alive an LA is a sign of life and is not answered.
            return Vec::new();
        }
        let Some(description) = self.description.as_ref().filter(|_| !self.wanted.is_empty()) else {
            // Without LD and at least one LR the sequence is not complete.
            return if self.may_start(at) { vec![self.start(at)] } else { Vec::new() };
        };
        self.state = State::Alive;
        let mut actions = Vec::new();
        if let Some(asked) = description.returns.filter(|asked| *asked > 0) {
            let mut configuration = self.settings.configuration.clone();
            configuration.key_timeout_seconds =
                configuration.key_timeout_seconds.filter(|_| asked & ASK_KEY_TIMEOUT != 0);
            actions.push(send(configuration.write()));
        }
        actions.push(send(moment_record(RecordId::LINK_ALIVE, at.local)));
        actions.push(LinkAction::Alive);
        actions
    }

    fn ended(&mut self, at: Moment) -> Vec<LinkAction> {
        if matches!(self.state, State::Ending { .. }) {
            self.state = State::Down;
            return vec![LinkAction::Close(CloseReason::Ended)];
        }
        let mut actions = if self.state == State::Alive { vec![LinkAction::NotAlive] } else { Vec::new() };
        actions.push(send(moment_record(RecordId::LINK_END, at.local)));
        self.forget();
        match self.settings.medium {
            Medium::Tcp => {
                self.state = State::Down;
                actions.push(LinkAction::Close(CloseReason::EndedByPeer));
            }
            Medium::Serial => {
                self.state = State::Pausing { deadline: at.now.saturating_add(self.settings.restart_pause) };
            }
        }
        actions
    }
}

/// The moment that an `LS` names.
pub(super) fn start_moment(record: Record<'_>) -> Option<DateTime> {
    read_moment(record.find(FieldId::DATE), record.find(FieldId::TIME))
}
