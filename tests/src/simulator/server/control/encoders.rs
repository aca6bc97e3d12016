//! Cards, and the encoders that they are put on and taken off.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::super::super::site::Encoder;
use super::super::super::site::card::{Card, random_serial, read_serial};
use super::super::{Simulator, encoder};
use super::records::card;
use super::{Answer, Context, Refused, Shared, not_found};

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Compatible,
    Wrong,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCard {
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

pub(super) async fn make_card(State(context): Shared, Json(wanted): Json<NewCard>) -> Answer {
    let serial = new_card(&context.simulator, wanted)?;
    card(State(context), Path(serial)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnEncoder {
    encoder: String,
}

pub(super) async fn add_encoder(State(context): Shared, Json(wanted): Json<OnEncoder>) -> Answer {
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
pub(super) struct Put {
    encoder: String,
    serial: Option<String>,
    #[serde(default)]
    format: Format,
}

pub(super) async fn put(State(context): Shared, Json(wanted): Json<Put>) -> Answer {
    let encoder = known_encoder(&context.simulator, &wanted.encoder)?;
    if let Some(card) = encoder.card {
        return Err(Refused(StatusCode::CONFLICT, format!("card {card} lies on {:?}; lift it first", encoder.name)));
    }
    let serial = new_card(&context.simulator, NewCard { serial: wanted.serial, format: wanted.format })?;
    encoder::put(&context.simulator, &encoder.name, Some(&serial))?;
    Ok(Json(json!({ "encoder": encoder.name, "serial": serial })))
}

pub(super) async fn lift(State(context): Shared, Json(wanted): Json<OnEncoder>) -> Answer {
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
pub(super) struct AutoFeed {
    encoder: String,
    on: bool,
}

pub(super) async fn auto_feed(State(context): Shared, Json(wanted): Json<AutoFeed>) -> Answer {
    set_encoder(&context, &wanted.encoder, |encoder| encoder.auto_feed = wanted.on)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plug {
    encoder: String,
    plugged: bool,
}

pub(super) async fn plug(State(context): Shared, Json(wanted): Json<Plug>) -> Answer {
    set_encoder(&context, &wanted.encoder, |encoder| encoder.plugged = wanted.plugged)
}
