//! A disk that fills up: new work is refused, nothing begins that could not be written down, revokes run, and all goes on
//! by itself when there is space again (rules D3, D4, D6).

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::CommandState;

use super::*;
use crate::health::{LATE, ReasonCode, Scope};
use crate::limits::OUTBOX_REPORTS;

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_only_revokes_begin_and_the_rest_waits() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    // Accepted while there was space, held back by a slow neighbour in its lane until there is none.
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(3)));
    let slow = bench.give(grant("u2", &["101"])).await;
    let waiting = bench.give(grant("u2", &["101", "gym"])).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.log.set_room(Room::Full);

    let refused = bench.give(grant("u3", &["101"])).await;
    let update = bench.until(refused, CommandState::Rejected).await;
    assert_eq!(update.error.expect("an error").code, "disk_full");
    bench.until(slow, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(120)).await;
    assert_eq!(bench.states(waiting), [], "accepted, and not begun: its outcome might not fit");
    let revoke = bench.give(delete_grant("u1")).await;
    bench.until(revoke, CommandState::Succeeded).await;
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::Disk));

    bench.log.set_room(Room::Plenty);
    bench.until(waiting, CommandState::Succeeded).await;
    let again = bench.give(grant("u3", &["101"])).await;
    bench.until(again, CommandState::Succeeded).await;
    assert!(!bench.health.holds(&Scope::Bridge, ReasonCode::Disk));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_person_is_told_of_the_full_disk_at_once() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(3)));
    let slow = bench.give(grant("u1", &["101", "gym"])).await;
    let card = bench.give(encode("u1")).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.log.set_room(Room::Full);
    let update = bench.until(card, CommandState::Failed).await;
    assert_eq!(update.error.expect("an error").code, "disk_full");
    assert_eq!(bench.states(card), [CommandState::Failed], "it never began");
    assert_eq!(bench.system.site().encodes.get("u1"), None);
    bench.until(slow, CommandState::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_reserve_nearly_used_up_nothing_begins_and_nothing_is_lost() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.log.set_room(Room::Exhausted);
    let revoke = bench.give(delete_grant("u1")).await;
    bench.wait(Duration::from_secs(120)).await;
    assert_eq!(bench.states(revoke), [], "accepted, waiting");
    assert_eq!(bench.handle.feed().borrow().commands_durable_through, 2);
    bench.log.set_room(Room::Full);
    bench.until(revoke, CommandState::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_finds_no_space_at_all_is_written_when_there_is_some() {
    let mut bench = Bench::new();
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(3)));
    let id = bench.give(grant("u1", &["101"])).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.log.set_room(Room::Exhausted);
    bench.log.set_used_up(true);
    bench.wait(Duration::from_secs(300)).await;
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::Disk));
    assert_eq!(bench.states(id), [], "nothing is told that is not written");
    bench.log.set_used_up(false);
    bench.log.set_room(Room::Plenty);
    bench.until(id, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls, ["apply u1"], "the effect happened once");
}

#[tokio::test(start_paused = true)]
async fn events_that_find_no_space_are_read_again_at_a_measured_pace() {
    let bench = Bench::new();
    bench.system.site().has_events = true;
    bench.log.set_room(Room::SafetyOnly);
    bench.wait(Duration::from_secs(120)).await;
    let readings = bench.system.site().readings;
    assert!((3..=13).contains(&readings), "{readings} readings in two minutes");
    bench.log.set_room(Room::Plenty);
    bench.wait(Duration::from_secs(30)).await;
    let read = bench.reports().into_iter().filter_map(|report| match report.body {
        Some(ReportBody::AccessEvents(read)) => Some(read.events[0].event_external_id.clone()),
        _ => None,
    });
    assert_eq!(read.collect::<Vec<_>>(), ["1", "2", "3"], "each once, in order");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_runs_low_is_told_and_stops_new_grants_only() {
    let mut bench = Bench::new();
    bench.log.set_room(Room::Low);
    let id = bench.give(grant("u1", &["101"])).await;
    bench.until(id, CommandState::Succeeded).await;
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::DiskLow));
    bench.log.set_room(Room::SafetyOnly);
    let refused = bench.give(grant("u2", &["101"])).await;
    assert_eq!(bench.until(refused, CommandState::Rejected).await.error.expect("an error").code, "disk_full");
    let revoke = bench.give(delete_grant("u1")).await;
    bench.until(revoke, CommandState::Succeeded).await;
    bench.log.set_room(Room::Plenty);
    bench.wait(Duration::from_secs(15)).await;
    assert!(!bench.health.holds(&Scope::Bridge, ReasonCode::DiskLow));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_waits_lives_and_one_that_hangs_does_not() {
    let mut bench = Bench::new();
    let lives = async |bench: &Bench, what: &str| {
        for _ in 0..60 {
            bench.wait(Duration::from_secs(1)).await;
            assert_eq!(bench.health.late(), [], "{what}");
        }
    };
    lives(&bench, "nothing to do").await;
    bench.log.set_room(Room::Exhausted);
    bench.log.set_used_up(true);
    bench.give(grant("u1", &["101"])).await;
    lives(&bench, "no space").await;
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::Disk));
    bench.log.get_stuck();
    bench.wait(LATE + Duration::from_secs(5)).await;
    let late = bench.health.late();
    assert!(matches!(late.as_slice(), [("engine", age)] if *age > LATE), "{late:?}");
}

/// Waiting grants fill the inbox; what the cloud has not acknowledged fills the outbox. Both are told, and both clear.
#[tokio::test(start_paused = true)]
async fn an_inbox_and_an_outbox_that_are_full_are_told() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    bench.wait(Duration::from_secs(20)).await;
    let room = bench.handle.ask(EngineRequest::Status).await.expect("runs").room[2];
    for number in 0..room {
        let (_, delivery) = bench.sign(grant(&format!("u{number}"), &["101"]));
        bench.deliver(vec![delivery]).await;
    }
    let status = bench.handle.ask(EngineRequest::Status).await.expect("runs");
    assert_eq!((status.room[2], status.held_back), (0, "inbox_full"), "{status:?}");
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::InboxFull));
    // Each that waits will make up to two reports; refused ones make one each until the rest of the place is taken.
    let rest = OUTBOX_REPORTS - 2 * room - status.outbox;
    bench.log.set_room(Room::SafetyOnly);
    for number in 0..rest {
        let (_, delivery) = bench.sign(grant(&format!("late{number}"), &["101"]));
        bench.deliver(vec![delivery]).await;
    }
    bench.handle.ask(EngineRequest::Status).await.expect("all of them are decided");
    bench.log.set_room(Room::Plenty);
    bench.wait(Duration::from_secs(2)).await;
    let status = bench.handle.ask(EngineRequest::Status).await.expect("runs");
    assert_eq!(status.held_back, "outbox_full", "{status:?}");
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::OutboxFull));
    assert!(!bench.health.holds(&Scope::Bridge, ReasonCode::InboxFull), "one bound is told, the tighter one");
    let through = status.outbox;
    bench.handle.send(EngineRequest::ReportsDurable(through)).await.expect("runs");
    let status = bench.handle.ask(EngineRequest::Status).await.expect("runs");
    assert_eq!((status.outbox, status.held_back), (0, "inbox_full"));
    assert!(!bench.health.holds(&Scope::Bridge, ReasonCode::OutboxFull));
}
