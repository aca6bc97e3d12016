//! A vendor's key system: encoders, cards, rooms with generations of keys, and one durable count of everything that was written.
//!
//! What opens a door is on the card, see [`cards`](super::cards). On-line, it also knows keys by their
//! reservation. An answer is sent after its effect is synced to disk. `link`: its connections; `work`: its requests.

mod link;
mod profile;
mod work;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::link::serve;
use super::super::line::{Handle, Line};
use super::cards::Cards;
use super::framing::Counts;
use super::record::Record;

pub use profile::{Effect, Fault, Profile};

/// Answers that wait for the connection.
const ANSWERS: usize = 64;

#[derive(Debug, Clone, Default, Serialize)]
struct Encoder {
    card: Option<String>,
    plugged: bool,
    busy: bool,
    /// An attendant lays a blank down whenever a card is asked for, and takes the key away.
    auto_feed: bool,
}

#[derive(Debug, Default)]
struct State {
    connections: u64,
    alive: bool,
    times_alive: u64,
    requests: Vec<String>,
    encoders: BTreeMap<String, Encoder>,
    cards: Cards,
    /// Requests that changed keys without a card, and the keys that they changed.
    changes: (u64, u64),
    effects: Vec<Effect>,
    faults: Vec<Fault>,
    counts: Counts,
    /// Digits of the moment in the last `LS` of the property software.
    start: String,
}

/// What a job tells the connection to send.
#[derive(Debug)]
enum Say {
    Record(Record),
    Half(Record),
    Glued(Record),
    Trickle(Record),
    Introduce,
}

/// The key system.
#[derive(Debug)]
pub struct KeySystem {
    profile: Profile,
    state: Mutex<State>,
    log: Mutex<File>,
    say: mpsc::Sender<Say>,
    handle: Handle,
    /// Ends the process.
    pub shutdown: CancellationToken,
}

impl KeySystem {
    /// Behind a line, with its effects in `data`; the second part runs until the end of the process.
    pub fn open(
        profile: Profile,
        line: Line,
        data: &Path,
    ) -> std::io::Result<(Arc<Self>, impl Future<Output = std::io::Result<()>> + Send + use<>)> {
        std::fs::create_dir_all(data)?;
        let path = data.join("effects.jsonl");
        let log = OpenOptions::new().create(true).append(true).read(true).open(&path)?;
        let mut effects = Vec::new();
        for line in BufReader::new(File::open(&path)?).lines() {
            effects.push(serde_json::from_str::<Effect>(&line?).map_err(std::io::Error::other)?);
        }
        let encoder = |name: &String| (name.clone(), Encoder { plugged: true, ..Encoder::default() });
        let state = State {
            encoders: profile.encoders.iter().map(encoder).collect(),
            cards: Cards::new(&profile.rooms),
            effects,
            ..State::default()
        };
        let (say, said) = mpsc::channel(ANSWERS);
        let system = Arc::new(Self {
            profile,
            state: Mutex::new(state),
            log: Mutex::new(log),
            say,
            handle: line.handle(),
            shutdown: CancellationToken::new(),
        });
        let run = serve(Arc::clone(&system), line, said);
        Ok((system, run))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hand on its line.
    pub fn line(&self) -> &Handle {
        &self.handle
    }

    /// All that is known.
    pub fn show(&self) -> Value {
        let state = self.state();
        json!({
            "connections": state.connections, "alive": state.alive, "times_alive": state.times_alive,
            "requests": state.requests, "encoders": state.encoders, "cards": state.cards.all(), "faults": state.faults,
            "generations": state.cards.generations(), "changes": state.changes.0, "changed_keys": state.changes.1,
            "frames": state.counts, "noise": self.handle.noise(),
        })
    }

    /// Every effect, and how many there are of each kind.
    pub fn effects(&self) -> Value {
        let state = self.state();
        let mut by_kind: BTreeMap<&str, u64> = BTreeMap::new();
        for effect in &state.effects {
            *by_kind.entry(effect.kind.as_str()).or_default() += 1;
        }
        json!({ "total": state.effects.len(), "by_kind": by_kind, "effects": state.effects })
    }

    /// Lays a card on an encoder: a known one, or a new blank. Its serial.
    pub fn put(&self, encoder: &str, serial: Option<String>) -> Option<String> {
        let mut state = self.state();
        let serial = serial.unwrap_or_else(|| format!("{:08X}", rand::random::<u32>()));
        state.encoders.get_mut(encoder)?.card = Some(serial.clone());
        state.cards.add(&serial);
        Some(serial)
    }

    /// Takes the card off, plugs the encoder in or out, hires an attendant; `false`: there is none of that name.
    pub fn set_encoder(&self, encoder: &str, lift: bool, plugged: Option<bool>, auto_feed: Option<bool>) -> bool {
        let mut state = self.state();
        let Some(encoder) = state.encoders.get_mut(encoder) else { return false };
        if lift {
            encoder.card = None;
        }
        encoder.plugged = plugged.unwrap_or(encoder.plugged);
        encoder.auto_feed = auto_feed.unwrap_or(encoder.auto_feed);
        true
    }

    /// Asks for a fault of one of the next requests for a key.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Holds a card to a door.
    pub fn present(&self, serial: &str, room: &str) -> bool {
        self.state().cards.present(serial, room)
    }

    fn take_fault(&self) -> Option<Fault> {
        let mut state = self.state();
        if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) }
    }

    async fn say(&self, what: Say) {
        // Who listens is gone only at the end of the process.
        let _gone = self.say.send(what).await;
    }
}
