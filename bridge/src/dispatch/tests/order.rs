//! Replay, order, time, policy, session: what decides whether and when a command begins.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{CommandState, DeleteUser};

use super::*;
use crate::health::{ReasonCode, Scope};

#[tokio::test(start_paused = true)]
async fn a_second_delivery_changes_nothing_and_other_bytes_are_refused() {
    let mut bench = Bench::new();
    let (id, first) = bench.sign(grant("u1", &["101"]));
    bench.deliver(vec![first.clone(), first.clone()]).await;
    bench.until(id, CommandState::Succeeded).await;
    // The same command under a new number, after its answer was acknowledged: told again, not done again.
    bench.handle.send(EngineRequest::ReportsDurable(1)).await.expect("runs");
    bench.deliver(vec![Delivery { delivery_sequence: 2, ..first.clone() }]).await;
    let again = bench.until(id, CommandState::Succeeded).await;
    assert_eq!(again.command_id, id.0);
    assert_eq!(bench.system.site().calls, ["apply u1"]);
    // Another command under the same id.
    bench.authority.deliveries = 2;
    let reused = id.0.to_vec();
    bench.give_with(grant("u2", &["101"]), move |command| command.command_id = reused).await;
    bench.wait(Duration::from_secs(5)).await;
    assert_eq!(bench.handle.feed().borrow().commands_durable_through, 3);
    assert_eq!(bench.system.site().calls, ["apply u1"]);
}

#[tokio::test(start_paused = true)]
async fn forged_commands_are_acknowledged_and_ignored() {
    let mut bench = Bench::new();
    let (id, mut delivery) = bench.sign(grant("u1", &["101"]));
    let signed = delivery.command.as_mut().expect("a command");
    signed.signatures[0].signature[3] ^= 1;
    bench.deliver(vec![delivery]).await;
    let honest = bench.give(grant("u2", &["101"])).await;
    bench.until(honest, CommandState::Succeeded).await;
    assert_eq!(bench.states(id), []);
    assert_eq!(bench.handle.feed().borrow().commands_durable_through, 2);
}

#[tokio::test(start_paused = true)]
async fn expired_work_is_answered_and_the_lane_goes_on() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let late = bench.give_with(grant("u1", &["101"]), |command| command.expires_at_ms = START + 5_000).await;
    let next = bench.give(grant("u1", &["102"])).await;
    let update = bench.until(late, CommandState::Expired).await;
    assert_eq!(update.error.expect("an error").code, "action_attempt_expired");
    bench.system.site().reachable = true;
    bench.until(next, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls, ["apply u1"]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_holds_later_work_but_no_revoke_and_is_told() {
    let mut bench = Bench::new();
    let (first, _) = bench.sign(grant("u1", &["101"]));
    let missing = bench.authority.sent[0].1.command.clone();
    bench.authority.deliveries = 0;
    let held = bench.give(grant("u1", &["102"])).await;
    let revoke = bench.give(delete_grant("u1")).await;
    bench.until(revoke, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(90)).await;
    assert_eq!(bench.states(held), [CommandState::Superseded], "a revoke of the same grant makes it moot");
    let third = bench
        .give(Body::SetGroupMembership(lockbridge_protocol::proto::tunnel::SetGroupMembership {
            user_id: "u1".into(),
            group_external_ids: vec!["pool".into()],
            revision: 1,
        }))
        .await;
    bench.wait(Duration::from_secs(90)).await;
    assert_eq!(bench.states(third), []);
    let gaps = bench.handle.feed().borrow().lane_gaps.clone();
    assert_eq!((gaps[0].expected, gaps[0].have), (1, 4));
    assert!(bench.health.holds(&Scope::Bridge, ReasonCode::LaneGap));
    // The missing one comes at last: the revoke stands, and the lane is whole again.
    bench.deliver(vec![Delivery { delivery_sequence: 4, command: missing }]).await;
    bench.until(first, CommandState::Superseded).await;
    bench.until(third, CommandState::Failed).await;
    bench.wait(Duration::from_secs(15)).await;
    assert!(!bench.health.holds(&Scope::Bridge, ReasonCode::LaneGap));
    assert!(bench.handle.feed().borrow().lane_gaps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn deleting_a_user_supersedes_all_that_is_older() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let older = bench.give(grant("u1", &["101"])).await;
    let other_lane = bench.give(grant("u2", &["101"])).await;
    let delete = Body::DeleteUser(DeleteUser { user_id: "u1".into() });
    let id = bench.give_with(delete, |command| command.cancels_below = command.lane_sequence).await;
    bench.until(older, CommandState::Superseded).await;
    bench.system.site().reachable = true;
    bench.until(id, CommandState::Succeeded).await;
    bench.until(other_lane, CommandState::Succeeded).await;
    let calls = bench.system.site().calls.clone();
    assert_eq!(calls, ["delete u1", "apply u2"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_works_before_the_beginning_and_even_before_the_arrival() {
    let mut bench = Bench::new();
    bench.system.site().reachable = false;
    let target = bench.give(grant("u1", &["101"])).await;
    let (second, delivery) = bench.sign(grant("u1", &["102"]));
    bench.authority.deliveries -= 1;
    let first_cancel = bench.give(cancel(target)).await;
    let second_cancel = bench.give(cancel(second)).await;
    bench.system.site().reachable = true;
    bench.until(target, CommandState::Cancelled).await;
    bench.until(first_cancel, CommandState::Succeeded).await;
    bench.until(second_cancel, CommandState::Succeeded).await;
    bench.deliver(vec![Delivery { delivery_sequence: 4, ..delivery }]).await;
    bench.until(second, CommandState::Cancelled).await;
    assert_eq!(bench.system.site().calls, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_lane_in_order_lanes_in_parallel_one_job_an_encoder() {
    let mut bench = Bench::new();
    bench.system.site().script.extend(vec![Script::Slow(Duration::from_secs(2)); 6]);
    for user in ["u1", "u2", "u3"] {
        bench.give(grant(user, &["101"])).await;
    }
    let mut encodes = Vec::new();
    for user in ["u1", "u2", "u3"] {
        encodes.push(bench.give(encode(user)).await);
    }
    for id in encodes {
        bench.until(id, CommandState::Succeeded).await;
    }
    let site = bench.system.site();
    assert_eq!(site.at_once_most, 3);
    assert_eq!(site.encoder_jobs_most, 1);
    for user in ["u1", "u2", "u3"] {
        let place = |what: &str| site.calls.iter().position(|call| *call == format!("{what} {user}"));
        assert!(place("apply") < place("encode"));
    }
}

#[tokio::test(start_paused = true)]
async fn interactive_work_does_not_wait_longer_than_a_person_does() {
    let mut bench = Bench::new();
    for user in ["u1", "u2"] {
        let id = bench.give(grant(user, &["101"])).await;
        bench.until(id, CommandState::Succeeded).await;
    }
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(29)));
    let first = bench.give(encode("u1")).await;
    let second = bench.give_with(encode("u2"), |command| command.max_start_delay_ms = 10_000).await;
    let update = bench.until(second, CommandState::Expired).await;
    assert_eq!(update.error.expect("an error").code, "action_attempt_expired");
    bench.until(first, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().encodes.get("u2"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_ends_waiting_interactive_work_only() {
    let mut bench = Bench::new();
    for user in ["u1", "u2"] {
        let id = bench.give(grant(user, &["101"])).await;
        bench.until(id, CommandState::Succeeded).await;
    }
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(5)));
    let running = bench.give(encode("u1")).await;
    let waiting = bench.give(encode("u2")).await;
    bench.until(running, CommandState::Executing).await;
    bench.handle.send(EngineRequest::SessionLost).await.expect("runs");
    let update = bench.until(waiting, CommandState::Expired).await;
    assert_eq!(update.error.expect("an error").code, "session_lost");
    bench.until(running, CommandState::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_lock_server_fails_people_at_once_and_lets_grants_wait() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.system.site().reachable = false;
    bench.wait(Duration::from_secs(20)).await;
    assert!(bench.health.holds(&Scope::LockSystem("tower".into()), ReasonCode::LockServer));
    let person = bench.give(encode("u1")).await;
    let waits = bench.give(grant("u2", &["101"])).await;
    let update = bench.until(person, CommandState::Failed).await;
    assert_eq!(update.error.expect("an error").code, "bridge_disconnected");
    bench.wait(Duration::from_secs(3600)).await;
    assert_eq!(bench.states(waits), []);
    bench.system.site().reachable = true;
    bench.until(waits, CommandState::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn policy_and_brake_have_the_last_word() {
    let mut bench = Bench::new();
    let far = bench
        .give_with(grant("u1", &["101"]), |command| {
            if let Some(Body::PutGrant(put)) = &mut command.body {
                put.ends_at_ms = START + 40 * 24 * HOUR;
            }
        })
        .await;
    let update = bench.until(far, CommandState::Rejected).await;
    assert_eq!(update.error.expect("an error").code, "policy:max_validity");
    // The lane moves on over what was rejected.
    let next = bench.give(grant("u1", &["101"])).await;
    bench.until(next, CommandState::Succeeded).await;
    let who = || "uid 0".to_owned();
    bench.handle.ask(|done| EngineRequest::Brake { on: true, who: who(), done }).await.expect("runs");
    let refused = bench.give(encode("u1")).await;
    assert_eq!(bench.until(refused, CommandState::Rejected).await.error.expect("an error").code, "policy:brake");
    let held = bench.give(grant("u2", &["101"])).await;
    let revoke = bench.give(delete_grant("u1")).await;
    bench.until(revoke, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(bench.states(held), []);
    bench.handle.ask(|done| EngineRequest::Brake { on: false, who: who(), done }).await.expect("runs");
    bench.until(held, CommandState::Succeeded).await;
    // Without a valid file only revokes pass.
    std::fs::write(bench.policy.path(), "version = ").expect("writes");
    assert!(bench.handle.ask(EngineRequest::ReloadPolicy).await.expect("runs").is_err());
    let refused = bench.give(grant("u3", &["101"])).await;
    bench.until(refused, CommandState::Rejected).await;
    let revoke = bench.give(delete_grant("u2")).await;
    bench.until(revoke, CommandState::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoke_overtakes_a_backlog() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.system.site().reachable = false;
    bench.wait(Duration::from_secs(20)).await;
    let mut deliveries = Vec::new();
    for number in 0..200 {
        deliveries.push(bench.sign(grant(&format!("b{number}"), &["101"])).1);
    }
    let (revoke, delivery) = bench.sign(delete_grant("u1"));
    deliveries.push(delivery);
    bench.deliver(deliveries).await;
    bench.wait(Duration::from_secs(1)).await;
    bench.system.site().calls.clear();
    bench.system.site().reachable = true;
    bench.until(revoke, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls[0], "apply u1");
}

#[tokio::test(start_paused = true)]
async fn draining_ends_what_waits_and_finishes_what_runs() {
    let mut bench = Bench::new();
    let known = bench.give(grant("u1", &["101"])).await;
    bench.until(known, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(5)));
    let running = bench.give(encode("u1")).await;
    bench.until(running, CommandState::Executing).await;
    bench.handle.ask(EngineRequest::Drain).await.expect("runs");
    assert_eq!(bench.last(running).expect("told").state(), CommandState::Succeeded);
    let ignored = bench.give(grant("u2", &["101"])).await;
    bench.wait(Duration::from_secs(5)).await;
    assert_eq!(bench.states(ignored), []);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_has_drained_at_once() {
    let mut bench = Bench::new();
    let done = bench.give(grant("u1", &["101"])).await;
    bench.until(done, CommandState::Succeeded).await;
    bench.wait(Duration::from_secs(120)).await;
    let drained = tokio::time::timeout(Duration::from_millis(1), bench.handle.ask(EngineRequest::Drain)).await;
    drained.expect("no commit has to come first").expect("runs");
    bench.stop().await;
}
