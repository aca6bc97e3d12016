//! The property software: brings the link up, sends what the control interface asks for, and remembers every answer.
//!
//! It repeats no key request by itself, as real property software does not; a person at the desk does (`POST /repeat`). `link`: one
//! connection after the other.

mod link;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Zoned;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::link::serve;
use super::super::line::{Handle, Line};
use super::framing::{Counts, Form, Manners};
use super::link_key::LinkKey;
use super::record::{CodePage, Record};

/// Commands of the control interface that wait for the connection.
const COMMANDS: usize = 256;

/// How this property software behaves.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Frames.
    pub form: Form,
    /// Bytes above ASCII.
    pub page: CodePage,
    /// A second connection takes the place of the first; else it is cut off.
    pub replaces: bool,
    /// Told as the time it waits for an answer, in seconds, to who asks.
    pub key_timeout: u16,
    /// Others connect to it.
    pub listens: bool,
    /// Over a serial line nothing is closed.
    pub is_port: bool,
    /// A key system has to prove that it has this key. After one that does not the port stays closed until somebody enters the
    /// key again.
    pub link_key: Option<LinkKey>,
}

/// What the front panel can change.
#[derive(Debug, Clone, Default, Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Panel {
    /// The link never becomes alive.
    pub no_alive: bool,
    /// The connection is cut when an answer comes, which is not read.
    pub cut_on_answer: bool,
    /// How frames are acknowledged.
    pub manners: Manners,
}

/// An answer.
#[derive(Debug, Clone, Serialize)]
pub struct Heard {
    /// 1, 2, 3, ...
    pub number: u64,
    /// As it came.
    pub record: String,
    /// By name.
    pub fields: Map<String, Value>,
    /// The request that it answers.
    pub request: Option<u64>,
    /// Since the start, in milliseconds.
    pub at_ms: u64,
}

/// A request.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// 1, 2, 3, ...
    pub number: u64,
    /// As it was sent.
    pub record: String,
    /// Times it was sent.
    pub sent: u32,
    /// It waits for its answer.
    pub open: bool,
    /// Since the start, in milliseconds.
    pub at_ms: u64,
    #[serde(skip)]
    bytes: Vec<u8>,
    #[serde(skip)]
    parsed: Record,
}

#[derive(Debug, Default)]
struct State {
    connections: u64,
    refused_connections: u64,
    peer: Option<String>,
    alive: bool,
    times_alive: u64,
    description: Option<String>,
    wanted: BTreeMap<String, Vec<String>>,
    started: bool,
    /// Digits of the moments in the last two `LS`: an answer may cross the second one.
    starts: [String; 2],
    /// As somebody entered it.
    link_key: Option<LinkKey>,
    /// Why the port is closed until the key is entered again.
    closed: Option<String>,
    times_closed: u64,
    dropped: u64,
    asked: Vec<Asked>,
    heard: Vec<Heard>,
    panel: Panel,
    counts: Counts,
}

/// What the control interface tells the connection.
#[derive(Debug)]
enum Order {
    Send(Vec<u8>),
    Raw(Vec<u8>),
    End,
    Cut,
}

/// Why an order was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody would read it.
    #[error("the link is not alive")]
    NotAlive,
    /// Not as sent by anybody.
    #[error("{0}")]
    Bad(String),
    /// No such request.
    #[error("there is no request {0}")]
    Unknown(u64),
}

/// The property software.
#[derive(Debug)]
pub struct Pms {
    profile: Profile,
    state: Mutex<State>,
    orders: mpsc::Sender<Order>,
    changed: watch::Sender<u64>,
    handle: Handle,
    begun: Instant,
    /// Ends the process.
    pub shutdown: CancellationToken,
}

impl Pms {
    /// Behind a line; the second part runs until the end of the process.
    pub fn new(profile: Profile, line: Line) -> (Arc<Self>, impl Future<Output = std::io::Result<()>> + Send) {
        let (orders, taken) = mpsc::channel(COMMANDS);
        let state = State { link_key: profile.link_key.clone(), ..State::default() };
        let pms = Arc::new(Self {
            profile,
            state: Mutex::new(state),
            orders,
            changed: watch::Sender::new(0),
            handle: line.handle(),
            begun: Instant::now(),
            shutdown: CancellationToken::new(),
        });
        let run = serve(Arc::clone(&pms), line, taken);
        (pms, run)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The hand on its line.
    pub fn line(&self) -> &Handle {
        &self.handle
    }

    /// All that is known.
    pub fn show(&self) -> Value {
        let state = self.state();
        json!({
            "connections": state.connections, "refused_connections": state.refused_connections, "peer": state.peer,
            "alive": state.alive, "times_alive": state.times_alive, "description": state.description,
            "closed": state.closed, "times_closed": state.times_closed,
            "wanted": state.wanted, "dropped": state.dropped, "requests": state.asked.len(),
            "answers": state.heard.len(), "panel": state.panel, "frames": state.counts,
            "carried": self.handle.carried(), "noise": self.handle.noise(), "plugged": self.handle.is_plugged(),
        })
    }

    /// Answers after a number.
    pub fn answers(&self, since: u64) -> Vec<Heard> {
        self.state().heard.iter().filter(|heard| heard.number > since).cloned().collect()
    }

    /// Changes the front panel.
    pub fn set_panel(&self, panel: Panel) {
        self.change(|state| state.panel = panel);
    }

    /// Somebody enters the key of the link again: the port opens.
    pub fn enter_key(&self, key: LinkKey) {
        self.change(|state| {
            state.link_key = Some(key);
            state.closed = None;
        });
    }

    /// Believes a link description, or closes the port.
    fn believes(&self, record: &Record) -> bool {
        let distrust = {
            let state = self.state();
            let Some(key) = &state.link_key else { return true };
            let check = |digits: &String| key.check(record.text("RT"), record.text("CG"), digits);
            let [last, before] = &state.starts;
            check(last).or_else(|distrust| check(before).map_err(|_| distrust)).err()
        };
        if let Some(distrust) = distrust {
            self.change(|state| {
                state.closed = Some(distrust.to_string());
                state.times_closed += 1;
            });
        }
        distrust.is_none()
    }

    /// Until somebody enters the key again.
    async fn key_entered(&self) {
        let mut changed = self.changed.subscribe();
        // The sender lives as long as this.
        let _ended = changed.wait_for(|_| self.state().closed.is_none()).await;
    }

    /// Sends a request, with the fields that the key system wants. `force`: whatever the link is, and every field.
    pub fn ask(&self, record: Record, force: bool) -> Result<u64, Refused> {
        record.check().map_err(|bad| Refused::Bad(bad.to_string()))?;
        let mut state = self.state();
        if !state.alive && !force {
            return Err(Refused::NotAlive);
        }
        let mut record = record;
        if !force {
            let Some(wanted) = state.wanted.get(&record.id) else {
                return Err(Refused::Bad(format!("the key system did not ask for {}", record.id)));
            };
            record.fields.retain(|(name, _)| wanted.contains(name));
        }
        let number = u64::try_from(state.asked.len()).unwrap_or(u64::MAX).saturating_add(1);
        let bytes = record.print(self.profile.page);
        self.give(Order::Send(bytes.clone()))?;
        state.asked.push(Asked {
            number,
            record: record.to_string(),
            sent: 1,
            open: true,
            at_ms: self.now_ms(),
            bytes,
            parsed: record,
        });
        Ok(number)
    }

    /// Sends the bytes of a request once more.
    pub fn repeat(&self, number: u64) -> Result<(), Refused> {
        let mut state = self.state();
        if !state.alive {
            return Err(Refused::NotAlive);
        }
        let asked = state.asked.iter_mut().find(|asked| asked.number == number).ok_or(Refused::Unknown(number))?;
        asked.sent += 1;
        asked.open = true;
        let bytes = asked.bytes.clone();
        self.give(Order::Send(bytes))
    }

    /// Sends bytes as they are.
    pub fn raw(&self, bytes: Vec<u8>) -> Result<(), Refused> {
        self.give(Order::Raw(bytes))
    }

    /// Ends the link in good order.
    pub fn end(&self) -> Result<(), Refused> {
        self.give(Order::End)
    }

    /// Drops the connection.
    pub fn cut(&self) -> Result<(), Refused> {
        self.give(Order::Cut)
    }

    fn give(&self, order: Order) -> Result<(), Refused> {
        self.orders.try_send(order).map_err(|_| Refused::Bad("too many orders wait".to_owned()))
    }

    /// A request with its answers; waits until it has one, or for as long as it may.
    pub async fn asked(&self, number: u64, wait: Duration) -> Result<Value, Refused> {
        let mut changed = self.changed.subscribe();
        let deadline = Instant::now() + wait;
        loop {
            let (asked, answers) = {
                let state = self.state();
                let asked = state.asked.iter().find(|asked| asked.number == number).cloned();
                let answers: Vec<Heard> =
                    state.heard.iter().filter(|heard| heard.request == Some(number)).cloned().collect();
                (asked.ok_or(Refused::Unknown(number))?, answers)
            };
            if !asked.open || Instant::now() >= deadline {
                return Ok(json!({ "request": asked, "answers": answers }));
            }
            // Woken by every change; the deadline ends the wait anyway.
            let _timed_out = tokio::time::timeout_at(deadline, changed.changed()).await;
        }
    }

    /// An `LS`, remembered.
    fn start(&self) -> Record {
        let start = Self::moment("LS");
        let digits = format!("{}{}", start.text("DA"), start.text("TI"));
        self.change(|state| {
            state.started = true;
            state.starts.swap(0, 1);
            let [last, _] = &mut state.starts;
            *last = digits;
        });
        start
    }

    fn moment(id: &str) -> Record {
        let now = Zoned::now();
        Record::new(id).with("DA", now.strftime("%y%m%d").to_string()).with("TI", now.strftime("%H%M%S").to_string())
    }

    /// Takes an answer in: the oldest open request of that coder and workstation is answered.
    fn heard(&self, record: &Record) {
        let at_ms = self.now_ms();
        self.change(|state| {
            let wants = if record.id == "KZ" { &["KZ"][..] } else { &["KR", "KD", "KM"][..] };
            let asked = state.asked.iter_mut().find(|asked| {
                asked.open
                    && wants.contains(&asked.parsed.id.as_str())
                    && asked.parsed.text("KC") == record.text("KC")
                    && asked.parsed.text("WS") == record.text("WS")
                    && (record.get("G#").is_none() || asked.parsed.text("G#") == record.text("G#") || record.id == "KZ")
            });
            let request = asked.map(|asked| {
                asked.open = false;
                asked.number
            });
            let number = u64::try_from(state.heard.len()).unwrap_or(u64::MAX).saturating_add(1);
            let fields = record.fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            state.heard.push(Heard { number, record: record.to_string(), fields, request, at_ms });
        });
    }
}
