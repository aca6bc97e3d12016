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

mod doors;
mod encoders;
mod records;
mod server;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::doors::{collect, present_card, set_door};
use self::encoders::{add_encoder, auto_feed, lift, make_card, plug, put};
use self::records::{audit, card, cards, doors, effects, state, user, users};
use self::server::{add_fault, aim, clear_faults, clock, denylist, faults, licence, restart, seed_more, stop};
use super::super::refusal::Refusal;
use super::{Addresses, Simulator};

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
