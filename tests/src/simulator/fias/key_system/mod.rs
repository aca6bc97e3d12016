//! A vendor's key system: encoders, cards, rooms with generations of keys, and one durable count of everything that was written.
//!
//! What opens a door is on the card, see [`cards`](super::cards). On-line, it also knows keys by their
//! reservation. An answer is sent after its effect is synced to disk. `link`: its connections.

mod link;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::link::serve;
use super::super::line::{Handle, Line};
use super::cards::{Cards, Found};
use super::framing::{Counts, Form};
use super::link_key::LinkKey;
use super::record::{CodePage, Record};

/// Answers that wait for the connection.
const ANSWERS: usize = 64;
/// Between two looks whether a card lies on an encoder.
const LOOK: Duration = Duration::from_millis(20);

/// How this key system behaves.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Frames.
    pub form: Form,
    /// Bytes above ASCII.
    pub page: CodePage,
    /// Rooms that it knows.
    pub rooms: Vec<String>,
    /// Encoders that it has.
    pub encoders: Vec<String>,
    /// How long an encoder waits for a card.
    pub card_wait: Duration,
    /// How long writing takes.
    pub write_time: Duration,
    /// Over a serial line nothing is closed.
    pub is_port: bool,
    /// It knows keys by their reservation, and changes and ends them by it.
    pub on_line: bool,
    /// It proves to the property software that it has this key.
    pub link_key: Option<LinkKey>,
}

/// What goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The card is written, and nothing is answered.
    LoseAnswer,
    /// The card is written, and the answer comes so late (milliseconds).
    LateAnswer(u64),
    /// Answered at once; the card is written afterwards.
    AnswerFirst,
    /// The connection breaks in the middle of the answer.
    BreakInAnswer,
    /// The link begins anew before the answer.
    RestartLink,
    /// The answer names another workstation.
    WrongWorkstation,
    /// The number of the encoder comes back with a zero in front.
    PaddedEncoder,
    /// The answer and an `LA` come in one write.
    TwoInOne,
    /// The answer comes three bytes at a time.
    Trickle,
    /// There are no blank cards left.
    OutOfCards,
}

/// Something physical.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Effect {
    /// 1, 2, 3, ... over the whole life of the data directory.
    pub number: u64,
    /// `new_key`, `duplicate_key`, `one_shot_key`.
    pub kind: String,
    /// Which card.
    pub serial: String,
    /// For which room.
    pub room: String,
    /// Where.
    pub encoder: String,
    /// As told.
    pub reservation: String,
    /// Day and time of its end, as told.
    #[serde(default)]
    pub departure: String,
}

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

fn same(first: &str, second: &str) -> bool {
    match (first.parse::<u64>(), second.parse::<u64>()) {
        (Ok(first), Ok(second)) => first == second,
        _ => first == second,
    }
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

    /// Writes a key, durably counted.
    fn write(&self, request: &Record, encoder: &str, serial: &str) -> std::io::Result<()> {
        let room = request.text("RN").to_owned();
        let mut state = self.state();
        state.cards.write(request, serial);
        let kind = match request.text("KT") {
            "N" => "new_key",
            "D" => "duplicate_key",
            _ => "one_shot_key",
        };
        let effect = Effect {
            number: u64::try_from(state.effects.len()).unwrap_or(u64::MAX).saturating_add(1),
            kind: kind.to_owned(),
            serial: serial.to_owned(),
            room,
            encoder: encoder.to_owned(),
            reservation: request.text("G#").to_owned(),
            departure: format!("{} {}", request.text("GD"), request.text("DT")),
        };
        let mut line = serde_json::to_vec(&effect).map_err(std::io::Error::other)?;
        line.push(b'\n');
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write_all(&line)?;
        log.sync_data()?;
        state.effects.push(effect);
        Ok(())
    }

    fn take_fault(&self) -> Option<Fault> {
        let mut state = self.state();
        if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) }
    }

    async fn say(&self, what: Say) {
        // Who listens is gone only at the end of the process.
        let _gone = self.say.send(what).await;
    }

    fn answer(request: &Record, status: &str, text: &str) -> Record {
        let mut answer = Record::new("KA");
        for name in ["WS", "KC", "G#"] {
            if let Some(value) = request.get(name) {
                answer = answer.with(name, value);
            }
        }
        answer.with("AS", status).with("CT", text)
    }

    /// A request of the property software.
    async fn asked(self: Arc<Self>, request: Record) {
        self.state().requests.push(request.to_string());
        let refused = |status: &str, text: &str| Say::Record(Self::answer(&request, status, text));
        let known = self.profile.encoders.iter().find(|name| same(name, request.text("KC"))).cloned();
        let Some(encoder) = known else { return self.say(refused("UR", "Unknown encoder")).await };
        match request.id.as_str() {
            "KR" => self.make(request.clone(), encoder).await,
            "KD" if self.profile.on_line && !request.text("G#").is_empty() => {
                let found = self.state().cards.end(request.text("RN"), request.text("G#"));
                self.say(match found {
                    Found::Keys(_) => refused("OK", "Keys ended"),
                    Found::Ended => refused("DE", "Ended before"),
                    Found::Nothing => refused("NG", "No such reservation"),
                })
                .await;
            }
            "KD" => {
                let ended = self.state().cards.end_room(request.text("RN"));
                let answer = if ended { refused("OK", "Keys ended") } else { refused("UR", "Unknown room") };
                self.say(answer).await;
            }
            "KM" if self.profile.on_line => {
                let found = self.change(&request);
                self.say(match found {
                    Found::Keys(_) => refused("OK", "Keys changed"),
                    Found::Ended | Found::Nothing => refused("NG", "No such reservation"),
                })
                .await;
            }
            "KZ" => {
                let read = {
                    let state = self.state();
                    let serial = state.encoders.get(&encoder).and_then(|encoder| encoder.card.clone());
                    serial.and_then(|serial| state.cards.key(&serial).cloned())
                };
                let answer = Record::new("KZ").with("WS", request.text("WS")).with("KC", request.text("KC"));
                let answer = match read {
                    Some(key) => answer
                        .with("RN", key.room)
                        .with("G#", key.reservation)
                        .with("GD", key.departure)
                        .with("DT", key.departure_time)
                        .with("AS", "OK")
                        .with("CT", "Key read"),
                    None => answer.with("RN", "").with("AS", "RY").with("CT", "No key on the encoder"),
                };
                self.say(Say::Record(answer)).await;
            }
            _ => self.say(refused("UR", "Not supported")).await,
        }
    }

    fn change(&self, request: &Record) -> Found {
        let mut state = self.state();
        let found = state.cards.change(request);
        if let Found::Keys(keys) = found {
            state.changes.0 += 1;
            state.changes.1 += u64::try_from(keys).unwrap_or(u64::MAX);
        }
        found
    }

    async fn make(&self, request: Record, encoder: String) {
        let answer = |status: &str, text: &str| Self::answer(&request, status, text);
        if !self.profile.rooms.iter().any(|room| room == request.text("RN")) {
            return self.say(Say::Record(answer("UR", "Unknown room"))).await;
        }
        if !["N", "D", "O"].contains(&request.text("KT")) {
            return self.say(Say::Record(answer("UR", "Unknown key type"))).await;
        }
        let (was_busy, plugged) = {
            let mut state = self.state();
            let Some(encoder) = state.encoders.get_mut(&encoder) else { return };
            (std::mem::replace(&mut encoder.busy, true), encoder.plugged)
        };
        if was_busy {
            return self.say(Say::Record(answer("BY", "Encoder busy"))).await;
        }
        let fault = self.take_fault();
        if fault == Some(Fault::OutOfCards) || !plugged {
            self.free(&encoder);
            let (status, text) = if plugged { ("UR", "Out of cards") } else { ("NR", "Encoder offline") };
            return self.say(Say::Record(answer(status, text))).await;
        }
        if fault == Some(Fault::AnswerFirst) {
            self.say(Say::Record(answer("OK", "Accepted"))).await;
        }
        let until = Instant::now() + self.profile.card_wait;
        let card = loop {
            let card = self.card_on(&encoder);
            if card.is_some() || Instant::now() >= until {
                break card;
            }
            sleep(LOOK).await;
        };
        let Some(serial) = card else {
            self.free(&encoder);
            return self.say(Say::Record(answer("RY", "No card presented"))).await;
        };
        sleep(self.profile.write_time).await;
        if let Err(error) = self.write(&request, &encoder, &serial) {
            tracing::error!(%error, "the effect could not be written down");
            self.shutdown.cancel();
            return;
        }
        self.taken_away(&encoder);
        self.free(&encoder);
        let done = answer("OK", "Key made").with("$2", serial);
        let changed = |name: &str, value: String| {
            let mut done = done.clone();
            for field in done.fields.iter_mut().filter(|(field, _)| field == name) {
                field.1.clone_from(&value);
            }
            done
        };
        let what = match fault {
            Some(Fault::LoseAnswer | Fault::AnswerFirst) => return,
            Some(Fault::LateAnswer(milliseconds)) => {
                sleep(Duration::from_millis(milliseconds)).await;
                Say::Record(done)
            }
            Some(Fault::BreakInAnswer) => Say::Half(done),
            Some(Fault::RestartLink) => {
                self.say(Say::Introduce).await;
                Say::Record(done)
            }
            Some(Fault::WrongWorkstation) => Say::Record(changed("WS", "SOMEBODY".to_owned())),
            Some(Fault::PaddedEncoder) => Say::Record(changed("KC", format!("0{}", request.text("KC")))),
            Some(Fault::TwoInOne) => Say::Glued(done),
            Some(Fault::Trickle) => Say::Trickle(done),
            Some(Fault::OutOfCards) | None => Say::Record(done),
        };
        self.say(what).await;
    }

    fn card_on(&self, encoder: &str) -> Option<String> {
        let there = self.state().encoders.get(encoder).cloned()?;
        if there.card.is_none() && there.auto_feed { self.put(encoder, None) } else { there.card }
    }

    /// The attendant leaves nothing on an encoder.
    fn taken_away(&self, encoder: &str) {
        if let Some(encoder) = self.state().encoders.get_mut(encoder)
            && encoder.auto_feed
        {
            encoder.card = None;
        }
    }

    fn free(&self, encoder: &str) {
        if let Some(encoder) = self.state().encoders.get_mut(encoder) {
            encoder.busy = false;
        }
    }
}
