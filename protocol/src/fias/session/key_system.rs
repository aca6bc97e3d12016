//! The key system's end of a link.
//!
//! ```text
//!          link_up          LS, or own LS after 3 s        LD, LR... one by one, LA
//!   Down ─────────► WaitStart ──────────► Introducing ─────────────────────────► WaitAlive ── LA, data ──► Alive
//!    ▲                 ▲  ▲ five own LS unanswered: Close       ▲                  │  own LS, five times      │
//!    │                 │                                        └─── LS, at any time ──────────────────────┤
//!    │      serial: ───┘ LE: LE                                                    quiet: LS, then Close ◄───┤
//!    └─────────────────── TCP: Close ◄──────────────────────────────── Ending ◄── end: LE ───────────────────┘
//! ```

use std::time::Duration;

use jiff::civil::DateTime;

use super::pms::start_moment;
use super::{CloseReason, Disposition, LinkAction, Medium, Moment, Outcome, send};
use crate::fias::cryptogram::SiteKey;
use crate::fias::id::RecordId;
use crate::fias::link::{LinkConfiguration, LinkDescription, LinkRecord, moment_record};
use crate::fias::record::Record;

/// How this end behaves.
#[derive(Debug, Clone)]
pub struct KeySystemSettings {
    /// What the link runs over.
    pub medium: Medium,
    /// Who we say we are. The cryptogram is filled in when there is a key.
    pub description: LinkDescription,
    /// What we use, one for each record type; also those of the answers.
    pub records: Vec<LinkRecord>,
    /// Between two records of the introduction: some PMSs lose what comes too fast.
    pub spacing: Duration,
    /// For the first `LS` of the PMS.
    pub start_timeout: Duration,
    /// For the `LA` after the introduction.
    pub alive_timeout: Duration,
    /// Own `LS` that may go unanswered before the connection is given up.
    pub tries: u32,
    /// Quiet time after which an alive link is asked.
    pub probe_interval: Duration,
    /// For anything at all after that.
    pub probe_timeout: Duration,
    /// For the answer to an own `LE`.
    pub end_timeout: Duration,
    /// Answer an `LA` that the PMS sent of its own accord.
    pub answers_alive: bool,
    /// The site's key, if the PMS wants proof.
    pub key: Option<SiteKey>,
}

impl KeySystemSettings {
    /// What the specification and known PMSs say for this medium.
    pub fn new(medium: Medium, description: LinkDescription, records: Vec<LinkRecord>) -> Self {
        Self {
            medium,
            description,
            records,
            spacing: Duration::from_millis(100),
            start_timeout: Duration::from_secs(3),
            alive_timeout: Duration::from_secs(30),
            tries: 5,
            probe_interval: Duration::from_secs(300),
            probe_timeout: Duration::from_secs(30),
            end_timeout: Duration::from_secs(if medium == Medium::Tcp { 2 } else { 3 }),
            answers_alive: true,
            key: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    /// `tries`: own `LS` sent so far.
    WaitStart {
        tries: u32,
        deadline: Duration,
    },
    /// `sent`: descriptions of records sent so far.
    Introducing {
        sent: usize,
        tries: u32,
        deadline: Duration,
    },
    WaitAlive {
        tries: u32,
        deadline: Duration,
    },
    /// `is_probing`: an own `LS` waits for a sign of life.
    Alive {
        is_probing: bool,
        deadline: Duration,
    },
    Ending {
        deadline: Duration,
    },
}

/// The key system's end.
#[derive(Debug)]
pub struct KeySystemSession {
    settings: KeySystemSettings,
    state: State,
    configuration: Option<LinkConfiguration>,
    /// When an own `LS` or `LA` went out last: an `LA` soon after is its answer.
    said: Option<Duration>,
}

impl KeySystemSession {
    /// Not connected yet.
    pub fn new(settings: KeySystemSettings) -> Self {
        Self { settings, state: State::Down, configuration: None, said: None }
    }

    /// The connection or the device is there.
    pub fn link_up(&mut self, at: Moment) -> Vec<LinkAction> {
        self.configuration = None;
        self.said = None;
        self.state = State::WaitStart { tries: 0, deadline: at.now.saturating_add(self.settings.start_timeout) };
        Vec::new()
    }

    /// The connection or the device is gone.
    pub fn link_lost(&mut self) -> Vec<LinkAction> {
        let was_alive = self.is_alive();
        self.state = State::Down;
        if was_alive { vec![LinkAction::NotAlive] } else { Vec::new() }
    }

    /// Ends the link in good order.
    pub fn end(&mut self, at: Moment) -> Vec<LinkAction> {
        if matches!(self.state, State::Down | State::Ending { .. }) {
            return Vec::new();
        }
        let mut actions = if self.is_alive() { vec![LinkAction::NotAlive] } else { Vec::new() };
        self.state = State::Ending { deadline: at.now.saturating_add(self.settings.end_timeout) };
        actions.push(send(moment_record(RecordId::LINK_END, at.local)));
        actions
    }

    /// A record came in.
    pub fn record(&mut self, record: Record<'_>, at: Moment) -> Outcome {
        if self.state == State::Down {
            return Outcome { disposition: Disposition::Dropped, actions: Vec::new() };
        }
        let ending = matches!(self.state, State::Ending { .. });
        match record.id() {
            RecordId::LINK_END => Outcome::link(self.ended(at)),
            _ if ending => Outcome { disposition: Disposition::Dropped, actions: Vec::new() },
            RecordId::LINK_START => Outcome::link(self.introduce(start_moment(record), at)),
            RecordId::LINK_ALIVE => Outcome::link(self.confirmed(at)),
            RecordId::LINK_CONFIGURATION => {
                self.configuration = Some(LinkConfiguration::read(record));
                self.lives(at);
                Outcome::link(Vec::new())
            }
            id if id.is_link() => Outcome::link(Vec::new()),
            _ => self.data(at),
        }
    }

    /// Acts on a deadline that has passed.
    pub fn tick(&mut self, at: Moment) -> Vec<LinkAction> {
        if self.deadline().is_none_or(|deadline| at.now < deadline) {
            return Vec::new();
        }
        match self.state {
            State::Down => Vec::new(),
            State::WaitStart { tries, .. } | State::WaitAlive { tries, .. } => self.ask(tries, at),
            State::Introducing { sent, tries, .. } => vec![self.next(sent, tries, at)],
            State::Alive { is_probing: false, .. } => {
                let deadline = at.now.saturating_add(self.settings.probe_timeout);
                self.state = State::Alive { is_probing: true, deadline };
                self.said = Some(at.now);
                vec![send(moment_record(RecordId::LINK_START, at.local))]
            }
            State::Alive { is_probing: true, .. } => {
                self.state = State::Down;
                vec![LinkAction::NotAlive, LinkAction::Close(CloseReason::NoAnswer)]
            }
            State::Ending { .. } => {
                self.state = State::Down;
                vec![LinkAction::Close(CloseReason::Ended)]
            }
        }
    }

    /// When [`Self::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Down => None,
            State::WaitStart { deadline, .. }
            | State::Introducing { deadline, .. }
            | State::WaitAlive { deadline, .. }
            | State::Alive { deadline, .. }
            | State::Ending { deadline } => Some(deadline),
        }
    }

    /// Data may be sent and is acted on.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive { .. })
    }

    /// What the PMS told about itself.
    pub fn configuration(&self) -> Option<&LinkConfiguration> {
        self.configuration.as_ref()
    }

    /// Our own `LS`, or the end after too many of them.
    fn ask(&mut self, tries: u32, at: Moment) -> Vec<LinkAction> {
        if tries >= self.settings.tries {
            self.state = State::Down;
            return vec![LinkAction::Close(CloseReason::NoAnswer)];
        }
        let deadline = at.now.saturating_add(self.settings.alive_timeout);
        self.state = State::WaitStart { tries: tries.saturating_add(1), deadline };
        self.said = Some(at.now);
        vec![send(moment_record(RecordId::LINK_START, at.local))]
    }

    fn introduce(&mut self, start: Option<DateTime>, at: Moment) -> Vec<LinkAction> {
        let tries = match self.state {
            State::WaitStart { tries, .. } | State::WaitAlive { tries, .. } | State::Introducing { tries, .. } => tries,
            _ => 0,
        };
        let mut actions = if self.is_alive() { vec![LinkAction::NotAlive] } else { Vec::new() };
        let mut description = self.settings.description.clone();
        if let (Some(key), Some(start)) = (&self.settings.key, start) {
            description.cryptogram = key.seal(start, at.random).unwrap_or_default();
            // The PMS looks at the cryptogram only if something is asked for.
            description.returns = description.returns.filter(|asked| *asked > 0).or(Some(1));
        }
        self.state = State::Introducing { sent: 0, tries, deadline: at.now.saturating_add(self.settings.spacing) };
        actions.push(send(description.write(at.local)));
        actions
    }

    /// The next description, or the end of the introduction.
    fn next(&mut self, sent: usize, tries: u32, at: Moment) -> LinkAction {
        if let Some(record) = self.settings.records.get(sent) {
            let deadline = at.now.saturating_add(self.settings.spacing);
            self.state = State::Introducing { sent: sent.saturating_add(1), tries, deadline };
            return send(record.write());
        }
        self.state = State::WaitAlive { tries, deadline: at.now.saturating_add(self.settings.alive_timeout) };
        self.said = Some(at.now);
        send(moment_record(RecordId::LINK_ALIVE, at.local))
    }

    fn confirmed(&mut self, at: Moment) -> Vec<LinkAction> {
        match self.state {
            State::WaitAlive { .. } => {
                self.now_alive(at);
                vec![LinkAction::Alive]
            }
            // A PMS that was alive all the time answers our LS so, and needs no new introduction.
            State::WaitStart { tries, .. } if tries > 0 => {
                self.now_alive(at);
                vec![LinkAction::Alive]
            }
            State::Alive { .. } => {
                self.now_alive(at);
                let is_answer = self.said.is_some_and(|said| at.now < said.saturating_add(self.settings.probe_timeout));
                if is_answer || !self.settings.answers_alive {
                    return Vec::new();
                }
                self.said = Some(at.now);
                vec![send(moment_record(RecordId::LINK_ALIVE, at.local))]
            }
            _ => Vec::new(),
        }
    }

    fn now_alive(&mut self, at: Moment) {
        let deadline = at.now.saturating_add(self.settings.probe_interval);
        self.state = State::Alive { is_probing: false, deadline };
    }

    fn lives(&mut self, at: Moment) {
        if self.is_alive() {
            self.now_alive(at);
        }
    }

    fn data(&mut self, at: Moment) -> Outcome {
        match self.state {
            State::Alive { .. } => {
                self.now_alive(at);
                Outcome { disposition: Disposition::Data, actions: Vec::new() }
            }
            // A PMS sends no data before it takes the link for alive, so its LA was lost or never sent.
            State::WaitAlive { .. } => self.woken(at),
            // On a serial line it need not have noticed that we were away, and knows our introduction from before.
            State::WaitStart { .. } if self.settings.medium == Medium::Serial => self.woken(at),
            _ => Outcome { disposition: Disposition::Dropped, actions: Vec::new() },
        }
    }

    /// Data proves that the link is alive.
    fn woken(&mut self, at: Moment) -> Outcome {
        self.now_alive(at);
        Outcome { disposition: Disposition::Data, actions: vec![LinkAction::Alive] }
    }

    fn ended(&mut self, at: Moment) -> Vec<LinkAction> {
        if matches!(self.state, State::Ending { .. }) {
            self.state = State::Down;
            return vec![LinkAction::Close(CloseReason::Ended)];
        }
        let mut actions = if self.is_alive() { vec![LinkAction::NotAlive] } else { Vec::new() };
        actions.push(send(moment_record(RecordId::LINK_END, at.local)));
        match self.settings.medium {
            Medium::Tcp => {
                self.state = State::Down;
                actions.push(LinkAction::Close(CloseReason::EndedByPeer));
            }
            Medium::Serial => {
                // The PMS starts anew some seconds after its end.
                self.state =
                    State::WaitStart { tries: 0, deadline: at.now.saturating_add(self.settings.alive_timeout) };
            }
        }
        actions
    }
}
