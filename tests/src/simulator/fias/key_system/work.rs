//! What is asked of the key system: keys made, changed, ended and read.

use std::io::Write as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::cards::Found;
use super::super::record::Record;
use super::{Effect, Fault, KeySystem, Say};

/// Between two looks whether a card lies on an encoder.
const LOOK: Duration = Duration::from_millis(20);

fn same(first: &str, second: &str) -> bool {
    match (first.parse::<u64>(), second.parse::<u64>()) {
        (Ok(first), Ok(second)) => first == second,
        _ => first == second,
    }
}

impl KeySystem {
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
    pub(super) async fn asked(self: Arc<Self>, request: Record) {
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
