//! The front panel: HTTP and JSON on a loopback port, for tests and for people with curl.
//!
//! | verb | body | does |
//! | --- | --- | --- |
//! | `GET /state` | | clock, counts, encoders, faults to come, lines with their noise |
//! | `GET /effects?limit=N&since=M` | | counts by kind; the newest N (1000) effects after number M |
//! | `GET /rooms`, `GET /cards`, `GET /cards/{serial}`, `GET /phones`, `GET /faults` | | records |
//! | `POST /rooms` | `{"room", "out_of_service"?}` | adds a room, or sets it |
//! | `POST /cards` | `{"serial"?, "kind"?}` | makes a card: `blank`, `staff`, `spare`, `foreign` |
//! | `POST /encoders` | `{"encoder"}` | adds an encoder |
//! | `POST /encoders/put` | `{"encoder", "serial"?, "kind"?}` | lays a known card on it, or a new one |
//! | `POST /encoders/lift` | `{"encoder"}` | takes the card off; in the middle of a write it is spoilt |
//! | `POST /encoders/set` | `{"encoder", "plugged"?, "busy"?, "auto_feed"?}` | unplugs it (NC), lets another use it (OV), hires an attendant |
//! | `POST /doors/present` | `{"serial", "room"}`, `{"serial", "authorisation"}` or `{"phone", "room"}` | holds a card or a phone to a lock |
//! | `POST /licence` | `{"mobile"}` | without the licence keys for phones are answered EG |
//! | `POST /faults` | `{"kind", "request"?, "encoder"?, "times"?, ...}` | asks for a fault, see [`super::fault::FaultKind`] |
//! | `POST /faults/clear` | | forgets all faults to come |
//! | `POST /noise` | see [`NoiseSettings`] | sets the noise of all lines |
//! | `POST /lines/plug` | `{"plugged"}` | pulls or puts the plug of all lines |
//! | `POST /lines/cut` | | cuts all TCP connections |
//! | `GET /lines/altered` | | frames that noise altered unseen by the checksum: which way, the body meant and the one that arrived (hex) |
//! | `POST /clock` | `{"advance_seconds"}` | moves the clock of server and locks |
//! | `POST /shutdown` | | ends the process |
//!
//! Every answer is JSON. A refusal has status 400, 404, 409 or 500 and `{"error": "..."}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::encoder::lay;
use super::fault::Fault;
use super::hotel::{Card, Change, Contents, EffectKind, Encoder, Room};
use super::life::Addresses;
use super::{DiskFailed, Simulator};
use crate::simulator::line::noise::NoiseSettings;
use crate::simulator::line::{Altered, Handle};
use crate::simulator::server::control::{Answer, Refused, not_found};
use crate::simulator::site::card::{random_serial, read_serial};

impl From<DiskFailed> for Refused {
    fn from(_: DiskFailed) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, "the log cannot be written".to_owned())
    }
}

type Shared = State<Arc<Context>>;

struct Context {
    simulator: Arc<Simulator>,
    addresses: Addresses,
    lines: Vec<Handle>,
}

/// Serves until the end of the process.
pub(super) async fn serve(listener: TcpListener, simulator: Arc<Simulator>, addresses: Addresses, lines: Vec<Handle>) {
    let shutdown = simulator.shutdown.clone();
    let router = Router::new()
        .route("/state", get(state))
        .route("/effects", get(effects))
        .route("/rooms", get(rooms).post(set_room))
        .route("/cards", get(cards).post(make_card))
        .route("/cards/{serial}", get(card))
        .route("/phones", get(phones))
        .route("/faults", get(faults).post(add_fault))
        .route("/faults/clear", post(clear_faults))
        .route("/encoders", post(add_encoder))
        .route("/encoders/put", post(put))
        .route("/encoders/lift", post(lift))
        .route("/encoders/set", post(set_encoder))
        .route("/doors/present", post(present))
        .route("/licence", post(licence))
        .route("/noise", post(noise))
        .route("/lines/plug", post(plug))
        .route("/lines/cut", post(cut))
        .route("/lines/altered", get(altered))
        .route("/clock", post(clock))
        .route("/shutdown", post(stop))
        .with_state(Arc::new(Context { simulator, addresses, lines }));
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "the control interface stopped");
    }
}

async fn state(State(context): Shared) -> Answer {
    let simulator = &context.simulator;
    let lines: Vec<Value> = context
        .lines
        .iter()
        .map(|line| {
            let at = line.path().map(|path| path.display().to_string());
            let at = at.or_else(|| line.address().map(|address| address.to_string()));
            json!({ "at": at, "plugged": line.is_plugged(), "carried": line.carried(), "noise": line.noise() })
        })
        .collect();
    Ok(Json(simulator.read(|hotel| {
        let encoders: Vec<Value> = hotel
            .encoders
            .values()
            .map(|encoder| json!({ "encoder": encoder, "has_job": simulator.has_job(&encoder.name) }))
            .collect();
        json!({
            "time_local": simulator.now().to_string(),
            "counts": {
                "rooms": hotel.rooms.len(), "cards": hotel.cards.len(), "effects": hotel.effects.len(),
                "openings": hotel.openings.len(),
            },
            "encoders": encoders,
            "faults": simulator.faults.list(),
            "lines": lines,
            "addresses": context.addresses,
        })
    })))
}

#[derive(Deserialize)]
struct Window {
    limit: Option<usize>,
    since: Option<u64>,
}

async fn effects(State(context): Shared, Query(window): Query<Window>) -> Answer {
    Ok(Json(context.simulator.read(|hotel| {
        let mut by_kind: BTreeMap<EffectKind, u64> = BTreeMap::new();
        for effect in &hotel.effects {
            *by_kind.entry(effect.kind).or_default() += 1;
        }
        let since = window.since.unwrap_or(0);
        let newest = hotel.effects.iter().rev().take_while(|effect| effect.number > since);
        let mut newest: Vec<_> = newest.take(window.limit.unwrap_or(1000)).collect();
        newest.reverse();
        json!({ "total": hotel.effects.len(), "by_kind": by_kind, "effects": newest })
    })))
}

async fn rooms(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|hotel| json!({ "rooms": hotel.rooms.values().collect::<Vec<_>>() }))))
}

async fn cards(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|hotel| json!({ "cards": hotel.cards.values().collect::<Vec<_>>() }))))
}

async fn phones(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|hotel| json!({ "phones": hotel.phones }))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licence {
    mobile: bool,
}

async fn licence(State(context): Shared, Json(wanted): Json<Licence>) -> Answer {
    context.simulator.license_phones(wanted.mobile);
    Ok(Json(json!({ "mobile": wanted.mobile })))
}

async fn card(State(context): Shared, Path(serial): Path<String>) -> Answer {
    let found = context.simulator.read(|hotel| hotel.cards.get(&serial).map(|card| json!(card)));
    found.map(Json).ok_or_else(|| not_found("card", &serial))
}

async fn faults(State(context): Shared) -> Answer {
    Ok(Json(json!({ "faults": context.simulator.faults.list() })))
}

async fn add_fault(State(context): Shared, Json(fault): Json<Fault>) -> Answer {
    context.simulator.faults.add(fault);
    faults(State(context)).await
}

async fn clear_faults(State(context): Shared) -> Answer {
    Ok(Json(json!({ "cleared": context.simulator.faults.clear() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRoom {
    room: String,
    out_of_service: Option<bool>,
}

async fn set_room(State(context): Shared, Json(wanted): Json<SetRoom>) -> Answer {
    let room = context.simulator.change(|hotel| {
        let known = hotel.rooms.get(&wanted.room).cloned();
        let mut room = known.unwrap_or_else(|| Room { name: wanted.room.clone(), ..Room::default() });
        room.out_of_service = wanted.out_of_service.unwrap_or(room.out_of_service);
        hotel.put(Change::Room(room.clone()));
        room
    })?;
    Ok(Json(json!(room)))
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Blank,
    Staff,
    Spare,
    Foreign,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCard {
    serial: Option<String>,
    #[serde(default)]
    kind: Kind,
}

/// A new card; of a known serial the card that is.
fn new_card(simulator: &Simulator, wanted: &NewCard) -> Result<String, Refused> {
    let serial = match &wanted.serial {
        None => random_serial(),
        Some(text) => read_serial(text).ok_or_else(|| {
            Refused(StatusCode::BAD_REQUEST, format!("{text:?} is not a serial of 14 hexadecimal digits"))
        })?,
    };
    let contents = match wanted.kind {
        Kind::Blank => Contents::Blank,
        Kind::Staff => Contents::Staff,
        Kind::Spare => Contents::Spare,
        Kind::Foreign => Contents::Foreign,
    };
    simulator.change(|hotel| {
        if !hotel.cards.contains_key(&serial) {
            hotel.put(Change::Card(Card { serial: serial.clone(), contents, tracks: <[String; 3]>::default() }));
        }
    })?;
    Ok(serial)
}

async fn make_card(State(context): Shared, Json(wanted): Json<NewCard>) -> Answer {
    let serial = new_card(&context.simulator, &wanted)?;
    card(State(context), Path(serial)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnEncoder {
    encoder: String,
}

async fn add_encoder(State(context): Shared, Json(wanted): Json<OnEncoder>) -> Answer {
    let name = wanted.encoder;
    context.simulator.change(|hotel| {
        if !hotel.encoders.contains_key(&name) {
            let name = name.clone();
            hotel.put(Change::Encoder(Encoder { name, plugged: true, busy: false, auto_feed: false, card: None }));
        }
    })?;
    Ok(Json(json!({ "encoder": name })))
}

fn known_encoder(simulator: &Simulator, name: &str) -> Result<Encoder, Refused> {
    simulator.read(|hotel| hotel.encoders.get(name).cloned()).ok_or_else(|| not_found("encoder", name))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    encoder: String,
    serial: Option<String>,
    #[serde(default)]
    kind: Kind,
}

async fn put(State(context): Shared, Json(wanted): Json<Put>) -> Answer {
    let encoder = known_encoder(&context.simulator, &wanted.encoder)?;
    if let Some(card) = encoder.card {
        return Err(Refused(StatusCode::CONFLICT, format!("card {card} lies on {:?}; lift it first", encoder.name)));
    }
    let serial = new_card(&context.simulator, &NewCard { serial: wanted.serial, kind: wanted.kind })?;
    context.simulator.change(|hotel| lay(hotel, &encoder.name, Some(serial.clone())))?;
    Ok(Json(json!({ "encoder": encoder.name, "serial": serial })))
}

async fn lift(State(context): Shared, Json(wanted): Json<OnEncoder>) -> Answer {
    let encoder = known_encoder(&context.simulator, &wanted.encoder)?;
    context.simulator.change(|hotel| lay(hotel, &encoder.name, None))?;
    Ok(Json(json!({ "encoder": encoder.name, "serial": encoder.card })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetEncoder {
    encoder: String,
    plugged: Option<bool>,
    busy: Option<bool>,
    auto_feed: Option<bool>,
}

async fn set_encoder(State(context): Shared, Json(wanted): Json<SetEncoder>) -> Answer {
    known_encoder(&context.simulator, &wanted.encoder)?;
    let set = context.simulator.change(|hotel| {
        let mut encoder = hotel.encoders.get(&wanted.encoder).cloned()?;
        encoder.plugged = wanted.plugged.unwrap_or(encoder.plugged);
        encoder.busy = wanted.busy.unwrap_or(encoder.busy);
        encoder.auto_feed = wanted.auto_feed.unwrap_or(encoder.auto_feed);
        hotel.put(Change::Encoder(encoder.clone()));
        Some(encoder)
    })?;
    Ok(Json(json!(set)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    serial: Option<String>,
    phone: Option<String>,
    room: Option<String>,
    authorisation: Option<u8>,
}

async fn present(State(context): Shared, Json(wanted): Json<Present>) -> Answer {
    let (simulator, now) = (&context.simulator, context.simulator.now());
    let serial = wanted.serial.map(|serial| serial.trim().to_ascii_uppercase());
    let opened = simulator.change(|hotel| match (&serial, &wanted.phone, &wanted.room, wanted.authorisation) {
        (Some(serial), None, Some(room), None) => Some(hotel.present(serial, room, now)),
        (Some(serial), None, None, Some(authorisation)) => Some(hotel.present_common(serial, authorisation, now)),
        (None, Some(phone), Some(room), None) => Some(hotel.present_phone(phone, room, now)),
        _ => None,
    })?;
    let medium = serial.or(wanted.phone).unwrap_or_default();
    match opened {
        None => {
            let usage = "give serial and room, serial and authorisation, or phone and room";
            Err(Refused(StatusCode::BAD_REQUEST, usage.to_owned()))
        }
        Some(None) => Err(not_found("card, phone or room", &format!("{medium}, {}", wanted.room.unwrap_or_default()))),
        Some(Some(opened)) => Ok(Json(json!({ "opened": opened }))),
    }
}

async fn noise(State(context): Shared, Json(wanted): Json<NoiseSettings>) -> Answer {
    if let Some(rate) = wanted.fault() {
        return Err(Refused(StatusCode::BAD_REQUEST, format!("the rate `{rate}` must lie between 0 and 1")));
    }
    for line in &context.lines {
        line.set_noise(wanted.clone());
    }
    Ok(Json(json!(wanted)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plug {
    plugged: bool,
}

async fn plug(State(context): Shared, Json(wanted): Json<Plug>) -> Answer {
    for line in &context.lines {
        line.plug(wanted.plugged);
    }
    Ok(Json(json!({ "plugged": wanted.plugged })))
}

async fn cut(State(context): Shared) -> Answer {
    for line in &context.lines {
        line.cut();
    }
    Ok(Json(json!({ "cut": context.lines.len() })))
}

async fn altered(State(context): Shared) -> Answer {
    let all: Vec<Altered> = context.lines.iter().flat_map(Handle::altered).collect();
    Ok(Json(json!({ "altered": all })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    advance_seconds: i64,
}

async fn clock(State(context): Shared, Json(wanted): Json<Clock>) -> Answer {
    context.simulator.advance(SignedDuration::from_secs(wanted.advance_seconds));
    Ok(Json(json!({ "time_local": context.simulator.now().to_string() })))
}

async fn stop(State(context): Shared) -> Answer {
    context.simulator.shutdown.cancel();
    Ok(Json(json!({ "stopping": true })))
}
