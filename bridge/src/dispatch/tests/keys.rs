//! A lock system that makes keys for rooms and keeps no people.

use lockbridge_protocol::proto::tunnel::{
    DeleteCredential, Evidence, PutUser, ScanCredential, SetGroupMembership, SuspendUser, TruthLevel,
};

use super::*;
use crate::system::Window;

fn bench() -> Bench {
    Bench::start(TestLog::with(vec![]), FakeSystem::of_keys(), Authority::new())
}

/// A grant with a reservation.
fn stay(user: &str, doors: &[&str], reservation: &str) -> Body {
    let mut body = grant(user, doors);
    if let Body::PutGrant(put) = &mut body {
        put.reservation_key = reservation.into();
    }
    body
}

fn changed(body: Body, change: impl FnOnce(&mut PutGrant)) -> Body {
    let Body::PutGrant(mut put) = body else { panic!("a grant") };
    put.revision += 1;
    change(&mut put);
    Body::PutGrant(put)
}

fn encode_as(user: &str, operation: KeyOperation) -> Body {
    let Body::EncodeCredential(mut wish) = encode(user) else { panic!("an encode") };
    wish.operation = operation as i32;
    Body::EncodeCredential(wish)
}

fn delete_credential(user: &str) -> Body {
    Body::DeleteCredential(DeleteCredential { credential_id: format!("credential-{user}"), user_id: user.into() })
}

async fn done(bench: &mut Bench, body: Body) -> Evidence {
    let id = bench.give(body).await;
    bench.until(id, CommandState::Succeeded).await.evidence.expect("evidence")
}

async fn refused(bench: &mut Bench, body: Body) -> String {
    let id = bench.give(body).await;
    bench.until(id, CommandState::Failed).await.error.expect("an error").code
}

fn calls(bench: &Bench) -> Vec<String> {
    std::mem::take(&mut bench.system.site().calls)
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_kept_here_until_a_key_is_made_and_says_so() {
    let mut bench = bench();
    let evidence = done(&mut bench, grant("u1", &["101", "gym", "cellar"])).await;
    assert_eq!(evidence.truth(), TruthLevel::Bridge);
    assert_eq!(evidence.granted_entrance_external_ids, ["101", "gym"]);
    assert_eq!(evidence.missing_entrance_external_ids, ["cellar"]);
    assert_eq!(calls(&bench), Vec::<String>::new(), "nothing is at the lock system");
    // What was accepted survives a restart; nobody else keeps it.
    let mut bench = bench.kill_and_restart().await;
    let evidence = done(&mut bench, encode("u1")).await;
    assert_eq!(evidence.truth(), TruthLevel::Medium);
    assert_eq!(evidence.key_valid_until_ms, START + 48 * HOUR);
    assert_eq!(evidence.granted_entrance_external_ids, ["101", "gym"]);
    let key = bench.system.site().keys[0].clone();
    assert_eq!((key.kind, key.rooms, key.areas), (KeyKind::New, vec!["101".to_owned()], vec!["gym".to_owned()]));
    assert_eq!(key.window, Some(Window { starts_at_ms: START, ends_at_ms: Some(START + 48 * HOUR) }));
    assert_eq!(key.mark.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn one_reservation_gets_one_new_key_and_copies() {
    let mut bench = bench();
    for user in ["u1", "u2"] {
        done(&mut bench, stay(user, &["101"], "R1")).await;
        done(&mut bench, encode(user)).await;
    }
    // The same card again.
    done(&mut bench, encode_as("u1", KeyOperation::UpdateCurrent)).await;
    let mut bench = bench.kill_and_restart().await;
    done(&mut bench, stay("u3", &["101"], "R1")).await;
    done(&mut bench, encode("u3")).await;
    assert_eq!(calls(&bench), ["New u1 101", "Copy u2 101", "Copy u1 101", "Copy u3 101"]);
    let marks: std::collections::BTreeSet<String> =
        bench.system.site().keys.iter().map(|key| key.mark.clone()).collect();
    assert_eq!(marks.len(), 4, "every request has a mark of its own");
}

#[tokio::test(start_paused = true)]
async fn another_stay_gets_no_key_for_a_room_that_is_given_away() {
    let mut bench = bench();
    done(&mut bench, stay("u1", &["101"], "R1")).await;
    done(&mut bench, encode("u1")).await;
    done(&mut bench, stay("u2", &["101"], "R2")).await;
    assert_eq!(refused(&mut bench, encode("u2")).await, "room_occupied");
    // Who asks for a new key by that name knows what they do.
    done(&mut bench, encode_as("u2", KeyOperation::NewKey)).await;
    done(&mut bench, encode_as("u2", KeyOperation::UpdateCurrent)).await;
    assert_eq!(calls(&bench), ["New u1 101", "New u2 101", "Copy u2 101"]);
    // The first stay has no key any more that a check-out could end.
    done(&mut bench, delete_grant("u1")).await;
    assert_eq!(calls(&bench), Vec::<String>::new());
    done(&mut bench, delete_grant("u2")).await;
    assert_eq!(calls(&bench), ["check out 101"]);
}

#[tokio::test(start_paused = true)]
async fn a_stay_that_is_over_gives_the_room_free_without_a_check_out() {
    let mut bench = bench();
    done(&mut bench, grant("u1", &["101"])).await;
    done(&mut bench, encode("u1")).await;
    bench.wait(Duration::from_secs(49 * 3600)).await;
    let later = changed(stay("u2", &["101"], "R2"), |put| put.ends_at_ms = START + 90 * HOUR);
    done(&mut bench, later).await;
    done(&mut bench, encode("u2")).await;
    done(&mut bench, delete_grant("u1")).await;
    assert_eq!(calls(&bench), ["New u1 101", "New u2 101"], "a check-out would end the stay of u2");
}

#[tokio::test(start_paused = true)]
async fn only_the_last_key_of_a_stay_is_checked_out() {
    let mut bench = bench();
    for user in ["u1", "u2"] {
        done(&mut bench, stay(user, &["101"], "R1")).await;
        done(&mut bench, encode(user)).await;
    }
    calls(&bench);
    let evidence = done(&mut bench, delete_credential("u1")).await;
    assert!(!evidence.key_cancelled && evidence.detail.contains("opens room 101 until its end"), "{evidence:?}");
    assert_eq!(evidence.truth(), TruthLevel::Bridge);
    assert_eq!(evidence.key_valid_until_ms, START + 48 * HOUR, "how long it still opens");
    let evidence = done(&mut bench, delete_credential("u2")).await;
    assert!(evidence.key_cancelled, "{evidence:?}");
    assert_eq!(evidence.truth(), TruthLevel::Server);
    assert_eq!(calls(&bench), ["check out 101"]);
    // The room is free: the next one is a new key.
    done(&mut bench, stay("u4", &["101"], "R1")).await;
    done(&mut bench, encode("u4")).await;
    assert_eq!(calls(&bench), ["New u4 101"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_on_a_card_is_taken_back_without_a_word_to_the_lock_system() {
    let mut bench = bench();
    done(&mut bench, grant("u1", &["101"])).await;
    done(&mut bench, delete_grant("u1")).await;
    assert_eq!(refused(&mut bench, encode("u1")).await, "cannot_create_requested_access_methods");
    done(&mut bench, delete_credential("u1")).await;
    assert_eq!(refused(&mut bench, encode("u1")).await, "credential_not_found");
    assert_eq!(calls(&bench), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn suspension_moving_and_extension_reach_the_room() {
    let mut bench = bench();
    done(&mut bench, grant("u1", &["101"])).await;
    done(&mut bench, encode("u1")).await;
    let longer = changed(grant("u1", &["101"]), |put| put.ends_at_ms += HOUR);
    let evidence = done(&mut bench, longer).await;
    assert!(evidence.card_update_needed && evidence.truth() == TruthLevel::Server, "{evidence:?}");
    assert_eq!(calls(&bench), ["New u1 101", "change stay 101"]);
    let moved = changed(grant("u1", &["102"]), |put| put.revision = 3);
    done(&mut bench, moved).await;
    done(&mut bench, encode_as("u1", KeyOperation::UpdateCurrent)).await;
    assert_eq!(calls(&bench), ["check out 101", "New u1 102"]);
    let suspend = |suspended| Body::SuspendUser(SuspendUser { user_id: "u1".into(), suspended });
    done(&mut bench, suspend(true)).await;
    assert_eq!(calls(&bench), ["check out 102"]);
    assert_eq!(refused(&mut bench, encode("u1")).await, "acs_user_inactive");
    done(&mut bench, suspend(false)).await;
    done(&mut bench, encode("u1")).await;
    assert_eq!(calls(&bench), ["New u1 102"]);
}

#[tokio::test(start_paused = true)]
async fn a_check_out_that_fails_is_asked_for_again() {
    let mut bench = bench();
    done(&mut bench, grant("u1", &["101"])).await;
    done(&mut bench, encode("u1")).await;
    calls(&bench);
    bench.system.site().script.push_back(Script::Refuse("uncategorized_error", Retry::Never));
    refused(&mut bench, delete_credential("u1")).await;
    done(&mut bench, delete_credential("u1")).await;
    assert_eq!(calls(&bench), ["check out 101", "check out 101"]);
}

#[tokio::test(start_paused = true)]
async fn what_keys_cannot_hold_is_refused_by_name() {
    let mut bench = bench();
    assert_eq!(refused(&mut bench, grant("u1", &["gym"])).await, "cannot_create_requested_access_methods");
    let mobile = changed(grant("u1", &["101"]), |put| put.methods[0].medium = Medium::MobileKey as i32);
    assert_eq!(refused(&mut bench, mobile).await, "cannot_create_requested_access_methods");
    assert_eq!(refused(&mut bench, unlock("101")).await, "not_supported");
    let groups = Body::SetGroupMembership(SetGroupMembership { user_id: "u1".into(), ..SetGroupMembership::default() });
    assert_eq!(refused(&mut bench, groups).await, "not_supported");
    let user = User { user_id: "u1".into(), full_name: "Ada Lovelace".into(), ..User::default() };
    let evidence = done(&mut bench, Body::PutUser(PutUser { user: Some(user), revision: 1 })).await;
    assert_eq!(evidence.truth(), TruthLevel::Bridge);
    assert_eq!(calls(&bench), Vec::<String>::new());
}

/// A new key whose answer was lost.
async fn doubtful() -> (Bench, CommandId) {
    let mut bench = bench();
    done(&mut bench, stay("u1", &["101"], "R1")).await;
    bench.system.site().script.push_back(Script::SilentDone);
    let id = bench.give(encode("u1")).await;
    bench.until(id, CommandState::InDoubt).await;
    (bench, id)
}

fn card(bench: &Bench) -> KeySeen {
    let mark = bench.system.site().keys[0].mark.clone();
    KeySeen { mark, rooms: vec!["101".into()], ends_at_ms: Some(START + 48 * HOUR), ..KeySeen::default() }
}

fn scan() -> Body {
    Body::ScanCredential(ScanCredential { encoder_external_id: "desk".into() })
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled_by_reading_the_card_and_by_nothing_else() {
    let (bench, id) = doubtful().await;
    bench.wait(Duration::from_secs(3600)).await;
    assert_eq!(bench.last(id).map(|update| update.state()), Some(CommandState::InDoubt), "time proves nothing");
    // Neither does a restart, which keeps what was asked for.
    let mut bench = bench.kill_and_restart().await;
    let other = KeySeen { mark: "OTHER".into(), ..card(&bench) };
    bench.system.site().key_seen = Some(other);
    done(&mut bench, scan()).await;
    assert_eq!(bench.last(id).map(|update| update.state()), Some(CommandState::InDoubt), "another card");
    let card = card(&bench);
    bench.system.site().key_seen = Some(card);
    let evidence = done(&mut bench, scan()).await;
    assert_eq!(evidence.card_on_encoder.expect("a card").credential_id, "credential-u1");
    let update = bench.until(id, CommandState::Succeeded).await;
    let resolution = update.resolution.expect("a resolution");
    assert_eq!((resolution.means.as_str(), resolution.who.as_str()), ("device", "salto_pms"));
    done(&mut bench, stay("u2", &["101"], "R1")).await;
    done(&mut bench, encode("u2")).await;
    let written: Vec<String> = calls(&bench).into_iter().filter(|call| !call.starts_with("read")).collect();
    assert_eq!(written, ["New u1 101", "Copy u2 101"], "never asked for twice");
}

#[tokio::test(start_paused = true)]
async fn while_a_new_key_is_in_doubt_its_stay_gets_copies_only() {
    let (mut bench, id) = doubtful().await;
    done(&mut bench, stay("u2", &["101"], "R1")).await;
    done(&mut bench, encode("u2")).await;
    assert_eq!(calls(&bench), ["New u1 101", "Copy u2 101"], "a second new key would end the first");
    assert_eq!(bench.last(id).map(|update| update.state()), Some(CommandState::InDoubt));
}

async fn say(bench: &Bench, id: CommandId, verdict: DoubtVerdict) {
    let who = "uid 1000".to_owned();
    let said = bench.handle.ask(|done| EngineRequest::Resolve { command_id: id, verdict, who, done }).await;
    said.expect("runs").expect("settled");
}

#[tokio::test(start_paused = true)]
async fn a_person_says_that_no_card_was_written_and_the_next_one_is_a_new_key() {
    let (mut bench, id) = doubtful().await;
    say(&bench, id, DoubtVerdict::NotDone).await;
    bench.until(id, CommandState::Failed).await;
    done(&mut bench, encode("u1")).await;
    assert_eq!(calls(&bench), ["New u1 101", "New u1 101"]);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_given_up_is_checked_out_unless_the_stay_has_other_keys() {
    let (mut bench, id) = doubtful().await;
    say(&bench, id, DoubtVerdict::Unsure).await;
    bench.until(id, CommandState::Abandoned).await;
    done(&mut bench, encode("u1")).await;
    assert_eq!(calls(&bench), ["New u1 101", "check out 101", "New u1 101"]);
    done(&mut bench, stay("u2", &["101"], "R1")).await;
    bench.system.site().script.push_back(Script::SilentNothing);
    let copy = bench.give(encode("u2")).await;
    bench.until(copy, CommandState::InDoubt).await;
    say(&bench, copy, DoubtVerdict::Unsure).await;
    bench.until(copy, CommandState::Abandoned).await;
    done(&mut bench, encode("u2")).await;
    assert_eq!(calls(&bench), ["Copy u2 101", "Copy u2 101"], "a check-out would end the stay of u1");
}

#[tokio::test(start_paused = true)]
async fn killed_while_a_key_was_written_the_room_counts_as_given_away() {
    let mut bench = bench();
    done(&mut bench, stay("u1", &["101"], "R1")).await;
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(20)));
    let id = bench.give(encode("u1")).await;
    bench.until(id, CommandState::Executing).await;
    bench.wait(Duration::from_secs(1)).await;
    let mut bench = bench.kill_and_restart().await;
    bench.until(id, CommandState::InDoubt).await;
    done(&mut bench, stay("u2", &["101"], "R2")).await;
    assert_eq!(refused(&mut bench, encode("u2")).await, "room_occupied");
    done(&mut bench, stay("u3", &["101"], "R1")).await;
    done(&mut bench, encode("u3")).await;
    assert_eq!(calls(&bench), ["New u1 101", "Copy u3 101"]);
}

#[tokio::test(start_paused = true)]
async fn two_guests_of_one_reservation_at_two_encoders_get_one_new_key() {
    let mut bench = bench();
    for user in ["u1", "u2"] {
        done(&mut bench, stay(user, &["101"], "R1")).await;
    }
    bench.system.site().script.push_back(Script::Slow(Duration::from_secs(5)));
    let first = bench.give(encode("u1")).await;
    let Body::EncodeCredential(mut other) = encode("u2") else { panic!("an encode") };
    other.encoder_external_id = "bar".into();
    let second = bench.give(Body::EncodeCredential(other)).await;
    bench.until(first, CommandState::Succeeded).await;
    bench.until(second, CommandState::Succeeded).await;
    assert_eq!(calls(&bench), ["New u1 101", "Copy u2 101"]);
    assert_eq!(bench.system.site().encoder_jobs_most, 1, "the second waited for the room");
}
