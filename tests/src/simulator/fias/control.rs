//! The control interface of both roles: HTTP and JSON on a loopback port, for tests and for people with curl.
//!
//! Every answer is JSON. A refusal has status 400, 404 or 409 and `{"error": "..."}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::super::line::noise::NoiseSettings;
use super::key_system::{Fault, KeySystem};
use super::link_key::LinkKey;
use super::pms::{Panel, Pms, Refused};
use super::record::Record;

/// A refused control request.
#[derive(Debug)]
pub(super) struct No(pub(super) StatusCode, pub(super) String);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Unknown(_) => StatusCode::NOT_FOUND,
            Refused::NotAlive => StatusCode::CONFLICT,
            Refused::Bad(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, refused.to_string())
    }
}

pub(super) type Answer = Result<Json<Value>, No>;
type Shared = State<Arc<Pms>>;

/// Serves the property software's panel until the end of the process.
pub async fn serve_pms(listener: TcpListener, pms: Arc<Pms>) -> std::io::Result<()> {
    let shutdown = pms.shutdown.clone();
    let router = Router::new()
        .route("/state", get(async |State(pms): Shared| Json(pms.show())))
        .route("/answers", get(answers))
        .route("/requests", post(ask))
        .route("/requests/{number}", get(asked))
        .route("/requests/{number}/repeat", post(repeat))
        .route("/panel", post(panel))
        .route("/raw", post(raw))
        .route("/end", post(async |State(pms): Shared| done(pms.end())))
        .route("/cut", post(async |State(pms): Shared| done(pms.cut())))
        .route("/link_key", post(link_key))
        .route("/noise", post(noise))
        .route("/plug", post(plug))
        .route("/shutdown", post(stop))
        .with_state(pms);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn done(result: Result<(), Refused>) -> Answer {
    result.map(|()| Json(json!({}))).map_err(No::from)
}

#[derive(Deserialize)]
struct Since {
    since: Option<u64>,
}

async fn answers(State(pms): Shared, Query(window): Query<Since>) -> Answer {
    Ok(Json(json!({ "answers": pms.answers(window.since.unwrap_or(0)) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    record: String,
    #[serde(default)]
    fields: Map<String, Value>,
    #[serde(default)]
    force: bool,
}

async fn ask(State(pms): Shared, Json(ask): Json<Ask>) -> Answer {
    let mut record = Record::new(&ask.record);
    for (name, value) in &ask.fields {
        let Some(text) = value.as_str() else {
            return Err(No(StatusCode::BAD_REQUEST, format!("the value of {name} is not a text")));
        };
        record = record.with(name, text);
    }
    Ok(Json(json!({ "request": pms.ask(record, ask.force)? })))
}

#[derive(Deserialize)]
struct Wait {
    wait_ms: Option<u64>,
}

async fn asked(State(pms): Shared, Path(number): Path<u64>, Query(wait): Query<Wait>) -> Answer {
    Ok(Json(pms.asked(number, Duration::from_millis(wait.wait_ms.unwrap_or(0))).await?))
}

async fn repeat(State(pms): Shared, Path(number): Path<u64>) -> Answer {
    done(pms.repeat(number))
}

async fn panel(State(pms): Shared, Json(panel): Json<Panel>) -> Answer {
    pms.set_panel(panel);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    hex: String,
}

async fn raw(State(pms): Shared, Json(raw): Json<Raw>) -> Answer {
    let bytes = HEXLOWER_PERMISSIVE.decode(raw.hex.as_bytes());
    let bytes = bytes.map_err(|error| No(StatusCode::BAD_REQUEST, format!("hex: {error}")))?;
    done(pms.raw(bytes))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnterKey {
    key: String,
}

async fn link_key(State(pms): Shared, Json(enter): Json<EnterKey>) -> Answer {
    let key = LinkKey::read(&enter.key);
    let key = key.ok_or_else(|| No(StatusCode::BAD_REQUEST, "no key of a link".to_owned()))?;
    pms.enter_key(key);
    Ok(Json(json!({})))
}

async fn noise(State(pms): Shared, Json(noise): Json<NoiseSettings>) -> Answer {
    if let Some(rate) = noise.fault() {
        return Err(No(StatusCode::BAD_REQUEST, format!("{rate} does not lie between 0 and 1")));
    }
    pms.line().set_noise(noise);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plug {
    plugged: bool,
}

async fn plug(State(pms): Shared, Json(plug): Json<Plug>) -> Answer {
    pms.line().plug(plug.plugged);
    Ok(Json(json!({})))
}

async fn stop(State(pms): Shared) -> Answer {
    pms.shutdown.cancel();
    Ok(Json(json!({})))
}

type Vendor = State<Arc<KeySystem>>;

/// Serves the key system's panel until the end of the process.
pub async fn serve_key_system(listener: TcpListener, system: Arc<KeySystem>) -> std::io::Result<()> {
    let shutdown = system.shutdown.clone();
    let router = Router::new()
        .route("/state", get(async |State(system): Vendor| Json(system.show())))
        .route("/effects", get(async |State(system): Vendor| Json(system.effects())))
        .route("/altered", get(async |State(system): Vendor| Json(json!({ "altered": system.line().altered() }))))
        .route("/encoders/put", post(put))
        .route("/encoders/set", post(set_encoder))
        .route("/doors/present", post(present))
        .route("/faults", post(fault))
        .route("/noise", post(vendor_noise))
        .route("/plug", post(vendor_plug))
        .route("/shutdown", post(vendor_stop))
        .with_state(system);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    encoder: String,
    serial: Option<String>,
}

fn no_encoder(name: &str) -> No {
    No(StatusCode::NOT_FOUND, format!("there is no encoder {name:?}"))
}

async fn put(State(system): Vendor, Json(put): Json<Put>) -> Answer {
    let serial = system.put(&put.encoder, put.serial).ok_or_else(|| no_encoder(&put.encoder))?;
    Ok(Json(json!({ "serial": serial })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetEncoder {
    encoder: String,
    #[serde(default)]
    lift: bool,
    plugged: Option<bool>,
    auto_feed: Option<bool>,
}

async fn set_encoder(State(system): Vendor, Json(set): Json<SetEncoder>) -> Answer {
    if system.set_encoder(&set.encoder, set.lift, set.plugged, set.auto_feed) {
        Ok(Json(json!({})))
    } else {
        Err(no_encoder(&set.encoder))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    serial: String,
    room: String,
}

async fn present(State(system): Vendor, Json(present): Json<Present>) -> Answer {
    Ok(Json(json!({ "opened": system.present(&present.serial, &present.room) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskFault {
    fault: Fault,
}

async fn fault(State(system): Vendor, Json(ask): Json<AskFault>) -> Answer {
    system.fault(ask.fault);
    Ok(Json(json!({})))
}

async fn vendor_noise(State(system): Vendor, Json(noise): Json<NoiseSettings>) -> Answer {
    if let Some(rate) = noise.fault() {
        return Err(No(StatusCode::BAD_REQUEST, format!("{rate} does not lie between 0 and 1")));
    }
    system.line().set_noise(noise);
    Ok(Json(json!({})))
}

async fn vendor_plug(State(system): Vendor, Json(plug): Json<Plug>) -> Answer {
    system.line().plug(plug.plugged);
    Ok(Json(json!({})))
}

async fn vendor_stop(State(system): Vendor) -> Answer {
    system.shutdown.cancel();
    Ok(Json(json!({})))
}
