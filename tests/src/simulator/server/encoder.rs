//! A job on an encoder: wait for a card, look at it, write it.
//!
//! One job per encoder at a time; a second one is told 402 at once. The user's record is taken (201 for others) only while
//! the card is written. A write that is cut off, by lifting the card or by a restart, leaves a partly written card and is
//! counted as such. On an encoder with auto-feed an attendant puts the card a job asks for (a fresh blank, or the user's
//! present card for an update) and takes it away when the job has ended.

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::refusal::{Refusal, code};
use super::super::ship::EncoderRequest;
use super::super::site::Site;
use super::super::site::card::{Card, Contents, random_serial};
use super::super::site::keys::{self, Write};
use super::super::site::present::deliver;
use super::super::wire::xml::Node;
use super::Simulator;
use super::fault::{FaultKind, Stage};

/// Carries out an encoder request.
pub async fn run(
    simulator: &Simulator,
    name: &str,
    job: &EncoderRequest,
    life: &CancellationToken,
) -> Result<Vec<Node>, Refusal> {
    let encoder = job.encoder();
    let writing = match job {
        EncoderRequest::Read { .. } => None,
        EncoderRequest::Assign { user, .. } => Some((user.as_str(), Write::Assign)),
        EncoderRequest::Update { user, .. } => Some((user.as_str(), Write::Update)),
    };
    let plugged = simulator.read(|site| {
        if let Some((user, write)) = writing {
            keys::check_user(site, user, write)?;
        }
        site.encoders.get(encoder).map(|encoder| encoder.plugged).ok_or_else(|| Refusal::of(code::UNKNOWN_ENCODER))
    })?;
    let fault = simulator.faults.take(Stage::Encoder, name, Some(encoder));
    if !plugged || fault == Some(FaultKind::EncoderUnplugged) {
        return Err(Refusal::of(code::NO_COMMUNICATION));
    }
    if fault == Some(FaultKind::EncoderBusy) {
        return Err(Refusal::of(code::BUSY));
    }
    let Some(_busy) = Simulator::claim(&simulator.busy, encoder) else { return Err(Refusal::of(code::BUSY)) };
    let outcome = with_card(simulator, job, writing, fault, life).await;
    if simulator.read(|site| site.encoders.get(encoder).is_some_and(|encoder| encoder.auto_feed)) {
        put(simulator, encoder, None)?;
    }
    outcome
}

async fn with_card(
    simulator: &Simulator,
    job: &EncoderRequest,
    writing: Option<(&str, Write)>,
    fault: Option<FaultKind>,
    life: &CancellationToken,
) -> Result<Vec<Node>, Refusal> {
    let encoder = job.encoder();
    let serial = wait_for_card(simulator, encoder, writing, fault == Some(FaultKind::NoCard), life).await?;
    if fault == Some(FaultKind::WrongBlank) {
        return Err(Refusal::of(code::NOT_RECOGNISED));
    }
    let Some((user, write)) = writing else { return read(simulator, job, &serial) };
    let Some(_record) = Simulator::claim(&simulator.written, user) else {
        return Err(Refusal::of(code::USER_LOCKED));
    };
    let capacity = simulator.settings.rules.card_capacity;
    simulator.change(|site| {
        keys::check_card(site, user, &serial, write, capacity)?;
        deliver(site, &serial);
        Ok(())
    })?;
    let write_time = simulator.settings.write_time;
    let lifted = async {
        if fault == Some(FaultKind::CardLifted) {
            sleep(write_time / 2).await;
            return;
        }
        card_is_gone(simulator, encoder, &serial).await;
    };
    let cut_off = tokio::select! {
        biased;
        () = life.cancelled() => Some(code::PROCESS_CANCELLED),
        () = lifted => Some(code::PROCESS_FAILED),
        () = sleep(write_time) => None,
    };
    if cut_off == Some(code::PROCESS_FAILED) {
        put(simulator, encoder, None)?;
    }
    if let Some(refused) = cut_off {
        simulator.change(|site| {
            keys::spoil(site, user, &serial, encoder);
            Ok(())
        })?;
        return Err(Refusal::of(refused));
    }
    simulator.change(|site| {
        // The user may have lost a right since the write began; then nothing is put on the card.
        keys::check_card(site, user, &serial, write, capacity)?;
        keys::write(site, user, &serial, write, encoder);
        Ok(vec![Node::leaf("ExtUserID", user), Node::leaf("ROMCode", serial.as_str())])
    })
}

fn read(simulator: &Simulator, job: &EncoderRequest, serial: &str) -> Result<Vec<Node>, Refusal> {
    let EncoderRequest::Read { return_serial, return_locker_data, .. } = job else { return Ok(Vec::new()) };
    simulator.change(|site| {
        let card = site.cards.get(serial).filter(|card| card.compatible);
        match card.map(|card| &card.contents) {
            None => return Err(Refusal::of(code::NOT_RECOGNISED)),
            Some(Contents::Partial) => return Err(Refusal::of(code::BAD_STRUCTURE)),
            Some(Contents::Blank | Contents::Key(_)) => {}
        }
        deliver(site, serial);
        let serial = return_serial.then(|| Node::leaf("ROMCode", serial));
        Ok(serial.into_iter().chain(return_locker_data.then(|| Node::new("LockerData"))).collect())
    })
}

/// The serial of the card on the encoder, waiting for one up to the configured time.
async fn wait_for_card(
    simulator: &Simulator,
    encoder: &str,
    writing: Option<(&str, Write)>,
    nobody_comes: bool,
    life: &CancellationToken,
) -> Result<String, Refusal> {
    let deadline = Instant::now() + simulator.settings.card_wait;
    let mut changes = simulator.encoders_changed.subscribe();
    loop {
        changes.mark_unchanged();
        let state = simulator.read(|site| site.encoders.get(encoder).cloned());
        let Some(state) = state else { return Err(Refusal::of(code::UNKNOWN_ENCODER)) };
        if !state.plugged {
            return Err(Refusal::of(code::NO_COMMUNICATION));
        }
        match state.card {
            Some(serial) if !nobody_comes => return Ok(serial),
            None if state.auto_feed && !nobody_comes => {
                simulator.change(|site| {
                    feed(site, encoder, writing);
                    Ok(())
                })?;
                continue;
            }
            _ => {}
        }
        tokio::select! {
            biased;
            () = life.cancelled() => return Err(Refusal::of(code::PROCESS_CANCELLED)),
            woken = timeout_at(deadline, changes.changed()) => {
                if !matches!(woken, Ok(Ok(()))) {
                    return Err(Refusal::of(code::NO_CARD));
                }
            }
        }
    }
}

async fn card_is_gone(simulator: &Simulator, encoder: &str, serial: &str) {
    let mut changes = simulator.encoders_changed.subscribe();
    loop {
        changes.mark_unchanged();
        let there = simulator.read(|site| {
            let encoder = site.encoders.get(encoder);
            encoder.is_some_and(|encoder| encoder.plugged && encoder.card.as_deref() == Some(serial))
        });
        if !there || changes.changed().await.is_err() {
            return;
        }
    }
}

fn feed(site: &mut Site, encoder: &str, writing: Option<(&str, Write)>) {
    let Some(mut encoder) = site.encoders.get(encoder).cloned() else { return };
    let present = match writing {
        Some((user, Write::Update)) => site.users.get(user).and_then(|user| user.key.as_ref()),
        _ => None,
    };
    let present = present.map(|key| key.serial.clone());
    let serial = present.unwrap_or_else(|| {
        let card = Card::blank(random_serial(), true);
        let serial = card.serial.clone();
        site.put_card(card);
        serial
    });
    encoder.card = Some(serial);
    site.put_encoder(encoder);
}

/// Puts a card on an encoder, or takes it off. Returns the card that lay there.
pub fn put(simulator: &Simulator, encoder: &str, serial: Option<&str>) -> Result<Option<String>, Refusal> {
    let before = simulator.change(|site| {
        let mut encoder = site.encoders.get(encoder).cloned().ok_or_else(|| Refusal::of(code::UNKNOWN_ENCODER))?;
        let before = std::mem::replace(&mut encoder.card, serial.map(str::to_owned));
        if let Some(serial) = serial {
            // A card lies in one place only.
            let elsewhere = |other: &&super::super::site::Encoder| {
                other.name != encoder.name && other.card.as_deref() == Some(serial)
            };
            for mut other in site.encoders.values().filter(elsewhere).cloned().collect::<Vec<_>>() {
                other.card = None;
                site.put_encoder(other);
            }
        }
        site.put_encoder(encoder);
        Ok(before)
    })?;
    simulator.encoders_changed();
    Ok(before)
}
