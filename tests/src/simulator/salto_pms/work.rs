//! What a request does, and what it is answered.

use jiff::civil::DateTime;
use lockbridge_protocol::salto_pms::answer::{Answer, Refusal};
use lockbridge_protocol::salto_pms::audit::{AuditCard, AuditRecord, Incident};
use lockbridge_protocol::salto_pms::error_code::{AUDIT_ERROR, lookup};
use lockbridge_protocol::salto_pms::request::{
    AuditStep, KeyKind, MobileDelivery, MobileKey, Received, Request, RequestError, Stay,
};

use super::fault::FaultKind;
use super::hotel::{Change, Copy, Effect, EffectKind, Hotel, Key, Opening, Room};
use super::{DiskFailed, Simulator, encoder};

/// Why a request is refused: the code, and a text for `EG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Of the vendor's table.
    pub code: String,
    /// Only `EG` carries one.
    pub text: String,
}

impl Refused {
    /// A refusal without text.
    pub fn of(code: &str) -> Self {
        Self { code: code.to_owned(), text: String::new() }
    }

    /// A refusal in the server's own words.
    pub fn general(text: &str) -> Self {
        Self { code: "EG".to_owned(), text: text.to_owned() }
    }
}

impl From<DiskFailed> for Refused {
    fn from(_: DiskFailed) -> Self {
        Self::of("NF")
    }
}

/// Where a line stands in the trail of a door.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    sent: Option<usize>,
}

/// Carries a request out and gives its answer. `fault`: what goes wrong at the encoder.
pub async fn perform(
    simulator: &Simulator,
    received: &Received,
    fault: Option<FaultKind>,
    trail: &mut Trail,
) -> Answer {
    let request = &received.request;
    let outcome = if received.extra.iter().any(|field| !field.is_empty()) {
        Err(Refused::of("ES"))
    } else if request.encoder().is_some() {
        encoder::run(simulator, request, fault).await
    } else {
        match request {
            Request::Mobile(mobile) => phone(simulator, request.command(), mobile),
            Request::ModifyStay { room, new_room, end, .. } => modify(simulator, room, new_room, *end),
            Request::CheckOut { room } => check_out(simulator, room),
            Request::Audit { step, door } => audit(simulator, *step, door, trail),
            _ => Ok(Answer::Done { about: about(request), more: Vec::new() }),
        }
    };
    outcome.unwrap_or_else(|refused| refusal(request, &refused.code, &refused.text))
}

/// An error answer to a request.
pub fn refusal(request: &Request, code: &str, text: &str) -> Answer {
    let known = lookup(code.as_bytes());
    Answer::Refused(Refusal { known, code: code.to_owned(), about: about(request), text: text.to_owned() })
}

/// Field 1 of the answer.
fn about(request: &Request) -> String {
    match request {
        Request::Mobile(mobile) => mobile.phone.clone(),
        Request::ModifyStay { room, .. } => room.clone(),
        Request::CheckOut { .. } => "0".to_owned(),
        Request::Audit { door, .. } => door.clone(),
        Request::Information => "Simulated PMS interface".to_owned(),
        request => request.encoder().unwrap_or_default().to_owned(),
    }
}

/// What a message that cannot be read is answered.
pub fn unreadable(error: &RequestError) -> Answer {
    tracing::info!(%error, "a request was refused");
    Answer::Refused(Refusal { code: "ES".to_owned(), known: lookup(b"ES"), about: String::new(), text: String::new() })
}

/// Checks a stay against the rooms, before anybody looks at a card.
pub fn check(hotel: &Hotel, stay: &Stay, kind: KeyKind, now: DateTime) -> Result<(), Refused> {
    let start = stay.start.unwrap_or(now);
    if stay.end.is_some_and(|end| end <= start || end <= now) || (stay.end.is_none() && kind != KeyKind::OneShot) {
        return Err(Refused::of("ES"));
    }
    for name in std::iter::once(&stay.room).chain(&stay.more_rooms) {
        let room = hotel.rooms.get(name).ok_or_else(|| Refused::of("TD"))?;
        if room.out_of_service {
            return Err(Refused::of("OS"));
        }
        if kind == KeyKind::Copy && !room.occupied {
            return Err(Refused::of("EA"));
        }
    }
    Ok(())
}

/// Makes the key, and the change in the rooms that goes with it. `check` has passed. The first key of a check-in begins the
/// stay; `nth` counts the keys of one request from 0.
pub fn make_key(hotel: &mut Hotel, stay: &Stay, kind: KeyKind, nth: u64, now: DateTime) -> Key {
    let is_new = kind == KeyKind::CheckIn && nth == 0;
    let mut rooms = Vec::new();
    let mut copies = 0;
    for (index, name) in std::iter::once(&stay.room).chain(&stay.more_rooms).enumerate() {
        let Some(mut room) = hotel.rooms.get(name).cloned() else { continue };
        if is_new {
            room = Room { occupied: true, generation: room.generation + 1, copies: 0, end: stay.end, ..room };
        } else if kind != KeyKind::OneShot {
            room.copies += 1;
        }
        if index == 0 {
            copies = room.copies;
        }
        rooms.push((name.clone(), room.generation));
        hotel.put(Change::Room(room));
    }
    let copy = match kind {
        KeyKind::OneShot => Copy::OneShot,
        _ if is_new => Copy::Original,
        _ => Copy::Number(copies),
    };
    Key {
        rooms,
        copy,
        granted: stay
            .granted
            .numbers()
            .filter(|number| !stay.denied.numbers().any(|denied| denied == *number))
            .collect(),
        start: stay.start.unwrap_or(now),
        end: stay.end,
        operator: stay.operator.clone(),
        spent: false,
    }
}

fn phone(simulator: &Simulator, command: &str, mobile: &MobileKey) -> Result<Answer, Refused> {
    let now = simulator.now();
    if !simulator.phones_are_licensed() {
        return Err(Refused::general("mobile keys are not licensed"));
    }
    let returned = matches!(mobile.delivery, MobileDelivery::Returned { .. });
    if !(is_number(&mobile.phone) || (returned && mobile.phone.is_empty())) {
        return Err(Refused::of("ES"));
    }
    simulator.change(|hotel| {
        check(hotel, &mobile.stay, mobile.kind, now)?;
        let key = make_key(hotel, &mobile.stay, mobile.kind, 0, now);
        let number = hotel.effects.len();
        if !returned {
            hotel.put(Change::Phone(mobile.phone.clone(), key.clone()));
        }
        hotel.effect(Effect {
            number: 0,
            kind: EffectKind::MobileKey,
            command: command.to_owned(),
            room: mobile.stay.room.clone(),
            medium: mobile.phone.clone(),
            encoder: String::new(),
            key: Some(key),
            at: now,
        });
        let more = match &mobile.delivery {
            MobileDelivery::Phone { .. } => Vec::new(),
            MobileDelivery::Returned { installation } => {
                let key = data_encoding::HEXUPPER.encode(format!("key {number} of {}", mobile.stay.room).as_bytes());
                std::iter::once(key).chain(installation.then(|| "SIMULATED-1".to_owned())).collect()
            }
        };
        Ok(Answer::Done { about: mobile.phone.clone(), more })
    })?
}

/// International: `+` or `00`, then at most 15 digits.
fn is_number(phone: &str) -> bool {
    let digits = phone.strip_prefix('+').or_else(|| phone.strip_prefix("00")).unwrap_or_default();
    matches!(digits.len(), 1..=15) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn modify(simulator: &Simulator, name: &str, new: &str, end: Option<DateTime>) -> Result<Answer, Refused> {
    let now = simulator.now();
    simulator.change(|hotel| {
        let mut room = hotel.rooms.get(name).cloned().ok_or_else(|| Refused::of("TD"))?;
        if !room.occupied {
            return Err(Refused::of("EA"));
        }
        if end.is_some_and(|end| end <= now) {
            return Err(Refused::of("ES"));
        }
        room.end = end.or(room.end);
        if !new.is_empty() && new != name {
            let other = hotel.rooms.get(new).cloned().ok_or_else(|| Refused::of("TD"))?;
            if other.out_of_service {
                return Err(Refused::of("OS"));
            }
            if other.occupied {
                return Err(Refused::general("the new room is occupied"));
            }
            let generation = other.generation + 1;
            hotel.put(Change::Room(Room { occupied: true, generation, copies: 0, end: room.end, ..other }));
            room.occupied = false;
        }
        hotel.put(Change::Room(room));
        hotel.effect(stay_effect(EffectKind::StayChanged, "MC", name, now));
        let stamp = |at: DateTime| at.strftime("%H%M%d%m%y").to_string();
        let mut more = vec![new.to_owned(), end.map(stamp).unwrap_or_default()];
        while more.last().is_some_and(String::is_empty) {
            more.pop();
        }
        Ok(Answer::Done { about: name.to_owned(), more })
    })?
}

fn check_out(simulator: &Simulator, name: &str) -> Result<Answer, Refused> {
    let now = simulator.now();
    simulator.change(|hotel| {
        let room = hotel.rooms.get(name).cloned().ok_or_else(|| Refused::of("TD"))?;
        if room.occupied {
            hotel.put(Change::Room(Room { occupied: false, ..room }));
            hotel.effect(stay_effect(EffectKind::CheckedOut, "CO", name, now));
        }
        Ok(Answer::Done { about: "0".to_owned(), more: vec![name.to_owned()] })
    })?
}

fn stay_effect(kind: EffectKind, command: &str, room: &str, at: DateTime) -> Effect {
    let (medium, encoder) = (String::new(), String::new());
    Effect { number: 0, kind, command: command.to_owned(), room: room.to_owned(), medium, encoder, key: None, at }
}

fn audit(simulator: &Simulator, step: AuditStep, door: &str, trail: &mut Trail) -> Result<Answer, Refused> {
    simulator.read(|hotel| {
        let of_door: Vec<&Opening> = hotel.openings.iter().filter(|opening| opening.door == door).collect();
        if of_door.is_empty() && !hotel.rooms.contains_key(door) {
            return Err(Refused::of(AUDIT_ERROR));
        }
        let index = match (step, trail.sent) {
            (AuditStep::First, _) => 0,
            (AuditStep::Next, sent) => sent.map_or(0, |sent| sent + 1),
            (AuditStep::Repeat, Some(sent)) => sent,
            (AuditStep::Repeat, None) => return Ok(Answer::AuditEnd),
        };
        let Some(opening) = of_door.get(index) else { return Ok(Answer::AuditEnd) };
        trail.sent = Some(index);
        let card = if opening.room.is_empty() { AuditCard::Staff } else { AuditCard::Guest(opening.room.clone()) };
        let copy = match opening.copy {
            Some(Copy::Original) => "#0".to_owned(),
            Some(Copy::Number(number @ 1..=2)) => format!("#{number}"),
            Some(Copy::Number(_)) => "#D".to_owned(),
            Some(Copy::OneShot) => "@1".to_owned(),
            None => String::new(),
        };
        Ok(Answer::Audit(Box::new(AuditRecord {
            door: door.to_owned(),
            month_day: Some((opening.at.month(), opening.at.day())),
            time: Some(opening.at.time()),
            incident: if opening.opened { Incident::Opened } else { Incident::Denied },
            is_exit: Some(false),
            card,
            copy,
            user: String::new(),
            extra: Vec::new(),
        })))
    })
}
