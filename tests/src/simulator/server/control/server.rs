//! The lock server itself: its faults to come, its life, licence, limits, clock and event stream.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::super::super::site::{Counters, seed};
use super::super::fault::Fault;
use super::super::stream::Target;
use super::{Answer, Context, Refused, Shared};

pub(super) async fn faults(State(context): Shared) -> Answer {
    Ok(Json(json!({ "faults": context.simulator.faults.list() })))
}

pub(super) async fn add_fault(State(context): Shared, Json(fault): Json<Fault>) -> Answer {
    context.simulator.faults.add(fault);
    faults(State(context)).await
}

pub(super) async fn clear_faults(State(context): Shared) -> Answer {
    Ok(Json(json!({ "cleared": context.simulator.faults.clear() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restart {
    away_milliseconds: u64,
}

pub(super) async fn restart(State(context): Shared, Json(wanted): Json<Restart>) -> Answer {
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
pub(super) struct Licence {
    ship: Option<bool>,
    mobile: Option<bool>,
    users: Option<usize>,
}

pub(super) async fn licence(State(context): Shared, Json(wanted): Json<Licence>) -> Answer {
    set_counters(&context, |counters| {
        counters.ship_licensed = wanted.ship.unwrap_or(counters.ship_licensed);
        counters.mobile_licensed = wanted.mobile.unwrap_or(counters.mobile_licensed);
        counters.user_limit = wanted.users.unwrap_or(counters.user_limit);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Denylist {
    capacity: usize,
}

pub(super) async fn denylist(State(context): Shared, Json(wanted): Json<Denylist>) -> Answer {
    set_counters(&context, |counters| counters.denylist_capacity = wanted.capacity)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    advance_seconds: i64,
}

pub(super) async fn clock(State(context): Shared, Json(wanted): Json<Clock>) -> Answer {
    set_counters(&context, |counters| {
        counters.clock_offset_seconds = counters.clock_offset_seconds.saturating_add(wanted.advance_seconds);
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aim {
    to: Option<String>,
}

pub(super) async fn aim(State(context): Shared, Json(wanted): Json<Aim>) -> Answer {
    let target = wanted.to.as_deref().map(str::parse::<Target>).transpose();
    context.simulator.stream.aim(target.map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?);
    Ok(Json(json!({ "to": wanted.to })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seed {
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

pub(super) async fn seed_more(State(context): Shared, Json(wanted): Json<Seed>) -> Answer {
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

pub(super) async fn stop(State(context): Shared) -> Answer {
    context.simulator.shutdown.cancel();
    Ok(Json(json!({ "stopping": true })))
}
