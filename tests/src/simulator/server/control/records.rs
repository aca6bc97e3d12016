//! What stands in the lock server: read only.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Shared, not_found};

pub(super) async fn state(State(context): Shared) -> Answer {
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
pub(super) struct Window {
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

pub(super) async fn effects(State(context): Shared, Query(window): Query<Window>) -> Answer {
    Ok(Json(context.simulator.tally(|tally| {
        let newest = window.newest(tally.newest.iter(), |effect| effect.number, 1000);
        json!({
            "total": tally.total, "by_kind": tally.by_kind, "by_card": tally.by_card, "by_user": tally.by_user,
            "effects": newest,
        })
    })))
}

pub(super) async fn audit(State(context): Shared, Query(window): Query<Window>) -> Answer {
    Ok(Json(context.simulator.read(|site| {
        let events = window.newest(site.audit.iter(), |event| event.id, 100);
        json!({ "events": events })
    })))
}

pub(super) async fn users(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|site| json!({ "users": site.users.values().collect::<Vec<_>>() }))))
}

pub(super) async fn user(State(context): Shared, Path(id): Path<String>) -> Answer {
    let found = context.simulator.read(|site| site.users.get(&id).map(|user| json!(user)));
    found.map(Json).ok_or_else(|| not_found("user", &id))
}

pub(super) async fn doors(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|site| json!({ "doors": site.doors.values().collect::<Vec<_>>() }))))
}

pub(super) async fn cards(State(context): Shared) -> Answer {
    Ok(Json(context.simulator.read(|site| json!({ "cards": site.cards.values().collect::<Vec<_>>() }))))
}

pub(super) async fn card(State(context): Shared, Path(serial): Path<String>) -> Answer {
    let found = context.simulator.read(|site| site.cards.get(&serial).map(|card| json!(card)));
    found.map(Json).ok_or_else(|| not_found("card", &serial))
}
