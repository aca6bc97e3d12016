//! Doors: cards are held to them, their logs are collected, and what ails them is set.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::super::super::site::{Site, present};
use super::{Answer, Shared, not_found};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Present {
    serial: String,
    door: String,
}

pub(super) async fn present_card(State(context): Shared, Json(wanted): Json<Present>) -> Answer {
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
pub(super) struct Collect {
    door: Option<String>,
}

pub(super) async fn collect(State(context): Shared, Json(wanted): Json<Collect>) -> Answer {
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
pub(super) struct SetDoor {
    door: String,
    communication: Option<bool>,
    battery: Option<i32>,
    tamper: Option<i32>,
    clock_offset_seconds: Option<i64>,
}

pub(super) async fn set_door(State(context): Shared, Json(wanted): Json<SetDoor>) -> Answer {
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
