//! Whole lives of single commands.

use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{CommandState, TruthLevel};

use super::*;
use crate::health::{ReasonCode, Scope};

#[tokio::test(start_paused = true)]
async fn a_grant_reaches_the_lock_server_and_is_told_once() {
    let mut bench = Bench::new();
    let id = bench.give(grant("u1", &["101", "gym", "spa", "cellar"])).await;
    let update = bench.until(id, CommandState::Succeeded).await;
    let evidence = update.evidence.expect("evidence");
    assert_eq!(evidence.truth(), TruthLevel::Server);
    assert_eq!(evidence.granted_entrance_external_ids, ["101", "gym", "spa"]);
    assert_eq!(evidence.missing_entrance_external_ids, ["cellar"]);
    assert_eq!(evidence.group_external_ids, ["pool"]);
    assert_eq!(bench.states(id), [CommandState::Succeeded]);
    assert_eq!(bench.handle.feed().borrow().commands_durable_through, 1);
    let target = bench.system.site().users["u1"].target.clone().expect("written");
    assert_eq!(target.rights.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_encode_writes_one_card_and_tells_executing_first() {
    let mut bench = Bench::new();
    bench.give(grant("u1", &["101"])).await;
    let id = bench.give(encode("u1")).await;
    let update = bench.until(id, CommandState::Succeeded).await;
    assert_eq!(update.evidence.expect("evidence").card_number, "04u1");
    assert_eq!(bench.states(id), [CommandState::Executing, CommandState::Succeeded]);
    assert_eq!(bench.system.site().encodes["u1"], 1);
    assert_eq!(bench.system.site().calls, ["apply u1", "encode u1"]);
    // A second first card is refused without touching the encoder.
    let again = bench.give(encode("u1")).await;
    let update = bench.until(again, CommandState::Failed).await;
    assert_eq!(update.error.expect("an error").code, "credential_cannot_be_reissued");
    assert_eq!(bench.system.site().encodes["u1"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_encode_fails_and_is_not_tried_again() {
    let mut bench = Bench::new();
    let granted = bench.give(grant("u1", &["101"])).await;
    bench.until(granted, CommandState::Succeeded).await;
    bench.system.site().script.push_back(Script::Refuse("no_credential_on_encoder", Retry::Later));
    let id = bench.give(encode("u1")).await;
    let update = bench.until(id, CommandState::Failed).await;
    assert_eq!(update.error.expect("an error").code, "no_credential_on_encoder");
    bench.wait(Duration::from_secs(600)).await;
    assert_eq!(bench.system.site().encodes.get("u1"), None);
}

/// An encode whose answer was lost, told as in doubt.
async fn doubtful(script: Script, blind: bool) -> (Bench, CommandId) {
    let mut bench = Bench::new();
    let granted = bench.give(grant("u1", &["101"])).await;
    bench.until(granted, CommandState::Succeeded).await;
    bench.system.site().script.push_back(script);
    let id = bench.give(encode("u1")).await;
    bench.until(id, CommandState::Executing).await;
    bench.system.site().blind = blind;
    bench.until(id, CommandState::InDoubt).await;
    (bench, id)
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_doubt_and_the_lock_server_settles_it_either_way() {
    let (bench, id) = doubtful(Script::SilentDone, false).await;
    let update = bench.until(id, CommandState::Succeeded).await;
    let resolution = update.resolution.expect("it was in doubt");
    assert_eq!((resolution.verdict.as_str(), resolution.means.as_str()), ("done", "lock_system"));
    assert_eq!(bench.system.site().encodes["u1"], 1);

    let (bench, id) = doubtful(Script::SilentNothing, false).await;
    bench.wait(Duration::from_secs(40)).await;
    assert_eq!(bench.last(id).expect("told").state(), CommandState::InDoubt, "the encoder may still wait for a card");
    let update = bench.until(id, CommandState::Failed).await;
    assert_eq!(update.resolution.expect("it was in doubt").verdict, "not_done");
    assert_eq!(bench.system.site().encodes.get("u1"), None);
}

async fn resolve(bench: &Bench, id: CommandId, verdict: DoubtVerdict) -> Result<(), ControlError> {
    let who = "uid 1000".to_owned();
    bench.handle.ask(|done| EngineRequest::Resolve { command_id: id, verdict, who, done }).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn a_person_settles_what_the_lock_server_cannot_tell() {
    for (verdict, state) in
        [(DoubtVerdict::Done, CommandState::Succeeded), (DoubtVerdict::NotDone, CommandState::Failed)]
    {
        let (bench, id) = doubtful(Script::SilentDone, true).await;
        bench.wait(Duration::from_secs(1000)).await;
        assert!(bench.health.holds(&Scope::Bridge, ReasonCode::Doubt));
        let doubts = bench.handle.ask(EngineRequest::Doubts).await.expect("runs");
        assert_eq!(doubts.len(), 1);
        resolve(&bench, id, verdict).await.expect("resolved");
        let update = bench.until(id, state).await;
        assert_eq!(update.resolution.expect("resolved").who, "uid 1000");
        assert!(resolve(&bench, id, verdict).await.is_err(), "once only");
        assert_eq!(bench.system.site().encodes["u1"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn unsure_kills_the_maybe_card_and_a_new_encode_is_possible() {
    let (mut bench, id) = doubtful(Script::SilentDone, true).await;
    let blocked = bench.give(grant("u1", &["102"])).await;
    bench.wait(Duration::from_secs(60)).await;
    assert_eq!(bench.states(blocked), [], "doubt blocks its lane");
    resolve(&bench, id, DoubtVerdict::Unsure).await.expect("given up");
    let update = bench.until(id, CommandState::Abandoned).await;
    let compensation = update.resolution.expect("resolved").compensation_command_id;
    let compensation = CommandId::from_bytes(&compensation).expect("an id");
    let update = bench.until(compensation, CommandState::Succeeded).await;
    assert!(update.evidence.expect("evidence").key_cancelled);
    assert_eq!(bench.system.site().users["u1"].card, None);
    bench.until(blocked, CommandState::Succeeded).await;
    bench.system.site().blind = false;
    let again = bench.give(encode("u1")).await;
    bench.until(again, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().encodes["u1"], 2, "once for each command");
}

#[tokio::test(start_paused = true)]
async fn doubt_is_given_up_after_a_day() {
    let (bench, id) = doubtful(Script::SilentDone, true).await;
    bench.wait(Duration::from_secs(25 * 3600)).await;
    let update = bench.last(id).expect("told");
    assert_eq!(update.state(), CommandState::Abandoned);
    assert!(bench.system.site().calls.iter().any(|call| call == "cancel u1"));
}

#[tokio::test(start_paused = true)]
async fn repeatable_work_is_repeated_until_it_is_done() {
    let mut bench = Bench::new();
    bench.system.site().script.extend([
        Script::SilentNothing,
        Script::Refuse("uncategorized_error", Retry::Later),
        Script::SilentDone,
    ]);
    let id = bench.give(grant("u1", &["101"])).await;
    bench.until(id, CommandState::Succeeded).await;
    assert_eq!(bench.system.site().calls, ["apply u1"; 4]);
    assert_eq!(bench.states(id), [CommandState::Succeeded]);
}

#[tokio::test(start_paused = true)]
async fn no_effect_and_no_acknowledgement_before_durability() {
    let mut bench = Bench::new();
    bench.wait(Duration::from_secs(1)).await;
    bench.log.hold();
    let id = bench.give(grant("u1", &["101"])).await;
    bench.wait(Duration::from_secs(30)).await;
    assert_eq!(bench.handle.feed().borrow().commands_durable_through, 0);
    assert_eq!(bench.system.site().calls, Vec::<String>::new());
    assert_eq!(bench.history.stories(0).commands, [], "what a power cut can undo is not told");
    bench.log.release();
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(bench.handle.feed().borrow().commands_durable_through, 1);
    bench.log.hold();
    bench.log.release();
    bench.until(id, CommandState::Succeeded).await;
    let stories = bench.history.stories(0).commands;
    let steps: Vec<_> = stories[0].steps.iter().map(|step| step.what).collect();
    assert_eq!(
        (stories[0].kind.as_str(), steps.as_slice()),
        ("put_grant", ["received", "sent", "succeeded"].as_slice())
    );
    // Half a minute lay between the decision and its durability; the lock system was asked after it.
    let [received, sent, _] = stories[0].steps.as_slice() else { panic!("{stories:?}") };
    assert!(received.durable_ms - received.at_ms >= 30_000 && sent.at_ms >= received.at_ms, "{stories:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_disk_ends_the_engine() {
    let bench = Bench::new();
    bench.wait(Duration::from_secs(1)).await;
    bench.log.fail();
    assert!(matches!(bench.ended().await, Err(EngineError::DiskFailed)));
}
