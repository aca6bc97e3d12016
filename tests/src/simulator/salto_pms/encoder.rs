//! A job at an encoder: wait for a card, look at it, write it, wait until it is taken.
//!
//! One job at an encoder at a time, and one for a room: a second one is told OV or EO at once. A write that is cut off leaves a
//! card that no lock reads, and is counted. With auto-feed an attendant lays a blank card and takes it away.

use std::time::Duration;

use lockbridge_protocol::salto_pms::answer::Answer;
use lockbridge_protocol::salto_pms::authorisation::Authorisations;
use lockbridge_protocol::salto_pms::card::{CardRead, CopyNumber, GuestCard};
use lockbridge_protocol::salto_pms::request::{CardKey, Handling, Request, ReturnSerial, Track};
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::FaultKind;
use super::hotel::{Card, Change, Contents, Copy, Effect, EffectKind, Encoder, Hotel};
use super::work::{Refused, check, make_key};
use super::{Simulator, encoder_claim, room_claim};
use crate::simulator::site::card::random_serial;

/// Carries out a request at an encoder.
pub async fn run(simulator: &Simulator, request: &Request, fault: Option<FaultKind>) -> Result<Answer, Refused> {
    let name = request.encoder().unwrap_or_default();
    let encoder = simulator.read(|hotel| hotel.encoders.get(name).cloned()).ok_or_else(|| Refused::of("NC"))?;
    if !encoder.plugged || fault == Some(FaultKind::EncoderUnplugged) {
        return Err(Refused::of("NC"));
    }
    let claim = simulator.claim(encoder_claim(name));
    if encoder.busy || claim.is_none() || fault == Some(FaultKind::EncoderBusy) {
        return Err(Refused::of("OV"));
    }
    let outcome = job(simulator, name, request, fault.as_ref()).await;
    put_down(simulator, name)?;
    outcome
}

async fn job(
    simulator: &Simulator,
    name: &str,
    request: &Request,
    fault: Option<&FaultKind>,
) -> Result<Answer, Refused> {
    match request {
        Request::Card(card) => write(simulator, request.command(), card, fault).await,
        Request::ReadCard { handling, .. } => {
            let serial = wait_for_card(simulator, name, fault).await?;
            let about = name.to_owned();
            let answer = simulator.read(|hotel| Answer::Card { about, card: shown(hotel, &serial, simulator.now()) });
            taken_away(simulator, name, *handling).await;
            Ok(answer)
        }
        Request::ReadTrack { track, handling, .. } => {
            let serial = wait_for_card(simulator, name, fault).await?;
            let tracks = simulator.read(|hotel| hotel.cards.get(&serial).map(|card| card.tracks.clone()));
            let text = tracks.unwrap_or_default().into_iter().nth(place(*track)).unwrap_or_default();
            taken_away(simulator, name, *handling).await;
            Ok(Answer::Track { about: name.to_owned(), text })
        }
        Request::WriteTrack { track, handling, text, .. } => {
            let serial = wait_for_card(simulator, name, fault).await?;
            write_track(simulator, name, &serial, *track, text)?;
            taken_away(simulator, name, *handling).await;
            Ok(Answer::Done { about: name.to_owned(), more: Vec::new() })
        }
        _ => Err(Refused::of("ES")),
    }
}

async fn write(
    simulator: &Simulator,
    command: &str,
    card: &CardKey,
    fault: Option<&FaultKind>,
) -> Result<Answer, Refused> {
    simulator.read(|hotel| check(hotel, &card.stay, card.kind, simulator.now()))?;
    let Some(_room) = simulator.claim(room_claim(&card.stay.room)) else { return Err(Refused::of("EO")) };
    let mut serials = Vec::new();
    for nth in 0..u64::from(card.cards.unwrap_or(1)) {
        let serial = wait_for_card(simulator, &card.encoder, fault).await?;
        match simulator.read(|hotel| hotel.cards.get(&serial).map(|card| card.contents.clone())) {
            None | Some(Contents::Foreign) => return Err(Refused::of("EF")),
            Some(Contents::Staff) => return Err(Refused::of("EV")),
            Some(_) => {}
        }
        write_one(simulator, command, card, &serial, nth, fault).await?;
        serials.push(serial);
        // Between two cards of one request the first has to go, whatever becomes of the last.
        let is_last = nth + 1 == u64::from(card.cards.unwrap_or(1));
        taken_away(simulator, &card.encoder, if is_last { card.handling } else { Handling::Eject }).await;
    }
    let more = match card.serial {
        ReturnSerial::Unsaid | ReturnSerial::No => Vec::new(),
        ReturnSerial::Last => serials.pop().into_iter().collect(),
        ReturnSerial::All => serials,
    };
    Ok(Answer::Done { about: card.encoder.clone(), more })
}

async fn write_one(
    simulator: &Simulator,
    command: &str,
    card: &CardKey,
    serial: &str,
    nth: u64,
    fault: Option<&FaultKind>,
) -> Result<(), Refused> {
    let write_time = simulator.settings.write_time;
    let is_lifted = tokio::select! {
        biased;
        () = is_gone(simulator, &card.encoder, serial) => true,
        () = sleep(write_time / 2), if fault == Some(&FaultKind::CardLifted) => true,
        () = sleep(write_time) => false,
    };
    let now = simulator.now();
    let effect = |kind, key| Effect {
        number: 0,
        kind,
        command: command.to_owned(),
        room: card.stay.room.clone(),
        medium: serial.to_owned(),
        encoder: card.encoder.clone(),
        key,
        at: now,
    };
    simulator.change(|hotel| {
        let Some(mut written) = hotel.cards.get(serial).cloned() else { return Err(Refused::of("EF")) };
        if is_lifted {
            written.contents = Contents::Partial;
            hotel.put(Change::Card(written));
            hotel.effect(effect(EffectKind::CardPartlyWritten, None));
            lay(hotel, &card.encoder, None);
            return Err(Refused::of("EP"));
        }
        // The room may have changed while the card was waited for.
        check(hotel, &card.stay, card.kind, now)?;
        let key = make_key(hotel, &card.stay, card.kind, nth, now);
        written.contents = Contents::Guest(key.clone());
        for (track, text) in written.tracks.iter_mut().zip(&card.tracks) {
            track.clone_from(text);
        }
        hotel.put(Change::Card(written));
        hotel.effect(effect(EffectKind::CardWritten, Some(key)));
        Ok(())
    })?
}

fn write_track(simulator: &Simulator, encoder: &str, serial: &str, track: Track, text: &str) -> Result<(), Refused> {
    let at = simulator.now();
    simulator.change(|hotel| {
        let Some(mut card) = hotel.cards.get(serial).cloned() else { return Err(Refused::of("EF")) };
        if let Some(track) = card.tracks.get_mut(place(track)) {
            text.clone_into(track);
        }
        hotel.put(Change::Card(card));
        hotel.effect(Effect {
            number: 0,
            kind: EffectKind::TrackWritten,
            command: format!("P{}", place(track) + 1),
            room: String::new(),
            medium: serial.to_owned(),
            encoder: encoder.to_owned(),
            key: None,
            at,
        });
        Ok(())
    })?
}

const fn place(track: Track) -> usize {
    match track {
        Track::One => 0,
        Track::Two => 1,
        Track::Three => 2,
    }
}

/// What `LT` says of a card.
fn shown(hotel: &Hotel, serial: &str, now: jiff::civil::DateTime) -> CardRead {
    let key = match hotel.cards.get(serial).map(|card| &card.contents) {
        None | Some(Contents::Blank | Contents::Partial | Contents::Foreign) => return CardRead::NotIdentified,
        Some(Contents::Staff) => return CardRead::Staff,
        Some(Contents::Spare) => return CardRead::Spare,
        Some(Contents::Guest(key)) => key,
    };
    if key.spent || key.end.is_some_and(|end| end <= now) {
        return CardRead::Ended;
    }
    let mut rooms = key.rooms.iter();
    let Some((main, generation)) = rooms.next() else { return CardRead::Ended };
    let stays = hotel.rooms.get(main).is_some_and(|room| room.occupied && room.generation == *generation);
    CardRead::Guest(Box::new(GuestCard {
        room: main.clone(),
        more_rooms: rooms.map(|(room, _)| room.clone()).collect(),
        checked_in: Some(stays),
        copy: Some(match key.copy {
            Copy::Original => CopyNumber::Original,
            Copy::Number(1) => CopyNumber::First,
            Copy::Number(2) => CopyNumber::Second,
            Copy::Number(_) => CopyNumber::Later,
            Copy::OneShot => CopyNumber::OneShot,
        }),
        granted: Authorisations::from_numbers(key.granted.iter().copied()).unwrap_or_default(),
        start: Some(key.start),
        end: key.end,
        operator: key.operator.clone(),
        unread: Vec::new(),
    }))
}

/// The serial of the card on the encoder, waiting for one: ED when nobody comes.
async fn wait_for_card(simulator: &Simulator, name: &str, fault: Option<&FaultKind>) -> Result<String, Refused> {
    let deadline = Instant::now() + simulator.settings.card_wait;
    let nobody_comes = fault == Some(&FaultKind::NoCard);
    let mut changes = simulator.changes();
    loop {
        changes.mark_unchanged();
        let state = simulator.read(|hotel| hotel.encoders.get(name).cloned()).ok_or_else(|| Refused::of("NC"))?;
        match state {
            Encoder { plugged: false, .. } => return Err(Refused::of("NC")),
            Encoder { card: Some(serial), .. } if !nobody_comes => return Ok(serial),
            Encoder { card: None, auto_feed: true, .. } if !nobody_comes => {
                simulator.change(|hotel| {
                    let serial = random_serial();
                    let (contents, tracks) = (Contents::Blank, Default::default());
                    hotel.put(Change::Card(Card { serial: serial.clone(), contents, tracks }));
                    lay(hotel, name, Some(serial));
                })?;
                continue;
            }
            _ => {}
        }
        if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            return Err(Refused::of("ED"));
        }
    }
}

async fn is_gone(simulator: &Simulator, name: &str, serial: &str) {
    let mut changes = simulator.changes();
    loop {
        changes.mark_unchanged();
        let is_there = simulator.read(|hotel| {
            let encoder = hotel.encoders.get(name);
            encoder.is_some_and(|encoder| encoder.plugged && encoder.card.as_deref() == Some(serial))
        });
        if !is_there || changes.changed().await.is_err() {
            return;
        }
    }
}

/// With eject the answer waits until the card is taken; an attendant takes it at once.
async fn taken_away(simulator: &Simulator, name: &str, handling: Handling) {
    let state = simulator.read(|hotel| hotel.encoders.get(name).cloned());
    let Some(Encoder { card: Some(serial), auto_feed, .. }) = state else { return };
    if handling == Handling::Retain {
        return;
    }
    if auto_feed {
        // An error ends the process; the answer then finds nobody.
        let _gone = simulator.change(|hotel| lay(hotel, name, None));
        return;
    }
    let limit: Duration = simulator.settings.card_wait;
    if tokio::time::timeout(limit, is_gone(simulator, name, &serial)).await.is_err() {
        tracing::info!(encoder = name, "nobody took the card away");
    }
}

/// The attendant leaves nothing on an encoder.
fn put_down(simulator: &Simulator, name: &str) -> Result<(), Refused> {
    simulator.change(|hotel| {
        if hotel.encoders.get(name).is_some_and(|encoder| encoder.auto_feed && encoder.card.is_some()) {
            lay(hotel, name, None);
        }
    })?;
    Ok(())
}

/// Lays a card on an encoder, or takes it off; a card lies in one place only.
pub(super) fn lay(hotel: &mut Hotel, name: &str, serial: Option<String>) {
    let elsewhere: Vec<Encoder> = hotel
        .encoders
        .values()
        .filter(|encoder| encoder.name != name && serial.is_some() && encoder.card == serial)
        .cloned()
        .collect();
    for encoder in elsewhere {
        hotel.put(Change::Encoder(Encoder { card: None, ..encoder }));
    }
    if let Some(encoder) = hotel.encoders.get(name).cloned() {
        hotel.put(Change::Encoder(Encoder { card: serial, ..encoder }));
    }
}
