//! The control interface: HTTP and JSON on a loopback port, for tests and for people with curl.
//!
//! | verb | body | does |
//! | --- | --- | --- |
//! | `GET /state` | | summary: clock, counts, encoders, denylist, licence, faults to come, ports |
//! | `GET /effects?limit=N&since=M` | | counts by kind, card and user; the newest N (1000) effects after number M |
//! | `GET /audit?limit=N&since=ID` | | the newest N (100) events of the trail after an event id |
//! | `GET /users/{id}`, `GET /doors`, `GET /cards`, `GET /cards/{serial}`, `GET /faults` | | records |
//! | `POST /cards` | `{"serial"?, "format"?: "compatible" or "wrong"}` | makes a blank card |
//! | `POST /encoders` | `{"encoder"}` | adds an encoder |
//! | `POST /encoders/put` | `{"encoder", "serial"?, "format"?}` | puts a known card on it, or a new blank one |
//! | `POST /encoders/lift` | `{"encoder"}` | takes the card off; in the middle of a write it is spoilt |
//! | `POST /encoders/auto-feed` | `{"encoder", "on"}` | always puts the card a job asks for |
//! | `POST /encoders/plug` | `{"encoder", "plugged"}` | unplugs it (401) or plugs it in |
//! | `POST /doors/present` | `{"serial", "door"}` | holds a card to a door (id or name) |
//! | `POST /doors/collect` | `{"door"?}` | brings the log of one or all offline doors to the audit trail |
//! | `POST /doors/set` | `{"door", "communication"?, "battery"?, "tamper"?, "clock_offset_seconds"?}` | changes a lock |
//! | `POST /faults` | `{"kind", "request"?, "encoder"?, "times"?, "milliseconds"?, "code"?, "perform"?}` | asks for a fault, see [`super::fault::FaultKind`] |
//! | `POST /faults/clear` | | forgets all faults to come |
//! | `POST /restart` | `{"away_milliseconds"}` | drops connections, stays away, listens again |
//! | `POST /licence` | `{"ship"?, "mobile"?, "users"?}` | switches options off and on (13), limits users (14) |
//! | `POST /denylist` | `{"capacity"}` | how many entries fit; 0 is full at once |
//! | `POST /clock` | `{"advance_seconds"}` | moves the clock of server and locks |
//! | `POST /stream` | `{"to"}`: `"udp:A:P"`, `"tcp:A:P"` or null | aims the event stream |
//! | `POST /seed` | `{"users"?, "doors"?, "online"?, "prefix"?}` | adds numbered users and doors |
//! | `POST /shutdown` | | ends the process |
//!
//! Every answer is JSON. A refusal has status 400, 404 or 409 and `{"error": "..."}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::refusal::Refusal;
use super::super::site::card::{Card, random_serial, read_serial};
use super::super::site::{Counters, Encoder, Site, present, seed};
use super::fault::Fault;
use super::{Addresses, Simulator, encoder, stream::Target};

/// A refused control request.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(StatusCode::CONFLICT, refusal.to_string())
    }
}

/// What a control request gets.
pub(crate) type Answer = Result<Json<Value>, Refused>;
type Shared = State<Arc<Context>>;

struct Context {
    simulator: Arc<Simulator>,
    addresses: Addresses,
}

/// Serves until the end of the process.
pub(super) async fn serve(listener: TcpListener, simulator: Arc<Simulator>, addresses: Addresses) {
    let shutdown = simulator.shutdown.clone();
    let router = Router::new()
        .route("/state", get(state))
        .route("/effects", get(effects))
        .route("/audit", get(audit))
        .route("/users", get(users))
        .route("/users/{id}", get(user))
        .route("/doors", get(doors))
        .route("/cards", get(cards).post(make_card))
        .route("/cards/{serial}", get(card))
        .route("/faults", get(faults).post(add_fault))
        .route("/faults/clear", post(clear_faults))
        .route("/encoders", post(add_encoder))
        .route("/encoders/put", post(put))
        .route("/encoders/lift", post(lift))
        .route("/encoders/auto-feed", post(auto_feed))
        .route("/encoders/plug", post(plug))
        .route("/doors/present", post(present_card))
        .route("/doors/collect", post(collect))
        .route("/doors/set", post(set_door))
        .route("/restart", post(restart))
        .route("/licence", post(licence))
        .route("/denylist", post(denylist))
        .route("/clock", post(clock))
        .route("/stream", post(aim))
        .route("/seed", post(seed_more))
        .route("/shutdown", post(stop))
        .with_state(Arc::new(Context { simulator, addresses }));
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "the control interface stopped");
    }
}

/// 404.
pub(crate) fn not_found(what: &str, name: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, format!("there is no {what} {name:?}"))
}

async fn state(State(context): Shared) -> Answer {
    let simulator = &context.simulator;
    let effects = simulator.tally(|tally| tally.total);
    Ok(Json(simulator.read(|site| {
        let encoders = site.encoders.values().map(|encoder| {
            json!({
                "name": encoder.name, "plugged": encoder.plugged, "auto_feed": encoder.auto_feed,
                "card": encoder.card, "busy": simulator.is_busy(&encoder.name),
            })
        });
        json!({
            "time_local": site.now().print(),
            "time_utc": site.instant().to_string(),
            "counts": {
                "users": site.users.len(), "groups": site.groups.len(), "doors": site.doors.len(),
                "cards": site.cards.len(), "effects": effects, "events": site.audit.len(),
            },
            "last_event": site.audit.back().map(|event| event.id),
            "encoders": encoders.collect::<Vec<_>>(),
            "denylist": {
                "entries": site.denylist.len(), "capacity": site.counters.denylist_capacity,
                "full": site.denylist_full(),
            },
            "licence": {
                "ship": site.counters.ship_licensed, "mobile": site.counters.mobile_licensed,
                "users": site.counters.user_limit,
            },
            "faults": simulator.faults.list(),
            "addresses": context.addresses,
        })
    })))
}

#[derive(Deserialize)]
struct Window {
    limit: Option<usize>,
    since: Option<u64>,
}

impl Window {
    fn newest<'a, T>(
        &self,
        items: impl DoubleEndedIterator<Item = &'a T>,
        number: impl Fn(&T) -> u64,
        usual: usize,
    ) -> Vec<&'a T> {
        let since = self.since.unwrap_or(0);
        let newest = items.rev().take_while(|item| number(item) > since);
        let mut found: Vec<&T> = newest.take(self.limit.unwrap_or(usual)).collect();
        found.reverse();
        found
    }
}

async fn effects(State(context): Shared, Query(window): Query<Window>) -> Answer {
    Ok(Json(context.simulator.tally(|tally| {
        let newest = window.newest(tally.newest.iter(), |effect| effect.number, 1000);
        json!({
            "total": tally.total, "by_kind": tally.by_kind, "by_card": tally.by_card, "by_user": tally.by_user,
            "effects": newest,
        })
    })))
}

async fn audit(State(context): Shared, Query(window): Query<Window>) -> Answer {
    Ok(Json(context.simulator.read(|site| {
        let events = window.newest(site.audit.iter(), |event| event.id, 100);
        json!({ "events": events })
    })))
}

async fn users(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|site| json!({ "users": site.users.values().collect::<Vec<_>>() }))))
}

async fn user(State(context): Shared, Path(id): Path<String>) -> Answer {
    let found = context.simulator.read(|site| site.users.get(&id).map(|user| json!(user)));
    found.map(Json).ok_or_else(|| not_found("user", &id))
}

async fn doors(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|site| json!({ "doors": site.doors.values().collect::<Vec<_>>() }))))
}

async fn cards(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|site| json!({ "cards": site.cards.values().collect::<Vec<_>>() }))))
}

async fn card(State(context): Shared, Path(serial): Path<String>) -> Answer {
    let found = context.simulator.read(|site| site.cards.get(&serial).map(|card| json!(card)));
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

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Compatible,
    Wrong,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCard {
    serial: Option<String>,
    #[serde(default)]
    format: Format,
}

fn new_card(simulator: &Simulator, wanted: NewCard) -> Result<String, Refused> {
    let serial = match wanted.serial {
        None => random_serial(),
        Some(text) => read_serial(&text).ok_or_else(|| {
            Refused(StatusCode::BAD_REQUEST, format!("{text:?} is not a serial of 14 hexadecimal digits"))
        })?,
    };
    simulator
        .change(|site| {
            if !site.cards.contains_key(&serial) {
                site.put_card(Card::blank(serial.clone(), matches!(wanted.format, Format::Compatible)));
            }
            Ok(serial)
        })
        .map_err(Refused::from)
}

async fn make_card(State(context): Shared, Json(wanted): Json<NewCard>) -> Answer {
    let serial = new_card(&context.simulator, wanted)?;
    card(State(context), Path(serial)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnEncoder {
    encoder: String,
}

async fn add_encoder(State(context): Shared, Json(wanted): Json<OnEncoder>) -> Answer {
    context.simulator.change(|site| {
        if !site.encoders.contains_key(&wanted.encoder) {
            let name = wanted.encoder.trim().to_owned();
            site.put_encoder(Encoder { name, plugged: true, auto_feed: false, card: None });
        }
        Ok(())
    })?;
    Ok(Json(json!({ "encoder": wanted.encoder })))
}

fn known_encoder(simulator: &Simulator, name: &str) -> Result<Encoder, Refused> {
    simulator.read(|site| site.encoders.get(name).cloned()).ok_or_else(|| not_found("encoder", name))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    encoder: String,
    serial: Option<String>,
    #[serde(default)]
    format: Format,
}

async fn put(State(context): Shared, Json(wanted): Json<Put>) -> Answer {
    let encoder = known_encoder(&context.simulator, &wanted.encoder)?;
    if let Some(card) = encoder.card {
        return Err(Refused(StatusCode::CONFLICT, format!("card {card} lies on {:?}; lift it first", encoder.name)));
    }
    let serial = new_card(&context.simulator, NewCard { serial: wanted.serial, format: wanted.format })?;
    encoder::put(&context.simulator, &encoder.name, Some(&serial))?;
    Ok(Json(json!({ "encoder": encoder.name, "serial": serial })))
}

async fn lift(State(context): Shared, Json(wanted): Json<OnEncoder>) -> Answer {
    known_encoder(&context.simulator, &wanted.encoder)?;
    let serial = encoder::put(&context.simulator, &wanted.encoder, None)?;
    Ok(Json(json!({ "encoder": wanted.encoder, "serial": serial })))
}

fn set_encoder(context: &Context, name: &str, set: impl FnOnce(&mut Encoder)) -> Answer {
    let mut encoder = known_encoder(&context.simulator, name)?;
    set(&mut encoder);
    let answer = json!(encoder);
    context.simulator.change(|site| {
        site.put_encoder(encoder);
        Ok(())
    })?;
    context.simulator.encoders_changed();
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AutoFeed {
    encoder: String,
    on: bool,
}

async fn auto_feed(State(context): Shared, Json(wanted): Json<AutoFeed>) -> Answer {
    set_encoder(&context, &wanted.encoder, |encoder| encoder.auto_feed = wanted.on)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plug {
    encoder: String,
    plugged: bool,
}

async fn plug(State(context): Shared, Json(wanted): Json<Plug>) -> Answer {
    set_encoder(&context, &wanted.encoder, |encoder| encoder.plugged = wanted.plugged)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    serial: String,
    door: String,
}

async fn present_card(State(context): Shared, Json(wanted): Json<Present>) -> Answer {
    let simulator = &context.simulator;
    let updating = simulator.settings.updating_readers;
    let serial = wanted.serial.trim().to_ascii_uppercase();
    let presented = simulator.change(|site| Ok(present::present(site, &serial, &wanted.door, updating)))?;
    match presented {
        Some(presented) => Ok(Json(json!(presented))),
        None if simulator.read(|site| site.cards.contains_key(&serial)) => Err(not_found("door", &wanted.door)),
        None => Err(not_found("card", &serial)),
    }
}

fn door_id(site: &Site, name: &str) -> Option<String> {
    site.doors.get(name).or_else(|| site.door_by_name(name)).map(|door| door.id.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Collect {
    door: Option<String>,
}

async fn collect(State(context): Shared, Json(wanted): Json<Collect>) -> Answer {
    let doors: Vec<String> = match &wanted.door {
        None => context.simulator.read(|site| site.doors.keys().cloned().collect()),
        Some(name) => {
            vec![context.simulator.read(|site| door_id(site, name)).ok_or_else(|| not_found("door", name))?]
        }
    };
    let collected = context
        .simulator
        .change(|site| Ok(doors.iter().map(|door| present::collect(site, door, None)).sum::<usize>()))?;
    Ok(Json(json!({ "collected": collected })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetDoor {
    door: String,
    communication: Option<bool>,
    battery: Option<i32>,
    tamper: Option<i32>,
    clock_offset_seconds: Option<i64>,
}

async fn set_door(State(context): Shared, Json(wanted): Json<SetDoor>) -> Answer {
    let door = context.simulator.read(|site| door_id(site, &wanted.door).and_then(|id| site.doors.get(&id).cloned()));
    let mut door = door.ok_or_else(|| not_found("door", &wanted.door))?;
    door.communication = wanted.communication.unwrap_or(door.communication);
    door.battery = wanted.battery.unwrap_or(door.battery);
    door.tamper = wanted.tamper.unwrap_or(door.tamper);
    door.clock_offset_seconds = wanted.clock_offset_seconds.unwrap_or(door.clock_offset_seconds);
    let answer = json!(door);
    context.simulator.change(|site| {
        site.put_door(door);
        Ok(())
    })?;
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restart {
    away_milliseconds: u64,
}

async fn restart(State(context): Shared, Json(wanted): Json<Restart>) -> Answer {
    context.simulator.restart(Duration::from_millis(wanted.away_milliseconds));
    Ok(Json(json!({ "restarting": true })))
}

fn set_counters(context: &Context, set: impl FnOnce(&mut Counters)) -> Answer {
    context.simulator.change(|site| {
        let mut counters = site.counters.clone();
        set(&mut counters);
        site.put_counters(counters);
        Ok(())
    })?;
    Ok(Json(context.simulator.read(|site| json!(site.counters))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licence {
    ship: Option<bool>,
    mobile: Option<bool>,
    users: Option<usize>,
}

async fn licence(State(context): Shared, Json(wanted): Json<Licence>) -> Answer {
    set_counters(&context, |counters| {
        counters.ship_licensed = wanted.ship.unwrap_or(counters.ship_licensed);
        counters.mobile_licensed = wanted.mobile.unwrap_or(counters.mobile_licensed);
        counters.user_limit = wanted.users.unwrap_or(counters.user_limit);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Denylist {
    capacity: usize,
}

async fn denylist(State(context): Shared, Json(wanted): Json<Denylist>) -> Answer {
    set_counters(&context, |counters| counters.denylist_capacity = wanted.capacity)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    advance_seconds: i64,
}

async fn clock(State(context): Shared, Json(wanted): Json<Clock>) -> Answer {
    set_counters(&context, |counters| {
        counters.clock_offset_seconds = counters.clock_offset_seconds.saturating_add(wanted.advance_seconds);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Aim {
    to: Option<String>,
}

async fn aim(State(context): Shared, Json(wanted): Json<Aim>) -> Answer {
    let target = wanted.to.as_deref().map(str::parse::<Target>).transpose();
    context.simulator.stream.aim(target.map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?);
    Ok(Json(json!({ "to": wanted.to })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    #[serde(default)]
    users: usize,
    #[serde(default)]
    doors: usize,
    #[serde(default)]
    online: bool,
    prefix: Option<String>,
}

/// Most records one seed request makes, so that the change stays a line of bounded size.
const MOST_SEEDED: usize = 100_000;

async fn seed_more(State(context): Shared, Json(wanted): Json<Seed>) -> Answer {
    if wanted.users > MOST_SEEDED || wanted.doors > MOST_SEEDED {
        return Err(Refused(StatusCode::BAD_REQUEST, format!("at most {MOST_SEEDED} records at a time")));
    }
    let prefix = wanted.prefix.unwrap_or_else(|| "SEED".to_owned());
    let (users, doors) = context.simulator.change(|site| {
        let doors = seed::doors(site, &prefix, wanted.doors, wanted.online);
        Ok((seed::users(site, &prefix, wanted.users), doors))
    })?;
    Ok(Json(json!({ "users": users, "doors": doors })))
}

async fn stop(State(context): Shared) -> Answer {
    context.simulator.shutdown.cancel();
    Ok(Json(json!({ "stopping": true })))
}
